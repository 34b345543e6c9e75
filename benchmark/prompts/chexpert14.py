"""What training texts say in CheXpert's 14 columns, the labels that released MedCLIP compares.

Source: RyanWangZf/MedCLIP medclip/dataset.py (9c3396f), where images have CheXpert's columns and a sentence
that no labels are known of is No Finding. Differs from it: columns of images and sentences are both read by
the rule that reads every text here, from the sentences that images are trained with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from benchmark.core.errors import DataError
from benchmark.data.cards import load_card
from benchmark.prompts.rules import RuleAligner
from benchmark.prompts.sentences import split_sentences
from benchmark.prompts.training_texts import TrainingFindings

NO_FINDING, DEVICES = "No Finding", "Support Devices"
_STRONGER = {"present": 3, "uncertain": 2, "absent": 1}
_VALUE = {0: 0, 1: -1, 2: 0, 3: 1}
"""Presence by strength, in {-1, 0, 1}; 0 for what is uncertain or not said."""


def chexpert14_findings(
    texts: Sequence[Sequence[str]], *, aligner: RuleAligner | None = None
) -> TrainingFindings:
    """The 14 columns of every distinct text and of every image over all of its texts.

    texts: per image. Of several statements of a column the strongest counts: present, then uncertain, then
    absent; a column is absent too where something above all that it means is denied. No Finding is 1 for a
    text that names no other column, as upstream, and for an image of which no column but Support Devices is
    present or uncertain, as CheXpert's labeler has it; else 0. Raises DataError where no text names a column.
    """
    aligner = aligner or RuleAligner()
    meant = columns(aligner)
    sentences = tuple(dict.fromkeys(text for own in texts for text in own))
    said = {text: _columns(text, meant, aligner) for text in sentences}
    if not any(any(own.values()) for own in said.values()):
        raise DataError("the training texts name none of CheXpert's columns. Train on other reports.")
    text = np.array([_vector(said[s], not any(said[s].values())) for s in sentences], dtype=np.int8)
    images = np.zeros((len(texts), len(meant) + 1), np.int8)
    for n, own in enumerate(texts):
        if own:
            over = {c: max(said[t][c] for t in own) for c in meant}
            images[n] = _vector(over, not any(k > 1 for c, k in over.items() if c != DEVICES))
    return TrainingFindings((NO_FINDING, *meant), sentences, text, images)


def columns(aligner: RuleAligner) -> dict[str, frozenset[str]]:
    """The 13 columns beside No Finding, in CheXpert's order → the concepts that say them."""
    lexicon = aligner.lexicon
    return {
        name: frozenset(concepts).union(*(lexicon.descendants(c) for c in concepts))
        for name, concepts in load_card("chexpert").concepts.items()
        if name != NO_FINDING
    }


def _columns(text: str, meant: Mapping[str, Iterable[str]], aligner: RuleAligner) -> dict[str, int]:
    """Column → strength of what a text says of it, 0 where it says nothing."""
    found = dict.fromkeys(meant, 0)
    for sentence in split_sentences(text):
        for own in aligner.statements(sentence):
            below = aligner.lexicon.descendants(own.concept) if own.presence == "absent" else frozenset()
            for name, concepts in meant.items():
                if own.concept in concepts or below.issuperset(concepts):
                    found[name] = max(found[name], _STRONGER[own.presence])
    return found


def _vector(said: Mapping[str, int], nothing: bool) -> list[int]:
    return [int(nothing), *(_VALUE[k] for k in said.values())]
