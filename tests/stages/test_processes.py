"""Past one process: torchrun, a pool, an array of jobs, and two runs that meet at one cell."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch

from benchmark.core.errors import BenchError, ParamsError
from benchmark.core.tables import Predictions
from benchmark.grid.layout import Project
from benchmark.grid.request import Request, plan
from benchmark.stages.processes import with_ranks
from benchmark.stages.ray_cluster import ask
from benchmark.stages.ray_tasks import run_logged
from benchmark.stages.versions import check_ranks, difference, versions
from tests.stages.waiting import wait_for

pytestmark = pytest.mark.filterwarnings("ignore")

CELL = ("--method", "carzero", "--dataset", "chestxray14", "--seeds", "0")
UNEVEN = ("--set", "training.batch_size=25")
"""90 training images make batches of 23 and 22: shares of 12 and 11."""


def start(home: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CXR_ALIGNBENCH_HOME": str(home), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_torchrun_prints_the_table_of_one_process(small_project, fresh_copy, bench) -> None:
    """Metric rows equal to 1e-6. Scores equal to 1e-6 up to one number common to all: the bias of CARZero's
    last layer has a gradient of zero in exact arithmetic, and AdamW makes full steps of its rounding."""
    code, out, err = bench(small_project, "run", *CELL, *UNEVEN, "--json")
    assert code == 0, err
    alone = json.loads(out)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    process = start(fresh_copy, *torchrun, "-m", "benchmark", "run", *CELL, *UNEVEN, "--json")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    shared = json.loads(out)  # one object: only rank 0 prints
    assert err.count("trained in") == 1
    cells = [home / "runs" for home in (small_project, fresh_copy)]
    name = next(p.name for p in cells[1].iterdir() if p.name.startswith("carzero-main"))
    one, two = (json.loads((runs / name / "seed-0/run.json").read_text()) for runs in cells)
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["options"]["dropout"] > 0
    assert one["identity"] == two["identity"]
    assert two["val_loss"] == pytest.approx(one["val_loss"], rel=1e-6)
    assert len(shared["metrics"]) == len(alone["metrics"]) > 50
    for ours, theirs in zip(shared["metrics"], alone["metrics"], strict=True):
        for key, value in theirs.items():
            assert ours[key] == (pytest.approx(value, abs=1e-6) if isinstance(value, float) else value), key
    scores = [
        Predictions.load(home / f"results/{name}/seed-0/chestxray14/predictions.parquet").frame
        for home in (small_project, fresh_copy)
    ]
    assert scores[0]["image_id"].equals(scores[1]["image_id"])
    assert len(scores[0]) == 77  # tiles of 64 and 13 images: the second rank has the smaller share
    whole, joined = (frame.iloc[:, 2:].to_numpy(np.float64) for frame in scores)
    np.testing.assert_allclose(joined - joined.mean(), whole - whole.mean(), atol=1e-6)
    assert whole.std() > 1e-3


@pytest.mark.slow
def test_a_rank_that_dies_ends_the_command_and_the_run_goes_on_later(fresh_copy, bench) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["run", *CELL, "--set", "training.epochs=12", "--set", "training.checkpoint_seconds=0"]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    ranks = [
        start(fresh_copy, "-m", "benchmark", *command, RANK=str(rank), LOCAL_RANK=str(rank), **common)
        for rank in range(2)
    ]
    wait_for(lambda: list((fresh_copy / "runs").glob("*/seed-0/state.pt")), 120)
    ranks[1].send_signal(signal.SIGKILL)
    out, err = ranks[0].communicate(timeout=60)
    assert ranks[0].returncode == 1
    assert out == ""
    assert err.splitlines()[-1].startswith("rank 0: another process of this run ended")
    assert "Traceback" not in err
    _, err = ranks[1].communicate(timeout=60)
    assert err == ""
    folder = next((fresh_copy / "runs").glob("*/seed-0"))
    assert not (folder / "run.json").exists()
    assert 0 < torch.load(folder / "state.pt", weights_only=True)["step"] < 36
    code, _, err = bench(fresh_copy, *command)  # by one process
    assert code == 0, err
    run = json.loads((folder / "run.json").read_text())
    assert (run["processes"], run["epochs"]) == (1, 12)


@pytest.mark.slow
def test_a_rank_of_another_version_ends_all_with_one_line(fresh_copy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    older = "import benchmark; benchmark.__version__ = '0.0'; from benchmark.cli import entry; entry()"
    ranks = [
        start(fresh_copy, *code, "run", *CELL, RANK=str(rank), LOCAL_RANK=str(rank), **common)
        for rank, code in enumerate((("-m", "benchmark"), ("-c", older)))
    ]
    said = [rank.communicate(timeout=600) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [2, 2]
    assert said[1] == ("", "")
    assert said[0][0] == ""
    assert re.fullmatch(r"rank 1 has cxr-alignbench 0\.0 .*, not .* as rank 0\..*\n", said[0][1])


def test_only_the_first_rank_says_what_is_wrong(monkeypatch) -> None:
    def refuse(group, say):
        say("never printed by the second rank")
        raise BenchError("bad input")

    monkeypatch.setenv("RANK", "1")
    assert with_ranks(refuse, pytest.fail) == (None, 2)
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(BenchError, match="bad input"):
        with_ranks(refuse, lambda line: None)


@pytest.mark.slow
def test_two_runs_of_one_cell_train_it_once(fresh_copy) -> None:
    both = [start(fresh_copy, "-m", "benchmark", "run", *CELL) for _ in range(2)]
    tables, said = zip(*(process.communicate(timeout=300) for process in both), strict=True)
    assert [process.returncode for process in both] == [0, 0], said
    assert sorted("trained in" in text for text in said) == [False, True]
    assert sorted("carzero-main seed 0: reused" in text for text in said) == [False, True]
    assert tables[0] == tables[1]


def test_the_official_recipe_is_a_cell_of_its_own(root, tmp_path) -> None:
    shutil.copy(root / "params.yaml", tmp_path)

    def cell(**more):
        return plan(Project(tmp_path), Request("carzero", "padchest", seeds=(0,), **more)).cells[0]

    official = cell(recipe="official", sets=("training.epochs=1", "training.tile=[8, 8]"))
    assert official.name.startswith("carzero-main-official-recipe-")
    assert official.options.layers == 4
    config = official.training
    assert (config.betas, config.precision, config.epochs, config.tile) == (
        (0.5, 0.999), "float16 mixed", 1, (8, 8),
    )  # fmt: skip
    assert cell().name == "carzero-main"
    with pytest.raises(ParamsError, match="no recipe 'offical' of carzero"):
        cell(recipe="offical")


ARRAY = ("run", "--method", "all", "--dataset", "chestxray14", "--cluster")


def test_a_dry_run_prints_the_jobs_and_submits_nothing(small_project, bench) -> None:
    before = sorted(small_project.rglob("*"))
    asked = ("--gpus", "1", "--minutes", "30", "--partition", "gpu", "--dry-run")
    code, out, err = bench(small_project, *ARRAY, "slurm", *asked)
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].startswith("would submit 4 jobs to slurm: timeout_min 30, gpus_per_node 1")
    assert "slurm_partition gpu" in lines[0]
    assert "--shard 4/4" in lines[4]
    assert sorted(small_project.rglob("*")) == before
    code, out, _ = bench(small_project, *ARRAY, "slurm", *asked, "--shards", "2", "--json")
    assert len(json.loads(out)["commands"]) == 2


def test_published_weights_go_past_one_process_by_ray_alone_and_by_shards_of_images(root, bench) -> None:
    published = ("run", "--method", "carzero", "--dataset", "chestxray14", "--checkpoint", "x", "--cluster")
    assert "--cluster ray." in bench(root, *published, "slurm")[2]
    assert "--shards parts cells" in bench(root, *published, "ray", "--shards", "2")[2]


def test_a_cluster_that_is_not_there_is_one_line(small_project, bench, monkeypatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", "/nowhere")
    code, out, err = bench(small_project, *ARRAY, "slurm")
    assert (code, out) == (2, "")
    assert "--cluster slurm" in err
    assert err.count("\n") == 1
    monkeypatch.setitem(sys.modules, "submitit", None)
    code, _, err = bench(small_project, *ARRAY, "slurm")
    assert code == 2
    assert "pip install 'cxr-alignbench[cluster]'" in err
    for more in (("--jobs", "2"), ("--shard", "1/2")):
        code, _, err = bench(small_project, *ARRAY, "slurm", *more)
        assert code == 2
        assert "give one of them" in err
    assert bench(small_project, *ARRAY[:-1], "--dry-run")[0] == 2
    assert "expected slurm, local or ray" in bench(small_project, *ARRAY, "pbs")[2]


@pytest.mark.slow
def test_submitted_jobs_make_the_table(fresh_copy, bench) -> None:
    pytest.importorskip("submitit")
    command = ("run", "--method", "clip", "--dataset", "chestxray14")
    code, out, err = bench(fresh_copy, *command, "--cluster", "local", "--cpus", "1", "--json")
    assert code == 0, err
    assert len(json.loads(out)["jobs"]) == 2
    done = [fresh_copy / f"results/clip-main/seed-{seed}/chestxray14/evaluation.json" for seed in (0, 1)]
    wait_for(lambda: all(path.is_file() for path in done), 200)
    code, out, err = bench(fresh_copy, *command)
    assert code == 0
    assert err.count("clip-main seed") == err.count("reused, best epoch") == 2


def test_a_ray_cluster_that_is_not_there_is_one_line(small_project, bench, monkeypatch) -> None:
    def refused(*more: str) -> str:
        code, out, err = bench(small_project, *ARRAY, "ray", *more)
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
        return err

    code, out, err = bench(small_project, *ARRAY, "ray", "--gpus", "1", "--dry-run")
    assert code == 0, err
    assert out.splitlines()[0] == "would submit 4 tasks to ray: num_cpus 4, num_gpus 1, memory 17179869184"
    assert "--minutes" in refused("--minutes", "5")
    assert "--address goes with --cluster ray" in bench(small_project, *ARRAY, "local", "--address", "a:1")[2]
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "pip install 'cxr-alignbench[cluster]'" in refused()


def test_an_address_without_a_ray_head_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(BenchError, match="no Ray cluster answers .*refused"):
        ask(f"127.0.0.1:{port}")
    for wrong in ("here", "ray://a:10001", "a:b", ":6379"):
        with pytest.raises(BenchError, match="expected HOST:PORT"):
            ask(wrong)
    with pytest.raises(BenchError, match="no Ray cluster answers"):
        ask("127.0.0.1:99999")
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as page:
        Thread(target=page.handle_request, daemon=True).start()
        with pytest.raises(BenchError, match="no Ray cluster"):
            ask(f"127.0.0.1:{page.server_address[1]}")


def test_another_version_on_a_node_is_named() -> None:
    assert difference(versions(), versions()) is None
    assert difference({"torch": "2.7", "numpy": "2"}, {"torch": "2.6", "numpy": "2"}) == "torch 2.6, not 2.7"
    check_ranks([versions()] * 3)
    with pytest.raises(BenchError, match="rank 1 has torch 2.6, not 2.7 as rank 0"):
        check_ranks([{"torch": "2.7"}, {"torch": "2.6"}])


def test_a_task_ends_with_its_worker_and_keeps_its_last_line(tmp_path) -> None:
    environment = {**os.environ, "CXR_ALIGNBENCH_HOME": str(tmp_path)}
    log = tmp_path / "logs" / "ray-1.log"
    for _ in range(2):
        code, said = run_logged(["run", "--dataset", "padches"], log, "on a node", environment)
        assert code == 2
        assert "unknown dataset 'padches'" in said
    assert log.read_text().splitlines() == ["on a node", said] * 2
    code, said = run_logged([], tmp_path, "a folder where the log goes", environment)
    assert (code, said[: len(str(tmp_path))]) == (2, str(tmp_path))
    reading, writing = os.pipe()
    waits = "import sys, time; from benchmark.core.workers import end_with_writer; "
    waits += "end_with_writer(int(sys.argv[1])); print(flush=True); time.sleep(60)"
    child = subprocess.Popen(
        [sys.executable, "-c", waits, str(reading)], pass_fds=[reading], stdout=subprocess.PIPE
    )
    child.stdout.read(1)
    os.close(writing)
    assert child.wait(20) == 1
    os.close(reading)
