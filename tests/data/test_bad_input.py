"""The list of bad inputs, against the main table of every set, through the command: exit 2 and one line that
names the file and where in it, or a policy that counts. Image files: tests/data/test_pixels.py."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.core.errors import BenchError
from benchmark.core.files import read_json
from benchmark.data.readers import common, openi
from tests.data import official

TABLES = {
    **official.TABLES,
    "rsna_pneumonia": "stage_2_train_labels.csv",
    "siim_pneumothorax": "train-rle.csv",
    "ms_cxr": "MS_CXR_Local_Alignment_v1.1.0.csv",
    "vindr_cxr": "annotations/image_labels_test.csv",
    "cxr_lt": "cxr-lt-2024/test_labeled_task1.csv",
    "cxr_lt_2026": "CXRLT_2026_TEST_ALL_TASK1.csv",
}
IDS = {
    "mimic_cxr": "dicom_id",
    "padchest": "ImageID",
    "chestxray14": "Image Index",
    "chexpert": "Path",
    "chexpert5x200": "Path",
    "rsna_pneumonia": "patientId",
    "siim_pneumothorax": "ImageId",
    "ms_cxr": "dicom_id",
    "vindr_cxr": "image_id",
    "cxr_lt": "dicom_id",
    "cxr_lt_2026": "ImageID",
}
PATHS = {**IDS, "ms_cxr": "path", "cxr_lt": "fpath"}
LABELS = {
    "mimic_cxr": ("mimic-cxr-jpg/mimic-cxr-2.0.0-chexpert.csv.gz", "Edema"),
    "chexpert": (TABLES["chexpert"], "Edema"),
    "chexpert5x200": (TABLES["chexpert5x200"], "Edema"),
    "rsna_pneumonia": (TABLES["rsna_pneumonia"], "Target"),
    "siim_pneumothorax": (TABLES["siim_pneumothorax"], "EncodedPixels"),
    "ms_cxr": (TABLES["ms_cxr"], "category_name"),
    "vindr_cxr": (TABLES["vindr_cxr"], "Edema"),
    "cxr_lt": (TABLES["cxr_lt"], "Edema"),
    "cxr_lt_2026": (TABLES["cxr_lt_2026"], "Kyphosis"),
}
"""PadChest and ChestX-ray14 have lists of labels; unknown ones are counted (test_readers_own_rules.py)."""

Stops = Callable[[str, Path], str]


@pytest.fixture
def stops(tmp_path, capsys) -> Stops:
    """Read a set by the command; it must stop with exit 2 and one line on stderr, which is returned."""

    def read(name: str, root: Path) -> str:
        out = tmp_path / "out"
        assert main(["data", "prepare", name, "--data-root", str(root), "--out", str(out)]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert not out.exists()
        return captured.err.strip()

    return read


def text_of(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")


def put(path: Path, text: str | bytes) -> None:
    """Replace, so that the other hard link keeps its bytes."""
    data = text.encode("utf-8") if isinstance(text, str) else text
    path.unlink()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def rows_of(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text_of(path), newline="")))


def put_rows(path: Path, rows: list[list[str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    put(path, text.getvalue())


def set_field(path: Path, column: str, value: str, row: int = 1) -> None:
    rows = rows_of(path)
    rows[row][[name.strip() for name in rows[0]].index(column)] = value
    put_rows(path, rows)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_missing_column(name, twins_copy, stops):
    path = twins_copy(name) / TABLES[name]
    rows = rows_of(path)
    rows[0] = [f"{IDS[name]} renamed" if c.strip() == IDS[name] else c for c in rows[0]]
    put_rows(path, rows)
    said = stops(name, path.parents[len(Path(TABLES[name]).parts) - 1])
    assert f"{path}:1: no column '{IDS[name]}'" in said


@pytest.mark.parametrize("name", sorted(TABLES))
def test_wrong_delimiter(name, twins_copy, stops):
    root = twins_copy(name)
    put(root / TABLES[name], text_of(root / TABLES[name]).replace(",", "\t"))
    said = stops(name, root)
    assert f"{root / TABLES[name]}:1: no column" in said
    assert "separated by a tab, not by ','" in said


@pytest.mark.parametrize("name", sorted(TABLES))
def test_byte_order_mark_is_read(name, twins_copy, tmp_path, capsys):
    root = twins_copy(name)
    put(root / TABLES[name], "\ufeff" + text_of(root / TABLES[name]))
    assert main(["data", "check", name, "--data-root", str(root), "--skip-images"]) == 0
    assert "nothing is off" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(TABLES))
def test_latin_1_bytes(name, twins_copy, stops):
    root = twins_copy(name)
    lines = text_of(root / TABLES[name]).encode().split(b"\n")
    lines[2] += b"\xf1"
    put(root / TABLES[name], b"\n".join(lines))
    assert f"{root / TABLES[name]}:3: not UTF-8 text" in stops(name, root)


@pytest.mark.parametrize("name", sorted(TABLES))
@pytest.mark.parametrize("blank", ["NaN", "", "none"])
def test_id_that_is_none(name, blank, twins_copy, stops):
    root = twins_copy(name)
    set_field(root / TABLES[name], IDS[name], blank, row=2)
    assert f"{root / TABLES[name]}: row 2: column '{IDS[name]}' is blank" in stops(name, root)


@pytest.mark.parametrize("name", sorted(set(TABLES) - {"rsna_pneumonia", "siim_pneumothorax", "ms_cxr"}))
def test_repeated_image(name, twins_copy, stops):
    """The other three have a row a box; there, contradictions are refused (test_challenge_readers.py)."""
    root = twins_copy(name)
    rows = rows_of(root / TABLES[name])
    put_rows(root / TABLES[name], [*rows, rows[1]])
    said = stops(name, root)
    assert "occurs twice" in said
    assert f"{root / TABLES[name]}: row {len(rows)}" in said


@pytest.mark.parametrize("name", sorted(LABELS))
def test_label_column_of_words(name, twins_copy, stops):
    root = twins_copy(name)
    file, column = LABELS[name]
    set_field(root / file, column, "severe")
    said = stops(name, root)
    assert f"{root / file}: row 1" in said
    assert "severe" in said


@pytest.mark.parametrize("name", sorted(PATHS))
@pytest.mark.parametrize("away", ["../../secret/view1_frontal.jpg", "/etc/secret/view1_frontal.jpg"])
def test_path_that_leaves_the_root(name, away, twins_copy, stops):
    root = twins_copy(name)
    set_field(root / TABLES[name], PATHS[name], away)
    said = stops(name, root)
    assert f"{root / TABLES[name]}: " in said
    assert "secret" in said


@pytest.mark.parametrize("name", sorted(TABLES))
def test_listed_image_that_is_absent(name, twins_copy, tmp_path, capsys):
    """Left out, counted, and a problem of the check."""
    root = twins_copy(name)
    assert main(["data", "prepare", name, "--data-root", str(root), "--out", str(tmp_path / "a")]) == 0
    from benchmark.core.tables import Manifest

    before = Manifest.load(tmp_path / "a")
    (root / before.frame["path"].iloc[0]).unlink()
    capsys.readouterr()
    assert main(["data", "check", name, "--data-root", str(root), "--skip-images", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [(p["what"], p["count"]) for p in found["problems"]] == [("label without an image", 1)]
    assert before.frame["image_id"].iloc[0] in found["problems"][0]["examples"]


@pytest.mark.parametrize("kind", ["chexpert", "metadata", "split", "negbio"])
def test_truncated_gzip(kind, twins_copy, stops):
    root = twins_copy("mimic_cxr")
    path = root / f"mimic-cxr-jpg/mimic-cxr-2.0.0-{kind}.csv.gz"
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[: 2 * len(whole) // 3])
    assert f"{path}: row " in stops("mimic_cxr", root)


def test_gzip_bomb_of_one_line(twins_copy, stops):
    """200 MB of one letter in 200 kB; no more than the longest allowed line is unpacked."""
    root = twins_copy("mimic_cxr")
    path = root / TABLES["mimic_cxr"]
    put(path, text_of(path) + "a" * (200 << 20))
    assert path.stat().st_size < 1 << 20
    said = stops("mimic_cxr", root)
    assert f"{path}:{len(rows_of(root / 'mimic-cxr-jpg/mimic-cxr-2.0.0-split.csv.gz')) + 1}: a line" in said


def test_gzip_bomb_of_many_lines(twins_copy, stops, monkeypatch):
    monkeypatch.setattr(common, "MAX_TABLE", 2000)
    root = twins_copy("mimic_cxr")
    assert "a table of more than 2,000 characters" in stops("mimic_cxr", root)


def test_archive_bomb(twins_copy, stops, monkeypatch):
    root = twins_copy("openi")
    path = root / "NLMCXR_reports.tgz"
    monkeypatch.setattr(openi, "LARGEST_ARCHIVE", 3000)
    said = stops("openi", root)
    assert f"{path}: " in said
    assert "over 3,000 bytes" in said
    monkeypatch.undo()
    path.unlink()
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("1.xml")
        member.size = 5 << 20
        archive.addfile(member, io.BytesIO(b"<a>" + b" " * (5 << 20)))
    assert "1.xml has 5,242,880 bytes" in stops("openi", root)


def test_report_file_of_any_length(twins_copy, stops):
    root = twins_copy("openi")
    (root / "ecgen-radiology").mkdir()
    (root / "ecgen-radiology" / "1.xml").write_bytes(b"<a>" + b" " * (5 << 20))
    assert "1.xml: 5,242,883 bytes, but a report has at most 4,194,304" in stops("openi", root)


@pytest.mark.parametrize(
    ("data", "says"),
    [(b"[1, 2", ":1: not valid JSON"), (b'["caf\xe9"]', "not UTF-8 text (byte 5)"), (b"", "not valid JSON")],
)
def test_json_that_is_none(data, says, twins_copy, stops):
    root = twins_copy("chestxdet10")
    (root / "test.json").unlink()
    (root / "test.json").write_bytes(data)
    assert f"{root / 'test.json'}" in (said := stops("chestxdet10", root))
    assert says in said


def test_json_with_a_byte_order_mark(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(tmp_path / "a.json") == [1]
    (tmp_path / "a.json").write_bytes(b"\xff\xfe")
    with pytest.raises(BenchError, match="not UTF-8"):
        read_json(tmp_path / "a.json")


def spoil(root: Path, pattern: str, change: Callable[[bytes], bytes]) -> Path:
    """Replace the first image that matches."""
    path = sorted(root.rglob(pattern))[0]
    data = change(path.read_bytes())
    path.unlink()
    path.write_bytes(data)
    return path


def without_pixels(data: bytes) -> bytes:
    import pydicom

    header = pydicom.dcmread(io.BytesIO(data))
    del header.PixelData
    out = io.BytesIO()
    header.save_as(out)
    return out.getvalue()


def announcing_60000_pixels(data: bytes) -> bytes:
    head = data[12:16] + (60_000).to_bytes(4, "big") * 2 + data[24:29]
    return data[:12] + head + zlib.crc32(head).to_bytes(4, "big") + data[33:]


@pytest.mark.parametrize(
    ("name", "pattern", "change", "says"),
    [
        ("chestxray14", "*.png", lambda d: d[: len(d) // 2], "it is truncated"),
        ("mimic_cxr", "*.jpg", lambda d: d[: len(d) // 2], "the JPEG is truncated"),
        ("rsna_pneumonia", "*train*/*.dcm", without_pixels, "DICOM object without pixel data"),
        ("padchest", "*.png", announcing_60000_pixels, "announces 60000x60000 pixels, more than the limit"),
        ("openi", "*.png", lambda d: b"<html>", "neither PNG, JPEG nor DICOM"),
    ],
    ids=["png", "jpeg", "dicom", "bomb", "page"],
)
def test_check_names_a_bad_image(name, pattern, change, says, twins_copy, capsys):
    root = twins_copy(name)
    path = spoil(root, pattern, change)
    assert main(["data", "check", name, "--data-root", str(root), "--workers", "1", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [p["what"] for p in found["problems"]] == ["unreadable images"]
    [reason] = found["problems"][0]["examples"]
    assert reason.startswith(f"{path}: ")
    assert says in reason
