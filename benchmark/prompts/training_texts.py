"""What a method trains on: the texts of each image, and what they say of frequent concepts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmark.core.errors import BenchError, DataError
from benchmark.core.tables import Manifest
from benchmark.prompts.aligned import (
    AlignedSentence,
    SentenceAligner,
    Statement,
    align_report,
    aligned_table,
    wording,
)
from benchmark.prompts.lexicon import Lexicon, load_lexicon
from benchmark.prompts.rules import RuleAligner
from benchmark.prompts.sections import report_sections, select, selected_text
from benchmark.prompts.sentences import split_sentences
from benchmark.prompts.settings import TextParams

if TYPE_CHECKING:
    import pandas as pd

K = TypeVar("K", str, int)


def study_reports(manifest: Manifest) -> dict[str, str]:
    """Study → report, in the order of the manifest; studies without a report are left out. An image
    without a study id is a study of its own."""
    keys = _studies(manifest)
    reports: dict[str, str] = {}
    for key, report in zip(keys, manifest.frame["report"], strict=True):
        if isinstance(report, str) and report.strip():
            reports.setdefault(key, report)
    return reports


def align_manifest(
    manifest: Manifest,
    aligner: SentenceAligner | None = None,
    rule: str = "findings+impression",
    lexicon: Lexicon | None = None,
) -> pd.DataFrame:
    """Align every report of a manifest once: ALIGNED_COLUMNS. The rule aligner by default.

    Raises DataError where no row has a report.
    """
    reports = study_reports(manifest)
    if not reports:
        raise DataError(f"{manifest.dataset}: no image has a report to align. Use `texts.wording: labels`.")
    lexicon = lexicon or load_lexicon()
    aligner = aligner or RuleAligner(lexicon)
    aligned: Iterable[tuple[str, list[AlignedSentence]]] = (
        (study, align_report(report, aligner, lexicon, rule)) for study, report in reports.items()
    )
    return aligned_table(aligned)


def training_texts(
    manifest: Manifest, texts: TextParams, table: pd.DataFrame | None = None
) -> list[list[str]]:
    """Texts of each image, in the order of the manifest, without repeats; empty where nothing is said.

    wording: raw, the selected sections of the report. aligned, llm: the aligned sentences of `table` (made by
    `align_manifest` or the LLM aligner). summary: those of `summary_table`, or of a model that condensed each
    report (Lai et al. 2025, BrgSA). labels: "There is <class>" of every positive class, or, where an
    image has none, "There is no <class>" of every negative one; for datasets without reports.
    unit: each sentence is a text of its own, or all of them are one; of a summary five at most, in order.
    negations: `drop` leaves out aligned sentences that deny a finding, and raw sentences of which every
    finding is denied by `table`; a raw sentence that states something else too stays whole, and so does one
    without a finding. An image of which nothing is left has no text.
    bare_names: `drop` leaves out raw sentences that state a finding as present by the very name that prompts
    use, so that such names stand in denials only.
    A method draws one of them a step (CARZero) or takes all as positives (RadZero).
    Raises BenchError where a table is needed and missing.
    """
    drop, unnamed, whole = texts.negations == "drop", texts.bare_names == "drop", texts.unit == "report"
    if texts.wording == "labels":
        named = dict(enumerate(_from_labels(manifest, drop)))
        named = _joined(named, whole, ". ", ".")
        return [named.get(row, []) for row in range(len(manifest))]
    raw = texts.wording == "raw"
    if raw and not drop and not unnamed:
        said = {study: _raw(report, texts) for study, report in study_reports(manifest).items()}
    elif table is None:
        without = " without some sentences" if raw else ""
        raise BenchError(
            f"{texts.wording} texts{without} need a table of aligned sentences. Run `bench prompts align`."
        )
    elif raw:
        said = _joined(_raw_sentences(table, drop, unnamed), whole)
    else:
        rows = table[table["aligned"].notna()]
        if drop:
            rows = rows[rows["presence"] != "absent"]
        said = {
            str(study): list(dict.fromkeys(group)) for study, group in rows.groupby("study_id")["aligned"]
        }
        if whole and texts.wording == "summary":
            said = {study: _fives(own) for study, own in said.items()}
        else:
            said = _joined(said, whole, ". ", ".")
    return [list(said.get(study, ())) for study in _studies(manifest)]


def summary_table(table: pd.DataFrame) -> pd.DataFrame:
    """A stand-in for a model's summary, by rule: of aligned sentences (ALIGNED_COLUMNS) one statement a
    concept, without place, side and grade; what is present first, then what may be, then what is absent.

    A concept above one that is stated as present too says nothing more and is left out; present beats
    uncertain, which beats absent.
    """
    lexicon = load_lexicon()
    rank = {"present": 0, "uncertain": 1, "absent": 2}
    rows = table[table["concept"].notna()]
    rows = rows.assign(rank=rows["presence"].map(rank).astype("int8"))
    rows = rows.sort_values(["study_id", "rank", "sentence"], kind="stable")
    rows = rows.drop_duplicates(["study_id", "concept"])
    implied: dict[str, set[str]] = {}
    for study, concept, place in zip(rows["study_id"], rows["concept"], rows["rank"], strict=True):
        if place == 0:
            implied.setdefault(study, set()).update(lexicon.ancestors(concept) - {concept})
    own = zip(rows["study_id"], rows["concept"], strict=True)
    rows = rows[[concept not in implied.get(study, ()) for study, concept in own]].drop(columns="rank")
    rows["aligned"] = [
        wording(Statement(concept, presence), lexicon)
        for concept, presence in zip(rows["concept"], rows["presence"], strict=True)
    ]
    rows[["side", "location", "severity"]] = None
    return rows.astype(table.dtypes.to_dict()).reset_index(drop=True)


@dataclass(frozen=True)
class TrainingFindings:
    """What training texts say of K concepts: -1 absent, 0 not stated or uncertain, 1 present.

    sentences: the T distinct texts, in order of first appearance. text: (T, K) int8. images: (N, K) int8,
    over all texts of an image; present beats absent.
    """

    concepts: tuple[str, ...]
    sentences: tuple[str, ...]
    text: NDArray[np.int8]
    images: NDArray[np.int8]


def training_findings(
    texts: Sequence[Sequence[str]], *, at_least: int = 20, aligner: RuleAligner | None = None
) -> TrainingFindings:
    """Findings of the training texts for methods with soft targets (MedCLIP), read by rule from the texts
    themselves, never from labels.

    texts: per image. The K concepts are those that at least `at_least` images are said to have, in the
    lexicon's order. Raises DataError where there is none.
    """
    aligner = aligner or RuleAligner()
    sentences = tuple(dict.fromkeys(text for own in texts for text in own))
    stated = {text: _stated(text, aligner) for text in sentences}
    counts = Counter(c for own in texts for c in {c for t in own for c, v in stated[t].items() if v > 0})
    kinds = aligner.lexicon.ids("finding", "device")
    concepts = tuple(c for c in kinds if counts[c] >= at_least)
    if not concepts:
        raise DataError(
            f"the training texts state no concept on {at_least} or more of {len(texts)} images. "
            "Train on more reports, or lower `at_least`."
        )
    text = _vectors([stated[s] for s in sentences], concepts)
    rows = {sentence: i for i, sentence in enumerate(sentences)}
    images = np.zeros((len(texts), len(concepts)), np.int8)
    for n, own in enumerate(texts):
        if own:
            block = text[[rows[t] for t in own]]
            images[n] = np.where((block > 0).any(0), 1, np.where((block < 0).any(0), -1, 0))
    return TrainingFindings(concepts, sentences, text, images)


def _stated(text: str, aligner: RuleAligner) -> dict[str, int]:
    lexicon = aligner.lexicon
    own: dict[str, int] = {}
    implied: dict[str, int] = {}
    for sentence in split_sentences(text):
        for statement in aligner.statements(sentence):
            value = {"present": 1, "absent": -1, "uncertain": 0}[statement.presence]
            own[statement.concept] = max(own.get(statement.concept, value), value)
    for concept, value in own.items():
        reach = lexicon.ancestors(concept) if value > 0 else lexicon.descendants(concept) if value < 0 else ()
        for other in reach:
            implied[other] = max(implied.get(other, value), value)
    return {**implied, **own}


def _vectors(stated: Sequence[dict[str, int]], concepts: Sequence[str]) -> NDArray[np.int8]:
    rows: list[list[Any]] = [[said.get(c, 0) for c in concepts] for said in stated]
    return np.array(rows, dtype=np.int8).reshape(len(rows), len(concepts))


def _studies(manifest: Manifest) -> list[str]:
    frame = manifest.frame
    studies = frame["study_id"].astype("string")
    return studies.fillna("image:" + frame["image_id"].astype("string")).tolist()


def _raw(report: str, texts: TextParams) -> list[str]:
    if texts.unit == "report":
        text = selected_text(report, texts.rule)
        return [text] if text else []
    parts = select(report_sections(report), texts.rule)
    return list(dict.fromkeys(s for _, text in parts for s in split_sentences(text)))


def _raw_sentences(table: pd.DataFrame, no_denials: bool, no_names: bool) -> dict[str, list[str]]:
    """Study → its report sentences, in order, without repeats; without those that only deny, or that state a
    finding by its bare name, where asked."""
    lexicon = load_lexicon()
    denied = table["presence"].eq("absent").fillna(False)
    present = table["presence"].eq("present").fillna(False)
    named = [
        bool(stated) and any(f" {name} " in f" {_words(text)} " for name in _names(lexicon, concept))
        for stated, concept, text in zip(present, table["concept"], table["text"], strict=True)
    ]
    sentences = table.assign(denied=denied, named=named).groupby(["study_id", "sentence"], sort=True)
    found: dict[str, list[str]] = {}
    for (study, _), own in sentences[["text", "denied", "named"]]:
        if not (no_denials and own["denied"].all()) and not (no_names and own["named"].any()):
            found.setdefault(str(study), []).append(str(own["text"].iloc[0]))
    return {study: list(dict.fromkeys(own)) for study, own in found.items()}


def _names(lexicon: Lexicon, concept: str) -> list[str]:
    """The names of a concept and of what lies above it, which make the same class positive."""
    return [lexicon[c].name.lower() for c in (concept, *lexicon.ancestors(concept))]


def _words(text: str) -> str:
    return " ".join(re.findall(r"[a-z'-]+", text.lower()))


def _fives(statements: Sequence[str]) -> list[str]:
    """Texts of up to five statements each, as BrgSA joins them (`merge_num`)."""
    return [". ".join(statements[i : i + 5]) + "." for i in range(0, len(statements), 5)]


def _joined(said: dict[K, list[str]], whole: bool, between: str = " ", end: str = "") -> dict[K, list[str]]:
    """The sentences of a study or image as one text where `whole`, else as they are."""
    return {key: [between.join(own) + end] for key, own in said.items() if own} if whole else said


def _from_labels(manifest: Manifest, drop: bool) -> list[list[str]]:
    from benchmark.data.cards import load_card
    from benchmark.prompts.class_prompts import display_name

    card = load_card(manifest.dataset)
    names = [c for c in manifest.classes if c not in card.pseudo and c in card.concepts]
    values = manifest.frame[names].to_numpy(dtype="float64", na_value=np.nan)
    shown = [display_name(card, name) for name in names]
    texts = []
    for row in values:
        present = [f"There is {name}" for name, value in zip(shown, row, strict=True) if value == 1]
        absent = [f"There is no {name}" for name, value in zip(shown, row, strict=True) if value == 0]
        texts.append(list(dict.fromkeys(present or ([] if drop else absent))))
    return texts
