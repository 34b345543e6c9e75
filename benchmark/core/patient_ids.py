"""Patients in two forms: `12` and `12.0`, `0012` or ` 12` in one table are as a rule one person, whom a
spreadsheet or a merge wrote twice. Counted as two, the images of one patient would pass for independent and
intervals would be too narrow, so that such tables are refused. Ids with leading zeros throughout are ids."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from benchmark.core.cells import NOBODY, is_blank
from benchmark.core.errors import DataError

_NUMBER = re.compile(r"0*([0-9]+)(?:\.0*|,0)?")


def check_one_form(patients: Iterable[Any], where: object, named: Callable[[int], str]) -> None:
    """Raises DataError for the first patient of a table who is written in two forms.

    patients: one a row, blank or unknown ones do not count. where: the table. named: number of a row, from 0
    → how the message calls it.
    """
    forms: dict[str, tuple[int, str]] = {}
    seen: set[str] = set()
    for row, value in enumerate(patients):
        text = "" if is_blank(value) else str(value)
        bare = text.strip()
        if text in seen or bare.lower() in NOBODY:
            continue
        seen.add(text)
        number = _NUMBER.fullmatch(bare)
        first, other = forms.setdefault(number[1] if number else bare, (row, text))
        if other != text:
            raise DataError(
                f"{where}: patient '{other:.24}' of {named(first)} and '{text:.24}' of {named(row)} are one "
                "number in two forms. Write every patient in one form, or two patients under other names."
            )
