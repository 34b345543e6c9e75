"""Readers: one per official layout. A reader turns files into a Manifest and changes nothing.

The contract, `reader(root, card) -> Manifest`:
- identifiers are text; `path` is relative to `root` and inside it; `view` is PA, AP, L, another value as
  the files write it, or null; `split` is train, validate, test or a word of the dataset's own
- one Int8 column a class of the card, in the card's order: 1, 0, -1 uncertain, null not mentioned;
  after them extra columns `<class>@<source>` (a second set of labels) and `list:<name>` (membership of an
  official image list, bool)
- nothing is dropped silently: `info` counts what was read, listed and left out, with reasons
- bad files raise DataError with one line that names file, row and next step
`origin` of the manifest is set by `read_dataset`; a reader writes "official".
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmark.core.registry import Registry
from benchmark.core.tables import Manifest
from benchmark.data.cards import Card

Reader = Callable[[Path, Card], Manifest]

READERS: Registry[Reader] = Registry(
    "reader",
    hint="A card's `reader` is one of `bench ls readers`; `table` needs no code.",
    package="benchmark.data.readers",
)
"""Readers by name. Plug-ins: group `cxr_alignbench.readers`."""
