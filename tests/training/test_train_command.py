"""`bench train` on a prepared folder, alone and under torchrun."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from training_cases import make_data

from benchmark.cli import main
from benchmark.core.errors import DataError
from benchmark.core.files import write_json
from benchmark.encoders.store import FeatureStore, TextStore
from benchmark.training.data import TrainingData

SWITCHES = ["--method", "clip", "--option", "width=8", "--set", "epochs=2", "--set", "batch_size=12",
            "--set", "optimiser=sgd", "--json"]  # fmt: skip


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """The small data as folders, as the cache writes them."""
    data = make_data()
    for name in ("images", "text", "index"):
        (tmp_path / name).mkdir()
    images, text = data.images, data.text
    np.save(tmp_path / "images" / "pooled.npy", images.pooled)
    np.save(tmp_path / "images" / "local.npy", images.local)
    write_json(tmp_path / "images" / "store.json", {"kind": "image", "key": images.key, "grid": [3, 3]})
    for name in ("pooled", "tokens", "offsets"):
        np.save(tmp_path / "text" / f"{name}.npy", getattr(text, name))
    write_json(tmp_path / "text" / "texts.json", {"digests": text.digests, "words": text.words})
    write_json(tmp_path / "text" / "store.json", {"kind": "text", "key": text.key})
    data.save(tmp_path / "index", "../images", "../text")
    return tmp_path / "index"


def test_saved_data_come_back(prepared: Path) -> None:
    data, expected = TrainingData.load(prepared), make_data()
    assert data.key == expected.key
    assert isinstance(data.images, FeatureStore)
    assert isinstance(data.text, TextStore)
    store = json.loads((prepared / "../images/store.json").read_text())
    write_json(prepared / "../images/store.json", {**store, "key": "another"})
    with pytest.raises(DataError, match="features changed"):
        TrainingData.load(prepared)


def test_torchrun_gives_the_single_process_run(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(prepared), "--out", str(tmp_path / "one"), *SWITCHES]) == 0
    alone = json.loads(capsys.readouterr().out)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [
        *torchrun,
        "-m",
        "benchmark",
        "train",
        str(prepared),
        "--out",
        str(tmp_path / "two"),
        *SWITCHES,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    shared = json.loads(done.stdout)
    assert shared["processes"] == 2
    assert shared["identity"] == alone["identity"]
    assert shared["val_loss"] == pytest.approx(alone["val_loss"], rel=1e-5)
    assert main(["train", str(prepared), "--out", str(tmp_path / "two"), *SWITCHES]) == 0
    assert json.loads(capsys.readouterr().out)["reused"]


def test_bad_input_is_one_line(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, line in (
        (["train", str(prepared), "--method", "carzer"], "Did you mean 'carzero'"),
        (["train", str(prepared), "--method", "clip", "--set", "epoch=3"], "Did you mean 'epochs'"),
        (["train", str(prepared), "--method", "clip", "--option", "widht=3"], "Did you mean 'width'"),
        (["train", str(prepared), "--method", "clip", "--set", "epochs"], "expected key=value"),
        (["train", str(prepared / "nowhere"), "--method", "clip"], "no such file"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert line in error
        assert error.count("\n") == 1
