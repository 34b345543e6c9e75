"""Training is seeded, resumes bit by bit, and records what it did."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training_cases import IMAGE_DIM, TEXT_DIM

from benchmark.core.errors import BenchError, ParamsError
from benchmark.core.settings import TIME_AND_MEMORY, train_config
from benchmark.training.data import TrainingData, epoch_batches
from benchmark.training.finished import TrainingResult, load_method
from benchmark.training.loop import Diverged, seeded_method, train
from methods.base import METHODS, Method

QUICK = {"epochs": 3, "batch_size": 9, "checkpoint_seconds": 0.0}


class Killed(Exception):
    pass


class KillAt:
    """Stops the run after a given number of steps, as a signal would."""

    def __init__(self, step: int) -> None:
        self.at = step

    def step(self, done: int, total: int) -> None:
        if done == self.at:
            raise Killed

    def epoch(self, row: dict[str, float]) -> None:
        pass


def fresh(name: str, seed: int = 0, **options: object) -> Method:
    return seeded_method(name, {"width": 8, **options}, IMAGE_DIM, TEXT_DIM, seed)


def numbers(folder: Path) -> list[dict[str, str]]:
    with open(folder / "history.csv", newline="") as handle:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(handle)]


@pytest.fixture(scope="module")
def whole(data: TrainingData, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    """A run of CARZero that nothing stopped."""
    return train(fresh("carzero"), data, train_config(QUICK), tmp_path_factory.mktemp("whole"), 0)


@pytest.mark.parametrize("stop", [1, 4, 5, 11])
def test_a_killed_run_ends_with_the_same_bits(
    whole: TrainingResult, data: TrainingData, tmp_path: Path, stop: int
) -> None:
    """CARZero has dropout, so the random state counts too."""
    config = train_config(QUICK)
    with pytest.raises(Killed):
        train(fresh("carzero"), data, config, tmp_path / "cut", 0, observer=KillAt(stop))
    assert not (tmp_path / "cut" / "run.json").exists()
    resumed = train(fresh("carzero"), data, config, tmp_path / "cut", 0)
    one, two = load_file(whole.folder / "model.safetensors"), load_file(resumed.folder / "model.safetensors")
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert numbers(whole.folder) == numbers(resumed.folder)
    assert whole.val_loss == resumed.val_loss


def test_saving_between_steps_changes_nothing(data: TrainingData, tmp_path: Path) -> None:
    often = train(fresh("clip"), data, train_config(QUICK), tmp_path / "a", 0)
    rarely = train(fresh("clip"), data, train_config({**QUICK, "checkpoint_seconds": 1e9}), tmp_path / "b", 0)
    assert numbers(often.folder) == numbers(rarely.folder)
    assert often.run["identity"] == rarely.run["identity"]


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_learns(data: TrainingData, tmp_path: Path, name: str) -> None:
    config = train_config({"epochs": 6, "batch_size": 16, "learning_rate": 3e-3})
    result = train(fresh(name), data, config, tmp_path, 0)
    rows = numbers(tmp_path)
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    assert result.val_loss == min(float(row["val_loss"]) for row in rows)
    method = load_method(tmp_path)
    image, text = data.images.get([0, 1, 2]), data.text.get([0, 5])
    assert torch.isfinite(method(image, text)).all()


def test_the_record_is_complete(data: TrainingData, tmp_path: Path) -> None:
    result = train(fresh("clip"), data, train_config(QUICK), tmp_path, 3)
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["seed"] == 3
    assert run["parameters_trained"] == 8 * (IMAGE_DIM + TEXT_DIM) + 1
    assert run["peak_memory_bytes"] > 1e6
    assert run["versions"]["torch"] == torch.__version__.split("+")[0]
    assert not (tmp_path / "state.pt").exists()
    again = train(fresh("clip", 3), data, train_config(QUICK), tmp_path, 3)
    assert not result.reused
    other = train(fresh("clip", 3), data, train_config(QUICK), tmp_path, 3)
    assert other.reused
    assert other.run == again.run


def test_seeds_and_options_make_other_runs(data: TrainingData, tmp_path: Path) -> None:
    config = train_config(QUICK)
    first = train(fresh("clip"), data, config, tmp_path, 0)
    for method, changed in ((fresh("clip"), {"learning_rate": 2e-3}), (fresh("clip", width=4), {})):
        assert not train(method, data, train_config({**QUICK, **changed}), tmp_path, 0).reused
    assert train(fresh("clip", 1), data, config, tmp_path, 1).val_loss != first.val_loss


def test_divergence_is_one_line(data: TrainingData, tmp_path: Path) -> None:
    config = train_config({**QUICK, "learning_rate": 1e38, "clip_norm": None, "optimiser": "sgd"})
    with pytest.raises(Diverged, match="lower training"):
        train(fresh("clip", similarity="dot"), data, config, tmp_path, 0)
    assert not (tmp_path / "run.json").exists()


def test_batches_drop_and_repeat_nothing(data: TrainingData) -> None:
    batches = epoch_batches(data, 0, 1, 9, "one")
    seen = np.concatenate([batch.examples for batch in batches])
    assert sorted(seen) == sorted(data.train)
    sizes = {len(batch.examples) for batch in batches}
    assert max(sizes) - min(sizes) <= 1
    again = epoch_batches(data, 0, 1, 9, "all")
    assert all(np.array_equal(a.examples, b.examples) for a, b in zip(batches, again, strict=True))
    for batch in again:
        for row, example in enumerate(batch.examples):
            assert set(batch.text_rows[batch.positives[row]]) == set(data.sentences(example))
    for batch in batches:
        own = batch.text_rows[np.arange(len(batch.examples))]
        assert all(text in data.sentences(n) for n, text in zip(batch.examples, own, strict=True))


def test_unknown_options_are_named() -> None:
    with pytest.raises(ParamsError, match="Did you mean 'learning_rate'"):
        train_config({"learningrate": 1})
    with pytest.raises(ParamsError, match=r"training\.epochs"):
        train_config({"epochs": 0})


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux can reset the peak")
def test_the_peak_of_one_training_is_not_that_of_the_one_before() -> None:
    """In a process of its own: what earlier tests left to the allocator counts as held."""
    lines = (
        "import torch",
        "from benchmark.training.provenance import peak_memory_bytes, reset_peak_memory",
        "cpu, large = torch.device('cpu'), torch.ones(100_000_000)",
        "before = peak_memory_bytes(cpu)",
        "del large",
        "reset_peak_memory(cpu)",
        "print(before - peak_memory_bytes(cpu))",
    )
    found = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True
    )
    assert int(found.stdout) > 200_000_000


def test_a_run_never_ends_with_the_weights_of_another(data: TrainingData, tmp_path: Path) -> None:
    """Another run in the same folder is killed in between, and then this one goes on."""
    config = train_config({**QUICK, "patience": 1})
    whole = train(fresh("clip"), data, config, tmp_path / "whole", 0)
    with pytest.raises(Killed):
        train(fresh("clip"), data, config, tmp_path / "cut", 0, observer=KillAt(5))
    with pytest.raises(Killed):
        train(fresh("clip", 1), data, config, tmp_path / "cut", 1, observer=KillAt(7))
    resumed = train(fresh("clip"), data, config, tmp_path / "cut", 0)
    assert (tmp_path / "cut" / "model.safetensors").read_bytes() == (
        whole.folder / "model.safetensors"
    ).read_bytes()
    assert numbers(whole.folder) == numbers(resumed.folder)


@pytest.mark.parametrize("cut", [0, 100, 0.5, 0.99])
def test_a_damaged_state_counts_as_none(data: TrainingData, tmp_path: Path, cut: float) -> None:
    config = train_config(QUICK)
    whole = train(fresh("clip"), data, config, tmp_path / "whole", 0)
    with pytest.raises(Killed):
        train(fresh("clip"), data, config, tmp_path / "cut", 0, observer=KillAt(7))
    state = tmp_path / "cut" / "state.pt"
    content = state.read_bytes()
    state.write_bytes(content[: int(cut * len(content)) if cut < 1 else int(cut)])
    resumed = train(fresh("clip"), data, config, tmp_path / "cut", 0)
    assert numbers(whole.folder) == numbers(resumed.folder)


def test_altered_weights_are_not_loaded(data: TrainingData, tmp_path: Path) -> None:
    train(fresh("clip"), data, train_config(QUICK), tmp_path, 0)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(BenchError, match="altered after training"):
        load_method(tmp_path)
    assert train(fresh("clip"), data, train_config(QUICK), tmp_path, 0).why == ("files",)


@pytest.mark.parametrize("change", [{"prefetch": True}, {"checkpoint_seconds": 1e9}])
def test_settings_of_time_and_memory_change_no_bit(
    data: TrainingData, tmp_path: Path, change: dict[str, object]
) -> None:
    assert {*change} <= {*TIME_AND_MEMORY}
    one = train(fresh("carzero"), data, train_config(QUICK), tmp_path / "one", 0)
    two = train(fresh("carzero"), data, train_config({**QUICK, **change}), tmp_path / "two", 0)
    assert one.run["identity"] == two.run["identity"]
    assert one.run["model_sha256"] == two.run["model_sha256"]
