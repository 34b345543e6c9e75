"""Ray for real: cells as tasks on a local cluster of two nodes, of which one is killed in the middle.

pytest -m ray      needs ray, of the extra `cluster`
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
import yaml

from tests.stages.ray_nodes import STORE
from tests.stages.waiting import wait_for

pytestmark = [pytest.mark.ray, pytest.mark.timeout(3600), pytest.mark.filterwarnings("ignore")]

COMMAND = ("run", "--method", "carzero", "--dataset", "chestxray14", "--seeds", "0,1")
COMMAND += ("--set", "training.epochs=20")
SAVING = ("--set", "training.checkpoint_seconds=0")


def starts(log: Path) -> int:
    return sum(line.startswith("on ") for line in log.read_text().splitlines())


def test_a_cluster_that_loses_a_node_makes_the_table_of_one_process(
    cluster, small_project, fresh_copy, bench
) -> None:
    code, alone, err = bench(small_project, *COMMAND, *SAVING, "--json")
    assert code == 0, err
    other = cluster.add_node(num_cpus=1, object_store_memory=STORE)
    command = [sys.executable, "-m", "benchmark", *COMMAND, *SAVING, "--cluster", "ray", "--cpus", "1"]
    command += ["--memory-gb", "1", "--address", cluster.address, "--json"]
    said = fresh_copy / "said"
    with said.open("w") as err, (fresh_copy / "table").open("w") as out:
        driver = subprocess.Popen(
            command, env={**os.environ, "CXR_ALIGNBENCH_HOME": str(fresh_copy)}, stdout=out, stderr=err
        )

    def steps(seed: int) -> int:
        """Training steps in the saved state of a seed, 0 where there is none."""
        states = list(fresh_copy.glob(f"runs/carzero-main-*/seed-{seed}/state.pt"))
        return torch.load(states[0], weights_only=True)["step"] if states else 0

    def caught() -> list[int]:
        """The seed on the node that will die, once it has saved a state."""
        assert driver.poll() is None, said.read_text()
        logs = enumerate(sorted(fresh_copy.glob("runs/jobs/ray-*.log")))
        return [seed for seed, log in logs if other.node_id in log.read_text() and steps(seed)]

    (seed,) = wait_for(caught)
    cluster.remove_node(other, allow_graceful=False)
    done = steps(seed)
    assert 0 < done < 60, "it was not over when its node died"
    folder = next(fresh_copy.glob(f"runs/carzero-main-*/seed-{seed}"))
    while not (folder / "run.json").exists():
        assert driver.poll() is None, said.read_text()
        with suppress(FileNotFoundError):  # a finished run takes its state away
            assert torch.load(folder / "state.pt", weights_only=True)["step"] >= done, "it began anew"
        time.sleep(0.05)
    assert driver.wait(1800) == 0, said.read_text()
    log = fresh_copy / f"runs/jobs/ray-{seed + 1}.log"
    assert starts(log) == 2, "the task of the lost node was begun again, on the one that is left"
    assert said.read_text().count("reused, best epoch") == 2
    assert (fresh_copy / "table").read_text() == alone


def test_an_error_of_bench_is_said_in_one_line_and_not_tried_again(
    cluster, fresh_copy, tmp_path, bench, monkeypatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    command = (*COMMAND[:-1], "training.epochs=1", "--cluster", "ray", "--cpus", "1", "--memory-gb", "1")
    home = tmp_path / "broken"
    home.mkdir()
    (home / "params.yaml").write_bytes((fresh_copy / "params.yaml").read_bytes())
    (home / "data").write_text("a file where the folder of data goes")
    code, out, err = bench(home, *command)
    assert (code, out) == (2, ""), "what all cells need is made before any begins"
    assert str(home / "data") in err.splitlines()[-1]
    assert not list(home.glob("runs/jobs/ray-*.log"))
    (fresh_copy / "results").write_text("a file where the folder of results goes")
    code, out, err = bench(fresh_copy, *command)
    assert (code, out) == (1, "")
    assert "2 of 2 tasks failed; task 1/2:" in err.splitlines()[-1]
    assert str(fresh_copy / "results") in err.splitlines()[-1]
    assert [starts(log) for log in fresh_copy.glob("runs/jobs/ray-*.log")] == [1, 1]


def test_the_stage_of_features_encodes_on_the_cluster(cluster, fresh_copy, bench) -> None:
    shutil.rmtree(fresh_copy / ".cache" / "features", ignore_errors=True)
    params = yaml.safe_load((fresh_copy / "params.yaml").read_text())
    (fresh_copy / "params.yaml").write_text(yaml.safe_dump({**params, "tasks": {}}, sort_keys=False))
    code, _, err = bench(
        fresh_copy, "stage", "features", "--cluster", "ray", "--address", cluster.address,
        "--cpus", "1", "--memory-gb", "1",
    )  # fmt: skip
    assert code == 0, err
    on_nodes = re.findall(r"(\w+): \d+ images encoded; shards: 1 on node \w+", err)
    assert sorted(on_nodes) == ["chestxray14", "mimic_cxr"], err
