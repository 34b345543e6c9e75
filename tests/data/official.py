"""What the tests of complete official listings share: the command, and files that are names only."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmark.cli import main
from benchmark.core.errors import DataError
from benchmark.core.tables import META_COLUMNS, REGION_COLUMNS, Manifest
from benchmark.data.cards import load_card
from benchmark.data.dataset import read_dataset


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


TABLES = {
    "mimic_cxr": "mimic-cxr-jpg/mimic-cxr-2.0.0-metadata.csv.gz",
    "padchest": "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv",
    "chestxray14": "Data_Entry_2017_v2020.csv",
    "chexpert": "CheXpert/test_labels.csv",
    "chexpert5x200": "chexpert_5x200.csv",
}


def load(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")


def save(path: Path, text: str | bytes) -> None:
    data = text.encode("utf-8") if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def fails(name: str, root: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_dataset(name, root, "official")
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) > 30
    return message


def png(path: Path, side: int = 64) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.arange(side * side, dtype=np.uint32).reshape(side, side).astype(np.uint8))


def check_form(manifest: Manifest, name: str) -> None:
    card = load_card(name)
    assert manifest.dataset == name
    assert manifest.classes == card.classes
    assert list(manifest.frame.columns)[: len(META_COLUMNS) + len(card.classes)] == [
        *META_COLUMNS,
        *card.classes,
    ]
    assert {str(manifest.frame[c].dtype) for c in card.classes} == {"Int8"}
    assert all((manifest.root / p).is_file() for p in manifest.frame["path"])
    if manifest.regions is not None:
        assert tuple(manifest.regions.columns) == REGION_COLUMNS
        assert set(manifest.regions["image_id"]) <= set(manifest.frame["image_id"])


def row(manifest: Manifest, name: str) -> dict[str, object]:
    return dict(manifest.frame.set_index("image_id").loc[name])
