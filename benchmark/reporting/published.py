"""Published numbers with their sources and doubts (reports/published.yaml)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from benchmark.core.errors import BenchError
from benchmark.core.located import read_located
from benchmark.grid.strict import Strict
from benchmark.reporting.known_names import unknown_set, unknown_stratum

AGREES = 0.01
"""How far from a published value a reproduction may lie: published tables round to three places and
preprocessing is never described to the last step."""


class PublishedRow(Strict):
    """One printed value. setting: official, official-518 or same-recipe."""

    method: str
    dataset: str
    task: str
    stratum: str
    metric: str
    value: float
    setting: str
    source: str
    cls: str | None = Field(None, alias="class")
    notes: tuple[str, ...] = ()


class Withheld(Strict):
    """A printed row that is not used, and why."""

    method: str
    source: str
    why: str


class Published(Strict):
    """The whole file. images: size of the test set of each dataset behind the values."""

    sources: dict[str, str]
    notes: dict[str, str]
    images: dict[str, int]
    withheld: tuple[Withheld, ...] = ()
    rows: tuple[PublishedRow, ...]

    def find(
        self,
        method: str,
        dataset: str,
        *,
        task: str = "classification",
        stratum: str = "all",
        metric: str = "auroc_macro",
        cls: str | None = None,
    ) -> PublishedRow | None:
        """The value of a method in its own recipe at the resolution nearest to the shared one.

        `method` is compared without case and without a resolution in brackets.
        """
        found = [
            row
            for row in self.rows
            if _plain(row.method) == _plain(method)
            and (row.dataset, row.task, row.stratum, row.metric, row.cls)
            == (dataset, task, stratum, metric, cls)
            and row.setting.startswith("official")
        ]
        return min(found, key=lambda row: row.setting != "official", default=None)


@dataclass(frozen=True)
class Verdict:
    """text: agrees, above, below or not comparable (why)."""

    text: str
    comparable: bool


def load_published(path: Path) -> Published:
    """Raises BenchError, naming the file, the line and the key, where it does not fit the schema, or where a
    source, note, set or stratum is named that there is not."""
    file = read_located(path, BenchError)
    try:
        value = Published.model_validate(file.value)
    except ValidationError as error:
        place, loc, reason = file.first_fault(error)
        raise BenchError(f"{place}: {'.'.join(map(str, loc)) or 'file'}: {reason}.") from None
    for name in value.images:
        if odd := unknown_set(name):
            raise BenchError(f"{file.place(('images', name))}: images: {odd}")
    for number, row in enumerate(value.rows):
        if row.source not in value.sources:
            place = file.place(("rows", number, "source"))
            raise BenchError(
                f"{place}: a row of {row.method} has source '{row.source}', not listed under sources."
            )
        for note in row.notes:
            if note not in value.notes:
                place = file.place(("rows", number, "notes"))
                raise BenchError(f"{place}: a row of {row.method} has note '{note}', not listed under notes.")
        if odd := unknown_set(row.dataset):
            raise BenchError(f"{file.place(('rows', number, 'dataset'))}: a row of {row.method}: {odd}")
        if odd := unknown_stratum(row.stratum, [row.dataset]):
            raise BenchError(f"{file.place(('rows', number, 'stratum'))}: a row of {row.method}: {odd}")
    return value


def compare_published(
    value: float | None,
    low: float | None,
    high: float | None,
    published: float,
    *,
    origin: str,
    variant: str,
    images: int,
    published_images: int | None,
) -> Verdict:
    """Hold one of our values against a published one; only the same data and recipe are comparable.

    agrees: the published value lies in our interval or at most `AGREES` away.
    """
    if value is None:
        return Verdict("not run", False)
    if origin == "twin":
        return Verdict("not comparable (synthetic twin)", False)
    if variant != "official":
        return Verdict("not comparable (shared encoders, not the published recipe)", False)
    if published_images is not None and images != published_images:
        return Verdict(f"not comparable ({images:,} images, published on {published_images:,})", False)
    inside = low is not None and high is not None and low <= published <= high
    if inside or abs(value - published) <= AGREES:
        return Verdict("agrees", True)
    return Verdict("above published" if value > published else "below published", True)


def _plain(method: str) -> str:
    return method.partition(" (")[0].casefold()
