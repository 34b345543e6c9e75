"""Findings are seen where their regions say, and nowhere else without reason."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from benchmark.core.errors import BenchError, UnknownName
from benchmark.twins.build import TwinSpec, generate
from benchmark.twins.catalogue import catalogue
from benchmark.twins.contact_sheet import NOTICE_HEIGHT, contact_sheet, main, pair, write_sheet
from benchmark.twins.findings import shapes  # noqa: F401  fills the table of reshapers
from benchmark.twins.findings.base import RESHAPERS

SIZE = 128
DRAWN = [c.id for c in catalogue().values() if c.draw]
PAINTED = [c for c in DRAWN if not any(step in RESHAPERS for step in catalogue()[c].draw)]


def change(name: str, view: str, seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """|with - without|, union of the regions grown by a few pixels, number of regions."""
    normal, ill, _ = pair(name, view, SIZE, seed)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for region in ill.regions:
        assert region.concept == name
        x, y, w, h = region.box
        assert x >= 0
        assert y >= 0
        assert w > 0
        assert h > 0
        assert x + w <= SIZE
        assert y + h <= SIZE
        assert region.mask.shape == (SIZE, SIZE)
        assert region.mask.any()
        mask |= region.mask.astype(np.uint8)
    return np.abs(ill.pixels - normal.pixels), cv2.dilate(mask, np.ones((11, 11))) > 0, len(ill.regions)


@pytest.mark.parametrize("name", DRAWN)
def test_a_person_can_see_it(name):
    seen = [change(name, view, 3)[0].max() for view in ("PA", "L")]
    assert max(seen) > 0.05


@pytest.mark.parametrize("name", PAINTED)
def test_pixels_change_inside_the_region(name):
    shares = []
    for view in ("PA", "L"):
        difference, mask, number = change(name, view, 4)
        if number:
            shares.append(difference[mask].sum() / max(difference.sum(), 1e-9))
    assert shares
    assert max(shares) > 0.55


def test_side_is_drawn_on_that_side():
    for seed in range(8):
        _, ill, finding = pair("pleural effusion", "PA", SIZE, seed)
        centres = [r.box[0] + r.box[2] / 2 for r in ill.regions]
        if finding.side == "right":
            assert all(c < SIZE / 2 for c in centres)
        elif finding.side == "left":
            assert all(c > SIZE / 2 for c in centres)
        else:
            assert len(centres) == 2


def test_pixels_are_radiographs():
    for study in generate("chexpert", TwinSpec(images=12, size=96), 1, 1):
        for image in study.images:
            assert image.pixels.dtype == np.float32
            assert image.pixels.shape == (96, 96)
            assert image.pixels.min() >= 0
            assert image.pixels.max() <= 1
            assert image.pixels.std() > 0.05


def test_contact_sheet_is_written(tmp_path, capsys):
    out = tmp_path / "sheet.png"
    main(
        [
            "--out",
            str(out),
            "--concepts",
            "pneumothorax,pacemaker,scoliosis",
            "--size",
            "96",
            "--columns",
            "2",
        ]
    )
    sheet = cv2.imread(str(out), cv2.IMREAD_UNCHANGED)
    assert sheet.shape == (2 * (96 + 16) + NOTICE_HEIGHT, 4 * 96)
    assert sheet[-NOTICE_HEIGHT:].max() > 100  # SYNTHETIC TWIN, where it is seen without the page around it
    assert "3 concepts" in capsys.readouterr().out


def test_unknown_concept_suggests():
    with pytest.raises(UnknownName, match="pneumothorax"):
        contact_sheet(["pneumotorax"])


def test_contact_sheet_has_the_look_of_a_site():
    sheets = [contact_sheet(["pneumothorax"], size=96, dataset=d) for d in ("padchest", "vindr_cxr")]
    assert np.abs(sheets[0].astype(int) - sheets[1]).max() > 20


def test_contact_sheet_of_another_ending(tmp_path):
    with pytest.raises(BenchError, match="sheet.txt: a contact sheet is a .png or .jpg file"):
        write_sheet(tmp_path / "sheet.txt", np.zeros((4, 4), np.uint8))
