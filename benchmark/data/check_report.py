"""What the check of a folder found: remarks, and the counts of classes, protocols, images and overlaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from benchmark.core.tables import Origin

EXAMPLES = 5


@dataclass(frozen=True)
class Remark:
    """One thing that was noticed: how often, and a few names."""

    what: str
    count: int
    examples: tuple[str, ...] = ()
    """A count that `what` already says is not repeated in the text."""

    def __str__(self) -> str:
        shown = ", ".join(self.examples)
        more = ", …" if self.count > len(self.examples) and shown else ""
        said = self.what if f" {self.count:,}" in self.what else f"{self.what}: {self.count:,}"
        return said + (f" ({shown}{more})" if shown else "")


@dataclass(frozen=True)
class ClassCounts:
    """Images of one class by what its label says, patients of its positives, and its group by frequency: by
    the counts found here, and on the card."""

    name: str
    positive: int
    negative: int
    uncertain: int
    missing: int
    patients: int
    official_group: str | None
    group: str

    def to_json(self) -> dict[str, Any]:
        value = asdict(self)
        return {"class": value.pop("name"), **value}


@dataclass(frozen=True)
class ProtocolCounts:
    """What a protocol chose. expected: images that the card declares. selection: rule → images left after it.
    reason: why nothing was chosen."""

    images: int
    expected: int | None
    classes: int = 0
    selection: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        if self.reason:
            return {"images": self.images, "expected": self.expected, "reason": self.reason}
        last = {"classes": self.classes, "selection": dict(self.selection)}
        return {"images": self.images, "expected": self.expected, **last}


class UnreadableImage(NamedTuple):
    """An image that could not be opened."""

    image_id: str
    reason: str


@dataclass(frozen=True)
class OpenedImages:
    """duplicates: ids of images of one content. kinds: size and type → images, the most frequent first."""

    opened: int
    unreadable: tuple[UnreadableImage, ...]
    duplicates: tuple[tuple[str, ...], ...]
    kinds: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "unreadable": [one._asdict() for one in self.unreadable]}


@dataclass(frozen=True)
class InCommon:
    """What the training part of another set shares with this one. same_ids: both number patients and images
    alike. contents: of equal bytes. alike: that look alike; None where it was not asked."""

    against: str
    training_images: int
    same_ids: bool
    patients: int = 0
    images: int = 0
    contents: int = 0
    alike: int | None = None

    def to_json(self) -> dict[str, Any]:
        value = asdict(self)
        return value if self.alike is not None else {k: v for k, v in value.items() if k != "alike"}

    def numbers(self) -> dict[str, int]:
        """What was compared → how many are shared."""
        found = {"patients": self.patients, "images": self.images, "contents": self.contents}
        return found if self.alike is None else {**found, "alike": self.alike}


@dataclass
class CheckReport:
    """Everything `check_dataset` found. counts: where → quantity → (found, expected or None). images: None
    where none was opened. overlap: None where no other set was given."""

    dataset: str
    origin: Origin
    root: str
    counts: dict[str, dict[str, tuple[int, int | None]]] = field(default_factory=dict)
    problems: list[Remark] = field(default_factory=list)
    notes: list[Remark] = field(default_factory=list)
    labels: list[ClassCounts] = field(default_factory=list)
    protocols: dict[str, ProtocolCounts] = field(default_factory=dict)
    images: OpenedImages | None = None
    overlap: InCommon | None = None

    @property
    def ok(self) -> bool:
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            **vars(self),
            "problems": [asdict(remark) for remark in self.problems],
            "notes": [asdict(remark) for remark in self.notes],
            "labels": [own.to_json() for own in self.labels],
            "protocols": {name: own.to_json() for name, own in self.protocols.items()},
            "images": self.images.to_json() if self.images else {},
            "overlap": self.overlap.to_json() if self.overlap else {},
        }


def first(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(n) for n in names[:EXAMPLES])
