"""Every kind of bad file gives one line that names it, or is left out by a counted policy."""

from __future__ import annotations

import re
import shlex

import pytest

from benchmark.cli import main
from benchmark.core.errors import DataError
from benchmark.core.tables import Noticed
from benchmark.data.dataset import read_dataset
from benchmark.twins.build import WRITERS
from tests.data.official import TABLES, fails, load, save


@pytest.mark.parametrize(
    "name", ["mimic_cxr", "padchest", "chestxray14", "openi", "chexpert", "chexpert5x200"]
)
def test_missing_root_and_empty_root(name, tmp_path):
    assert "no such folder" in fails(name, tmp_path / "absent")
    assert "--data-root" in fails(name, tmp_path)


@pytest.mark.parametrize("name", ["chestxray14", "siim_pneumothorax", "ct_rate_lt"])
def test_the_command_that_says_more_is_about_the_same_folder(name, tmp_path, capsys):
    root = tmp_path / "my files"
    root.mkdir()
    command = re.search("`bench (.*?)`", fails(name, root))
    assert command is not None
    assert main(shlex.split(command[1])) == 2
    assert str(root) in capsys.readouterr().err


@pytest.mark.parametrize("name", WRITERS.names())
def test_tables_of_a_header_alone(name, twins_copy):
    """Every table of every official tree, one after the other."""
    root = twins_copy(name)
    for path in sorted(p for p in root.rglob("*.csv*") if p.is_file()):
        whole, header = path.read_bytes(), load(path).split("\n", 1)[0]
        path.unlink()
        save(path, f"{header}\n")
        said = path.name
        try:
            read_dataset(name, root, "official")
        except DataError as error:
            said = str(error)
        assert "\n" not in said
        assert path.name in said
        path.write_bytes(whole)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_missing_column(name, make):
    root = make(name)
    path = root / TABLES[name]
    head, rest = load(path).split("\n", 1)
    column = {"mimic_cxr": "ViewPosition", "padchest": "PatientID", "chestxray14": "View Position"}.get(
        name, "Edema"
    )
    assert column in head
    save(path, head.replace(column, "Other") + "\n" + rest)
    message = fails(name, root)
    assert f"no column '{column}'" in message
    assert path.name in message


@pytest.mark.parametrize("name", sorted(TABLES))
def test_wrong_delimiter(name, make):
    root = make(name)
    path = root / TABLES[name]
    save(path, load(path).replace(",", ";"))
    assert "separated by ';', not by ','" in fails(name, root)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_byte_order_mark_is_read(name, make):
    root = make(name)
    path = root / TABLES[name]
    before = read_dataset(name, root, "official").frame
    save(path, "\ufeff" + load(path))
    assert before.equals(read_dataset(name, root, "official").frame)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_latin_1_bytes_name_the_line(name, make):
    root = make(name)
    path = root / TABLES[name]
    lines = load(path).encode("utf-8").split(b"\n")
    lines[3] = lines[3] + b"\xf1"
    save(path, b"\n".join(lines))
    assert f"{path.name}:4: not UTF-8" in fails(name, root)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_repeated_image(name, make):
    root = make(name)
    path = root / TABLES[name]
    lines = load(path).rstrip("\n").split("\n")
    save(path, "\n".join([*lines, lines[-1] if name != "padchest" else lines[1]]) + "\n")
    assert "occurs twice" in fails(name, root)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_row_too_long(name, make):
    root = make(name)
    path = root / TABLES[name]
    save(path, load(path).rstrip("\n") + "," * 40 + "\n")
    assert "has more fields" in fails(name, root)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_row_too_short(name, make):
    root = make(name)
    path = root / TABLES[name]
    lines = load(path).rstrip("\n").split("\n")
    save(path, "\n".join([*lines, lines[-1].split(",")[0]]) + "\n")
    assert "has fewer fields (1) than the header" in fails(name, root)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_an_empty_table(name, make):
    root = make(name)
    save(root / TABLES[name], "")
    assert "is empty" in fails(name, root)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_extra_columns_are_harmless(name, make):
    root = make(name)
    path = root / TABLES[name]
    before = read_dataset(name, root, "official").frame
    if name == "padchest":  # fields hold newlines there
        import pandas as pd

        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        frame["extra"] = "1"
        frame.to_csv(path, index=False)
    else:
        head, *rest = load(path).rstrip("\n").split("\n")
        save(path, "\n".join([head + ",extra", *(line + ",1" for line in rest)]) + "\n")
    assert before.equals(read_dataset(name, root, "official").frame)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_absent_images_are_left_out_and_counted(name, make):
    root = make(name)
    before = read_dataset(name, root, "official").frame
    for path in before["path"].iloc[:2]:
        (root / path).unlink()
    after = read_dataset(name, root, "official")
    assert len(after) == len(before) - 2
    lost = tuple(before["image_id"].iloc[:2])
    assert after.info.dropped == (Noticed(what="image file is absent", count=2, examples=lost),)
    for path in after.frame["path"]:
        (root / path).unlink()
    assert "is here" in fails(name, root)
