"""Painters of findings: each draws on the phantom and returns where, one mask a lesion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.core.registry import Registry
from benchmark.twins.case import Finding
from benchmark.twins.ct.body import Phantom
from benchmark.twins.ct.space import Part


@dataclass(frozen=True)
class Stroke:
    """One drawing step of one finding. strength: 0.65 for the mildest to 1.4 for the gravest. scale: factor
    of a lesion's length."""

    finding: Finding
    strength: float
    scale: float
    options: dict[str, Any]
    rng: np.random.Generator

    @property
    def sides(self) -> tuple[str, ...]:
        """The sides that it is on; without one, by lot."""
        if self.finding.side == "bilateral":
            return ("right", "left")
        return (self.finding.side or ("right", "left")[self.rng.integers(2)],)


Painter = Callable[[Phantom, Stroke], list[np.ndarray]]
"""Paints in place; (Z, Y, X) masks in [0, 1]."""
_HOME = "benchmark.twins.ct.findings"
PAINTERS: Registry[Painter] = Registry(
    "painter of volumes",
    {
        name: f"{_HOME}.{module}:{name}"
        for module, names in {
            "lungs": "nodules mass opacity consolidation bands scars emphysema cyst mosaic septa "
            "honeycomb cavity",
            "airways": "thick_walls dilated",
            "pleura": "effusion empyema pneumothorax plaques",
            "mediastinum": "large_heart pericardial_fluid pericardial_calcium coronary_calcium "
            "aortic_calcium nodes hernia free_air",
            "skeleton": "osteophytes spondylosis fracture",
            "material": "pacemaker catheter wires drain stent valve",
        }.items()
        for name in names.split()
    },
)


def whole(phantom: Phantom, part: Part, mask: np.ndarray) -> np.ndarray:
    """A mask of a part in a volume of zeros."""
    out = np.zeros(phantom.space.shape, np.float32)
    out[part] = mask
    return out
