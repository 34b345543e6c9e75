"""Cells with encoders of their own, frozen and trained: from params.yaml to reports/encoders/, and what is
refused."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
import yaml

from benchmark.core.files import read_json

pytestmark = pytest.mark.filterwarnings("ignore")

TINY = {"card": "efficientnet-lite0", "name": "lite0-untrained", "weights": "random", "seen": [], "size": 64}
CELLS = {
    "clip-untrained": {
        "method": "clip", "table": "encoders", "label": "CLIP, untrained", "encoders": {"image": TINY},
    },
    "clip-frozen": {"method": "clip", "table": "trained_encoders", "label": "CLIP, frozen"},
    "clip-last-stage": {
        "method": "clip", "table": "trained_encoders", "label": "CLIP, last stage",
        "encoders": {"train": {"image": "last stage"}}, "training": {"encoder_chunk": 16},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def home(small_project: Path, tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("own") / "project"
    shutil.copytree(small_project, home, ignore=shutil.ignore_patterns("runs", "results", "mlflow.db"))
    params = yaml.safe_load((home / "params.yaml").read_text())
    params["methods"], params["seeds"], params["training"]["epochs"] = ["clip"], [0], 1
    params["data"]["ablate_on"] = ["chestxray14"]
    params["encoders"]["image"] = {"card": "efficientnet-lite0", "size": 64}
    params["cells"] = CELLS
    (home / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return home


def rows(home: Path, table: str) -> list[dict[str, str]]:
    with (home / "reports" / "encoders" / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_cells_with_encoders_of_their_own_become_the_tables_of_encoders(home: Path, bench) -> None:
    code, _, err = bench(home, "stage", "cell", "clip")
    assert code == 0, err
    code, out, err = bench(home, "stage", "encoders", "--jobs", "1")
    assert code == 0, err
    assert "encoders_by_method.md" in out
    axis = rows(home, "encoders_by_method")
    assert [row["image"] for row in axis] == ["efficientnet-lite0, changed", "lite0-untrained"]
    assert {row["seen"] for row in axis} == {"zero-shot"}
    assert len({row["clip_value"] for row in axis}) == 2
    trained = rows(home, "trained_encoders")
    assert [row["cell"] for row in trained] == ["clip-frozen", "clip-last-stage"]
    assert trained[0]["difference"] == ""
    gained = float(trained[1]["value"]) - float(trained[0]["value"])
    assert float(trained[1]["difference"]) == pytest.approx(gained, abs=1e-9)
    assert int(trained[1]["parameters"]) > int(trained[0]["parameters"])
    run = read_json(home / "runs" / "clip-last-stage" / "seed-0" / "run.json")
    assert run["fine_tuned"] == ["image"]
    _, again, err = bench(home, "stage", "encoders", "--jobs", "1")
    assert err.count("reused, best epoch") == 3
    assert "reused" in again


def test_a_main_cell_knows_nothing_of_encoders_of_its_own(home: Path) -> None:
    recorded = read_json(home / "runs" / "clip-main" / "seed-0" / "source.json")["cell"]
    assert "encoders" not in recorded
    recorded = read_json(home / "runs" / "clip-untrained" / "seed-0" / "source.json")["cell"]
    assert recorded["encoders"]["image"]["name"] == "lite0-untrained"


REFUSED = {
    "cells.clip-untrained.encoders.image=efficientnet-lite9": "unknown encoder 'efficientnet-lite9'. Did you",
    "cells.clip-untrained.encoders.text=efficientnet-lite0": "'efficientnet-lite0' is no text encoder",
    "cells.clip-untrained.encoders.imag=vit-b16": "unknown key 'cells.clip-untrained.encoders.imag'",
    "encoders.train.image=lorra": "Input should be 'none', 'last stage', 'lora' or 'full'",
    "encoders.train.augment=official": "acts on nothing here. Set image to last stage, lora or full",
    "encoders.train={image: full, lora: {image: [conv_pw]}}": "encoders.train.lora: acts on nothing here",
    "encoders.train={image: last stage, layer_decay: 0.5}": "train.layer_decay: acts on nothing here",
    "training.encoder_learning_rate=0.1": "acts on encoders that are fine-tuned; those of clip-main",
    "encoders.train={image: lora, lora: {image: [query]}}": "no linear layer or convolution of 1 x 1 'query'",
    "encoders.train={image: full, augment: official}": "encoders.train.augment: clip has none of its own",
}  # fmt: skip


@pytest.mark.parametrize("item", REFUSED)
def test_what_cannot_be_is_one_line_before_any_data_is_read(home, bench, monkeypatch, item: str) -> None:
    monkeypatch.setattr("benchmark.stages.run.prepare_dataset", lambda *_: pytest.fail("data was prepared"))
    code, out, err = bench(home, "run", "--method", "clip", "--dataset", "chestxray14", "--set", item)
    assert (code, out) == (2, "")
    assert len(err.strip().splitlines()) == 1
    assert REFUSED[item] in err


def test_a_cell_whose_weights_are_missing_is_refused_first(home, bench, monkeypatch) -> None:
    monkeypatch.setattr("benchmark.stages.run.prepare_dataset", lambda *_: pytest.fail("data was prepared"))
    params = (home / "params.yaml").read_text()
    try:
        (home / "params.yaml").write_text(params.replace("weights: random", "weights: path:/nowhere.pth"))
        code, _, err = bench(home, "stage", "cell", "clip-untrained")
    finally:
        (home / "params.yaml").write_text(params)
    assert code == 2
    assert err.strip().splitlines()[-1].endswith("/nowhere.pth: no such file; correct `weights`.")
