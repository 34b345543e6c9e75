"""CXR-Align: one JSON of reports, true, with one finding denied and without it, on the MIMIC-CXR-JPG tree."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.core.files import write_text
from benchmark.data.cards import Card
from benchmark.twins.case import TwinStudy
from benchmark.twins.writers import Ids
from benchmark.twins.writers.common import Convention, base_seed, grey8, study_rng, write_csv, write_jpeg
from benchmark.twins.writers.mimic_place import place

METADATA = ("dicom_id", "subject_id", "study_id", "ViewPosition", "Rows", "Columns")


def write(root: Path, studies: Iterable[TwinStudy], card: Card, rng: np.random.Generator) -> Ids:
    """The first frontal image of a study whose report states a drawn finding of the card in sentences of its
    own, beside another sentence; others are not part of the set."""
    base, convention = base_seed(rng), Convention(card)
    ids: Ids = {}
    cases: dict[str, dict[str, Any]] = {}
    metadata: list[tuple[Any, ...]] = []
    for study in studies:
        frontal = [image for image in study.images if image.view != "L"]
        case = _case(study, convention, study_rng(base, study, "cxr_align"))
        if case is None or not frontal:
            continue
        where = place("cxr_align", study, frontal[0])
        ids[frontal[0].number] = where.dicom
        write_jpeg(root / "mimic-cxr-jpg" / where.path, grey8(frontal[0].pixels))
        height, width = frontal[0].pixels.shape
        metadata.append((*where, frontal[0].view, height, width))
        cases[where.dicom] = case
    write_text(root / "cxr-align.json", json.dumps({"mimic": cases}))
    write_csv(root / "mimic-cxr-jpg" / "mimic-cxr-2.0.0-metadata.csv.gz", METADATA, metadata)
    return ids


def _case(study: TwinStudy, convention: Convention, rng: np.random.Generator) -> dict[str, Any] | None:
    """Reports of one study; None where no finding can be denied without denying another one."""
    drawn = {f.concept for f in study.findings if f.presence == "present"}
    candidates = []
    for name in convention.findings:
        covered = convention.covered[name]
        about = [s for s in study.sentences if any(f.concept in covered for f in s.findings)]
        alone = all(f.presence == "present" and f.concept in covered for s in about for f in s.findings)
        if about and alone and drawn & covered and len(about) < len(study.sentences):
            candidates.append((name, about))
    if not candidates:
        return None
    name, about = candidates[int(rng.integers(len(candidates)))]
    denied = f"No {convention.card.prompts.classes[name].display}."
    said = [s.text for s in study.sentences]
    kept = [s.text for s in study.sentences if s not in about]
    place_ = next(i for i, s in enumerate(study.sentences) if s in about)
    negated = [t for i, t in enumerate(said) if i == place_ or study.sentences[i] not in about]
    negated[negated.index(said[place_])] = denied
    return {
        "report": " ".join(said),
        "negation": " ".join(negated),
        "omitted": " ".join(kept),
        "chosen": name,
        "location": next((f.location for s in about for f in s.findings if f.location), None),
    }
