"""CT-ViT of CT-CLIP: volumes to a grid of code vectors, attention within slabs first, then along the body.

A patch of a few slices becomes a token (LayerNorm, Linear, LayerNorm). Four layers see the tokens of one
slab, under a bias that a small network makes of the distance in rows and columns; four more see those of one
place across the slabs. A layer adds a depthwise convolution over slab, row and column that looks back only,
cosine attention, and a gated feed-forward. At the end every token is replaced by the code nearest by cosine.
Parameter names are the official ones below `visual_transformer.`. Sources: ibrahimethemhamamci/CT-CLIP
`transformer_maskgit/{ctvit,attention}.py`, vector-quantize-pytorch 1.1.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.core.checkpoints import load_strictly
from benchmark.core.errors import BenchError

WHAT = "CT-CLIP image encoder (CT-ViT)"
UNUSED = ("to_patch_emb_first_frame.", "to_pixels_first_frame.", "to_pixels.")
"""Of the autoencoder that CT-ViT was before, stored and not read by CT-CLIP."""
_UNUSED_ENDS = (".context_norm.gamma", ".context_norm.beta", "_codebook.initted", "_codebook.cluster_size")
_TOKENS_AT_ONCE = 1024
"""Tokens that are compared with all codes at once: 32 MB of cosines at 8,192 codes."""


class GammaNorm(nn.Module):
    """LayerNorm whose shift is stored and never trained."""

    beta: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))
        self.register_buffer("beta", torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], self.gamma, self.beta)


class Position(nn.Module):
    """A depthwise 3 x 3 x 3 convolution over (slab, row, column), of whose slabs none lies ahead."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dsconv = nn.Conv3d(width, width, 3, groups=width)

    def forward(self, x: Tensor, shape: tuple[int, int, int, int]) -> Tensor:
        """x: (…, …, D) of the elements of `shape`, (batch, slabs, rows, columns), whatever their order: the
        layers along the body pass them place by place and read them as slab by slab all the same (Q-T2)."""
        grid = x.reshape(*shape, -1).movedim(-1, 1)  # (B, D, t, h, w)
        mixed: Tensor = self.dsconv(functional.pad(grid, (1, 1, 1, 1, 2, 0)))
        return mixed.movedim(1, -1).reshape(x.shape)


class CosineAttention(nn.Module):
    """Attention by cosine, times learned scales of the channels and 8. Keys and values are made of the input
    as it is, queries of the normalised one (Q-T3)."""

    null_kv: Tensor

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = GammaNorm(width)
        self.to_q = nn.Linear(width, heads * head_width, bias=False)
        self.to_kv = nn.Linear(width, 2 * heads * head_width, bias=False)
        self.q_scale = nn.Parameter(torch.ones(head_width))
        self.k_scale = nn.Parameter(torch.ones(head_width))
        self.to_out = nn.Linear(heads * head_width, width, bias=False)
        self.register_buffer("null_kv", torch.empty(heads, 0, head_width))

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """x: (N, L, D). bias: (heads, L, L), added to the products."""
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.to_q(self.norm(x)), *self.to_kv(x).chunk(2, dim=-1))
        )
        q = functional.normalize(q, dim=-1) * self.q_scale
        k = functional.normalize(k, dim=-1) * self.k_scale
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=8.0)
        out: Tensor = self.to_out(mixed.transpose(1, 2).flatten(2))
        return out


class Gated(nn.Module):
    """The second half of the channels, through GELU, opens the first."""

    def forward(self, x: Tensor) -> Tensor:
        value, gate = x.chunk(2, dim=-1)
        return functional.gelu(gate) * value


class Stack(nn.Module):
    """Layers and a norm after the last one."""

    def __init__(self, width: int, depth: int, heads: int, head_width: int) -> None:
        super().__init__()
        inner = int(4 * (2 / 3) * width)
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    "0": Position(width),
                    "1": CosineAttention(width, heads, head_width),
                    "3": nn.Sequential(
                        nn.LayerNorm(width),
                        nn.Linear(width, 2 * inner, bias=False),
                        Gated(),
                        nn.Identity(),  # dropout of 0, whose place counts in the names
                        nn.Linear(inner, width, bias=False),
                    ),
                }
            )
            for _ in range(depth)
        )
        self.norm_out = GammaNorm(width)

    def forward(self, x: Tensor, shape: tuple[int, int, int, int], bias: Tensor | None = None) -> Tensor:
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleDict)
            x = layer["0"](x, shape) + x
            x = layer["1"](x, bias) + x
            x = layer["3"](x) + x
        out: Tensor = self.norm_out(x)
        return out


class DistanceBias(nn.Module):
    """A bias of every head for each pair of places, from sign(d) · log(1 + |d|) of rows and columns."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.net = nn.ModuleList(
            [
                nn.Sequential(nn.Linear(2, width), nn.LeakyReLU(0.1)),
                nn.Sequential(nn.Linear(width, width), nn.LeakyReLU(0.1)),
                nn.Linear(width, heads),
            ]
        )

    def forward(self, rows: int, columns: int) -> Tensor:
        """(heads, rows · columns, rows · columns). Each distance is computed once: pairs share them."""
        device = next(self.parameters()).device
        far = [torch.arange(1 - n, n, device=device) for n in (rows, columns)]
        apart = torch.stack(torch.meshgrid(*far, indexing="ij"), dim=-1).flatten(0, 1).float()
        x = apart.sign() * (apart.abs() + 1).log()
        for layer in self.net:
            x = layer(x)
        row, column = (
            p.flatten() for p in torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        )
        which = (row[:, None] - row + rows - 1) * (2 * columns - 1) + (column[:, None] - column + columns - 1)
        return x[which.to(device)].permute(2, 0, 1)


class Codebook(nn.Module):
    """The code of a token is the one of the largest cosine; ties go to the first."""

    embed: Tensor

    def __init__(self, codes: int, width: int) -> None:
        super().__init__()
        self.register_buffer("embed", torch.zeros(1, codes, width))

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) → codes of the same shape."""
        book = self.embed[0]
        unit = functional.normalize(book, dim=-1)
        flat = functional.normalize(x.flatten(0, -2), dim=-1)
        parts = (flat[start : start + _TOKENS_AT_ONCE] for start in range(0, len(flat), _TOKENS_AT_ONCE))
        found = [(part @ unit.T).argmax(dim=-1) for part in parts]
        return book[torch.cat(found)].reshape(x.shape)


class Quantiser(nn.Module):
    def __init__(self, codes: int, width: int) -> None:
        super().__init__()
        self._codebook = Codebook(codes, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self._codebook(x)
        return out


class CTViT(nn.Module):
    """patch: voxels (slices, rows, columns) of a token. Defaults are the released model's."""

    def __init__(
        self,
        patch: tuple[int, int, int] = (10, 20, 20),
        width: int = 512,
        depths: tuple[int, int] = (4, 4),
        heads: int = 8,
        head_width: int = 32,
        codes: int = 8192,
    ) -> None:
        super().__init__()
        self.patch, self.width = patch, width
        voxels = math.prod(patch)
        self.to_patch_emb = nn.Sequential(
            nn.Identity(),  # the rearrangement, whose place counts in the names
            nn.LayerNorm(voxels),
            nn.Linear(voxels, width),
            nn.LayerNorm(width),
        )
        self.spatial_rel_pos_bias = DistanceBias(width, heads)
        self.enc_spatial_transformer = Stack(width, depths[0], heads, head_width)
        self.enc_temporal_transformer = Stack(width, depths[1], heads, head_width)
        self.vq = Quantiser(codes, width)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> CTViT:
        """The network of official weights (names below `visual_transformer.`), loaded.

        Raises BenchError listing missing, surplus and misshapen names.
        """
        voxels = _tensor(state, "to_patch_emb.2.weight").shape[1]
        side = math.isqrt(_tensor(state, "to_patch_emb_first_frame.2.weight").shape[1])
        scale = _tensor(state, "enc_spatial_transformer.layers.0.1.q_scale")
        queries = _tensor(state, "enc_spatial_transformer.layers.0.1.to_q.weight")
        if not side or voxels % (side * side) or not len(scale) or queries.shape[0] % len(scale):
            raise BenchError(
                f"{WHAT}: patches of {voxels} voxels and queries of {queries.shape[0]} channels are not "
                f"those of slices of {side} x {side} and heads of {len(scale)}."
            )
        network = cls(
            patch=(voxels // side**2, side, side),
            width=queries.shape[1],
            depths=(_depth(state, "enc_spatial_transformer"), _depth(state, "enc_temporal_transformer")),
            heads=queries.shape[0] // len(scale),
            head_width=len(scale),
            codes=_tensor(state, "vq._codebook.embed").shape[1],
        )
        load_strictly(network, state, WHAT, unused(state))
        return network

    def forward(self, volume: Tensor) -> Tensor:
        """(B, 1, T, H, W), sides divisible by the patch → (B, t, h, w, D) codes. Raises as `encode`."""
        out: Tensor = self.vq(self.encode(volume))
        return out

    def encode(self, volume: Tensor) -> Tensor:
        """(B, 1, T, H, W) → (B, t, h, w, D) tokens before they are replaced by codes.

        Raises BenchError where a side is not divisible by the patch.
        """
        sides = volume.shape[2:]
        if any(n % p for n, p in zip(sides, self.patch, strict=True)):
            raise BenchError(f"CT-ViT: volume {tuple(sides)} is no multiple of the patch {self.patch}.")
        batch = len(volume)
        t, h, w = (n // p for n, p in zip(sides, self.patch, strict=True))
        cut = volume[:, 0].reshape(batch, t, self.patch[0], h, self.patch[1], w, self.patch[2])
        tokens = self.to_patch_emb(cut.permute(0, 1, 3, 5, 2, 4, 6).flatten(4))  # (B, t, h, w, D)
        shape = (batch, t, h, w)
        bias = self.spatial_rel_pos_bias(h, w)
        slabs = self.enc_spatial_transformer(tokens.reshape(batch * t, h * w, -1), shape, bias)
        places = slabs.reshape(*shape, -1).permute(0, 2, 3, 1, 4).reshape(batch * h * w, t, -1)
        places = self.enc_temporal_transformer(places, shape)
        out: Tensor = places.reshape(batch, h, w, t, -1).permute(0, 3, 1, 2, 4)
        return out


def unused(state: Mapping[str, Tensor]) -> frozenset[str]:
    """Names that the official inference does not read either."""
    return frozenset(name for name in state if name.startswith(UNUSED) or name.endswith(_UNUSED_ENDS))


def _depth(state: Mapping[str, Tensor], stack: str) -> int:
    prefix = f"{stack}.layers."
    numbers = [name[len(prefix) :].partition(".")[0] for name in state if name.startswith(prefix)]
    return 1 + max((int(number) for number in numbers if number.isdigit()), default=-1)


def _tensor(state: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in state:
        raise BenchError(f"{WHAT}: the checkpoint lacks '{name}'; check the file and --method.")
    return state[name]
