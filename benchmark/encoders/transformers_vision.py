"""Image encoders of transformers: DINOv2 and v3, ViT, SigLIP, CLIP, BEiT, ConvNeXt and their kin."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from benchmark.core.errors import CardError
from benchmark.core.features import ImageFeatures
from benchmark.encoders.base import ImageEncoder
from benchmark.encoders.cards import ImageCard
from benchmark.encoders.folder_cards import folder_preprocessing
from benchmark.encoders.transformers_towers import check_own, load_tower
from benchmark.encoders.weights import WeightsError, weights_path

CLOSE = 5e-4
"""Means and deviations of a card and of an image processor that differ by more are not the same."""


class TransformersImage(ImageEncoder):
    """The vision tower of any AutoModel. Code that a model folder ships is never run.

    Tokens are those of the last layer after the network's final norm, where it has one. Of a model with two
    towers `pooling: model` gives `get_image_features`, and tokens pass the same projection where it is linear
    (CLIP), so that they live in the joint space; SigLIP pools by attention, and its tokens do not.
    """

    def __init__(self, card: ImageCard) -> None:
        super().__init__(card)
        path = weights_path(card)
        if path is not None:
            self._check_processor(path if path.is_dir() else path.parent)
        unused = () if card.pooling == "model" else ("pooler.", "vision_model.head.", "vision_model.pooler.")
        tower = load_tower(card, path, "vision_model", ("embeddings.mask_token", *unused))
        self.network: Any = tower.network
        self.project = tower.projection if card.pooling == "model" else None
        self.norm_after = tower.norm_after
        takes = inspect.signature(self.network.forward).parameters
        self.interpolate = "interpolate_pos_encoding" in takes
        self.patched = "spatial_shapes" in takes
        config = self.network.config
        self.patch = getattr(config, "patch_size", None)
        side = card.preprocessing.side
        with torch.no_grad():
            black = torch.zeros(1, card.preprocessing.channels, side, side)
            tokens, first, pooled, self.grid = self._read(black)
            chosen = self._chosen(tokens, first, pooled)
        self.width, self.scale = chosen.local.shape[-1], tower.scale
        if card.pooling == "model":
            check_own(card, tower, chosen.pooled, **self._inputs(black))
        self.joint = (
            self.project is not None and first is not None and pooled is not None
            and first.shape == pooled.shape and torch.allclose(first, pooled, atol=1e-4)
        )  # fmt: skip
        """Whether patch tokens live in the space of the pooled vector, which then is the class token."""

    def forward(self, images: Tensor) -> ImageFeatures:
        tokens, first, pooled, _ = self._read(images)
        return self._chosen(tokens, first, pooled)

    def _read(self, images: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, tuple[int, int]]:
        """Patch tokens (B, P, D), class token and the network's own pooled output, if any, and the grid."""
        try:
            output = self.network(**self._inputs(images))
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise WeightsError(
                f"encoder {self.card.name}: the network does not take images of {images.shape[-1]} pixels "
                f"({reason}); correct `preprocessing.size`."
            ) from None
        states, pooled = output.last_hidden_state, getattr(output, "pooler_output", None)
        if states.ndim == 4:  # (B, D, h, w) of a convolutional network
            grid = (int(states.shape[2]), int(states.shape[3]))
            return states.flatten(2).transpose(1, 2), None, pooled, grid
        if self.norm_after:
            states = self.network.post_layernorm(states)
        grid = self._grid(states.shape[1], images.shape[-1])
        before = states.shape[1] - grid[0] * grid[1]
        return states[:, before:], states[:, 0] if before else None, pooled, grid

    def _inputs(self, images: Tensor) -> dict[str, Any]:
        """What the network takes in place of (B, C, S, S) images."""
        if self.patched:
            return dict(in_patches(images, int(self.patch or 1)))
        return {"pixel_values": images, **({"interpolate_pos_encoding": True} if self.interpolate else {})}

    def _chosen(self, tokens: Tensor, first: Tensor | None, pooled: Tensor | None) -> ImageFeatures:
        """What the card's pooling makes of them. Raises WeightsError where the network has no such output."""
        if self.card.pooling == "mean":
            pooled = tokens.mean(1)
        elif self.card.pooling == "cls":
            pooled = first
        if pooled is None:
            what = "class token" if self.card.pooling == "cls" else "pooled output of its own"
            raise WeightsError(f"encoder {self.card.name}: the network has no {what}; use pooling: mean.")
        if self.project is not None:
            pooled, tokens = self.project(pooled), self.project(tokens)
        if pooled.shape[-1] != tokens.shape[-1]:
            raise WeightsError(
                f"encoder {self.card.name}: pooled width {pooled.shape[-1]} differs from the tokens' "
                f"{tokens.shape[-1]}; use pooling: mean or cls."
            )
        return ImageFeatures(pooled, tokens, self.grid)

    def _grid(self, count: int, side: int) -> tuple[int, int]:
        """Rows and columns of the patch tokens; class token and registers stand before them."""
        config = self.network.config
        patch = self.patch if isinstance(self.patch, int) else (self.patch or [0])[0]
        cells = side // patch if patch else 0
        before = count - cells * cells
        if not cells or not 0 <= before <= 1 + int(getattr(config, "num_register_tokens", 0) or 0):
            raise WeightsError(
                f"encoder {self.card.name}: {count} tokens of a {type(self.network).__name__} form no grid "
                f"of {side} / {patch} pixels; correct `preprocessing.size`."
            )
        return cells, cells

    def _check_processor(self, folder: Any) -> None:
        """Raises WeightsError where the folder's image processor normalises otherwise than the card."""
        try:
            theirs, steps = folder_preprocessing(folder), self.card.preprocessing
        except CardError:  # steps that nothing here carries out, in whose place the card has its own
            return
        if theirs is None:
            return
        for name in ("mean", "std"):
            ours, own = getattr(steps, name), getattr(theirs, name)
            wide = max(len(ours), len(own))
            pairs = zip(ours * (wide // len(ours)), own * (wide // len(own)), strict=True)
            if any(abs(a - b) > CLOSE for a, b in pairs):
                raise WeightsError(
                    f"encoder {self.card.name}: its card says {name} {list(ours)}, the image processor in "
                    f"{folder} {list(own)}; correct the card's `preprocessing.{name}`."
                )


def in_patches(images: Tensor, patch: int) -> dict[str, Tensor]:
    """Square images (B, C, S, S) as SigLIP2's network of native resolutions takes them: patches in rows,
    (B, P, patch · patch · C), all attended, and their grid. Raises ValueError where patches do not fit."""
    batch, _, side, _ = images.shape
    if side % patch:
        raise ValueError(f"no multiple of the patches' {patch}")
    rows = side // patch
    cut = images.reshape(batch, -1, rows, patch, rows, patch)
    return {
        "pixel_values": cut.permute(0, 2, 4, 3, 5, 1).reshape(batch, rows * rows, -1),
        "pixel_attention_mask": images.new_ones(batch, rows * rows, dtype=torch.int64),
        "spatial_shapes": torch.full((batch, 2), rows, device=images.device),
    }
