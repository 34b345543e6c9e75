"""Checkpoints: tensors come out, nothing runs, every name is accounted for."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from benchmark.core.checkpoints import Inert, load_checkpoint, load_strictly, strip_prefix
from benchmark.core.errors import BenchError

STATE = {"CARZero.a.weight": torch.arange(6.0).reshape(2, 3), "CARZero.b": torch.ones(2)}


class Runs:
    """Pickles into a call of os.system that leaves a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch '{self.target}'",)


def test_safetensors(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.safetensors")
    loaded = load_checkpoint(tmp_path / "w.safetensors", "CARZero.")
    assert sorted(loaded) == ["a.weight", "b"]
    torch.testing.assert_close(loaded["a.weight"], STATE["CARZero.a.weight"])


@pytest.mark.parametrize("zipped", [True, False])
def test_lightning_file_with_pickled_configuration(tmp_path: Path, zipped: bool) -> None:
    omegaconf = pytest.importorskip("omegaconf")
    config = omegaconf.OmegaConf.create({"model": {"norm": False, "layers": [1, 2]}, "lr": 5e-5, "x": None})
    content = {
        "state_dict": {**STATE, "CARZero.p": torch.nn.Parameter(torch.zeros(3))},
        "hyper_parameters": config,
        "callbacks": {Path: {"best_model_score": torch.tensor(1.0)}},
        "optimizer_states": [{"state": {0: {"step": 3}}}],
    }
    path = tmp_path / "best_model.ckpt"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    loaded = load_checkpoint(path, "CARZero.")
    assert sorted(loaded) == ["a.weight", "b", "p"]
    assert not loaded["p"].requires_grad
    torch.testing.assert_close(loaded["a.weight"], STATE["CARZero.a.weight"])


@pytest.mark.parametrize("zipped", [True, False])
def test_malicious_pickle_does_not_run(tmp_path: Path, zipped: bool) -> None:
    target = tmp_path / "ran"
    path = tmp_path / "bad.ckpt"
    torch.save(
        {"state_dict": STATE, "hyper_parameters": Runs(target)}, path, _use_new_zipfile_serialization=zipped
    )
    with pytest.raises(BenchError, match="refused"):
        load_checkpoint(path)
    assert not target.exists()
    pickle.loads(pickle.dumps(Runs(target)))
    assert target.exists()  # the payload itself works, so its absence above means something


@pytest.mark.parametrize("call", ["builtins.eval", "builtins.getattr", "torch.hub.load", "subprocess.Popen"])
def test_other_globals_are_refused(tmp_path: Path, call: str) -> None:
    module, _, name = call.rpartition(".")
    path = tmp_path / "bad.ckpt"
    path.write_bytes(b"\x80\x02c" + f"{module}\n{name}\n".encode() + b".")
    with pytest.raises(BenchError):
        load_checkpoint(path)


def test_placeholder_takes_anything() -> None:
    stand_in = Inert(1, a=2)
    stand_in.__setstate__({"x": 1})
    stand_in["key"] = 1
    stand_in.append(1)
    assert stand_in.__dict__ == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3}, "holds no state dict"),
        ({"state_dict": {**STATE, "note": "text"}}, "no tensors: note"),
        ([1, 2], "holds no state dict"),
        ({"state_dict": {"a.CARZero.x": torch.ones(1), "b.CARZero.x": torch.ones(1)}}, "two tensors"),
    ],
)
def test_what_is_no_state_dict(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(BenchError, match=message):
        load_checkpoint(tmp_path / "w.pt", "CARZero.")


@pytest.mark.parametrize("data", [b"", b"no checkpoint", b"PK\x03\x04 truncated"])
@pytest.mark.parametrize("name", ["w.ckpt", "w.safetensors"])
def test_damaged_files_name_themselves(tmp_path: Path, data: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BenchError, match=name):
        load_checkpoint(tmp_path / name)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "none.ckpt")


def test_prefix_counts_from_its_last_occurrence() -> None:
    state = {"model.CARZero.wrapped.CARZero.w": torch.ones(1), "plain": torch.ones(1)}
    assert sorted(strip_prefix(state, "CARZero.", "f")) == ["plain", "w"]


def test_strict_load_lists_everything() -> None:
    layer = torch.nn.Linear(2, 2)
    state = {"weight": torch.ones(3, 2), "extra": torch.ones(1)}
    with pytest.raises(BenchError) as caught:
        load_strictly(layer, state, "layer")
    text = str(caught.value)
    assert "missing: bias" in text
    assert "surplus: extra" in text
    assert "weight [3, 2] instead of [2, 2]" in text
    load_strictly(
        layer,
        {"weight": torch.ones(2, 2), "bias": torch.ones(2), "old": torch.ones(1)},
        "layer",
        frozenset({"old"}),
    )
    assert layer.weight.sum().item() == 4
