"""Merlin's checkpoint by path: its names, and one line for every file that is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

from benchmark.encoders.factory import image_encoder
from benchmark.encoders.inflated import cells, inflate
from benchmark.encoders.known.merlin import VARIABLE, image_tensors
from benchmark.encoders.weights import WeightsError


def test_the_network_has_the_names_and_shapes_of_the_released_file() -> None:
    """torchvision's ResNet-152 inflated (StanfordMIMI/Merlin `i3res.py`), 930 tensors without the heads."""
    with torch.device("meta"):
        network = timm.create_model("resnet152", num_classes=0)
        inflate(network)
    shapes = {name: tuple(v.shape) for name, v in network.state_dict().items()}
    assert len(shapes) == 930
    assert shapes["conv1.weight"] == (64, 3, 3, 7, 7)
    assert shapes["layer1.0.conv2.weight"] == (64, 64, 3, 3, 3)
    assert shapes["layer1.0.downsample.0.weight"] == (256, 64, 1, 1, 1)
    assert shapes["layer3.35.bn3.running_var"] == (1024,)
    assert shapes["layer4.2.conv3.weight"] == (2048, 512, 1, 1, 1)
    assert (cells(160, first=False), cells(224, first=True)) == (10, 7)


def test_the_image_network_alone_is_read(tmp_path: Path) -> None:
    inside = {"conv1.weight": torch.ones(2), "bn1.bias": torch.zeros(2), "classifier.weight": torch.ones(1)}
    whole = {f"encode_image.i3_resnet.{name}": value for name, value in inside.items()}
    torch.save({**whole, "encode_text.linear_layer.bias": torch.ones(1)}, tmp_path / "merlin.pt")
    torch.save(inside, tmp_path / "five_years.pt")
    for name in ("merlin.pt", "five_years.pt"):
        assert set(image_tensors(tmp_path / name)) == {"conv1.weight", "bn1.bias"}


def test_a_file_that_is_none_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(WeightsError, match=r"\$MERLIN_WEIGHTS is not set"):
        image_encoder("merlin")
    path = tmp_path / "merlin.pt"
    monkeypatch.setenv(VARIABLE, str(path))
    with pytest.raises(WeightsError, match="no such file; correct"):
        image_encoder("merlin")
    for content, said in (
        ({"decode_text.weight": torch.ones(1)}, "no checkpoint of Merlin"),
        ({"encode_image.i3_resnet.conv1.weight": torch.ones(1)}, "does not fit the architecture: missing"),
    ):
        torch.save(content, path)
        with pytest.raises(WeightsError, match=said) as refused:
            image_encoder("merlin")
        assert "\n" not in str(refused.value)
    path.write_bytes(b"no weights")
    with pytest.raises(WeightsError, match=r"merlin\.pt"):
        image_encoder("merlin")
