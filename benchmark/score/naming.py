"""Which score column belongs to which class, where the names alone do not say it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import replace

from benchmark.core.errors import DataError
from benchmark.score.predictions_file import ClassTable

CLOSE = 0.75
"""Similarity of two names, of 1, above which one is taken for the other."""
Pairs = list[tuple[str, str]]
"""(column, class) of every score column."""


def by_position(table: ClassTable, classes: Sequence[str]) -> tuple[ClassTable, Pairs]:
    """Give the score columns the label classes' names by position.

    Raises DataError where the numbers differ, or where a column's own name is that of another class.
    """
    if len(table.classes) != len(classes):
        raise DataError(
            f"{table.path}: {len(table.classes)} score columns for {len(classes)} classes; "
            "positional columns need equal numbers."
        )
    pairs = list(zip(table.classes, classes, strict=True))
    for column, name in pairs:
        other = _meant(column, name, classes)
        if other is not None:
            raise DataError(
                f"{table.path}: column '{column}' is in the place of '{name}', but its name says '{other}'; "
                "match by name (--columns name, or affix for a shared prefix), or rename the columns."
            )
    return replace(table, classes=tuple(classes)), pairs


def _meant(column: str, name: str, classes: Sequence[str]) -> str | None:
    """Another class than `name` that the column's own name stands for, or None."""
    folded = {_fold(c): c for c in classes}
    text, own = _fold(column), _fold(name)
    if text in folded:
        return None if text == own else folded[text]
    inside = sorted((f for f in folded if re.search(rf"(?<!\w){re.escape(f)}(?!\w)", text)), key=len)
    whole = [f for f in inside if not any(f != other and f in other for other in inside)]
    if whole:
        return None if own in whole else folded[whole[-1]]
    closeness = {f: difflib.SequenceMatcher(None, text, f, autojunk=False).ratio() for f in folded}
    nearest = max(closeness, key=lambda f: closeness[f])
    clear = closeness[nearest] >= CLOSE and closeness[nearest] > closeness[own]
    return folded[nearest] if clear else None


def by_affix(table: ClassTable, classes: Sequence[str]) -> tuple[ClassTable, Pairs]:
    """Match score columns by name below a prefix, suffix or both that all of them share, such as `prob_`.

    Raises DataError where no affix, or more than one, makes class names of all columns.
    """
    first = table.classes[0]
    found: dict[tuple[str, str], Pairs] = {}
    for name in classes:
        for match in re.finditer(re.escape(name), first):
            prefix, suffix = first[: match.start()], first[match.end() :]
            inner = [(c, _between(c, prefix, suffix)) for c in table.classes]
            if all(label in classes for _, label in inner):
                found[prefix, suffix] = [(c, str(label)) for c, label in inner]
    if len(found) != 1:
        raise DataError(
            f"{table.path}: {'more than one' if found else 'no'} prefix or suffix makes class names of all "
            f"{len(table.classes)} score columns (such as '{first}'); rename the columns."
        )
    pairs = next(iter(found.values()))
    return replace(table, classes=tuple(name for _, name in pairs)), pairs


def _between(column: str, prefix: str, suffix: str) -> str | None:
    if len(column) < len(prefix) + len(suffix) or not (column.startswith(prefix) and column.endswith(suffix)):
        return None
    return column[len(prefix) : len(column) - len(suffix)]


def _fold(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name).strip().lower()
