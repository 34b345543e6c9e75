"""`bench run` from twins to a table: reuse, resume after a kill, bad input, no report text outside."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark.core.tables import Predictions
from tests.stages.conftest import CANARY

pytestmark = pytest.mark.filterwarnings("ignore")

TWIN = ("--method", "clip", "--dataset", "chestxray14")

RUN = ("run", "--method", "clip", "--dataset", "chestxray14", "--seeds", "0")


def test_one_cell_prints_the_twins_table_and_reuses_it(fresh_copy, bench) -> None:
    code, out, err = bench(fresh_copy, *RUN)
    assert code == 0, err
    assert "SYNTHETIC TWIN" in out
    assert "macro AUROC" in out
    assert "[" in next(line for line in out.splitlines() if line.strip().startswith("clip"))
    assert "trained in" in err
    code, again, err = bench(fresh_copy, *RUN)
    assert (code, again) == (0, out)
    assert "reused" in err
    assert "trained in" not in err


def test_json_is_one_object_with_unrounded_numbers(small_project, bench) -> None:
    code, out, _ = bench(small_project, *RUN, "--json")
    value = json.loads(out)
    assert code == 0
    assert value["notices"] == ["SYNTHETIC TWIN"]
    macro = [m for m in value["metrics"] if m["class"] == "macro" and m["stratum"] == "all"]
    auroc = next(m for m in macro if m["metric"] == "auroc")
    assert auroc["low"] < auroc["value"] < auroc["high"]
    assert auroc["value"] != round(auroc["value"], 4)


def test_several_methods_are_compared(small_project, bench) -> None:
    code, out, err = bench(small_project, "run", "--method", "all", "--dataset", "main", "--json")
    assert code == 0, err
    value = json.loads(out)
    macro = [c for c in value["comparisons"] if c["class"] == "macro" and c["stratum"] == "all"]
    assert {(c["method_a"], c["method_b"]) for c in macro} == {("clip-main", "carzero-main")}
    assert all(c["p_holm"] is not None and c["n_seeds_a"] == 2 for c in macro)


@pytest.mark.slow
def test_all_datasets_have_one_row_each(small_project, tmp_path, bench) -> None:
    """Every card that is for evaluation: twins are made as they are needed, MS-CXR is scored by its boxes."""
    import yaml

    from benchmark.data.cards import load_card
    from benchmark.twins.build import WRITERS

    params = yaml.safe_load((small_project / "params.yaml").read_text())
    params["twins"].update(size=64, images=dict.fromkeys(WRITERS.names(), 24))
    params["methods"], params["training"]["epochs"] = ["carzero"], 1
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    command = ("run", "--method", "carzero", "--seeds", "0", "--set", "twins.images.mimic_cxr=80")
    code, out, err = bench(tmp_path, *command, "--dataset", "all")
    assert code == 0, err
    head, *rows = out.split("\n\n")[0].splitlines()
    assert head.split() == ["dataset", "images", "classes", "metric", *head.split()[4:]]
    wanted = {name for name in WRITERS.names() if load_card(name).role != "training"}
    assert [row.split()[0] for row in rows][:1] == ["chestxray14"]
    assert {row.split()[0]: row for row in rows}.keys() == wanted
    assert len(rows) == len(wanted) == 14
    assert re.search(r"^ms_cxr +\d+ +8 +pointing game +0\.\d{3} \[0\.\d{3}, 0\.\d{3}\]\*?$", out, re.M)
    code, out, err = bench(tmp_path, *command, "--dataset", "ms_cxr", "--json")
    tasks = json.loads(out)["tasks"]
    assert {row["metric"] for row in tasks} >= {"pointing_game", "pointing_game_ties_shared"}
    assert {row["split"] for row in tasks} == {"phrases"}


def test_all_and_main_go_without_data_root(small_project, bench) -> None:
    for name in ("all", "main"):
        code, out, err = bench(
            small_project, "run", "--method", "clip", "--dataset", name, "--data-root", "."
        )
        assert (code, out) == (2, "")
        assert "--data-root goes with one --dataset" in err


def test_changed_parameters_get_a_cell_of_their_own(small_project, bench) -> None:
    before = small_project / "runs/clip-main/seed-0/run.json"
    bench(small_project, *RUN)
    stamp = before.read_bytes()
    code, _, err = bench(small_project, *RUN, "--set", "training.epochs=1")
    assert code == 0, err
    assert before.read_bytes() == stamp
    assert [p.name for p in (small_project / "runs").iterdir() if p.name.startswith("clip-main-")]


def predictions(home: Path) -> Predictions:
    return Predictions.load(home / "results/carzero-main/seed-0/chestxray14/predictions.parquet")


@pytest.mark.slow
def test_a_killed_run_ends_as_an_uninterrupted_one(small_project, fresh_copy, bench) -> None:
    arguments = ["run", "--method", "carzero", "--dataset", "chestxray14", "--seeds", "0"]
    slow = [*arguments, "--set", "training.checkpoint_seconds=0"]
    code, _, err = bench(small_project, *arguments)
    assert code == 0, err
    environment = {**os.environ, "CXR_ALIGNBENCH_HOME": str(fresh_copy)}
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmark", *slow],
        env=environment,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list((fresh_copy / "runs").glob("*/seed-0/state.pt")):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed = list((fresh_copy / "runs").glob("*/seed-0"))
    assert killed
    assert not (killed[0] / "run.json").exists(), "the run ended before it was killed"
    code, _, err = bench(fresh_copy, *slow)
    assert code == 0, err
    cell = killed[0].parent.name
    resumed = Predictions.load(fresh_copy / f"results/{cell}/seed-0/chestxray14/predictions.parquet")
    whole = predictions(small_project)
    assert resumed.frame.equals(whole.frame)


def test_report_text_stays_in_the_text_tables(small_project, bench) -> None:
    code, out, err = bench(small_project, *RUN)
    assert code == 0
    assert CANARY not in out + err
    allowed = ("data/twins/", "data/prepared/", "data/texts/")
    words = [word.encode() for word in CANARY.split()]
    checked = 0
    for path in small_project.rglob("*"):
        name = str(path.relative_to(small_project))
        if path.is_file() and not name.startswith(allowed):
            content = path.read_bytes()
            assert not any(word in content for word in words), name
            checked += 1
    assert checked > 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "carzer", "--dataset", "padchest"), "unknown method 'carzer'. Did you mean 'carzero'?"),
        (("--method", "clip", "--dataset", "padches"), "unknown dataset 'padches'. Did you mean 'padchest'?"),
        ((*TWIN, "--data-root", "/nowhere"), "--data-root /nowhere: no such"),
        ((*TWIN, "--set", "training.epoch=1"), "unknown key 'training.epoch'"),
        ((*TWIN, "--set", "nosuch.key=1"), "unknown key 'nosuch'"),
        ((*TWIN, "--set", "method.clip.options.widht=8"), "widht'"),
        ((*TWIN, "--protocol", "carzer"), "unknown protocol 'carzer'"),
        ((*TWIN, "--profile", "smok"), "no profile 'smok'"),
        ((*TWIN, "--shard", "3/2"), "--shard 3/2"),
        ((*TWIN, "--seeds", "a"), "--seeds a"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_2(small_project, bench, arguments, message) -> None:
    before = sorted(str(p) for p in small_project.rglob("*"))
    code, out, err = bench(small_project, "run", *arguments)
    assert (code, out) == (2, "")
    last = err.strip().splitlines()[-1]
    assert message in last
    assert "Traceback" not in err
    assert sorted(str(p) for p in small_project.rglob("*")) == before


def test_empty_data_root_is_named(small_project, bench, tmp_path) -> None:
    code, _, err = bench(
        small_project, "run", "--method", "clip", "--dataset", "padchest", "--data-root", str(tmp_path)
    )
    assert code == 2
    assert "PADCHEST_chest_x_ray_images" in err


@pytest.mark.slow
def test_real_radiographs(small_project, bench, shared) -> None:
    """600 real NIH images: evaluated by a twin-trained model, and trained on by their labels."""
    root = str(shared / "data" / "nih1000")
    code, out, err = bench(small_project, *RUN, "--data-root", root)
    assert code == 0, err
    assert "600 images of 165 patients" in out
    assert "OFFICIAL DATA" in out
    assert "104 of the 22,433 images" in out
    assert "Data_Entry_2017_v2020.csv" in out
    assert "Trained on mimic_cxr (SYNTHETIC TWIN)" in out
    code, out, err = bench(small_project, *RUN, "--data-root", root, "--train", "chestxray14")
    assert code == 0, err
    assert "104 images" in out
    assert "Trained on chestxray14 (official files), texts: labels" in out
