"""What the tests of complete official listings share: the command, and files that are names only."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmark.cli import main


def checked(name: str, root: Path, *options: str) -> dict[str, Any]:
    """What `bench data check NAME --data-root ROOT … --json` prints, which must end with exit code 0."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = main(["data", "check", name, "--data-root", str(root), *options, "--json"])
    report: dict[str, Any] = json.loads(said.getvalue())
    assert code == 0, report.get("problems", report)
    return report


def touch(folder: Path, names: Iterable[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        os.close(os.open(folder / name, os.O_CREAT))


def small_image(path: Path, seed: int, side: int = 8) -> Path:
    """An image of noise, which no other seed gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, (side, side), np.uint8))
    return path


def listing(path: Path, names: Iterable[str]) -> tuple[str, str]:
    """Options of the command that let a list stand for images which nobody needs to write."""
    path.write_text("".join(f"./{name}\n" for name in names))
    return "--listing", str(path)
