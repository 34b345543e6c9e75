"""A list of the images' names stands for the images, for every reader; reports may stay packed."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pandas as pd
import pytest

from benchmark.cli import main
from benchmark.core.errors import DataError
from benchmark.core.tables import ReadingRecord
from benchmark.data.dataset import read_dataset
from benchmark.data.readers.files import IMAGE_SUFFIXES, listed
from benchmark.twins.build import WRITERS

OPENING = {"chestxdet10", "ms_cxr", "padchest_gr", "rsna_pneumonia", "siim_pneumothorax"}
"""Sets whose boxes are scaled to the size of the image that is there, or whose views are in its header."""


def names_of(root: Path) -> list[str]:
    return [p.relative_to(root).as_posix() for p in root.rglob("*") if p.suffix in IMAGE_SUFFIXES]


def without_order(info: ReadingRecord) -> ReadingRecord:
    """What a reader said; a walk over the disk meets the examples in an order of its own."""
    seen = [item.model_copy(update={"examples": tuple(sorted(item.examples))}) for item in info.seen]
    return info.model_copy(update={"seen": tuple(seen)})


@pytest.mark.parametrize("name", WRITERS.names())
def test_the_list_reads_as_the_images_do(name, twins_copy, tmp_path):
    root = twins_copy(name)
    wanted = read_dataset(name, root, "twin")
    names = names_of(root)
    (tmp_path / "images.txt").write_text("\n".join(f"./{n}" for n in names))
    if name not in OPENING:
        for image in names:
            (root / image).unlink()
    with listed(root, tmp_path / "images.txt"):
        found = read_dataset(name, root, "twin")
    pd.testing.assert_frame_equal(found.frame, wanted.frame)
    assert without_order(found.info) == without_order(wanted.info)


def test_an_image_that_the_list_lacks_is_absent(twins_copy, tmp_path, capsys):
    root = twins_copy("padchest")
    names = names_of(root)
    (tmp_path / "images.txt").write_text("\n".join(names[1:]))
    arguments = ["data", "check", "padchest", "--data-root", str(root)]
    assert main([*arguments, "--listing", str(tmp_path / "images.txt")]) == 1
    assert "label without an image: 1" in capsys.readouterr().out
    assert main([*arguments, "--skip-images"]) == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [("\n\n", "names no file"), ("a.png\n../b.png\n", ":2: path '../b.png' leaves"), (None, "no such file")],
)
def test_a_list_that_is_none(twins, tmp_path, capsys, text, said):
    path = tmp_path / "images.txt"
    if text is not None:
        path.write_text(text)
    code = main(["data", "check", "padchest", "--data-root", str(twins("padchest")), "--listing", str(path)])
    told = capsys.readouterr().err
    assert (code, told.count("\n")) == (2, 1)
    assert str(path) in told
    assert said in told


@pytest.fixture
def packed(twins_copy) -> tuple[Path, Path, Path]:
    """The twin of MIMIC-CXR, its folder of reports, and the archive of them that takes their place."""
    root = twins_copy("mimic_cxr")
    texts = sorted(root.rglob("s*.txt"))
    folder = next(p for p in texts[0].parents if p.name == "files").parent
    return root, folder, folder / "mimic-cxr-reports.zip"


def test_packed_reports_are_the_unpacked_ones(packed):
    root, folder, path = packed
    wanted = read_dataset("mimic_cxr", root, "twin").frame
    texts = sorted(folder.rglob("s*.txt"))
    with zipfile.ZipFile(path, "w") as archive:
        for text in texts:
            archive.write(text, text.relative_to(folder))
            text.unlink()
    assert wanted["report"].notna().any()
    pd.testing.assert_frame_equal(read_dataset("mimic_cxr", root, "twin").frame, wanted)


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_archive_of_reports_is_one_line_without_their_text(packed, damage):
    root, folder, path = packed
    texts = sorted(folder.rglob("s*.txt"))
    with zipfile.ZipFile(path, "w") as archive:
        for text in texts:
            archive.write(text, text.relative_to(folder))
    secret = texts[0].read_bytes()
    data = path.read_bytes()
    at = data.index(secret)
    path.write_bytes(data[: len(data) // 2] if damage == "cut" else data[:at] + b"\0" + data[at + 1 :])
    for text in texts:
        text.unlink()
    with pytest.raises(DataError) as error:
        read_dataset("mimic_cxr", root, "twin")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert secret.decode()[:20] not in str(error.value)
