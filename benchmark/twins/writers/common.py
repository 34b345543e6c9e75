"""What every writer needs: names that depend on the study alone, image files, tables, label conventions."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmark.core.errors import BenchError
from benchmark.core.files import atomic_path
from benchmark.data.cards import Card
from benchmark.prompts.lexicon import Lexicon, load_lexicon
from benchmark.twins.case import TwinImage, TwinStudy

NORMAL = ("normal",)
DEVICE_CLASSES = ("Support Devices",)


def digest(*parts: object) -> str:
    """64 hex digits that depend on the parts alone."""
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def digits(count: int, *parts: object) -> str:
    """A string of decimal digits, the first one not 0."""
    text = str(int(digest(*parts), 16))
    return (text if text[0] != "0" else f"1{text[1:]}")[:count]


def spread(number: int, size: int) -> int:
    """A one-to-one map of 0 … size-1 (size a power of ten) that does not look like counting."""
    if not 0 <= number < size:
        raise BenchError(f"twin: too many patients or studies for the official id ({number} of {size}).")
    return (number * 7919 + 3571) % size


def base_seed(rng: np.random.Generator) -> int:
    """One draw; everything else follows from it and the study, whatever the order of studies."""
    return int(rng.integers(2**62))


def study_rng(base: int, study: TwinStudy, purpose: str = "") -> np.random.Generator:
    return np.random.default_rng([base, study.number, int(digest(purpose)[:12], 16)])


def share(base: int, purpose: str, who: object) -> float:
    """A number in [0, 1) that depends on the seed, the purpose and the patient or study."""
    return int(digest(base, purpose, who)[:13], 16) / 16**13


def part(value: float, shares: Mapping[str, float]) -> str:
    """The part of [0, 1) that a value falls into."""
    edge = 0.0
    for name, width in shares.items():
        edge += width
        if value < edge:
            return name
    return name


def grey8(pixels: np.ndarray) -> np.ndarray:
    """(H, W) in [0, 1] → uint8."""
    return np.clip(pixels * 255.0 + 0.5, 0, 255).astype(np.uint8)


def grey16(pixels: np.ndarray, top: int) -> np.ndarray:
    """(H, W) in [0, 1] → uint16 with largest possible value `top`."""
    return np.clip(pixels * float(top) + 0.5, 0, 65535).astype(np.uint16)


def write_png(path: Path, array: np.ndarray, *, rgba: bool = False) -> None:
    """Grey PNG of 8 or 16 bits, or RGBA with equal channels and no transparency."""
    if rgba:
        array = np.dstack([array, array, array, np.full_like(array, 255)])
    # OpenCV's own choice (level 1, run lengths) takes a third of the time of any level that is named, and
    # noisy pictures hold no repeats that are worth searching for.
    _encode(path, ".png", array, [])


def write_jpeg(path: Path, array: np.ndarray, quality: int = 95) -> None:
    _encode(path, ".jpg", array, [cv2.IMWRITE_JPEG_QUALITY, quality])


def _encode(path: Path, suffix: str, array: np.ndarray, options: list[int]) -> None:
    done, data = cv2.imencode(suffix, array, options)
    if not done:
        raise BenchError(f"{path}: the image could not be encoded ({array.dtype}, {array.shape}).")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.tobytes())


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """CSV, gzipped where the name ends in .gz; equal rows give equal bytes. Without rows, as a part of
    a small twin may be, there is no file: readers refuse a header alone."""
    body = list(rows)
    if not body:
        return
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    table.writerows(body)
    data = text.getvalue().encode("utf-8")
    if path.suffix == ".gz":
        packed = io.BytesIO()
        with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, compresslevel=6, filename="") as handle:
            handle.write(data)
        data = packed.getvalue()
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def shuffled(rows: list[Any], base: int, purpose: str) -> list[Any]:
    """Another order than that of the images: nobody may join by position."""
    order = np.random.default_rng([base, int(digest(purpose)[:12], 16)]).permutation(len(rows))
    return [rows[i] for i in order]


def section(study: TwinStudy, name: str) -> str:
    """A section of the report; findings and impression are joined from sentences where it lacks them."""
    if name in study.sections:
        return study.sections[name]
    return " ".join(s.text for s in study.sentences if s.section == name)


def view_name(image: TwinImage) -> str:
    return "lateral" if image.view == "L" else "frontal"


class Convention:
    """How a dataset labels a study: from what is drawn, or from what the report says."""

    def __init__(self, card: Card, lexicon: Lexicon | None = None) -> None:
        lexicon = lexicon or load_lexicon()
        self.card = card
        self.named = {name: frozenset(ids) for name, ids in card.concepts.items()}
        self.covered = {
            name: frozenset().union(*(lexicon.descendants(i) for i in ids)) if ids else frozenset()
            for name, ids in card.concepts.items()
        }
        self.findings = [c for c in card.classes if card.concepts[c] != NORMAL]
        self.normal = [c for c in card.classes if card.concepts[c] == NORMAL]
        self.prevalence = self._prevalence()

    def drawn(self, study: TwinStudy) -> dict[str, int]:
        """class → 1 or 0: something drawn is one of the class's concepts or below one of them."""
        present = {f.concept for f in study.findings if f.presence == "present"}
        out = {name: int(not present.isdisjoint(self.covered[name])) for name in self.findings}
        abnormal = any(v for k, v in out.items() if k not in DEVICE_CLASSES)
        out |= {name: int(not abnormal) for name in self.normal}
        return {name: out[name] for name in self.card.classes}

    def mined(self, study: TwinStudy, rng: np.random.Generator) -> dict[str, int | None]:
        """class → 1, 0, -1 (uncertain) or None (not mentioned), from the sentences of the report, with
        the card's label noise. Without a report, from what is drawn.

        A denial counts only for the concept it names: no oedema says nothing of the lung in general.
        """
        if not study.sentences:
            states: dict[str, int | None] = dict(self.drawn(study))
        else:
            said = {p: set[str]() for p in ("present", "uncertain", "absent")}
            for sentence in study.sentences:
                for finding in sentence.findings:
                    said[finding.presence].add(finding.concept)
            states = {name: self._state(name, said) for name in self.findings}
        self._add_noise(states, rng)
        others = [v for k, v in states.items() if k not in DEVICE_CLASSES and k not in self.normal]
        for name in self.normal:
            states[name] = None if any(v in (1, -1) for v in others) else 1
        return {name: states[name] for name in self.card.classes}

    def _state(self, name: str, said: Mapping[str, set[str]]) -> int | None:
        if not said["present"].isdisjoint(self.covered[name]):
            return 1
        if not said["uncertain"].isdisjoint(self.covered[name]):
            return -1
        return 0 if not said["absent"].isdisjoint(self.named[name]) else None

    def _add_noise(self, states: dict[str, int | None], rng: np.random.Generator) -> None:
        missed = self.card.label_noise.get("missed", 0.0)
        spurious = self.card.label_noise.get("spurious", 0.0)
        draws = rng.random(len(self.findings))
        for name, draw in zip(self.findings, draws, strict=True):
            if states[name] == 1 and draw < missed:
                states[name] = None
            elif states[name] != 1 and draw < spurious * self.prevalence.get(name, 0.0):
                states[name] = 1

    def _prevalence(self) -> dict[str, float]:
        """Official share of images a class, from the first protocol that counts them; else 5 percent."""
        for protocol in self.card.protocols.values():
            if protocol.positives and protocol.images:
                return {k: v / protocol.images for k, v in protocol.positives.items()}
        return dict.fromkeys(self.findings, 0.05)


def blank_or_float(state: int | None) -> str:
    """CheXpert's way: `1.0`, `0.0`, `-1.0` or an empty field."""
    return "" if state is None else f"{float(state)}"
