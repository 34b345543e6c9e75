"""What the generator knows about a synthetic patient; writers turn it into official files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Presence = Literal["present", "absent", "uncertain"]
Side = Literal["left", "right", "bilateral"]


@dataclass(frozen=True)
class Finding:
    """One statement. `concept` is an id of datasets/lexicon.yaml."""

    concept: str
    presence: Presence = "present"
    side: Side | None = None
    location: str | None = None
    severity: str | None = None


@dataclass(frozen=True)
class Region:
    """Where one finding is drawn. box: x, y, w, h in pixels of the image; mask: (H, W) bool."""

    concept: str
    box: tuple[float, float, float, float]
    mask: np.ndarray


@dataclass(frozen=True)
class TwinImage:
    """pixels: (H, W) float32 in [0, 1], black is air. view: PA, AP or L (lateral)."""

    number: int
    view: Literal["PA", "AP", "L"]
    pixels: np.ndarray
    regions: tuple[Region, ...] = ()


@dataclass(frozen=True)
class Sentence:
    """One report sentence with the findings it states."""

    text: str
    section: Literal["findings", "impression"]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class TwinPatient:
    number: int
    sex: Literal["F", "M"]
    age: int


@dataclass(frozen=True)
class TwinStudy:
    """One visit. findings: what is drawn. sentences: what the report says (a subset, plus negations)."""

    patient: TwinPatient
    number: int
    days: int
    """Days since the patient's first study."""
    images: tuple[TwinImage, ...]
    findings: tuple[Finding, ...]
    sentences: tuple[Sentence, ...]
    sections: dict[str, str] = field(default_factory=dict)
    """indication, technique, comparison, and the joined findings and impression."""
