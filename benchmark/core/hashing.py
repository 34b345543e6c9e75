"""Content keys. A key is made of what was read, never of a name or a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np


def hash_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def hash_file(path: Path | str) -> str:
    """sha256 of a file, read in blocks."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def hash_value(value: Any) -> str:
    """sha256 of a JSON-serialisable value; key order does not count."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hash_bytes(text.encode())


def hash_strings(parts: Iterable[str]) -> str:
    """sha256 of a sequence of strings; ("ab", "c") and ("a", "bc") differ."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def hash_array(array: np.ndarray) -> str:
    """sha256 over dtype, shape and bytes in C order."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def derive_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for one named purpose, so that adding a consumer does not shift the others."""
    return int(hash_strings([str(seed), *map(str, names)])[:16], 16) >> 1
