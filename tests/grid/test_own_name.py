"""A class of a method calls itself as it is registered: a copy with the old name is refused at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.cli import main
from methods.base import METHODS


@pytest.mark.parametrize(
    "words", [["--method", "mine"], ["--method", "all", "--set", "methods=[mine]"]], ids=["named", "listed"]
)
def test_a_copied_method_that_calls_itself_as_its_model_is_one_line_before_it_trains(
    words: list[str],
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its weights were loaded into the other method, whose scores then stood in its row."""
    (tmp_path / "params.yaml").write_bytes((root / "params.yaml").read_bytes())
    monkeypatch.setenv("CXR_ALIGNBENCH_HOME", str(tmp_path))
    monkeypatch.setitem(METHODS._registered, "mine", [METHODS.get("clip")])
    assert main(["run", "--dataset", "chestxray14", *words]) == 2
    err = capsys.readouterr().err.strip()
    assert "method 'mine': its class says name = 'clip'" in err
    assert "\n" not in err
    assert not (tmp_path / "runs").exists()
