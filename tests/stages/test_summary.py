"""Which rows are compared with which."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from benchmark.grid.params import ablation_cell, main_cell
from benchmark.grid.params_file import load_params
from benchmark.stages.summarise import MAINS, Scored, families_of, held_to_floor, means_of

ROOT = Path(__file__).parents[2]


def test_main_cells_meet_one_another_and_ablations_their_own_method_and_table() -> None:
    params = load_params(ROOT / "params.yaml")
    cells = [main_cell(params, method) for method in params.methods]
    cells += [ablation_cell(params, name) for name in params.cells]
    files = [Scored(cell, cell.name, seed, Path("-")) for cell in cells for seed in (0, 1)]
    files += [Scored(cells[0], f"{cells[0].name} · name", 0, Path("-"))]
    found = families_of(files)
    assert found[MAINS] == [f"{method}-main" for method in params.methods]
    assert found["brgsa", "bank"] == ["brgsa-main", "brgsa-no-bank"]
    assert found["clip", "prompt_alignment"][:2] == ["clip-main", "clip-raw-report"]
    assert "clip-main · name" in found["clip", "prompt_alignment"]
    for (method, table), names in found.items():
        if (method, table) != MAINS:
            assert {params.cells[n].table for n in names if n in params.cells} == {table}
            assert all(name.startswith(f"{method}-") for name in names)
    pairs = [{a, b} for names in found.values() for a in names for b in names if a < b]
    assert all(pairs.count(pair) == 1 for pair in pairs)


def test_one_row_alone_is_compared_with_nothing() -> None:
    cell = main_cell(load_params(ROOT / "params.yaml"), "clip")
    assert families_of([Scored(cell, cell.name, 0, Path("-"))]) == {}


def test_cells_are_held_to_the_floor_under_their_own_prompts() -> None:
    params = load_params(ROOT / "params.yaml")
    clip, carzero = main_cell(params, "clip"), main_cell(params, "carzero")
    ablation = ablation_cell(params, "clip-dot")
    variants = [Scored(cell, f"{cell.name} · name", 0, Path("-")) for cell in (clip, ablation)]
    one, other, third = (Scored(cell, cell.name, 0, Path("-")) for cell in (clip, carzero, ablation))
    assert held_to_floor([one, *variants]) == ["clip-main"]
    assert held_to_floor([third, *variants]) == ["clip-dot"]
    assert held_to_floor([one, other, third, *variants]) == ["clip-main", "carzero-main"]


def test_the_metrics_of_dvc_are_those_of_the_cells_own_prompts() -> None:
    """`dvc metrics show` prints what the tables print, whatever else a cell was asked with."""
    cell = main_cell(load_params(ROOT / "params.yaml"), "clip")
    rows = [("ensemble", 0.9), (cell.prompts.style, 0.7), ("name", 0.8)]
    frame = pd.DataFrame(rows, columns=["prompts", "value"]).assign(
        **{"run_id": cell.name, "dataset": "openi", "class": "macro", "stratum": "all", "metric": "auroc"}
    )
    assert means_of(frame, [cell]) == {"clip-main": {"openi_auroc": 0.7}}


def test_the_committed_metrics_of_dvc_are_those_of_the_committed_tables() -> None:
    found = json.loads((ROOT / "reports" / "metrics.json").read_text(encoding="utf-8"))
    table = pd.read_csv(ROOT / "reports" / "tables" / "zero_shot.csv").query("stratum == 'all'")
    for cell, metrics in found.items():
        own = table[table["cell"] == cell].set_index("dataset")["value"]
        assert len(own)
        for dataset, value in own.items():
            assert metrics[f"{dataset}_auroc"] == round(value, 6), (cell, dataset)
