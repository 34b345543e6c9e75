"""Image encoders of the official checkpoints behind the shared interface, with the official preprocessing.

Each takes the checkpoint's tensors below its image prefix and refuses missing or surplus names. Sources:
laihaoran/CARZero `vision_model.py`, `transformer_backbones.py`; marshuang80/gloria `vision_model.py`;
RyanWangZf/MedCLIP `modeling_medclip.py`; deepnoid-ai/RadZero `vision_encoders.py`; rajpurkarlab/CheXzero.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmark.core.errors import BenchError
from benchmark.core.features import ImageFeatures
from benchmark.core.preprocessing import Preprocessing
from benchmark.data.volume_steps import STEPS
from benchmark.data.volumes import network_input
from benchmark.encoders.base import ImageEncoder
from benchmark.encoders.cards import ImageCard
from benchmark.encoders.volume_encoder import VolumeEncoder
from benchmark.official.vision import (
    DinoV2,
    resnet_network,
    swin_network,
    vit3d_network,
    vit_network,
)

CARZERO = Preprocessing(
    size=256, crop=224, depth="high-byte", fit="pad", interpolation="area", mean=(0.4978,), std=(0.2449,)
)
GLORIA = CARZERO.model_copy(update={"mean": (0.5,), "std": (0.5,)})
MEDCLIP = Preprocessing(
    size=224,
    depth="full",
    fit="pad",
    interpolation="bicubic",
    mean=(0.5862785803043838,),
    std=(0.27950088968644304,),
)
CHEXZERO = Preprocessing(
    size=224,
    depth="full",
    fit="pad",
    interpolation="bicubic",
    mean=(101.48761 / 255,),
    std=(83.43944 / 255,),
)


def _card(
    name: str, architecture: str, weights: str, steps: Preprocessing, pooling: str = "cls"
) -> ImageCard:
    return ImageCard.model_validate(
        {
            "name": name,
            "source": "timm",
            "architecture": architecture,
            "weights": f"path:{weights}",
            "licence": "of the checkpoint",
            "seen": "unknown",
            "preprocessing": steps,
            "pooling": pooling,
        }
    )


def _sized(steps: Preprocessing, side: int) -> Preprocessing:
    """The same steps for a network of another input size, in the same proportions."""
    if side == steps.side:
        return steps
    crop = None if steps.crop is None else side
    return steps.model_copy(update={"size": side * steps.size // steps.side, "crop": crop})


class OfficialViT(ImageEncoder):
    """CARZero's ViT-B/16: class token and patch tokens after the final LayerNorm (eps 1e-6 throughout)."""

    def __init__(self, state: Mapping[str, Tensor], weights: str, heads: int | None = None) -> None:
        network = vit_network(state, heads)
        side, patch = network.patch_embed.img_size[0], network.patch_embed.patch_size[0]
        width = network.embed_dim
        super().__init__(_card("carzero-vit", f"vit {width}/{patch}", weights, _sized(CARZERO, side)))
        self.network = network
        self.width, self.grid = width, (side // patch,) * 2

    def forward(self, images: Tensor) -> ImageFeatures:
        tokens = self.network.forward_features(images)
        return ImageFeatures(tokens[:, 0], tokens[:, 1:], self.grid)


class OfficialResNet(ImageEncoder):
    """ResNet-50 of GLoRIA and MedCLIP, without its classifier; batch norms use stored statistics (Q-G3).

    GLoRIA: images are enlarged to 299 x 299 (bilinear, corners aligned), tokens are the layer-3 map (1024
    wide, 19 x 19) and the pooled vector is the mean of layer 4 (2048 wide). MedCLIP: no enlargement, tokens
    are the layer-4 map. local_width: channels of the tokens.
    """

    def __init__(self, state: Mapping[str, Tensor], weights: str, *, gloria: bool) -> None:
        name, steps = ("gloria-resnet50", GLORIA) if gloria else ("medclip-resnet50", MEDCLIP)
        super().__init__(_card(name, "resnet50", weights, steps, "mean"))
        self.network = resnet_network(state)
        self.enlarged = 299 if gloria else None
        self.width, self.local_width = 2048, 1024 if gloria else 2048
        self.grid = (19, 19) if gloria else (7, 7)

    def forward(self, images: Tensor) -> ImageFeatures:
        net = self.network
        if self.enlarged:
            images = functional.interpolate(
                images, size=(self.enlarged,) * 2, mode="bilinear", align_corners=True
            )
        x = net.maxpool(net.relu(net.bn1(net.conv1(images))))
        third = net.layer3(net.layer2(net.layer1(x)))
        fourth = net.layer4(third)
        local = third if self.enlarged else fourth
        return ImageFeatures(
            fourth.mean(dim=(2, 3)), local.flatten(2).transpose(1, 2), tuple(local.shape[2:])
        )


class OfficialSwin(ImageEncoder):
    """MedCLIP's Swin-tiny: pooled output and the 49 tokens of the last stage."""

    def __init__(self, state: Mapping[str, Tensor], weights: str) -> None:
        super().__init__(_card("medclip-swin", "swin-tiny-patch4-window7-224", weights, MEDCLIP, "mean"))
        self.network = swin_network(state)
        self.width, self.grid = int(self.network.config.hidden_size), (7, 7)

    def forward(self, images: Tensor) -> ImageFeatures:
        output = self.network(pixel_values=images)
        local = output.last_hidden_state
        side = round(local.shape[1] ** 0.5)
        return ImageFeatures(output.pooler_output, local, (side, side))


class OfficialDino(ImageEncoder):
    """RadZero's frozen DINOv2; mean and std come from the image processor's own file."""

    def __init__(
        self,
        state: Mapping[str, Tensor],
        weights: str,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        size: int = 518,
        heads: int | None = None,
    ) -> None:
        steps = Preprocessing(
            size=size, depth="min-max", fit="stretch", interpolation="bicubic", mean=mean, std=std
        )
        super().__init__(_card("radzero-dinov2", "dinov2, positions by scale", weights, steps))
        self.network = DinoV2.from_state(state, heads, "scale_plus_0.1")
        self.width, self.grid = self.network.layernorm.weight.shape[0], (size // self.network.patch,) * 2

    def forward(self, images: Tensor) -> ImageFeatures:
        tokens = self.network.tokens(images)
        return ImageFeatures(tokens[:, 0], tokens[:, 1:], self.grid)


class OfficialVolumes(VolumeEncoder):
    """BrgSA's 3-D ViT, on the whole prepared volume as its authors test it; positions are interpolated."""

    def __init__(self, state: Mapping[str, Tensor], weights: str, heads: int | None = None) -> None:
        # Preprocessing describes planes; of volumes only its mean and std would act, which `prepare` applies.
        super().__init__(_card("brgsa-vit3d", "vit3d", weights, Preprocessing(size=256, channels=1)))
        self.network = vit3d_network(state, heads)
        self.width = self.network.width
        self.steps = STEPS["brgsa"]
        sides = self.steps.shape[::-1]
        self.grid = tuple(side // p for side, p in zip(sides, self.network.patch_size, strict=True))

    def prepare(self, hounsfield: Tensor) -> Tensor:
        """(B, 1, X, Y, Z) float32 (`data.volumes.network_input`)."""
        made = [network_input(volume) for volume in hounsfield.cpu().numpy()]
        return torch.from_numpy(np.stack(made)).to(self.network.cls_token)

    def forward(self, images: Tensor) -> ImageFeatures:
        tokens = self.network(images)
        return ImageFeatures(tokens.cls, tokens.patches, tokens.grid)


class OfficialClipImage(ImageEncoder):
    """Image tower of an OpenAI-CLIP state dict (CheXzero): projected class token and projected patches."""

    def __init__(self, tower: Any, weights: str) -> None:
        side = tower.image_size if isinstance(tower.image_size, int) else tower.image_size[0]
        super().__init__(_card("chexzero-vit", "clip vit", weights, _sized(CHEXZERO, side)))
        if not hasattr(tower, "proj") or tower.proj is None:
            raise BenchError(f"{weights}: only CLIP files with a vision transformer give patch tokens.")
        self.network = tower
        self.network.output_tokens = True
        patch = tower.conv1.kernel_size[0]
        self.width, self.grid = tower.proj.shape[1], (side // patch,) * 2

    def forward(self, images: Tensor) -> ImageFeatures:
        pooled, tokens = self.network(images)
        return ImageFeatures(pooled, tokens @ self.network.proj, self.grid)
