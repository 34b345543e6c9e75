"""Cells and seeds side by side: how many processes, and that they leave what one process leaves."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from benchmark.grid.layout import Project
from benchmark.grid.request import Request, plan
from benchmark.reporting import run_report
from benchmark.stages import side_by_side
from benchmark.stages.side_by_side import FEW_STEPS, MEMORY, processes_for
from tests.stages.waiting import wait_for

pytestmark = pytest.mark.filterwarnings("ignore")

RUN = ("run", "--method", "clip", "--dataset", "chestxray14")
"""Two seeds, in the small project."""
PLENTY = 10**15


@pytest.mark.parametrize(
    ("jobs", "places", "count"),
    [
        (0, 2, 1), (1, 8, 1), (2, 8, 2), (8, 8, 8), (3, 2, 3), (4, 2, 2), (5, 2, 3), (7, 2, 4), (18, 2, 2),
        (3, 1, 1), (7, 1, 1), (5, 4, 5), (18, 16, 18), (40, 16, 20),
    ],
)  # fmt: skip
def test_turns_are_full(jobs: int, places: int, count: int) -> None:
    assert processes_for(jobs, places, PLENTY) == count


def simulated(jobs: int, places: int, count: int) -> float:
    """When jobs of one unit each end, of which `count` at a time share the cores evenly."""
    time, left, running = 0.0, jobs, list[float]()
    while left or running:
        while left and len(running) < count:
            running.append(1.0)
            left -= 1
        speed = min(1.0, places / len(running))
        first = min(running)
        time += first / speed
        running = [rest - first for rest in running if rest > first]
    return time


@pytest.mark.parametrize("places", [1, 2, 3])
def test_no_number_ends_sooner_within_two_jobs_a_core_and_the_memory(places: int) -> None:
    for jobs in range(1, 13):
        for room in (1, 3, 30):
            allowed = range(1, min(jobs, 2 * places, room) + 1)
            ends = [simulated(jobs, places, count) for count in allowed]
            chosen = processes_for(jobs, places, room * MEMORY)
            assert ends[chosen - 1] == pytest.approx(min(ends))
            assert all(end > min(ends) + 1e-9 for end in ends[: chosen - 1])


def test_without_memory_there_is_still_this_process() -> None:
    assert processes_for(3, 2, 0) == 1


@pytest.fixture
def two_cores(monkeypatch) -> None:
    """Two cores, memory enough, and no training that is too short."""
    monkeypatch.setattr(side_by_side, "usable_cores", lambda: 2)
    monkeypatch.setattr(side_by_side, "free_memory", lambda: PLENTY)
    monkeypatch.setattr(side_by_side, "FEW_STEPS", 0)


def worth(root: Path, method: str, steps: int = 10 * FEW_STEPS, **settings: object) -> int:
    """The number of processes for three seeds of a method under these settings of its training."""
    todo = plan(Project(root), Request(method, "padchest"))
    cell = todo.cells[0]
    cell = cell.model_copy(update={"training": cell.training.model_copy(update=settings)})
    return side_by_side._worth(SimpleNamespace(shared=todo), [cell] * 3, steps)


def test_a_run_takes_processes_where_that_is_sound(root, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(side_by_side, "usable_cores", lambda: 2)
    monkeypatch.setattr(side_by_side, "free_memory", lambda: PLENTY)
    monkeypatch.setattr(side_by_side, "device", lambda: "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert worth(root, "carzero") == 3
    assert worth(root, "carzero", FEW_STEPS - 1) == 1
    assert worth(root, "carzero", threads=2) == 1  # one place
    monkeypatch.setattr(side_by_side, "free_memory", lambda: 2 * MEMORY)
    assert worth(root, "carzero") == 2
    text = (root / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("numerics: portable", "numerics: native"))
    assert worth(tmp_path, "carzero") == 1
    shutil.copy(root / "params.yaml", tmp_path)
    trains = plan(Project(tmp_path), Request("clip", "padchest", sets=("encoders.train.image=last stage",)))
    assert side_by_side._worth(SimpleNamespace(shared=trains), [*trains.cells] * 3, 10 * FEW_STEPS) == 1


def test_processes_never_share_a_gpu_unless_asked(root, monkeypatch) -> None:
    monkeypatch.setattr(side_by_side, "device", lambda: "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for cards, count in ((1, 1), (2, 2), (8, 3)):
        monkeypatch.setattr(torch.cuda, "device_count", lambda cards=cards: cards)
        assert worth(root, "carzero") == count
        assert worth(root, "carzero", device="cuda:0") == 1
        assert worth(root, "carzero", device="cpu") == 1  # evaluated on the one card
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    for number in range(3):
        side_by_side._take_card(number)
    assert taken == [0, 1, 0]


def test_one_seed_and_a_finished_run_start_no_process(fresh_copy, bench, two_cores, monkeypatch) -> None:
    monkeypatch.setattr(side_by_side, "_in_processes", lambda *_: pytest.fail("processes were started"))
    assert bench(fresh_copy, *RUN, "--seeds", "0")[0] == 0
    code, _, err = bench(fresh_copy, *RUN)  # one of its two seeds is trained
    assert code == 0, err
    assert err.count("trained in") == 1
    assert bench(fresh_copy, *RUN, "--jobs", "2")[0] == 0


@pytest.mark.slow
def test_processes_leave_what_one_process_leaves(
    small_project, fresh_copy, bench, two_cores, monkeypatch
) -> None:
    """Table, JSON, exit code, weights and scores; the call after keeps its answer, which the next says."""
    command = ("run", "--method", "all", "--dataset", "main")
    code, alone, err = bench(small_project, *command, "--jobs", "1")
    assert code == 0, err
    code, beside, err = bench(fresh_copy, *command)
    assert code == 0, err
    assert beside == alone
    assert "4 cells and seeds in 2 processes side by side" in err
    told = sorted(line.partition(": ")[0] for line in err.splitlines() if ": trained in " in line)
    assert told == [f"{name}-main seed {seed}" for name in ("carzero", "clip") for seed in (0, 1)]
    assert "reused, best" not in err
    for name in ("clip-main", "carzero-main"):
        for seed in (0, 1):
            for file in (f"runs/{name}/seed-{seed}/model.safetensors",
                         f"results/{name}/seed-{seed}/chestxray14/metrics.parquet"):  # fmt: skip
                assert (fresh_copy / file).read_bytes() == (small_project / file).read_bytes(), file
    outs = [bench(home, *command, "--json")[1] for home in (small_project, fresh_copy)]
    assert outs[0] == outs[1]
    monkeypatch.setattr(run_report, "carry_out", lambda *_, **__: pytest.fail("no answer was kept"))
    assert bench(fresh_copy, *command, "--jobs", "2")[:2] == (0, alone)


@pytest.mark.slow
def test_an_error_of_a_process_is_that_of_one_process(fresh_copy, bench, two_cores) -> None:
    wrong = (*RUN, "--set", "method.clip.training.learning_rate=1e30", "--set", "training.clip_norm=1e30")
    code, out, err = bench(fresh_copy, *wrong, "--jobs", "1")
    assert (code, out) == (2, "")
    assert "the loss is" in err
    again = bench(fresh_copy, *wrong)
    assert again[:2] == (code, out)
    assert again[2].splitlines()[-1] == err.splitlines()[-1]
    assert "Traceback" not in again[2]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are Unix's")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_the_command_and_go_on_with_the_next(
    small_project, fresh_copy, bench, number
) -> None:
    long = ("--set", "training.epochs=40", "--set", "training.checkpoint_seconds=0")
    command = (*RUN[:2], "carzero", *RUN[3:], *long, "--jobs", "2")
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmark", *command],
        env={**os.environ, "CXR_ALIGNBENCH_HOME": str(fresh_copy)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # What a shell starts in the background ignores Ctrl-C, and so would this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    wait_for(lambda: len(list((fresh_copy / "runs").glob("*/seed-*/state.pt"))) == 2)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert not psutil.wait_procs(children, timeout=60)[1]
    assert out == ""
    assert "Traceback" not in err
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert err.splitlines()[-1] == "Interrupted. Run the same command again to resume."
    assert not list((fresh_copy / "runs").glob("*/seed-*/run.json"))
    code, resumed, err = bench(fresh_copy, *command)
    assert code == 0, err
    code, whole, err = bench(small_project, *command[:-2])
    assert code == 0, err
    assert resumed == whole
