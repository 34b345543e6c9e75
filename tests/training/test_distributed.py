"""Two processes give the numbers of one with the joint batch; a death leaves a state to resume."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from distributed_worker import config_of, method_of, one_step
from safetensors.torch import load_file
from training_cases import make_data

from benchmark.core.errors import ParamsError
from benchmark.evaluation.scoring import score
from benchmark.training.distributed import Group, tile_bounds
from benchmark.training.finished import load_method
from benchmark.training.loop import train
from methods.base import METHODS

HERE = Path(__file__).parent


def launch(task: str, folder: Path) -> list[subprocess.CompletedProcess[str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2",
              "OMP_NUM_THREADS": "1",
              "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])])}  # fmt: skip
    started = [
        subprocess.Popen(
            [sys.executable, str(HERE / "distributed_worker.py"), task, str(folder)],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    done = []
    for process in started:
        _, error = process.communicate(timeout=180)
        done.append(subprocess.CompletedProcess(process.args, process.returncode, "", error))
    return done


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    for process in launch("equal", folder):
        assert process.returncode == 0, process.stderr
    return folder


@pytest.mark.parametrize("name", METHODS.names())
def test_two_processes_equal_one(name: str, two: Path, tmp_path: Path) -> None:
    expected = one_step(name, Group())
    found = torch.load(two / f"{name}.pt", weights_only=True)
    torch.testing.assert_close(found.pop("loss"), expected.pop("loss"), rtol=1e-5, atol=1e-6)
    assert found.keys() == expected.keys()
    assert max(float(gradient.abs().max()) for gradient in expected.values()) > 1e-2
    for parameter, gradient in expected.items():
        most = max(1.0, float(gradient.abs().max()))
        torch.testing.assert_close(found[parameter], gradient, rtol=1e-4, atol=1e-5 * most, msg=parameter)
    single = train(method_of(name), make_data(), config_of(), tmp_path, 0)
    shared = json.loads((two / name / "run.json").read_text())
    assert shared["processes"] == 2
    assert shared["identity"] == single.run["identity"]
    assert shared["val_loss"] == pytest.approx(single.val_loss, rel=1e-5)
    one, other = load_file(tmp_path / "model.safetensors"), load_file(two / name / "model.safetensors")
    for key, tensor in one.items():
        torch.testing.assert_close(other[key], tensor, rtol=1e-4, atol=1e-5, msg=key)


def test_sharded_scores_are_the_whole(two: Path) -> None:
    data = make_data()
    expected = score(load_method(two / "carzero"), data.images, data.text.get(slice(None)))
    found = np.load(two / "scores.npy")
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert len(list((two / "shards").iterdir())) == 2, "each rank keeps the shards of its own rows"


def test_ranks_part_at_tiles_and_share_every_row() -> None:
    assert tile_bounds(7, 2, Group(0, 2)) == [0, 4, 7]
    assert tile_bounds(160, 64, Group(0, 2)) == [0, 128, 160]
    assert tile_bounds(3, 64, Group(0, 3)) == [0, 3, 3, 3]


def test_a_dead_process_ends_the_run_and_leaves_its_state(tmp_path: Path) -> None:
    dead, left = launch("die", tmp_path)
    assert dead.returncode == -9
    assert left.returncode == 1
    assert "another process of this run ended" in left.stderr
    assert "Traceback" not in left.stderr
    assert (tmp_path / "clip" / "state.pt").is_file()
    assert not (tmp_path / "clip" / "run.json").exists()
    resumed = train(method_of("clip"), make_data(), config_of(), tmp_path / "clip", 0)  # by one process
    assert resumed.run["processes"] == 1
    whole = train(method_of("clip"), make_data(), config_of(), tmp_path / "whole", 0)
    run = json.loads((tmp_path / "clip" / "run.json").read_text())
    assert run["val_loss"] == pytest.approx(whole.val_loss, rel=1e-4)


def test_a_batch_smaller_than_the_group_is_refused(tmp_path: Path) -> None:
    from benchmark.training.data import epoch_batches
    from benchmark.training.step import Step

    data, method = make_data(), method_of("clip")
    batch = epoch_batches(data, 0, 0, 2, "one")[0]
    with pytest.raises(ParamsError, match="cannot be shared by 8 processes"):
        Step(method, data, config_of(), torch.device("cpu"), Group(0, 8)).load(batch)
