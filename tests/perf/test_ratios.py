"""`make perf-check`: which ratios count as slower, and where they are read."""

from __future__ import annotations

import json
import sys

import pytest

from perf import ratios


def test_more_than_a_fifth_below_what_was_recorded_is_slower() -> None:
    known = {"a": 60.0, "b": 10.0}
    assert ratios.worse({"a": 48.0, "b": 7.9, "new": 1.0}, known) == ["b"]


def test_every_script_is_there() -> None:
    for script, _ in ratios.SCRIPTS.values():
        assert (ratios.RECORDED.parent / script.split()[0]).is_file()


def test_a_ratio_below_the_recorded_one_fails_and_a_script_runs_once(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "tile.py").write_text(
        "print('scoring tile  9.1 GFLOP/s  61%\\ntraining step  9 GFLOP/s  80%')"
    )
    patterns = {"scoring": r"scoring tile .*?(\d+)%", "training": r"training step .*?(\d+)%"}
    monkeypatch.setattr(ratios, "SCRIPTS", {name: ("tile.py", own) for name, own in patterns.items()})
    monkeypatch.setattr(ratios, "RECORDED", tmp_path / "ratios.json")
    monkeypatch.setattr(ratios, "device_name", lambda device: "a processor")
    monkeypatch.setattr(sys, "argv", ["ratios.py"])
    for known, code in (
        ({}, 0),
        ({"a processor": {"training": 90}}, 0),
        ({"a processor": {"training": 101}}, 1),
    ):
        (tmp_path / "ratios.json").write_text(json.dumps(known))
        assert ratios.main() == code
    assert "SLOWER  training" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["ratios.py", "--record"])
    assert ratios.main() == 0
    kept = json.loads((tmp_path / "ratios.json").read_text())
    assert kept == {"a processor": {"scoring": 61.0, "training": 80.0}}
    monkeypatch.setattr(ratios, "SCRIPTS", {"lost": ("tile.py", "nothing like this")})
    with pytest.raises(SystemExit, match="does not say 'lost'"):
        ratios.main()
