"""Damaged weights are refused in one line, and a damaged resume state is said and is none."""

from __future__ import annotations

import io
import json
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmark.core.checkpoints import load_checkpoint, read_weights
from benchmark.core.errors import BenchError
from benchmark.encoders.weights import read_tensors
from benchmark.training.state import NAME, load_state, save_state
from tests.fuzz.valid_files import text_model

READERS = (load_checkpoint, read_weights, read_tensors)


def refused(path) -> None:
    for read in READERS:
        with pytest.raises(BenchError) as caught:
            read(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_the_shared_cases(shared, tmp_path, capsys) -> None:
    files = sorted((shared / "cases" / "damaged-weights").glob("*.pt"))
    assert files
    for file in files:
        refused(file)
        (tmp_path / NAME).write_bytes(file.read_bytes())
        assert load_state(tmp_path, "x") is None
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "The training starts over." in said


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_every_change_of_a_file_is_read_or_refused(tmp_path, kind) -> None:
    state = {"a.weight": torch.arange(12.0).reshape(3, 4), "b": torch.ones(2, dtype=torch.int64)}
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pt")
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(250):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), int(rng.integers(1, 5))):
            data[place] = int(rng.integers(256))
        if rng.random() < 0.3:
            data = data[: int(rng.integers(0, len(data)))]
        path.write_bytes(data)
        for read in READERS:
            try:
                read(path)
            except BenchError as error:
                message = str(error)
                if "\n" in message or len(message) > 600:
                    pytest.fail(message)


def test_a_number_in_a_pickle_reserves_no_memory(tmp_path) -> None:
    """An entry of a pickle's memo may carry any number; the table is not as long as the number."""
    from benchmark.core.checkpoints import _restricted_load

    content = b"\x80\x02}r" + (1 << 24).to_bytes(4, "little") + b"."
    tracemalloc.start()
    try:
        assert _restricted_load(io.BytesIO(content)) == {}
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_states_of_other_runs_and_damaged_states(tmp_path, capsys) -> None:
    save_state(tmp_path, {"identity": "a", "step": 3})
    assert load_state(tmp_path, "a") == {"identity": "a", "step": 3}
    assert load_state(tmp_path, "b") is None
    assert capsys.readouterr().err == ""
    torch.save([1, 2], tmp_path / NAME)
    assert load_state(tmp_path, "a") is None
    save_state(tmp_path, {"identity": "a", "step": 3, "w": torch.ones(9)})
    whole = (tmp_path / NAME).read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(200):
        data = bytearray(whole)
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        (tmp_path / NAME).write_bytes(data[: int(rng.integers(1, len(data) + 1))])
        load_state(tmp_path, "a")
    assert "Traceback" not in capsys.readouterr().err


def test_a_name_of_the_hub_needs_its_pins() -> None:
    from benchmark.encoders.cards import TextCard
    from benchmark.encoders.weights import weights_path

    fields = {"name": "x", "source": "transformers", "weights": "hub:someone/model",
              "licence": "none", "seen": ()}  # fmt: skip
    pins = {"revision": "a" * 40, "sha256": "b" * 64}
    for given in ({}, {"revision": pins["revision"]}, {"sha256": pins["sha256"]}):
        with pytest.raises(BenchError, match="is not pinned"):
            weights_path(TextCard(**fields, **given))
    with pytest.raises(BenchError, match="someone/model is neither in the hub's cache") as caught:
        weights_path(TextCard(**fields, **pins))
    assert "\n" not in str(caught.value)


def test_a_model_without_the_tower_is_one_line(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel, Dinov2Config, Dinov2Model

    from benchmark.encoders.factory import image_encoder, text_encoder

    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    Dinov2Model(Dinov2Config(**small, image_size=28, patch_size=14)).save_pretrained(tmp_path / "sees")
    BertModel(BertConfig(**small, vocab_size=5)).save_pretrained(tmp_path / "reads")
    card = {"name": "x", "source": "transformers", "licence": "none", "seen": ()}
    with pytest.raises(BenchError, match="a Dinov2Model has no text tower") as caught:
        text_encoder({**card, "weights": f"path:{tmp_path / 'sees'}"})
    assert "\n" not in str(caught.value)
    with pytest.raises(BenchError, match="a BertModel has no vision tower") as caught:
        image_encoder({**card, "weights": f"path:{tmp_path / 'reads'}", "preprocessing": {"size": 28}})
    assert "\n" not in str(caught.value)


def _other_config(folder: Path, **fields: int) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def _other_weights(folder: Path, change) -> None:
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, {"format": "pt"})


@pytest.mark.parametrize(
    ("pooling", "change", "lost"),
    [
        ("cls", lambda f: _other_config(f, num_hidden_layers=2), "lack 16 weights"),
        ("cls", lambda f: _other_weights(f, lambda w: {f"other.{k}": v for k, v in w.items()}), "lack 21"),
        ("cls", lambda f: _other_weights(f, lambda w: _without(w, "query")), "lack 2"),
        ("model", lambda f: _other_weights(f, lambda w: _without(w, "pooler")), "pooler"),
        ("cls", lambda f: _other_weights(f, lambda w: _without(w, "pooler")), ""),
        ("cls", lambda f: _more_words(f), "tokenizer with ids up to 90"),
        ("cls", lambda f: None, ""),
    ],
)
def test_weights_that_a_model_folder_lacks_are_not_drawn_at_random(tmp_path, pooling, change, lost) -> None:
    from benchmark.encoders.factory import text_encoder

    shutil.copytree(text_model()[0], tmp_path / "m")
    change(tmp_path / "m")
    card = {"name": "x", "source": "transformers", "weights": f"path:{tmp_path / 'm'}", "pooling": pooling,
            "licence": "none", "seen": ()}  # fmt: skip
    if lost:
        with pytest.raises(BenchError, match=lost):
            text_encoder(card)
    else:
        text_encoder(card).encode(["no effusion"])


def _without(weights, part):
    return {name: value for name, value in weights.items() if part not in name}


def _more_words(folder: Path) -> None:
    path = folder / "tokenizer.json"
    value = json.loads(path.read_text())
    value["model"]["vocab"]["pneumothorax"] = 90
    path.write_text(json.dumps(value))


def test_a_volume_checkpoint_on_radiographs_is_one_line() -> None:
    from benchmark.official.images import OfficialVolumes

    with pytest.raises(BenchError, match="CT volumes"):
        OfficialVolumes.encode(object.__new__(OfficialVolumes), torch.zeros(2, 64, 64, dtype=torch.uint8))
