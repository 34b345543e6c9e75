"""The parity command on the official fixtures, and on fixtures that are none."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from benchmark.cli import main
from benchmark.core.errors import BenchError
from benchmark.official.parity.check import Checker, Tolerance, is_output
from benchmark.official.parity.fixture import Fixture, find_fixtures, load_fixture
from benchmark.official.parity.report import as_object, as_text
from benchmark.official.parity.runner import check_fixture, run_parity
from methods.base import METHODS

OFFICIAL = Path(__file__).parent / "fixtures"
WHOLE = Path(__file__).parents[3] / "shared" / "parity"
OURS = find_fixtures([OFFICIAL])
MORE = [p for p in sorted(WHOLE.rglob("*")) if p.suffix in (".json", ".npz")]
MORE = [p for p in (find_fixtures(MORE) if MORE else []) if not (OFFICIAL / p.relative_to(WHOLE)).is_file()]
UNCHECKED = {
    "out/memory_diversity_loss_unused": "in no loss",
    "extreme/": "official overflow",
    "json/stats/": "never used officially",
}
PROOF = {
    "clip": {"loss": "loss", "gradient": "loss", "inference": "zero_shot"},
    "medclip": {"loss": "soft_loss", "gradient": "soft_loss", "inference": "prompt_classifier"},
    "gloria": {"loss": "train", "gradient": "train", "inference": "inference"},
    "carzero": {"loss": "mlp_gl_random", "gradient": "mlp_gl_random", "inference": "mlp_gl_inference"},
    "radzero": {"loss": "vlcabs_default", "gradient": "full_model", "inference": "full_model"},
    "brgsa": {"loss": "losses", "gradient": "end_to_end", "inference": "zero_shot_score"},
}
"""Method → what is shown equal to its official code → the fixture that shows it."""
ADDED = {"ct_clip"}
"""Folders whose numbers the official code gave later, and which are no part of the larger set."""
WANTED = {"loss": "out/loss", "gradient": "grad.*/.+", "inference": "out/.*(scor|logits|probability)"}


@pytest.mark.parametrize("path", [*OURS, *MORE], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_official_fixtures(path: Path) -> None:
    """All outputs within tolerance; what is left out is on the list above; no output lacks a row."""
    fixture = load_fixture(path)
    rows = check_fixture(fixture)
    assert rows
    assert [row for row in rows if row.verdict == "off"] == []
    for row in rows:
        if row.verdict == "unchecked":
            expected = [note for start, note in UNCHECKED.items() if row.output.startswith(start)]
            assert expected, row
            assert expected[0] in row.note
    named = {row.output for row in rows}
    outputs = {name for name in fixture.arrays if is_output(name, fixture.read)}
    assert outputs <= named, f"no row for {sorted(outputs - named)}"
    for name in fixture.arrays:
        if any(part in ("out", "mid") or part.startswith("grad") for part in name.split("/")):
            assert name in named


def test_a_clone_holds_the_proof_of_every_method() -> None:
    """Loss, gradient and inference of each built-in method, and the metrics, without any other folder."""
    own = {name for name in METHODS.names() if METHODS.get(name).__module__.startswith("methods.")}
    assert own == set(PROOF)
    for method, shown in PROOF.items():
        for what, case in shown.items():
            path = next(p for p in OURS if p.parent.name == method and p.stem == case)
            outputs = [row.output for row in check_fixture(load_fixture(path)) if row.verdict == "ok"]
            wanted = {
                "loss": r"out/loss",
                "gradient": r"grad.*/.+",
                "inference": r"out/.*(scor|logits|probability)",
            }
            assert any(re.match(wanted[what], output) for output in outputs), (method, what)
    metrics = [p.stem for p in OURS if p.parent.name == "carzero_metrics"]
    assert {"random", "padchest_protocol", "openi_protocol", "chexpert5x200_protocol"} <= set(metrics)
    assert sum(p.stat().st_size for p in OFFICIAL.rglob("*") if p.is_file()) <= 4_000_000


def test_the_committed_numbers_are_the_official_ones(shared: Path) -> None:
    files = [p for p in OFFICIAL.rglob("*") if p.is_file() and p.name != "README.md"]
    files = [p for p in files if p.parent.name not in ADDED]
    assert len(files) > 60
    for path in files:
        assert path.read_bytes() == (shared / "parity" / path.relative_to(OFFICIAL)).read_bytes(), path


def test_an_output_without_a_rule_is_off(official: Path) -> None:
    fixture = load_fixture(official / "clip/loss.json")
    more = Fixture(fixture.path, fixture.info, {**fixture.arrays, "out/other": np.zeros(2)})
    off = [row for row in check_fixture(more) if row.verdict == "off"]
    assert [row.output for row in off] == ["out/other"]


def test_a_part_of_a_case_leads_to_the_case(official: Path) -> None:
    folder = official / "carzero"
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


def test_report_folds_and_counts(official: Path) -> None:
    rows = run_parity([official / "carzero/linear_gl_random.json"])
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
        ("a.json", b'{"files": 5}', "'files' is no list of names"),
        ("a.json", b'{"files": [5]}', "'files' is no list of names"),
        ("a.json", b'{"arrays": [1]}', "'arrays' is no object"),
        ("a.json", b'{"arrays": {"x": {}}, "files": []}', "'arrays' is no object"),
        ("a.npz", b"no archive", "not a readable npz"),
        ("a.npz", b"PK\x03\x04", "not a readable npz"),
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
