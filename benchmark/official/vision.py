"""Image networks of the official checkpoints, sized by the shapes of their weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import ResNet, resnet50
from transformers import SwinConfig, SwinModel

from benchmark.core.checkpoints import load_strictly
from benchmark.core.errors import BenchError
from benchmark.official.vit3d import ViT3D

HEAD_WIDTH = 64


def vit_network(state: Mapping[str, Tensor], heads: int | None = None) -> VisionTransformer:
    """CARZero's ViT (timm blocks, LayerNorm eps 1e-6) of the given weights; heads: width / 64 by default.

    Raises BenchError listing missing, surplus and misshapen names, here and below.
    """
    what = "CARZero image encoder (ViT)"
    kernel = _tensor(state, "patch_embed.proj.weight", what)
    width, patch = kernel.shape[0], kernel.shape[-1]
    network = VisionTransformer(
        img_size=patch * round((_tensor(state, "pos_embed", what).shape[1] - 1) ** 0.5),
        patch_size=patch,
        embed_dim=width,
        depth=1 + max((int(k.split(".")[1]) for k in state if k.startswith("blocks.")), default=0),
        num_heads=heads or max(width // HEAD_WIDTH, 1),
        mlp_ratio=_tensor(state, "blocks.0.mlp.fc1.weight", what).shape[0] / width,
        num_classes=0,
    )
    load_strictly(network, state, what)
    return network


def resnet_network(state: Mapping[str, Tensor]) -> ResNet:
    """torchvision's ResNet-50 without its classifier (GLoRIA, MedCLIP)."""
    network = resnet50(weights=None)
    network.fc = nn.Identity()
    load_strictly(network, state, "ResNet-50 image encoder")
    network.train(False)  # stored batch statistics, never those of the images at hand (Q-G3)
    return network


def swin_network(state: Mapping[str, Tensor]) -> SwinModel:
    """MedCLIP's Swin-tiny, window 7 at 224 pixels; the library may have renamed the official names."""
    network = SwinModel(SwinConfig())
    own = network.state_dict().keys()
    renamed = {_swin_name(name, own): value for name, value in state.items()}
    buffers = frozenset(name for name in renamed if name.endswith("relative_position_index"))
    load_strictly(network, renamed, "MedCLIP image encoder (Swin)", buffers)
    return network


def vit3d_network(state: Mapping[str, Tensor], heads: int | None = None) -> ViT3D:
    """BrgSA's 3-D ViT of the given weights, whose position table is a cube."""
    what = "BrgSA image encoder (3-D ViT)"
    width = _tensor(state, "patch_embed.proj.weight", what).shape[0]
    _tensor(state, "pos_embed", what)
    _tensor(state, "blocks.0.mlp.fc1.weight", what)
    network = ViT3D.from_state(state, heads or max(width // HEAD_WIDTH, 1))
    load_strictly(network, state, what)
    return network


_SWIN = (
    ("attention.self.query", "attention.q_proj"),
    ("attention.self.key", "attention.k_proj"),
    ("attention.self.value", "attention.v_proj"),
    ("attention.output.dense", "attention.o_proj"),
    ("attention.self.relative_position", "attention.relative_position_bias.relative_position"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
)


def _swin_name(name: str, own: Collection[str]) -> str:
    """Names of transformers 4.24 in the installed release, which may have renamed them."""
    if name in own:
        return name
    for old, new in _SWIN:
        if old in name:
            return name.replace(old, new)
    return name


def _tensor(state: Mapping[str, Tensor], name: str, what: str) -> Tensor:
    if name not in state:
        raise BenchError(f"{what}: the checkpoint lacks '{name}'; check the file and --method.")
    return state[name]


class DinoBlock(nn.Module):
    """A DINOv2 layer: pre-norm, LayerScale, exact GELU, LayerNorm eps 1e-6."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.query, self.key, self.value, self.dense = (nn.Linear(width, width) for _ in range(4))
        self.lambda1, self.lambda2 = nn.Parameter(torch.ones(width)), nn.Parameter(torch.ones(width))
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm1(x)
        query, key, value = (
            part(normed).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = x + self.lambda1 * self.dense(mixed)
        out: Tensor = x + self.lambda2 * self.fc2(functional.gelu(self.fc1(self.norm2(x))))
        return out


class DinoV2(nn.Module):
    """RadZero's vision encoder. Own module, since the library's tensor names and position resize changed.

    position_resize: `size` resizes the position table to the grid at hand, `scale_plus_0.1` by the factor
    (n + 0.1) / n₀ as transformers 4.39 did, which the official weights were trained with (Q2).
    """

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        hidden: int,
        patch: int,
        base: int,
        position_resize: Literal["size", "scale_plus_0.1"] = "scale_plus_0.1",
    ) -> None:
        super().__init__()
        self.patch, self.base, self.position_resize = patch, base, position_resize
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_embeddings = nn.Parameter(torch.zeros(1, 1 + base * base, width))
        self.projection = nn.Conv2d(3, width, kernel_size=patch, stride=patch)
        self.layers = nn.ModuleList(DinoBlock(width, heads, hidden) for _ in range(depth))
        self.layernorm = nn.LayerNorm(width, eps=1e-6)

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, Tensor],
        heads: int | None = None,
        position_resize: Literal["size", "scale_plus_0.1"] = "scale_plus_0.1",
    ) -> DinoV2:
        """The network of official weights (names below `vision_model.`), loaded.

        Raises BenchError listing missing and surplus names; the unused mask token may be there.
        """
        what = "DINOv2 image encoder"
        kernel = _tensor(state, "embeddings.patch_embeddings.projection.weight", what)
        rows = _tensor(state, "embeddings.position_embeddings", what).shape[1] - 1
        base = round(rows**0.5)
        if base * base != rows:
            raise BenchError(f"DINOv2: {rows} positions form no square grid.")
        width = kernel.shape[0]
        network = cls(
            width=width,
            depth=1 + max(int(k.split(".")[2]) for k in state if k.startswith("encoder.layer.")),
            heads=heads or max(width // HEAD_WIDTH, 1),
            hidden=_tensor(state, "encoder.layer.0.mlp.fc1.weight", what).shape[0],
            patch=kernel.shape[-1],
            base=base,
            position_resize=position_resize,
        )
        renamed = {_dino_name(name): value for name, value in state.items()}
        load_strictly(network, renamed, what, frozenset({"mask_token"}))
        return network

    def positions(self, rows: int, columns: int) -> Tensor:
        """(1, 1 + P, D) position table for a grid of patches."""
        table = self.position_embeddings
        if rows == columns == self.base:
            return table
        grid = table[:, 1:].reshape(1, self.base, self.base, -1).permute(0, 3, 1, 2)
        if self.position_resize == "size":
            grid = functional.interpolate(grid, size=(rows, columns), mode="bicubic", align_corners=False)
        else:
            factors = ((rows + 0.1) / self.base, (columns + 0.1) / self.base)
            grid = functional.interpolate(grid, scale_factor=factors, mode="bicubic", align_corners=False)
        return torch.cat([table[:, :1], grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)

    def tokens(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, 1 + P, D) after the final LayerNorm, class token first."""
        patches = self.projection(images)
        rows, columns = patches.shape[-2:]
        x = torch.cat([self.cls_token.expand(len(images), -1, -1), patches.flatten(2).transpose(1, 2)], 1)
        x = x + self.positions(rows, columns)
        for layer in self.layers:
            x = layer(x)
        out: Tensor = self.layernorm(x)
        return out


_DINO = (
    ("embeddings.patch_embeddings.", ""),
    ("embeddings.", ""),
    ("encoder.layer.", "layers."),
    ("attention.attention.", ""),
    ("attention.output.", ""),
    ("attention.q_proj.", "query."),
    ("attention.k_proj.", "key."),
    ("attention.v_proj.", "value."),
    ("attention.o_proj.", "dense."),
    ("layer_scale1.", ""),
    ("layer_scale2.lambda1", "lambda2"),
    ("mlp.", ""),
)


def _dino_name(name: str) -> str:
    """transformers' names, old and new, → ours."""
    if "layer_scale2." in name:
        name = name.replace("layer_scale2.lambda1", "lambda2")
    for theirs, ours in _DINO:
        name = name.replace(theirs, ours)
    return name
