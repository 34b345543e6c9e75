"""One evaluation set of `bench run`: what was evaluated of it, for the heading of its table and for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.core.tables import TWIN_NOTICE

if TYPE_CHECKING:
    from benchmark.evaluation.evaluation_data import EvaluationData


@dataclass(frozen=True)
class RunSet:
    """images_read: before the protocol chose. files: what of the official files → name. official_images: how
    many the card declares. seen: by the weights."""

    dataset: str
    origin: str
    notice: str
    images: int
    images_read: int
    classes: int
    headline: str
    files: dict[str, str]
    note: str
    protocol: str
    official: bool
    official_images: int | None
    patients: int
    no_positives: list[str]
    views: dict[str, int]
    seen: str

    @classmethod
    def of(cls, data: EvaluationData, seen: str) -> RunSet:
        info, files = data.chosen.info, data.manifest.info.files
        return cls(
            dataset=data.manifest.dataset,
            origin=data.manifest.origin,
            notice=TWIN_NOTICE if data.manifest.origin == "twin" else "OFFICIAL DATA",
            images=len(data.chosen),
            images_read=len(data.manifest),
            classes=len(data.chosen.classes),
            headline=data.chosen.protocol.headline,
            files=files,
            note=data.note,
            protocol=info.protocol,
            official=info.official,
            official_images=info.official_images,
            patients=info.patients,
            no_positives=list(info.no_positives),
            views=info.views,
            seen=seen,
        )

    def heading(self) -> list[str]:
        lines = [f"{self.dataset}: {self.images:,} images of {self.patients:,} patients, "
                 f"{self.classes} classes, protocol '{self.protocol}'  {self.notice}"]  # fmt: skip
        if self.origin == "official":
            files = ", ".join(f"{what}: {name}" for what, name in self.files.items())
            lines.append(f"  official files found  {files or 'none listed by the reader'}")
            lines.append(f"  images read  {self.images_read:,}")
        lines.append(f"  the weights: {self.seen}")
        if self.note:
            lines.append(f"  {self.note}")
        if self.no_positives:
            lines.append(f"  no positives (AUROC undefined, left out of the mean): {_few(self.no_positives)}")
        return lines


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 6 else f"{len(names)} classes, among them {', '.join(names[:4])}"
