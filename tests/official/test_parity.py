"""The parity command on the official fixtures, and on fixtures that are none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmark.cli import main
from benchmark.core.errors import BenchError
from benchmark.official.parity.check import Checker, Tolerance, is_output
from benchmark.official.parity.fixture import Fixture, find_fixtures, load_fixture
from benchmark.official.parity.report import as_object, as_text
from benchmark.official.parity.runner import check_fixture, run_parity

FOLDERS = ("brgsa", "carzero", "carzero_metrics", "clip", "gloria", "medclip", "radzero")
UNCHECKED = {
    "out/memory_diversity_loss_unused": "in no loss",
    "extreme/": "official overflow",
    "json/stats/": "never used officially",
}


@pytest.mark.parametrize("folder", FOLDERS)
def test_official_fixtures(shared: Path, folder: str) -> None:
    """All outputs within tolerance; what is left out is on the list above; no output lacks a row."""
    for path in find_fixtures([shared / "parity" / folder]):
        fixture = load_fixture(path)
        rows = check_fixture(fixture)
        assert rows, path
        assert [row for row in rows if row.verdict == "off"] == []
        for row in rows:
            if row.verdict == "unchecked":
                expected = [note for start, note in UNCHECKED.items() if row.output.startswith(start)]
                assert expected, row
                assert expected[0] in row.note
        named = {row.output for row in rows}
        outputs = {name for name in fixture.arrays if is_output(name, fixture.read)}
        assert outputs <= named, f"{path}: no row for {sorted(outputs - named)}"
        for name in fixture.arrays:
            if any(part in ("out", "mid") or part.startswith("grad") for part in name.split("/")):
                assert name in named, f"{path}: no row for {name}"


def test_an_output_without_a_rule_is_off(shared: Path) -> None:
    fixture = load_fixture(shared / "parity/clip/loss.json")
    more = Fixture(fixture.path, fixture.info, {**fixture.arrays, "out/other": np.zeros(2)})
    off = [row for row in check_fixture(more) if row.verdict == "off"]
    assert [row.output for row in off] == ["out/other"]


def test_a_part_of_a_case_leads_to_the_case(shared: Path) -> None:
    folder = shared / "parity/carzero"
    case = folder / "mlp_gl_random.json"
    assert find_fixtures([folder / "mlp_gl_random.state0.npz", folder / "mlp_gl_random.npz", case]) == [case]
    assert len(find_fixtures([folder / "mlp_gl_random.npz", folder])) == len(list(folder.glob("*.json")))


def test_tolerance_rules() -> None:
    scaled = Tolerance(scale=1e-5, floor=1.0)
    assert scaled.limits(np.array([0.1, -0.2])).tolist() == pytest.approx([1e-5, 1e-5])
    assert scaled.limits(np.array([40.0])).tolist() == pytest.approx([4e-4])
    close = Tolerance(rtol=1e-5, atol=1e-6)
    assert close.limits(np.array([0.0, 10.0])).tolist() == pytest.approx([1e-6, 1.01e-4])
    checker = Checker(Fixture(Path("x/y.npz"), {}, {"out/a": np.array([1.0, np.nan]), "out/b": np.zeros(2)}))
    checker.close("out/a", np.array([1.0, np.nan]), close)
    checker.close("out/b", np.array([0.0, np.nan]), close)
    assert [row.verdict for row in checker.finish()] == ["ok", "off"]


def test_report_folds_and_counts(shared: Path) -> None:
    rows = run_parity([shared / "parity/carzero/linear_gl_random.json"])
    text, whole = as_text(rows), as_text(rows, everything=True)
    assert "worst of 24" in text
    assert len(whole.splitlines()) == len(rows) + 4
    value = as_object(rows)
    assert value["ok"] == len(rows) == len(value["rows"])
    assert 0 < value["worst_ratio"] < 1
    json.dumps(value, allow_nan=False)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b'{"method": "carzero", "case": "other"}', "unknown kind"),
        ("a.json", b"[1, 2]", "JSON object"),
        ("a.json", b"{", "not valid JSON"),
        ("a.json", b'{"files": ["gone.npz"]}', "no such file"),
        ("a.npz", b"no archive", "not an npz"),
        ("a.npz", b"PK\x03\x04", "not an npz"),
    ],
)
def test_bad_fixtures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert main(["parity", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_nothing_to_check(tmp_path: Path) -> None:
    assert main(["parity", str(tmp_path / "none")]) == 2
    assert main(["parity", str(tmp_path)]) == 2


def test_objects_in_arrays_are_not_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"in/x": np.array([{"a": 1}], dtype=object)})
    with pytest.raises(BenchError, match="plain arrays"):
        run_parity([tmp_path])


def test_declared_shape_is_checked(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(2))
    arrays = {"x": {"shape": [3], "dtype": "float64"}}
    (tmp_path / "a.json").write_text(json.dumps({"files": ["a.npz"], "arrays": arrays}))
    with pytest.raises(BenchError, match=r"float64 \[2\], declared as float64 \[3\]"):
        run_parity([tmp_path])
