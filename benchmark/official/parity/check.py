"""Comparison of our numbers with the official ones, array by array.

Every output of a fixture ends in exactly one row: within tolerance, off, or left unchecked with a
reason. An output that no rule of a case touches is off, so nothing is skipped silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from benchmark.official.parity.fixture import Fixture

Verdict = Literal["ok", "off", "unchecked"]
_OUTPUT_FOLDERS = ("out", "mid", "init")


@dataclass(frozen=True)
class Tolerance:
    """|ours - official| <= scale * max(floor, max|official|) + atol + rtol * |official|.

    scale: relative to the largest value of the array; the rest is element by element.
    """

    scale: float = 0.0
    floor: float = 0.0
    atol: float = 0.0
    rtol: float = 0.0

    def limits(self, official: np.ndarray) -> np.ndarray:
        if official.size == 0:
            return np.zeros(official.shape)
        size = np.abs(official)
        top = np.nanmax(size) if np.isfinite(size).any() else 0.0
        return np.broadcast_to(
            self.scale * max(self.floor, float(top)) + self.atol + self.rtol * np.nan_to_num(size),
            official.shape,
        )


VALUE = Tolerance(scale=1e-5, floor=1.0)
GRADIENT = Tolerance(scale=5e-5, floor=0.02)
EXACT = Tolerance()


@dataclass(frozen=True)
class ParityRow:
    """One line of the table. difference and tolerance: at the element nearest to or beyond its limit."""

    fixture: str
    output: str
    difference: float
    tolerance: float
    verdict: Verdict
    note: str = ""

    @property
    def ratio(self) -> float:
        """Difference over tolerance; 0 for an exact match."""
        if self.difference == 0:
            return 0.0
        return self.difference / self.tolerance if self.tolerance else float("inf")


class Checker:
    """Collects the rows of one fixture."""

    def __init__(self, fixture: Fixture) -> None:
        self.fixture = fixture
        self.rows: list[ParityRow] = []
        self._done: set[str] = set()

    def close(self, name: str, ours: Any, tolerance: Tolerance = VALUE, note: str = "") -> None:
        """Compare with the fixture's array `name`. NaN equals NaN."""
        self.values(name, ours, self.fixture.array(name), tolerance, note)

    def values(
        self, name: str, ours: Any, official: Any, tolerance: Tolerance = VALUE, note: str = ""
    ) -> None:
        """Compare with a given official value, under the output name `name`."""
        self._done.add(name)
        left, right = _numeric(ours), _numeric(official)
        if left.shape != right.shape:
            shapes = f"shape {left.shape}, official {right.shape}"
            self._add(name, float("inf"), 0.0, "off", shapes)
            return
        if right.size == 0:
            self._add(name, 0.0, 0.0, "ok", note or "empty")
            return
        limits = tolerance.limits(right)
        same = (left == right) | (np.isnan(left) & np.isnan(right))
        with np.errstate(invalid="ignore", divide="ignore"):
            gap = np.where(same, 0.0, np.abs(left - right))
            gap = np.where(np.isnan(gap), np.inf, gap)
            ratio = np.where(gap == 0, 0.0, gap / limits)
        worst = np.unravel_index(int(np.argmax(np.where(np.isnan(ratio), np.inf, ratio))), ratio.shape)
        verdict: Verdict = "ok" if bool((gap <= limits).all()) else "off"
        self._add(name, float(gap[worst]), float(limits[worst]), verdict, note)

    def equal(self, name: str, ours: Any, official: Any = None, note: str = "") -> None:
        """Compare anything that has to be identical: indices, strings, lists, masks."""
        expected = self.fixture.array(name) if official is None else official
        self._done.add(name)
        left, right = _plain(ours), _plain(expected)
        wrong = _count_differences(left, right)
        self._add(name, float(wrong), 0.0, "off" if wrong else "ok", note or "identical")

    def ratio(self, name: str, gap: float, limit: float, note: str = "") -> None:
        """A row whose difference and limit the case worked out itself."""
        self._done.add(name)
        self._add(name, gap, limit, "ok" if gap <= limit else "off", note)

    def unchecked(self, name: str, reason: str) -> None:
        """Leave an output out, with the reason in the table."""
        self._done.add(name)
        self._add(name, float("nan"), float("nan"), "unchecked", reason)

    def finish(self) -> list[ParityRow]:
        """Add an `off` row for each output that no rule compared."""
        for name in self.fixture.arrays:
            if name not in self._done and is_output(name, self.fixture.read):
                self._add(name, float("inf"), 0.0, "off", "no rule of this case computes it")
        return self.rows

    def _add(self, name: str, gap: float, limit: float, verdict: Verdict, note: str) -> None:
        self.rows.append(ParityRow(self.fixture.name, name, gap, limit, verdict, note))


def is_output(name: str, read: set[str] = frozenset()) -> bool:  # type: ignore[assignment]
    """Whether an array is something to reproduce. `read`: names that a case used as inputs."""
    folders = name.split("/")
    if any(f in _OUTPUT_FOLDERS or f.startswith("grad") for f in folders):
        return True
    return not ({"in", "state"} & set(folders) or name == "cfg" or name in read)


def _numeric(value: Any) -> np.ndarray:
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    return np.asarray(value, dtype=np.float64)


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def _count_differences(left: Any, right: Any) -> int:
    if isinstance(left, list) and isinstance(right, list):
        inner = sum(_count_differences(a, b) for a, b in zip(left, right, strict=False))
        return inner + abs(len(left) - len(right))
    if isinstance(left, dict) and isinstance(right, dict):
        return sum(_count_differences(left.get(k), right.get(k)) for k in left.keys() | right.keys())
    return int(left != right)
