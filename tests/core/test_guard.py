"""Whatever a parser raises is one line with file and place; sizes and depths are bounded before parsing."""

from __future__ import annotations

import struct
import zipfile
import zlib
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.core import guard
from benchmark.core.errors import BenchError, DataError, ParamsError
from benchmark.core.files import read_json, read_yaml
from benchmark.core.guard import (
    bounded_size,
    bounded_zip,
    opened,
    parse_json,
    parse_yaml,
    parsing,
    read_parquet,
    read_text,
)

RAISED = [
    RecursionError("maximum recursion depth exceeded"),
    OverflowError("Python int too large"),
    struct.error("unpack requires 4 bytes"),
    AssertionError(),
    KeyError("x"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    zlib.error("Error -3"),
    EOFError("Compressed file ended"),
    pa.ArrowInvalid("a\nb\nc"),
    MemoryError(),
    IndexError("list index out of range"),
    ZeroDivisionError("x"),
    type("PanicException", (BaseException,), {})("rust panicked"),
]


@pytest.mark.parametrize("problem", RAISED, ids=lambda p: type(p).__name__)
def test_anything_a_parser_raises_is_one_line(problem, tmp_path) -> None:
    path = tmp_path / "a.bin"
    with pytest.raises(DataError) as caught, parsing(path, "a table") as place:
        place.line, place.row = 7, 6
        raise problem
    text = str(caught.value)
    assert text.startswith((f"{path}:7: row 6: not a readable table (", f"{path}:7: row 6: not UTF-8 text ("))
    assert "\n" not in text
    assert "()" not in text


def test_interrupts_and_own_errors_pass() -> None:
    for problem in (KeyboardInterrupt(), SystemExit(3), ParamsError("as it is")):
        with pytest.raises(type(problem)) as caught, parsing("a", "a table"):
            raise problem
        assert caught.value is problem


def test_system_errors_say_what_they_are(tmp_path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_text(tmp_path / "none")
    with pytest.raises(DataError, match="is a folder"):
        read_json(tmp_path)
    with pytest.raises(DataError, match="is a folder"):
        read_yaml(tmp_path)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(DataError, match=r"loop: cannot be read \(.*links"):
        read_yaml(loop)


def test_private_files_are_not_quoted() -> None:
    with pytest.raises(DataError) as caught, parsing("report.txt", "a report", private=True):
        raise ValueError("could not read 'Mrs Miller has a mass'")
    assert "Miller" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: !!int x", "t.yaml:1: .*not a value of the type int"),
        ("a: 1\nb: !!timestamp 9", "t.yaml:2: .*not a value of the type timestamp"),
        ("a: 1\nb: 2\na: 3", "t.yaml:3: .*the key 'a' stands twice"),
        ("[" * 2000, "t.yaml:1: .*nested deeper"),
        ("a: " * 2000, "t.yaml:1: .*not"),
        ("&a [*a]", "t.yaml:1: .*stands for no whole value"),
        ("a: &a {b: *a}", "t.yaml:1: .*stands for no whole value"),
        ("a: !!python/object/apply:os.system [ls]", "t.yaml:1: .*could not determine a constructor"),
        ("a: [1", "t.yaml:1: "),
        ("a: \x00", "t.yaml: not valid YAML"),
        ("? [a]\n: 1", "t.yaml:1: .*unhashable"),
    ],
)
def test_bad_yaml_names_its_line(text, reason) -> None:
    with pytest.raises(DataError, match=reason):
        parse_yaml(text, "t.yaml")


def test_an_alias_bomb_is_refused_before_it_is_built() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    with pytest.raises(DataError, match="more than 1,000,000 values"):
        parse_yaml("\n".join(lines), "t.yaml")
    assert parse_yaml("a: &x [1, 2]\nb: *x\nc: {<<: {d: 1}, e: 2}", "t.yaml") == {
        "a": [1, 2],
        "b": [1, 2],
        "c": {"d": 1, "e": 2},
    }


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!<>|'\"#%@, \n\t1.é\x00?~"), max_size=60))
def test_any_text_is_yaml_or_one_line(text) -> None:
    for parse in (parse_yaml, parse_json):
        with suppress(BenchError):
            parse(text, "t")


@pytest.mark.parametrize("text", ["[" * 200_000, "{1", '{"a": ' + "9" * 5000 + "}", "nul"])
def test_bad_json_is_one_line(text) -> None:
    with pytest.raises(DataError, match=r"^t\.json(:1)?: not valid JSON"):
        parse_json(text, "t.json")


def test_sizes_are_bounded(tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("x" * 100)
    assert bounded_size(path, "a text file", 100) == 100
    with pytest.raises(DataError, match="100 bytes, but a text file has at most 99"):
        read_text(path, "a text file", 99)
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("zeros", bytes(1 << 20))
    bounded_zip(archive, "an archive", 1 << 20)
    with pytest.raises(DataError, match="unpacks to 1,048,576 bytes"):
        bounded_zip(archive, "an archive", 1 << 19)
    with pytest.raises(DataError, match=r"a\.txt: not a readable archive"):
        bounded_zip(path, "an archive")
    table = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": np.zeros(1000)}), table)
    monkeypatch.setattr(guard, "MAX_CELLS", 999)
    with pytest.raises(DataError, match="claims 1,000 rows"):
        read_parquet(table)


@pytest.mark.parametrize("note", [b"{no json", b"\xff", b"[1]", b"[" * 100_000])
def test_metadata_of_parquet_that_are_no_json(note, tmp_path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({b"own": note}), path)
    with pytest.raises(DataError, match=r"a\.parquet: "):
        read_parquet(path, b"own")
    assert read_parquet(path)[1] == {}


def test_every_cut_and_change_of_a_parquet_file_is_read_or_refused(tmp_path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": ["x", "yy", None], "b": [1.5, None, 2.0]}), path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(150):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), int(rng.integers(1, 5))):
            data[place] = int(rng.integers(256))
        path.write_bytes(data[: int(rng.integers(len(data) // 2, len(data) + 1))])
        with suppress(BenchError):
            table, _ = read_parquet(path)
            table.to_pylist()


def test_gzip_is_known_by_its_bytes(tmp_path) -> None:
    import gzip

    path = tmp_path / "a.csv"
    path.write_bytes(gzip.compress(b"a,b"))
    with opened(path) as handle:
        assert handle.read() == b"a,b"
    cut = tmp_path / "b.csv.gz"
    cut.write_bytes(gzip.compress(b"a,b")[:5])
    with (
        pytest.raises(DataError, match=r"b\.csv\.gz: not a readable table"),
        parsing(cut, "a table"),
        opened(cut) as handle,
    ):
        handle.read()
