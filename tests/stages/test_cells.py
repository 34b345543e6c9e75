"""The cells of an ablation table: all of them in dvc.yaml; a pool and one process give the same numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from benchmark.core.hashing import hash_file

CELLS = {
    "clip-dot": {"method": "clip", "table": "similarity", "label": "dot", "options": {"similarity": "dot"}},
    "clip-raw": {
        "method": "clip", "table": "similarity", "label": "raw", "seeds": [1],
        "texts": {"wording": "raw"},
    },
}  # fmt: skip


@pytest.mark.slow
def test_a_pool_and_one_process_give_the_same_numbers(fresh_copy: Path, bench) -> None:
    params = yaml.safe_load((fresh_copy / "params.yaml").read_text())
    params["cells"] = CELLS
    params["training"]["threads"] = 1
    (fresh_copy / "params.yaml").write_text(yaml.safe_dump(params))
    index = fresh_copy / "results" / "index" / "ablations.json"

    code, out, _ = bench(fresh_copy, "stage", "cells", "ablations", "--jobs", "1")
    assert code == 0
    assert "2 cells, 3 runs" in out
    alone = json.loads(index.read_text())
    assert {cell: list(seeds) for cell, seeds in alone.items()} == {
        "clip-dot": ["seed-0", "seed-1"],
        "clip-raw": ["seed-1"],
    }
    for folder in (fresh_copy / "runs").iterdir():
        for file in folder.rglob("run.json"):
            file.unlink()
    code, _, err = bench(fresh_copy, "stage", "cells", "ablations", "--jobs", "2")
    assert code == 0
    assert "clip-dot seed 0: trained" in err
    assert json.loads(index.read_text()) == alone

    code, _, err = bench(fresh_copy, "stage", "cells", "similarity", "--jobs", "1")
    assert code == 0
    assert "clip-dot seed 0: reused" in err
    code, out, _ = bench(fresh_copy, "stage", "cells", "other")
    assert code == 0
    assert "params.yaml has no such cell" in out


@pytest.mark.slow
def test_one_cell_finds_what_the_pool_of_main_cells_made(fresh_copy: Path, bench) -> None:
    params = yaml.safe_load((fresh_copy / "params.yaml").read_text())
    params["methods"] = ["clip", "brgsa"]
    params["training"]["threads"] = 1
    (fresh_copy / "params.yaml").write_text(yaml.safe_dump(params))
    code, out, _ = bench(fresh_copy, "stage", "cells", "main", "--jobs", "2")
    assert code == 0
    assert "2 cells, 4 runs" in out
    index = json.loads((fresh_copy / "results" / "index" / "main.json").read_text())
    assert {name for name in index if not name.startswith("reference-")} == {"clip-main", "brgsa-main"}
    weights = fresh_copy / "runs" / "clip-main" / "seed-0" / "model.safetensors"
    assert index["clip-main"]["seed-0"]["weights"] == hash_file(weights)
    assert "auroc_all" in index["clip-main"]["seed-0"]["chestxray14"]
    metrics = sorted((fresh_copy / "results" / "clip-main" / "seed-0").rglob("metrics.parquet"))
    before = [path.stat().st_mtime_ns for path in (weights, *metrics)]
    for method in ("clip", "brgsa"):  # the bank's initial weights round differently on several threads
        code, _, err = bench(fresh_copy, "stage", "cell", method, "--seeds", "0")
        assert code == 0
        assert f"{method}-main seed 0: reused" in err
    assert [path.stat().st_mtime_ns for path in (weights, *metrics)] == before
