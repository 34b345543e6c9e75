"""Two registries: reshapers change the anatomy before it is drawn, painters draw on the canvas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.core.registry import Registry
from benchmark.twins.anatomy.canvas import Canvas
from benchmark.twins.anatomy.shape import Shape
from benchmark.twins.case import Finding


@dataclass(frozen=True)
class Draw:
    """One drawing step of one finding. strength: 0.65 for the mildest to 1.4 for the gravest.

    scale: factor of the lesion's length, 1 for the typical one; equal in every view and step of a finding.
    """

    finding: Finding
    strength: float
    options: dict[str, Any]
    rng: np.random.Generator
    scale: float = 1.0


Painter = Callable[[Canvas, Draw], list[np.ndarray]]
"""Draws in place; returns one (S, S) mask in [0, 1] per lesion, none where the view does not show it."""
Reshaper = Callable[[Shape, Draw], Shape]

_HOME = "benchmark.twins.findings"
PAINTERS: Registry[Painter] = Registry(
    "painter",
    {
        name: f"{_HOME}.{module}:{name}"
        for module, names in {
            "opacities": "patch lobe collapse plates veil interstitial fibrosis edema kerley bronchogram "
            "bronchi",
            "nodules": "nodules nipples miliary cavity bulla round_atelectasis",
            "airspace": "emphysema oligemia redistribution markings",
            "pleura": "effusion blunting pleural_cap thickening plaques fissures pneumothorax loculated "
            "pleural_mass",
            "mediastinum": "structure mass_shadow hernia goiter adenopathy calcified_arch calcified_heart "
            "air_lines",
            "abdomen": "free_air bowel_loop",
            "bone": "fracture callus osteophytes wedge bone_density bone_lesion cervical_rib cement "
            "costochondral",
            "hardware": "plate_screws joint_prosthesis wires clips staples stent valve foreign_body "
            "electrodes",
            "tubes": "pacemaker tube catheter port drain",
            "softtissue": "calcifications breast subcutaneous_air soft_mass implant",
        }.items()
        for name in names.split()
    },
)
RESHAPERS: dict[str, Reshaper] = {}


def reshaper(function: Reshaper) -> Reshaper:
    RESHAPERS[function.__name__] = function
    return function
