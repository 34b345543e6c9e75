"""Official checkpoint names and shapes enter each method; what is missing or surplus is listed."""

from __future__ import annotations

import json

import pytest
import torch

from benchmark.core.errors import BenchError
from benchmark.official.parity.fixture import load_fixture
from methods.base import METHODS

LISTED = [
    ("carzero", "carzero/checkpoint_keys.json", 768, 768),
    ("carzero", "carzero/checkpoint_keys_linear_head.json", 768, 768),
    ("gloria", "gloria/checkpoint_keys.json", 2048, 768),
    ("medclip", "medclip/checkpoint_keys_vit.json", 768, 768),
    ("medclip", "medclip/checkpoint_keys_resnet.json", 2048, 768),
]
CASES = [("radzero", "full_model"), ("brgsa", "end_to_end")]


def official_state(path):
    """Tensors of the official names and full shapes, a number to each, without their memory."""
    shapes = next(v for k, v in json.loads(path.read_text()).items() if isinstance(v, dict))
    return {name: torch.tensor(float(len(name))).expand(tuple(shape)) for name, shape in shapes.items()}


@pytest.mark.parametrize(("name", "file", "image_dim", "text_dim"), LISTED)
def test_full_size_checkpoint(official, name, file, image_dim, text_dim):
    state = official_state(official / file)
    kind = METHODS.get(name)
    made = kind(kind.Config(**kind.official_options(state)), image_dim, text_dim)
    made.load_state_dict(kind.import_official(state))
    assert made.config.width in (512, 768)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_small_checkpoint(official, name, case):
    state = load_fixture(official / f"{name}/{case}.npz").state()
    kind = METHODS.get(name)
    options = kind.official_options(state) | ({"align_heads": 4} if name == "radzero" else {})
    made = kind(kind.Config(**options), 32, 32)
    made.load_state_dict(kind.import_official(state))


@pytest.mark.parametrize(("name", "file"), [(n, f) for n, f, *_ in LISTED])
def test_missing_and_surplus_are_listed(official, name, file):
    state = official_state(official / file)
    kind = METHODS.get(name)
    own = {
        "carzero": "CARZero.fusion_module.decoder.layers.1.linear2.bias", "gloria": "local_embedder.weight",
        "medclip": "text_model.projection_head.weight",
    }[name]  # fmt: skip
    lost = next((key for key in state if key.endswith(own)), None) or next(
        key for key in state if key.endswith(own.removeprefix("CARZero.fusion_module."))
    )
    state.pop(lost)
    state["fusion.strange"] = torch.zeros(1)
    with pytest.raises(BenchError, match=r"missing .*surplus fusion\.strange") as caught:
        kind.import_official(state)
    assert own.split(".")[-2] in str(caught.value)


def test_carzero_checks_the_two_copies_of_the_shared_norm(official):
    state = official_state(official / "carzero/checkpoint_keys.json")
    state["CARZero.fusion_module.decoder.norm.bias"] = torch.ones(768)
    with pytest.raises(BenchError, match="differ"):
        METHODS.get("carzero").import_official(state)


def test_import_is_pure(official):
    state = official_state(official / "carzero/checkpoint_keys.json")
    before = dict(state)
    ours = METHODS.get("carzero").import_official(state)
    assert state == before
    assert not any(
        t.data_ptr() == state["CARZero.fusion_module.decoder_norm.bias"].data_ptr() for t in ours.values()
    )
