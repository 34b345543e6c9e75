"""What the two challenge sets of NIH images share: header tables, name lists, the 1,024-pixel space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.core.errors import DataError
from benchmark.core.guard import read_text
from benchmark.data.cards import Card
from benchmark.data.dicom import read_header
from benchmark.data.readers.common import Log
from benchmark.data.readers.files import find, relative
from benchmark.data.readers.people import OLD, OLDEST, SEXES

SPACE = 1024
"""Side of the official images, in which boxes and run lengths are given."""
SHARES = {"train": 0.7, "validate": 0.15, "test": 0.15}


def headers(root: Path, paths: Sequence[str], card: Card, log: Log) -> dict[str, list[Any]]:
    """view, sex, age and size (height, width) of every file, from its DICOM header.

    A file without a readable header stays in, with the official size; opening its pixels will say why.
    """
    out: dict[str, list[Any]] = {"view": [], "sex": [], "age": [], "size": []}
    damaged, old = [], []
    for path in paths:
        try:
            header = read_header(root / path)
        except DataError:
            damaged.append(path)
            for key, value in {"view": None, "sex": None, "age": None, "size": (SPACE, SPACE)}.items():
                out[key].append(value)
            continue
        out["view"].append(card.views.get(header.view, header.view) or None)
        out["sex"].append(SEXES.get(header.sex.upper()))
        out["age"].append(header.age)
        out["size"].append((header.height, header.width))
        if header.age is not None and header.age > OLDEST:
            old.append(path)
    log.see("DICOM header cannot be read", damaged)
    log.see(OLD, old)
    return out


def name_list(root: Path, name: str, images: Sequence[str], log: Log) -> dict[str, Any]:
    """`list:<word>` of an optional file `<word>_test_list.txt` with one image name a line, by its stem."""
    found = find(root, [name], 1)
    if not found:
        return {}
    lines = read_text(found[0], "a list of images").split()
    listed = {Path(line).name.removesuffix(".dcm") for line in lines}
    if not listed:
        raise DataError(f"{found[0]}: the list is empty. Expected one image name a line.")
    word = name.split("_")[0]
    member = np.array([image in listed for image in images])
    log.files[f"{word} list"] = relative(found[0], root)
    log.lists[word] = {"listed": len(listed), "found": int(member.sum())}
    return {f"list:{word}": member}
