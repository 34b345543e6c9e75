"""3-D vision transformer of BrgSA: volumes to a class token and patch tokens.

Pre-norm blocks (QKV bias, exact GELU, LayerNorm eps 1e-6), a final LayerNorm of eps 1e-5, positions from a
fixed 3-D sin-cos table that is resized trilinearly to the grid at hand. Parameter names are the official
ones below `img_encoder.model.`. Source: laihaoran/BrgSA `gloria/models/stander_3D_vit_relate_pe.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.core.errors import BenchError


class Tokens3D(NamedTuple):
    """cls: (B, D). patches: (B, P, D), X slowest, Z fastest. grid: (x, y, z)."""

    cls: Tensor
    patches: Tensor
    grid: tuple[int, int, int]


def sincos_table(width: int, grid: Sequence[int]) -> Tensor:
    """(1, 1 + P, width): zero for the class token, then 2·⌊width/6⌋ channels an axis (sin block, cos block).

    Coordinates run from 0 to 1 on each axis; the rest of the width is zero.
    """
    bands = width // 6
    frequency = 10000.0 ** (-torch.arange(bands, dtype=torch.float64) / bands)
    axes = [torch.linspace(0, 1, n, dtype=torch.float64) for n in grid]
    places = torch.meshgrid(*axes, indexing="ij")
    parts = []
    for place in places:
        angle = place.reshape(-1, 1) * frequency
        parts += [angle.sin(), angle.cos()]
    table = torch.cat(parts, dim=1)
    table = functional.pad(table, (0, width - table.shape[1]))
    return torch.cat([torch.zeros(1, width, dtype=torch.float64), table])[None].float()


class Attention3D(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(x).reshape(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, length, width))
        return out


class Mlp3D(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return out


class Block3D(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = Attention3D(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = Mlp3D(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class PatchEmbed3D(nn.Module):
    def __init__(self, width: int, patch: Sequence[int], channels: int) -> None:
        super().__init__()
        size = (patch[0], patch[1], patch[2])
        self.proj = nn.Conv3d(channels, width, kernel_size=size, stride=size)


class ViT3D(nn.Module):
    """image_size and patch_size: voxels (x, y, z). Defaults are the released model's.

    The position table is a buffer: it never trains (the official resize runs without gradients).
    """

    def __init__(
        self,
        image_size: Sequence[int] = (224, 224, 112),
        patch_size: Sequence[int] = (16, 16, 8),
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        hidden: int = 3072,
        block_eps: float = 1e-6,
        final_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.base_grid = tuple(i // p for i, p in zip(image_size, patch_size, strict=True))
        self.patch_size = tuple(patch_size)
        self.width = width
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed: Tensor
        self.register_buffer("pos_embed", sincos_table(width, self.base_grid))
        self.patch_embed = PatchEmbed3D(width, patch_size, 1)
        self.blocks = nn.ModuleList(Block3D(width, heads, hidden, block_eps) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=final_eps)
        nn.init.normal_(self.cls_token, std=0.02)
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, Tensor],
        heads: int = 12,
        base_grid: Sequence[int] | None = None,
        block_eps: float = 1e-6,
        final_eps: float = 1e-5,
    ) -> ViT3D:
        """The network whose widths and depth a state dict has (names below `img_encoder.model.`).

        base_grid: grid of the position table; without it the table must be a cube. Weights are not
        loaded here. Raises BenchError where the table has another length.
        """
        kernel = state["patch_embed.proj.weight"]
        rows = state["pos_embed"].shape[1] - 1
        grid = tuple(base_grid) if base_grid is not None else (round(rows ** (1 / 3)),) * 3
        if math.prod(grid) != rows:
            raise BenchError(f"3-D ViT: the position table has {rows} rows, the grid {grid} does not.")
        patch = tuple(kernel.shape[2:])
        return cls(
            image_size=[g * p for g, p in zip(grid, patch, strict=True)],
            patch_size=patch,
            width=kernel.shape[0],
            depth=1 + max(int(key.split(".")[1]) for key in state if key.startswith("blocks.")),
            heads=heads,
            hidden=state["blocks.0.mlp.fc1.weight"].shape[0],
            block_eps=block_eps,
            final_eps=final_eps,
        )

    def positions(self, grid: Sequence[int]) -> Tensor:
        """(1, 1 + P, D) position table resized trilinearly (align_corners False) to `grid`."""
        if tuple(grid) == self.base_grid:
            return self.pos_embed
        table = self.pos_embed[:, 1:].transpose(1, 2).reshape(1, self.width, *self.base_grid)
        resized = functional.interpolate(table, size=tuple(grid), mode="trilinear", align_corners=False)
        return torch.cat([self.pos_embed[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)

    def forward(self, volume: Tensor) -> Tokens3D:
        """volume: (B, 1, X, Y, Z), sides divisible by the patch; any such size.

        Raises BenchError where a side is not divisible.
        """
        if any(n % p for n, p in zip(volume.shape[2:], self.patch_size, strict=True)):
            raise BenchError(
                f"3-D ViT: volume {tuple(volume.shape[2:])} is no multiple of the patch {self.patch_size}."
            )
        patches = self.patch_embed.proj(volume)  # (B, D, x, y, z)
        x, y, z = patches.shape[2:]
        tokens = torch.cat(
            [self.cls_token.expand(len(volume), -1, -1), patches.flatten(2).transpose(1, 2)], dim=1
        )
        tokens = tokens + self.positions((x, y, z)).to(tokens.dtype)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        return Tokens3D(tokens[:, 0], tokens[:, 1:], (x, y, z))
