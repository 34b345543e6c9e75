"""Grounding, segmentation, retrieval and modality gap from tiny twins to rows, tables and reuse."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import pytest
import yaml

from benchmark.core.errors import ParamsError
from benchmark.core.files import read_json
from benchmark.core.tables import METRIC_COLUMNS, read_table
from benchmark.reporting.known_names import OF_TASKS

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def task_project(small_project, tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("tasks") / "project"
    shutil.copytree(small_project, home, ignore=shutil.ignore_patterns("runs", "results", "mlflow.db"))
    params = yaml.safe_load((home / "params.yaml").read_text())
    params["methods"] = ["clip", "gloria"]
    params["twins"]["images"] |= {"chestxdet10": 80, "siim_pneumothorax": 40, "openi": 40}
    params["tasks"] = {
        "grounding": ["chestxdet10"],
        "segmentation": ["siim_pneumothorax"],
        "retrieval": {"datasets": ["openi"], "pairs": 12},
    }
    (home / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return home


def stages(bench, home: Path, *names: str) -> None:
    for method in names:
        code, _, err = bench(home, "stage", "cell", method)
        assert code == 0, err


@pytest.mark.slow
def test_every_task_gets_rows_tables_and_headlines(task_project, bench) -> None:
    code, _, err = bench(task_project, "stage", "cells", "main", "--jobs", "1")
    assert code == 0, err
    folder = task_project / "results" / "clip-main" / "seed-0"
    places = {"grounding": "chestxdet10", "segmentation": "siim_pneumothorax", "retrieval": "openi"}
    values = {}
    for task, dataset in places.items():
        frame, meta = read_table(folder / dataset / f"{task}.parquet")
        assert list(frame.columns) == list(METRIC_COLUMNS)
        assert all(re.fullmatch(OF_TASKS[task], metric) for metric in frame["metric"])
        assert (set(frame["task"]), set(frame["dataset"]), set(frame["origin"])) == (
            {task},
            {dataset},
            {"twin"},
        )
        assert meta["evaluation"]["protocol"] == frame["split"].iloc[0]
        macro = frame[frame["class"] == "macro"].set_index("metric")
        values |= macro["value"].to_dict()
        limited = macro.dropna(subset="low")
        assert len(limited)
        assert (limited["low"] <= limited["value"]).all()
        assert (limited["value"] <= limited["high"]).all()
    assert {"pointing_game", "pointing_game_ties_shared", "dice", "dice_held_out", "pixel_auroc",
            "empty_specificity", "recall_at_1_image_to_text", "recall_at_10_text_to_image", "modality_gap",
            "paired_cosine"} <= set(values)  # fmt: skip
    assert 0 <= values["modality_gap"] <= 2
    index = read_json(task_project / "results" / "index" / "main.json")["clip-main"]["seed-0"]
    assert index["siim_pneumothorax"]["dice"] == pytest.approx(values["dice"], abs=1e-6)
    assert index["chestxdet10"]["pointing_game"] == pytest.approx(values["pointing_game"], abs=1e-6)

    assert bench(task_project, "stage", "summarise", "main")[0] == 0
    sources = read_json(task_project / "results" / "summary" / "main.sources.json")
    tables = (task_project / "results" / "summary" / "main").glob("*.parquet")
    assert {path.relative_to(task_project).as_posix() for path in tables} < set(sources)
    assert bench(task_project, "report", "tables", "--part", "main")[0] == 0
    for task, dataset in places.items():
        text = (task_project / "reports" / "tables" / f"{task}.md").read_text()
        assert "SYNTHETIC TWIN" in text
        assert dataset in text
        assert "GLoRIA" in text
    grounding = (task_project / "reports" / "tables" / "grounding.md").read_text()
    assert "0.367" in grounding, "the published value stands beside ours"

    from benchmark.grid.layout import Project
    from benchmark.reporting.effects import seed_values
    from benchmark.reporting.gather import gather

    evidence = gather(Project(task_project), "main").evidence
    assert seed_values(evidence, "clip-main", ["openi"], "all", "modality_gap").shape == (2, 1)
    assert "siim_pneumothorax" not in evidence.datasets, "no classification row, so no zero-shot column"


def test_rows_are_reused_and_a_changed_prompt_is_not(task_project, bench) -> None:
    stages(bench, task_project, "clip")
    table = task_project / "results/clip-main/seed-0/chestxdet10/grounding.parquet"
    before = table.stat().st_mtime_ns
    stages(bench, task_project, "clip")
    assert table.stat().st_mtime_ns == before
    params = (task_project / "params.yaml").read_text()
    (task_project / "params.yaml").write_text(params.replace("There is {}", "Evidence of {}"))
    stages(bench, task_project, "clip")
    (task_project / "params.yaml").write_text(params)
    assert table.stat().st_mtime_ns != before


def test_a_method_without_maps_has_no_row_and_a_set_without_boxes_is_an_error(task_project) -> None:
    from benchmark.core.tasks import task_named
    from benchmark.grid.layout import Project
    from benchmark.grid.params import main_cell
    from benchmark.grid.params_file import load_params
    from benchmark.stages.evaluate import evaluate_task
    from benchmark.stages.evaluation_sets import task_data
    from benchmark.stages.run import Session
    from benchmark.stages.run_record import WeightsRecord
    from methods.base import build

    project = Project(task_project)
    params = load_params(project.params)
    session = Session(project, params, lambda line: None)
    width = task_data(session, task_named("grounding"), "chestxdet10").images.width
    method = build("clip", {"image_pool": "pooled+mean", "width": 8}, width, 384)
    run = WeightsRecord(model_sha256="x", options={}, device="cpu", commit=None)
    cell = main_cell(params, "clip").model_copy(update={"name": "clip-pooled"})
    for name, dataset in (("grounding", "chestxdet10"), ("segmentation", "siim_pneumothorax")):
        assert evaluate_task(session, name, cell, 0, dataset, run, method) is None
        assert evaluate_task(session, name, cell, 0, dataset, run) is None, "known without loading the model"
    assert not list((task_project / "results" / "clip-pooled").rglob("*.parquet"))
    with pytest.raises(ParamsError, match=r"tasks\.grounding lists 'padchest'"):
        task_data(session, task_named("grounding"), "padchest")


def test_a_map_of_one_image_says_score_truth_and_kind(task_project, bench, tmp_path) -> None:
    import json

    stages(bench, task_project, "clip")
    regions, _ = read_table(task_project / "data/prepared/chestxdet10/regions.parquet")
    first = regions[regions["class"] == "Effusion"].iloc[0]
    (image,) = (task_project / "data/twins/chestxdet10").rglob(first["image_id"])
    command = ("map", str(image), "There is effusion", "--method", "clip", "--seed", "0")
    code, out, err = bench(task_project, *command, "--json")
    assert code == 0, err
    value = json.loads(out)
    assert (value["map"], value["class"], value["positive"]) == ("similarity", "Effusion", True)
    assert value["picture"].startswith("data/maps/")
    assert (task_project / value["picture"]).read_bytes().startswith(b"\x89PNG")
    assert 0 <= value["truth"]["iou_fixed"] <= value["truth"]["iou"] <= 1
    predictions, _ = read_table(task_project / "results/clip-main/seed-0/chestxdet10/grounding.parquet")
    assert len(predictions)
    code, out, _ = bench(task_project, *command)
    assert "SYNTHETIC TWIN" in out
    assert "pointing game" in out

    stray = tmp_path / "stray.png"
    stray.write_bytes(image.read_bytes())
    code, out, _ = bench(task_project, "map", str(stray), "There is effusion", "--method", "clip",
                         "--out", str(tmp_path / "own.png"))  # fmt: skip
    assert code == 0
    assert "in no prepared set" in out
    assert (tmp_path / "own.png").is_file()
    for more, said in (
        (("--method", "gloria", "--seed", "9"), "bench stage cell gloria-main --seeds 9`"),
        (("--method", "clip", "--class", "Efusion"), "Did you mean 'Effusion'"),
        (("--method", "clip", "--out", "x.jpg"), "name it so"),
        (("--method", "clip", "--tokenizer", "x"), "goes with --checkpoint"),
    ):
        code, _, err = bench(task_project, "map", str(image), "There is effusion", *more)
        assert (code, err.count("\n")) == (2, 1)
        assert said in err


def test_transfer_stands_beside_zero_shot_and_evaluates_no_labelled_patient(task_project, bench) -> None:
    stages(bench, task_project, "clip")
    kept = (task_project / "params.yaml").read_text()
    params = yaml.safe_load(kept)
    params["tasks"]["transfer"] = {"epochs": 1, "draws": 2}
    (task_project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    code, _, err = bench(task_project, "stage", "transfer")
    assert code == 0, err
    folder = task_project / "results/clip-main/seed-0/chestxray14"
    rows, _ = read_table(folder / "transfer.parquet")
    macro = rows[(rows["class"] == "macro") & (rows["stratum"] == "all")].set_index("metric")["value"]
    whole, _ = read_table(folder / "metrics.parquet")
    whole = whole[(whole["class"] == "macro") & (whole["stratum"] == "all") & (whole["metric"] == "auroc")]
    assert macro["auroc_zero_shot"] == pytest.approx(whole["value"].iloc[0])
    assert macro["images_1"] < macro["images_10"] < macro["images_100"]
    assert {f"auroc_{kind}_{share}" for kind in ("probe", "tuned") for share in (1, 10, 100)} <= set(
        macro.index
    )
    table = (task_project / "reports" / "transfer" / "transfer.md").read_text()
    assert "SYNTHETIC TWIN" in table
    with (task_project / "reports" / "transfer" / "transfer.csv").open() as file:
        (row,) = (r for r in csv.DictReader(file) if (r["cell"], r["share"]) == ("clip-main", "100%"))
    for kind in ("encoder_last_stage", "encoder_full"):
        assert 0 <= float(row[f"{kind}_low"]) <= float(row[f"{kind}_value"]) <= 1
    trained = (task_project / "runs" / "gloria-main" / "seed-0" / "model.safetensors").is_file()
    assert ("gloria-main" in table) != trained, "named where it is not trained"
    claims = (task_project / "reports" / "transfer" / "claims.csv").read_text()
    assert "not run" in claims, "no CARZero here"
    stamp = (folder / "transfer.parquet").stat().st_mtime_ns
    code, _, err = bench(task_project, "stage", "transfer")
    assert code == 0
    assert "encoder, full, on chestxray14: reused" in err
    assert (folder / "transfer.parquet").stat().st_mtime_ns == stamp
    for more, said in ((("--dataset", "openi"), "no labelled images"), (("--dataset", "opeli"), "openi")):
        code, _, err = bench(task_project, "stage", "transfer", *more)
        assert code == 2
        assert said in err.strip().splitlines()[-1]
    (task_project / "params.yaml").write_text(kept)


def test_a_gallery_is_made_of_twins_only(task_project, bench) -> None:
    stages(bench, task_project, "clip", "gloria")
    code, _, err = bench(task_project, "stage", "gallery")
    assert code == 0, err
    folder = task_project / "reports" / "gallery"
    text = (folder / "gallery.md").read_text()
    assert "SYNTHETIC TWIN" in text
    assert text.count("| GLoRIA |") >= 1
    assert (folder / "gallery.jpg").stat().st_size < 400_000
    params = yaml.safe_load((task_project / "params.yaml").read_text())
    kept = (task_project / "params.yaml").read_text()
    params["data"]["roots"] = {"chestxdet10": str(task_project / "data/twins/chestxdet10")}
    (task_project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    code, _, err = bench(task_project, "stage", "gallery")
    (task_project / "params.yaml").write_text(kept)
    assert code == 2
    assert "must not be passed on" in err
