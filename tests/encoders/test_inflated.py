"""The network that is inflated to volumes, and weights that packages carry in parts."""

from __future__ import annotations

import io

import pytest
import timm
import torch

from benchmark.core.hashing import hash_bytes
from benchmark.core.preprocessing import Preprocessing
from benchmark.data.volume_steps import VolumeSteps
from benchmark.encoders.cards import ImageCard
from benchmark.encoders.inflated import InflatedResNet, inflate, joined_weights
from benchmark.encoders.weights import WeightsError

SIDE = (48, 64, 96)


def card(**changes) -> ImageCard:
    fields = {
        "name": "small",
        "source": "timm",
        "architecture": "resnet26",
        "weights": "package:parts_one/part.bin",
        "licence": "none",
        "seen": (),
        "preprocessing": Preprocessing(size=64, mean=(0.0,), std=(1.0,)),
    }
    return ImageCard(**{**fields, **changes})


def plain(**options) -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model("resnet26", pretrained=False, num_classes=0, **options)


@pytest.fixture(scope="module")
def encoder() -> InflatedResNet:
    """Weights of planes in the middle slice of every kernel: a volume that does not change along the body is
    then seen as its plane is."""
    flat, deep = plain(), plain()
    inflate(deep)
    state = flat.state_dict()
    for name, weight in deep.state_dict().items():
        if weight.dim() == 5:
            middle = torch.zeros_like(weight)
            middle[:, :, weight.shape[2] // 2] = state[name]
            state[name] = middle
    made = InflatedResNet(
        card(), {n: t.bfloat16() if t.is_floating_point() else t for n, t in state.items()},
        VolumeSteps(spacing=(7.0, 5.6, 3.75), shape=SIDE),
    )  # fmt: skip
    return made.eval()


def test_a_volume_without_change_along_the_body_is_seen_as_its_plane(encoder):
    plane = torch.randint(-1000, 1000, SIDE[1:], dtype=torch.int16)
    with torch.inference_mode():
        found = encoder.encode(plane.expand(1, *SIDE))
        flat = plain().eval()
        flat.load_state_dict({n: t.to(torch.bfloat16).float() if t.is_floating_point() else t
                              for n, t in flat.state_dict().items()})  # fmt: skip
        shown = ((plane.float() + 1000) / 2000).T.flip(0, 1)
        maps = flat.forward_features(shown.expand(1, 3, -1, -1))[0].flip(1, 2).transpose(1, 2)
    assert found.grid == encoder.grid == (3, 2, 3)
    tokens = found.local.reshape(*encoder.grid, -1)
    torch.testing.assert_close(tokens[1], maps.permute(1, 2, 0), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found.pooled, found.local.mean(1))


def test_it_reads_x_to_the_right_and_y_to_the_front(encoder):
    volume = torch.full((1, *SIDE), -1000, dtype=torch.int16)
    volume[0, 5, 0, 7] = 1000
    shown = encoder.prepare(volume)
    assert shown.shape == (1, 3, SIDE[0], SIDE[2], SIDE[1])
    assert shown[0, :, 5, SIDE[2] - 8, SIDE[1] - 1].tolist() == [1, 1, 1]
    assert float(shown.sum()) == 3


@pytest.fixture
def parts(tmp_path, monkeypatch) -> bytes:
    """A file of weights in two packages."""
    kept = io.BytesIO()
    torch.save({"state_dict": {"a": torch.ones(2)}, "meta": {}}, kept)
    whole = kept.getvalue()
    for number, name in enumerate(("parts_one", "parts_two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('none of it runs')\n")
        (tmp_path / name / "part.bin").write_bytes(whole[number * 100 : None if number else 100])
    monkeypatch.syspath_prepend(tmp_path)
    return whole


def test_parts_are_joined_checked_and_never_run(parts):
    pinned = card(sha256=hash_bytes(parts))
    assert joined_weights(pinned, ("parts_one", "parts_two"), "part.bin", "x")["a"].tolist() == [1, 1]
    with pytest.raises(WeightsError, match=r"parts joined have sha256 .*reinstall the extra 'x'"):
        joined_weights(card(sha256="0" * 64), ("parts_one", "parts_two"), "part.bin", "x")
    with pytest.raises(WeightsError, match=r"parts-three is not installed.*alignbench\[x\]"):
        joined_weights(pinned, ("parts_one", "parts_three"), "part.bin", "x")
