"""SIIM-ACR Pneumothorax: JPEG in DICOM below study and series, relative run lengths, one row per mask."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from benchmark.data.cards import Card
from benchmark.data.masks import encode_relative
from benchmark.twins.case import TwinStudy
from benchmark.twins.writers import Ids
from benchmark.twins.writers.boxed import class_regions, enlarge, shown
from benchmark.twins.writers.common import Convention, base_seed, grey8, shuffled, study_rng, write_csv
from benchmark.twins.writers.dicom import uid, write_dicom

SPACED = 0.5
"""Share of the negatives that are written ` -1` instead of `-1`."""


def write(root: Path, studies: Iterable[TwinStudy], card: Card, rng: np.random.Generator) -> Ids:
    """Laterals are left out: the set has none."""
    base, convention = base_seed(rng), Convention(card)
    ids: Ids = {}
    rows: list[tuple[str, str]] = []
    for study in studies:
        labels = convention.drawn(study)
        local = study_rng(base, study, "siim")
        for image in study.images:
            if image.view == "L":
                continue
            name = uid("siim", base, image.number)
            folder = root / "dicom-images-train" / uid("siim study", base, image.number)
            series = uid("siim series", base, image.number)
            write_dicom(
                folder / series / f"{name}.dcm",
                grey8(image.pixels),
                instance=name,
                study=uid("siim study", base, image.number),
                series=series,
                bits=8,
                view=image.view,
                sex=study.patient.sex,
                age=study.patient.age,
                patient=uid("siim patient", base, image.number)[-12:],
                jpeg=92,
            )
            spaced = bool(local.random() < SPACED)
            ids[image.number] = name
            masks = [r.mask for _, r in class_regions(image, shown(image, labels, convention), convention)]
            texts = [encode_relative(enlarge(mask)) for mask in masks if mask.any()]
            rows += [(name, text) for text in texts] or [(name, " -1" if spaced else "-1")]
    write_csv(root / "train-rle.csv", ("ImageId", " EncodedPixels"), shuffled(rows, base, "rle"))
    return ids
