"""Tables of which every column matters, because their label columns differ between releases."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmark.core.errors import DataError
from benchmark.data.readers.common import bounded_lines, read_csv


def read_wide_csv(path: Path, required: Sequence[str]) -> pd.DataFrame:
    """`read_csv` with all columns of the header, stripped."""
    return read_csv(path, required, [name for name in _header(path) if name and name not in required])


def _header(path: Path) -> list[str]:
    """Names of the first line; nothing where it cannot be read, so that `read_csv` says why."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as handle:
            return [name.strip() for name in next(csv.reader(bounded_lines(handle, path)), [])]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error, DataError):
        return []
