"""Small hand-made patients for writers and readers: every state, side and view, no generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmark.core.registry import Registry
from benchmark.data.cards import load_card
from benchmark.twins.case import Finding, Region, Sentence, TwinImage, TwinPatient, TwinStudy

CASES = [
    ([], ["pneumothorax"], []),
    (["pleural effusion", "cardiomegaly"], ["pneumothorax"], []),
    (["pneumonia"], ["pleural effusion"], ["atelectasis"]),
    (["nodule", "hiatal hernia"], [], ["consolidation"]),
    (["laminar atelectasis"], ["pneumonia"], []),
    (["pacemaker", "sternotomy"], [], []),
    (["pulmonary mass"], ["rib fracture"], []),
    (["consolidation"], [], []),
]
"""Drawn and stated; denied; said to be possible."""
VIEWS = [("PA", "L"), ("AP",), ("PA",), ("PA", "L")]


def _sentences(drawn: list[str], denied: list[str], possible: list[str]) -> tuple[Sentence, ...]:
    out = [
        Sentence(f"There is {c}.", "findings", (Finding(c, side="left", location="basal"),)) for c in drawn
    ]
    out += [Sentence(f"No {c}.", "findings", (Finding(c, "absent"),)) for c in denied]
    out += [
        Sentence(f"Possible {c} after ___ days.", "impression", (Finding(c, "uncertain"),)) for c in possible
    ]
    return tuple(out) or (Sentence("Normal chest.", "impression"),)


@pytest.fixture
def studies() -> Callable[[int], Iterator[TwinStudy]]:
    """studies(n): n visits of about 2n/3 patients, some with laterals; numbers count over all of them."""

    def make(count: int, size: int = 32) -> Iterator[TwinStudy]:
        rng = np.random.default_rng(7)
        image = 0
        for number in range(count):
            drawn, denied, possible = CASES[number % len(CASES)]
            patient = TwinPatient(number * 2 // 3, "FM"[number * 2 // 3 % 2], 30 + number % 60)
            images = []
            for view in VIEWS[number % len(VIEWS)]:
                pixels = rng.random((size, size), dtype=np.float32)
                box = (size / 8, size / 4, size / 2, size * 3 / 8)
                regions = tuple(Region(c, box, pixels > 2) for c in drawn)
                images.append(TwinImage(image, view, pixels, regions))  # type: ignore[arg-type]
                image += 1
            yield TwinStudy(
                patient=patient,
                number=number,
                days=0 if number % 3 else 40,
                images=tuple(images),
                findings=tuple(Finding(c, side="left", location="basal") for c in drawn),
                sentences=_sentences(drawn, denied, possible),
                sections={"indication": "Cough, <2 days & fever.", "comparison": "___."},
            )

    return make


@pytest.fixture(scope="session")
def twins(tmp_path_factory) -> Callable[[str], Path]:
    """twins(dataset): its twin of 40 images, built when it is first asked for. To be read only."""
    from benchmark.twins.build import TwinSpec, build_twin

    home = tmp_path_factory.mktemp("twins")
    made: dict[str, Path] = {}

    def twin(name: str) -> Path:
        if name not in made:
            build_twin(name, home / name, TwinSpec(images=40, size=64), seed=5, workers=1)
            made[name] = home / name
        return made[name]

    return twin


@pytest.fixture
def twins_copy(twins, tmp_path) -> Callable[[str], Path]:
    """twins_copy(dataset): a copy of its twin by hard links. Files in it are replaced, never written to."""

    def copy(name: str) -> Path:
        source, root = twins(name), tmp_path / name
        for path in sorted(source.rglob("*")):
            target = root / path.relative_to(source)
            if path.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.hardlink_to(path)
        Path(f"{root}.truth.parquet").hardlink_to(f"{source}.truth.parquet")
        return root

    return copy


@pytest.fixture
def make(tmp_path, studies) -> Callable[[str], Path]:
    def build(name: str, count: int = 60) -> Path:
        root = tmp_path / name
        writer = Registry("writer", {name: f"benchmark.twins.writers.{name}:write"}).get(name)
        writer(root, studies(count, size=8), load_card(name), np.random.default_rng(3))
        return root

    return build
