"""`bench data check` finds nothing wrong with the twin of any set, and something with a spoilt one."""

from __future__ import annotations

import json

import pytest

from benchmark.cli import main
from benchmark.data.cards import card_names, load_card
from benchmark.twins.build import WRITERS


def test_every_card_has_a_twin():
    planes = [name for name in card_names() if load_card(name).modality == "cxr"]
    assert sorted(WRITERS.names()) == planes


@pytest.mark.parametrize("name", WRITERS.names())
def test_check_of_a_clean_twin(name, twins, capsys):
    code = main(["data", "check", name, "--data-root", str(twins(name)), "--workers", "1", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == []
    assert (code, found["ok"], found["origin"]) == (0, True, "twin")
    assert 0 < found["images"]["opened"] <= 40
    assert found["images"]["unreadable"] == []
    assert {row["class"] for row in found["labels"]} == set(load_card(name).classes)
    assert any(row["positive"] for row in found["labels"])


@pytest.mark.parametrize("name", WRITERS.names())
def test_check_of_a_twin_with_a_zero_byte_image(name, twins_copy, tmp_path, capsys):
    root = twins_copy(name)
    assert main(["data", "prepare", name, "--data-root", str(root), "--out", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    from benchmark.core.tables import Manifest

    first = root / Manifest.load(tmp_path / "out").frame["path"].iloc[0]
    first.unlink()
    first.write_bytes(b"")
    code = main(["data", "check", name, "--data-root", str(root), "--workers", "1", "--json"])
    captured = capsys.readouterr()
    if code == 2:  # boxes need the size of every image: the reader stops
        assert captured.err.count("\n") == 1
        assert f"{first}: the file is empty" in captured.err
        return
    found = json.loads(captured.out)
    assert (code, [p["what"] for p in found["problems"]]) == (1, ["unreadable images"])
    assert f"{first}: the file is empty" in found["problems"][0]["examples"][0]
