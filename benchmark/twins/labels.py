"""What a site's label file says: the truth, or the truth with the errors of text mining."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from benchmark.twins.case import TwinStudy
from benchmark.twins.sites import site


def positive_concepts(study: TwinStudy) -> list[str]:
    """Concepts that are drawn, in the order of the study's findings."""
    return [f.concept for f in study.findings if f.presence == "present"]


def noisy_labels(
    present: Iterable[str], candidates: Iterable[str], dataset: str, rng: np.random.Generator
) -> list[str]:
    """Drop positives and add negatives as often as `dataset`'s labels are wrong (Site.noise).

    present: concepts or classes that are true. candidates: all that the label file knows, in its order.
    Returns those it marks positive, in the order of `candidates`. A site without noise gives the truth.
    Raises UnknownName for a dataset without a site.
    """
    noise = site(dataset).noise
    known = list(dict.fromkeys(candidates))
    true = set(present)
    draws = rng.random(len(known))
    return [
        name
        for name, draw in zip(known, draws, strict=True)
        if (draw >= noise.miss if name in true else draw < noise.false)
    ]
