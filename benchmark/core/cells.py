"""What the cell of a table says: blank, a label state, a list of names. One rule for every table.

Readers of official files, the generic table reader and `bench score` all ask here, so that a cell means the
same whoever reads it. A cell that is not understood is an error, never a negative label.
"""

from __future__ import annotations

import ast
import contextlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from benchmark.core.errors import closest

BLANK = frozenset({"", "none", "nan", "na", "n/a", "#n/a", "<na>", "nat", "null", "nil"})
"""Texts, lower case, with which spreadsheets, databases and dataframes write that nothing is known."""

NOBODY = BLANK | {"unknown", "unk", "missing", "anonymous", "anonymized", "anonymised", "?", "-"}
"""Texts, lower case, in a patient column that are no patient."""

STATES = {"1": 1, "0": 0, "-1": -1}
SEPARATORS = "|;"
"""What joins names in one cell, where nothing else is said."""

_WRAPPERS = ("array", "set", "frozenset", "list", "tuple")
_CLOSING = {"[": "]", "(": ")", "{": "}"}
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(?P<blank>None|nan|NaN|null|<NA>)|(?P<comma>,))""",
    re.DOTALL,
)
_PRINTED = re.compile(rf"\s*(?:(?:np\.|numpy\.)?(?:{'|'.join(_WRAPPERS)})\s*\(|[\[{{]|\(\s*['\")])")


def is_blank(value: Any) -> bool:
    """Whether a cell, as text or as a value, says that nothing is known."""
    if value is None:
        return True
    if isinstance(value, str):
        return value.strip().lower() in BLANK
    if isinstance(value, float | np.floating):
        return math.isnan(float(value))
    return str(value) in ("<NA>", "NaT")


def blanks(values: Iterable[Any]) -> np.ndarray:
    """(N,) bool: `is_blank` of every cell."""
    return np.fromiter((is_blank(v) for v in values), dtype=bool)


@lru_cache(maxsize=10_000)
def label_state(text: str) -> int | None:
    """1, 0, -1 (uncertain) or None (blank) of a label cell.

    Raises ValueError for any other text; the caller knows file, row and column.
    """
    if is_blank(text):
        return None
    clean = text.strip()
    whole = re.sub(r"\.0*$", "", clean)
    if whole not in STATES:
        raise ValueError(f"'{clean[:40]}'; expected 1, 0, -1 or blank")
    return STATES[whole]


def age_in_years(text: str) -> float | None:
    """Years of `045Y`, `013M`, `006W`, `028D` (DICOM's ages) or of a bare number; None for other texts."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([YMWD]?)\s*", text.upper(), re.ASCII)
    return (
        float(found[1]) / {"": 1, "Y": 1, "M": 12, "W": 365.25 / 7, "D": 365.25}[found[2]] if found else None
    )


@lru_cache(maxsize=200_000)
def label_names(text: str, separator: str | None = None) -> tuple[str, ...]:
    """Names in one cell, stripped, without blanks and repeats, order kept.

    Read are: names joined by `separator` (None: by `|` or `;`); lists, tuples, sets and arrays as Python,
    JSON or numpy print them, also numpy's form without commas, `['a' 'b']`. A blank cell gives ().
    Raises ValueError where the cell looks printed and is not such a list of texts, or where numpy has left
    out its middle; the caller knows file, row and column.
    """
    if is_blank(text):
        return ()
    if _PRINTED.match(text):
        return _unique(_printed(text))
    return _unique(re.split(f"[{SEPARATORS}]", text) if separator is None else text.split(separator))


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(n.strip() for n in names if n.strip()))


def _printed(text: str) -> list[str]:
    """Texts of a printed list. Commas stand between all of them or, as numpy prints, between none."""
    inner = _unwrapped(text)
    names: list[str] = []
    gaps: set[bool] = set()
    place, comma = 0, True
    while place < len(inner):
        found = _TOKEN.match(inner, place)
        if found is None:
            if inner[place:].strip():
                raise ValueError("it looks like a printed list, and not all of it is quoted text")
            break
        place = found.end()
        if found["comma"]:
            if comma:
                raise ValueError("it looks like a printed list, and a name is missing")
            comma = True
            continue
        if names or gaps:
            gaps.add(comma)
        names.append("" if found["blank"] else _unquoted(found["text"]))
        comma = False
    # Python would join 'b' 'c' in ['a', 'b' 'c'] to one name, numpy would not: nothing tells which it was.
    if len(gaps) > 1:
        raise ValueError("it looks like a printed list, and only some names have a comma between them")
    return names


def _unwrapped(text: str) -> str:
    """What the outermost brackets hold, without the name of the type and `dtype=…`."""
    inner = text.strip()
    found = re.fullmatch(rf"(?:np\.|numpy\.)?(?:{'|'.join(_WRAPPERS)})\s*\((.*)\)", inner, flags=re.DOTALL)
    if found:
        inner = re.sub(r",\s*dtype=(?:object|str|'?<?U\d+'?|\"?<?U\d+\"?)\s*$", "", found[1]).strip()
        if not inner:
            return ""
    if inner[:1] not in _CLOSING or inner[-1] != _CLOSING[inner[0]]:
        raise ValueError("it begins like a printed list and does not end like one")
    return inner[1:-1].rstrip().removesuffix(",") if len(inner) > 2 else ""


def _unquoted(token: str) -> str:
    """A quoted text of JSON or Python: JSON may write one letter as two escapes, Python not."""
    if token.startswith('"'):
        with contextlib.suppress(ValueError):
            return str(json.loads(token))
    try:
        return str(ast.literal_eval(token))
    except (ValueError, SyntaxError):
        raise ValueError("it looks like a printed list, and a name has a broken escape") from None


def known_clusters(patients: Iterable[Any], images: Iterable[Any]) -> tuple[np.ndarray, int]:
    """(N,) text cluster of every image, and how many images have no known patient.

    An image of an unknown patient is a cluster of its own, called after the image: whoever is called None
    or nan is not one person.
    """
    out = [None if is_blank(p) or str(p).strip().lower() in NOBODY else str(p) for p in patients]
    known = set(out)
    lone = [f"image {i}" if str(i) in known else str(i) for i in images]
    return np.array([o or i for o, i in zip(out, lone, strict=True)], dtype=object), out.count(None)


@dataclass
class LabelTally:
    """Labels that a reading met: how many in all, and which of them are no class."""

    met: int = 0
    unknown: Counter[str] = field(default_factory=Counter)

    @property
    def share(self) -> float:
        """Share of the labels met that are unknown."""
        return sum(self.unknown.values()) / self.met if self.met else 0.0


def tallied(
    labels: Sequence[Sequence[str]], classes: Sequence[str], aliases: Mapping[str, str], ignore: Iterable[str]
) -> tuple[np.ndarray, LabelTally]:
    """(N, C) int8 of exact names, and the count of names that are neither class, alias nor in `ignore`."""
    column = {name: i for i, name in enumerate(classes)}
    column.update({alias: column[name] for alias, name in aliases.items() if name in column})
    quiet = set(ignore)
    matrix = np.zeros((len(labels), len(classes)), dtype=np.int8)
    tally = LabelTally()
    for row, names in enumerate(labels):
        tally.met += len(names)
        for name in names:
            at = column.get(name)
            if at is not None:
                matrix[row, at] = 1
            elif name not in quiet:
                tally.unknown[name] += 1
    return matrix, tally


def unknown_labels_said(unknown: Mapping[str, int], known: Iterable[str], examples: int = 3) -> str:
    """`1,200 labels are no class: 'effusion' 900 (near 'Effusion'), …`, the most frequent first."""
    names = list(known)
    ranked = sorted(unknown.items(), key=lambda item: (-item[1], item[0]))
    shown = []
    for name, count in ranked[:examples]:
        near = closest(name, names)
        shown.append(f"'{name[:60]}' {count:,}" + (f" (near '{near}')" if near else ""))
    more = ", …" if len(ranked) > examples else ""
    return f"{sum(unknown.values()):,} labels are no class of the card: {', '.join(shown)}{more}"
