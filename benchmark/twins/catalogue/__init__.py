"""The concepts that the generator can draw, as data: how drawn, how often, where, and in which words."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError

from benchmark.core.errors import ParamsError

FILES = ("lungs", "airspace", "pleura", "mediastinum", "bones", "devices", "surgery", "tissue")
REFERENCE_IMAGES = 39053
"""Size of PadChest's manually labelled subset, the denominator of `images`."""


class TwinConcept(BaseModel, frozen=True, extra="forbid"):
    """One concept.

    draw: drawing steps (painter or reshaper → options), in order; empty for a statement without a picture.
    images: positives among REFERENCE_IMAGES. stays: the finding remains at later visits.
    spread: deviation of the logarithm of a lesion's length, severities included; 0 where it keeps one length.
    sides, places, severities: what may be chosen, sides with weights; severities from mild to grave.
    partners: concept → probability that it comes along. names: noun phrases, the usual one first.
    phrases: further whole sentences with {side} {place} {severity}. es: stemmed Spanish noun phrase.
    """

    id: str
    draw: dict[str, dict[str, Any]] = {}
    images: int = Field(ge=0)
    stays: bool = False
    spread: float = Field(default=0.0, ge=0, le=1)
    sides: dict[Literal["left", "right", "bilateral"], float] = {}
    places: tuple[str, ...] = ()
    severities: tuple[str, ...] = ()
    partners: dict[str, float] = {}
    names: tuple[str, ...] = Field(min_length=1)
    phrases: tuple[str, ...] = ()
    plural: bool = False
    denied: bool = False
    """Radiologists write its absence ("no pneumothorax")."""
    es: str
    sex: Literal["F", "M"] | None = None
    age: tuple[int, int] = (0, 120)
    excludes: tuple[str, ...] = ()


@lru_cache(maxsize=1)
def catalogue() -> dict[str, TwinConcept]:
    """All concepts by id. Raises ParamsError naming file and concept where an entry is malformed."""
    concepts: dict[str, TwinConcept] = {}
    for name in FILES:
        path = Path(__file__).parent / f"{name}.yaml"
        for key, value in yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader).items():
            if key in concepts:
                raise ParamsError(f"{path.name}: '{key}' is listed twice; remove one of the two.")
            try:
                concepts[key] = TwinConcept(id=key, **value)
            except ValidationError as error:
                first = error.errors()[0]
                raise ParamsError(f"{path.name}: '{key}', {first['loc']}: {first['msg']}.") from None
    for concept in concepts.values():
        for other in (*concept.partners, *concept.excludes):
            if other not in concepts:
                raise ParamsError(
                    f"catalogue: '{concept.id}' names '{other}', which is no concept; correct it."
                )
    return concepts


def strength(concept: TwinConcept, severity: str | None) -> float:
    """0.65 for the mildest to 1.4 for the gravest severity, 1 where none is graded."""
    graded = concept.severities
    if severity is None or len(graded) < 2:
        return 1.0
    return 0.65 + 0.75 * graded.index(severity) / (len(graded) - 1)


def lesion_scale(concept: TwinConcept, severity: str | None, lot: float) -> float:
    """Factor of a lesion's length from a standard normal lot and, where it is graded, its severity.

    Half of the variance of a graded lesion follows the grade, so that a large one is larger than a small one
    of the same lot.
    """
    z = min(max(lot, -2.2), 2.2)
    graded = concept.severities
    if severity is not None and len(graded) > 1:
        z = 0.7 * z + 1.2 * (2 * graded.index(severity) / (len(graded) - 1) - 1)
    return math.exp(concept.spread * z)
