"""Slurm for real: an array of cells on a cluster of this machine, preempted, signalled and requeued.

pytest -m slurm      needs Debian's slurm-wlm and munge, and submitit
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch

from tests.stages.slurm_node import missing, slurm_node
from tests.stages.waiting import wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(3600), pytest.mark.filterwarnings("ignore")]

COMMAND = ("run", "--method", "carzero", "--dataset", "chestxray14", "--seeds", "0,1")
COMMAND += ("--set", "training.epochs=20")
SAVING = ("--set", "training.checkpoint_seconds=0")
SMALL = ("--cpus", "1", "--memory-gb", "2", "--minutes", "10")


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A command of Slurm, as words → its output."""
    pytest.importorskip("submitit")
    if lacking := missing():
        pytest.skip(f"{', '.join(lacking)}: not installed; apt-get install slurm-wlm munge")
    with slurm_node(tmp_path / "slurm") as configuration:
        monkeypatch.setenv("SLURM_CONF", str(configuration))

        def call(*words: str) -> str:
            return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()

        yield call
        call("scancel", "--user", str(os.getuid()))


def states(slurm) -> dict[str, str]:
    """Job of the array → R, PD, CG."""
    rows = slurm("squeue", "--noheader", "--array", "--format", "%i %t").splitlines()
    return dict(row.split() for row in rows)


def release(slurm) -> None:
    """Slurm holds a requeued job back for two minutes."""
    for job, state in states(slurm).items():
        if state == "PD":
            try:
                slurm("scontrol", "update", f"jobid={job}", "StartTime=now")
            except subprocess.CalledProcessError:
                if states(slurm).get(job) == "PD":  # else it has begun, or is over, in the meantime
                    raise


def restarts(slurm, job: str) -> int:
    shown = slurm("scontrol", "show", "job", job)
    return int(next(word for word in shown.split() if word.startswith("Restarts=")).partition("=")[2])


def steps(home: Path) -> int:
    """Training steps in the saved state of the second seed, 0 before the first."""
    states = list(home.glob("runs/carzero-main-*/seed-1/state.pt"))
    return torch.load(states[0], weights_only=True)["step"] if states else 0


def test_an_array_that_is_requeued_again_and_again_makes_the_table_of_one_process(
    slurm, small_project, fresh_copy, bench
) -> None:
    code, alone, err = bench(small_project, *COMMAND, "--json")
    assert code == 0, err
    code, out, err = bench(fresh_copy, *COMMAND, *SAVING, "--cluster", "slurm", *SMALL, "--json")
    assert code == 0, err
    jobs = json.loads(out)["jobs"]
    array = jobs[0].split("_")[0]
    assert jobs == [f"{array}_0", f"{array}_1"]
    second = jobs[1]

    preempt = ("srun", "--partition", "urgent", "--cpus-per-task", str(os.cpu_count()), "true")
    near_its_time_limit = ("scancel", "--signal", "USR2", second)  # by Slurm itself 90 seconds before
    requeue = ("scontrol", "requeue", second)
    done = 0

    def moved_on() -> bool:
        now = steps(fresh_copy)
        assert now >= done, "it began anew"
        return now > done and states(slurm)[second] == "R"

    for times, disturb in enumerate((preempt, near_its_time_limit, requeue), 1):
        wait_for(moved_on)
        slurm(*disturb)
        wait_for(lambda: restarts(slurm, second) == times)  # noqa: B023
        wait_for(lambda: states(slurm)[second] == "PD")
        done = steps(fresh_copy)
        release(slurm)
    assert done < 60, "it was not over when it was disturbed"

    def over() -> bool:
        release(slurm)
        return not states(slurm)

    wait_for(over)
    code, table, err = bench(fresh_copy, *COMMAND, "--json")
    assert code == 0, err
    assert "trained in" not in err
    assert err.count("reused, best epoch") == 2
    assert table == alone


def test_a_job_has_its_cores_and_a_refusal_is_one_line(slurm, fresh_copy, bench, monkeypatch) -> None:
    def refused(*more: str) -> str:
        code, out, err = bench(fresh_copy, *COMMAND, "--cluster", "slurm", *SMALL, *more)
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
        return err

    assert "invalid partition specified: none" in refused("--partition", "none")
    assert not (fresh_copy / "runs").exists() or not list((fresh_copy / "runs").glob("*/seed-*"))
    cores = str(os.cpu_count())
    code, out, err = bench(fresh_copy, *COMMAND, "--cluster", "slurm", *SMALL, "--cpus", cores, "--json")
    assert code == 0, err
    job = json.loads(out)["jobs"][0]

    def of_the_cell() -> list[str]:
        """The step that runs it, beside that of the script, as `scontrol` describes it."""
        shown = subprocess.run(["scontrol", "show", "step", job], capture_output=True, text=True).stdout
        return [step for step in shown.split("\n\n") if ".0 " in step]

    assert f"CPUs={cores}" in wait_for(of_the_cell)[0].split()
    configuration = Path(os.environ["SLURM_CONF"])
    silent = configuration.with_name("silent.conf")
    silent.write_text(
        configuration.read_text().replace("SlurmctldPort=", "MessageTimeout=2\nSlurmctldPort=1")
    )
    with monkeypatch.context() as patch:
        patch.setenv("SLURM_CONF", str(silent))
        assert "Unable to contact slurm controller" in refused()
