"""The parity command on fixtures of other widths, lengths and batches, made from plain re-statements."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import plain_official as plain
import pytest

from benchmark.cli import main
from benchmark.official.parity.check import ParityRow
from benchmark.official.parity.runner import run_parity, worst_ratio

CASES = {
    "clip": lambda folder: plain.clip_case(folder, 1, bias=False),
    "clip with a bias": lambda folder: plain.clip_case(folder, 2, bias=True),
    "gloria": lambda folder: plain.gloria_case(folder, 3),
    "carzero mlp": lambda folder: plain.carzero_case(folder, 4, "mlp", "gl", width=24, heads=3),
    "carzero linear": lambda folder: plain.carzero_case(folder, 5, "linear", "gl", width=20, heads=5),
    "carzero local": lambda folder: plain.carzero_case(folder, 6, "linear", "local", width=16, heads=4),
    "carzero global": lambda folder: plain.carzero_case(folder, 7, "linear", "global", width=12, heads=4),
    "radzero": lambda folder: plain.radzero_case(folder, 8),
    "brgsa": lambda folder: plain.brgsa_case(folder, 9),
}


def off(rows: list[ParityRow]) -> list[str]:
    return [
        f"{row.output}: {row.difference} > {row.tolerance} {row.note}" for row in rows if row.verdict == "off"
    ]


@pytest.mark.parametrize("name", CASES)
def test_other_sizes(name: str, tmp_path: Path) -> None:
    path = CASES[name](tmp_path)
    rows = run_parity([path])
    assert not off(rows)
    assert len(rows) >= 7
    assert worst_ratio(rows) <= 1


@pytest.mark.parametrize("name", ["clip", "gloria", "carzero linear", "radzero", "brgsa"])
def test_each_output_can_fail(name: str, tmp_path: Path) -> None:
    """With one element of every output changed, every output is reported off."""
    path = CASES[name](tmp_path)
    npz = path.with_suffix(".npz")
    with np.load(npz) as archive:
        arrays = {key: archive[key] for key in archive.files}
    outputs = [key for key in arrays if key.split("/")[0] in ("out", "mid", "grad", "grad_in", "grad_state")]
    assert len(outputs) >= 7
    for key in outputs:
        arrays[key].flat[-1] += 1e-3 * max(1.0, float(np.abs(arrays[key]).max()))
    np.savez(npz, **arrays)
    assert {row.output for row in run_parity([path]) if row.verdict == "off"} >= set(outputs)


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = plain.clip_case(tmp_path, 10, bias=False)
    assert main(["parity", str(tmp_path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "ok"
    assert {row["verdict"] for row in report["rows"]} == {"ok"}
    with np.load(path.with_suffix(".npz")) as archive:
        arrays = {key: archive[key] for key in archive.files}
    np.savez(path.with_suffix(".npz"), **(arrays | {"out/loss": arrays["out/loss"] + 1}))
    assert main(["parity", str(path)]) == 1
    assert "off" in capsys.readouterr().out
    arrays.pop("in/text_features_raw")
    np.savez(path.with_suffix(".npz"), **arrays)
    assert main(["parity", str(path)]) == 2
    error = capsys.readouterr().err
    assert "in/text_features_raw" in error
    assert error.count("\n") == 1
