"""`table` of a card: where the generic reader finds images and labels in one CSV."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class LabelColumns(BaseModel, frozen=True, extra="forbid"):
    """One numeric column a class: 1, 0, -1, blank. columns: class → column, where they differ."""

    kind: Literal["columns"] = "columns"
    columns: dict[str, str] = {}


class LabelList(BaseModel, frozen=True, extra="forbid"):
    """One column with the names of the present classes: joined with `separator` (none given: `|` or `;`), or
    a list as Python, JSON or numpy print it."""

    kind: Literal["list"] = "list"
    column: str
    separator: str | None = Field(None, min_length=1)
    normal: tuple[str, ...] = ()
    """Names that say that nothing was found."""


class TableOptions(BaseModel, frozen=True, extra="forbid"):
    """One CSV with an image column and labels. Values are column names."""

    file: str
    delimiter: str = ","
    encoding: str = "utf-8-sig"
    folder: str = ""
    """Folder of the images below the data root."""
    suffix: str = ""
    """Added to the image column where the file names lack it, e.g. `.png`."""
    image: str
    patient: str | None = None
    study: str | None = None
    view: str | None = None
    split: str | None = None
    report: str | None = None
    sex: str | None = None
    age: str | None = None
    site: str | None = None
    split_names: dict[str, str] = {}
    """Value in the file → train, validate or test, where they differ."""
    labels: LabelColumns | LabelList = Field(discriminator="kind")
