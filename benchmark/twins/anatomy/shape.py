"""The numbers that make one chest; reshaping findings change them before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.twins.case import TwinPatient


@dataclass(frozen=True)
class Shape:
    """Lengths are fractions of the image side; gains are factors of a normal chest."""

    half_width: float = 0.355
    apex: float = 0.125
    dome_right: float = 0.715
    dome_left: float = 0.735
    dome_curve_right: float = 1.0
    dome_curve_left: float = 1.0
    heart_ratio: float = 0.43
    """Width of the heart over the width of the thorax."""
    heart_round: float = 0.0
    heart_flip: bool = False
    mediastinum: float = 0.045
    upper_mediastinum: float = 0.0
    shift: float = 0.0
    """Displacement of heart and mediastinum to the image's right."""
    trachea_shift: float = 0.0
    arch_radius: float = 0.034
    arch_flip: bool = False
    arch_height: float = 0.0
    ascending: float = 0.0
    descending: float = 0.0
    hilum_right: float = 1.0
    hilum_left: float = 1.0
    artery: float = 0.0
    vessels: float = 1.0
    upper_vessels: float = 1.0
    air: float = 1.0
    spine_bend: float = 0.0
    spine_round: float = 0.0
    bone: float = 1.0
    rib_slope: float = 1.0
    fat: float = 0.3
    breast_right: float = 0.0
    breast_left: float = 0.0
    barrel: float = 0.0
    sternum_dip: float = 0.0
    scapula_in: float = 0.0


def draw_shape(patient: TwinPatient, view: str, rng: np.random.Generator) -> Shape:
    """A normal chest for a patient's sex, age and a random habitus.

    The same generator state gives the same habitus for each view of a visit.
    """
    old = float(np.clip((patient.age - 45) / 45, -0.5, 1))
    female = patient.sex == "F"
    child = patient.age < 15
    fat = float(np.clip(rng.normal(0.32 + 0.08 * female, 0.16), 0.02, 0.8))
    breath = float(rng.normal(0, 0.018))
    ap = view == "AP"
    breast = float(np.clip(rng.normal(0.62, 0.2), 0.25, 1.1)) * (1 if female and patient.age > 14 else 0)
    return Shape(
        half_width=float(rng.normal(0.352 - 0.012 * female, 0.013)) - 0.02 * child,
        apex=float(rng.normal(0.125, 0.008)),
        dome_right=0.718 + breath - 0.03 * ap,
        dome_left=0.738 + breath - 0.03 * ap + float(rng.normal(0, 0.006)),
        dome_curve_right=float(rng.normal(1, 0.12)),
        dome_curve_left=float(rng.normal(1, 0.12)),
        heart_ratio=float(rng.normal(0.425 + 0.02 * old, 0.018)) * (1.08 if ap else 1),
        mediastinum=float(rng.normal(0.045, 0.004)) + 0.006 * ap,
        shift=float(rng.normal(0, 0.006)),
        trachea_shift=float(rng.normal(0, 0.003)),
        arch_radius=float(rng.normal(0.031 + 0.004 * old, 0.0025)),
        hilum_right=float(rng.normal(1, 0.08)),
        hilum_left=float(rng.normal(1, 0.08)),
        vessels=float(rng.normal(1, 0.12)),
        air=float(rng.normal(1, 0.025)),
        spine_bend=float(rng.normal(0, 0.004)),
        spine_round=float(rng.normal(0.0, 0.006)) + 0.008 * max(old, 0),
        bone=float(rng.normal(1.05 - 0.15 * max(old, 0) - 0.08 * female, 0.05)),
        rib_slope=float(rng.normal(1, 0.1)),
        fat=fat,
        breast_right=breast,
        breast_left=breast * float(rng.normal(1, 0.06)),
        scapula_in=float(rng.uniform(0.3, 0.8)) if ap else float(rng.uniform(0, 0.2)),
    )
