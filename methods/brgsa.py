"""BrgSA: global alignment with a cross-modal knowledge bank (Lai et al. 2025, IEEE JBHI).

    v = W_v x + b_v,  t = W_t y + b_t                   x, y: pooled image and text features
    z(a) = softmax(a Dᵀ),  â = z(a) D                   D: bank (K, d), shared by both sides; a not normalised
    loss = ½ [mse(v̂, v) + mse(t̂, t)] + InfoNCE(10 cos(v, t)) + InfoNCE(10 cos(v̂, t̂))
    score = ½ [cos(v, t) + cos(v̂, t)]                  InfoNCE: rows + columns, summed

Source: laihaoran/BrgSA gloria/models/{gloria_model_clip_proj_dict,dictionarylearning}.py,
loss/gloria_loss.py, gloria.py, configs/mimic_pretrain_llm_clip_3D_proj_dict.yaml (e79355d).

Differs from the official code: codes come from raw dot products (B1); norms and code entropy are reported
with the loss, and `scale_codes` divides by √d. The bank's size follows the width (official 2048 at 768).
The optimiser is the configuration's Adam, not the README's AdamW (B5), with a constant rate (B6).
Positions, crops, the 97-position mean, preprocessing and the evaluation scripts (B2 … B4, B7 … B14) belong
to encoders, data and evaluation; one pair keeps its axes (B15). A text is one sentence, where upstream joins
up to five (B16); all sentences of an image as positives of their own (`multi_positive`) and a `head` behind
the image projection are ours: `blocks.contrast`, `blocks.CosineConfig`. It sees pooled vectors only, unless a
head attends to patches, so 2D and 3D grids are alike. Similarity maps are the official cosine of projected
patches and prompt, not rescaled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from benchmark.core.features import ImageFeatures, TextFeatures
from methods.base import METHODS, Losses, Method, Pairs, Prepared, Recipe
from methods.blocks import (
    CosineConfig,
    OfficialState,
    TokenHead,
    contrast,
    cosine_matrix,
    orthogonal_,
    projection,
    unit,
)

_INIT: dict[str, Callable[[Tensor], Tensor]] = {
    "orthogonal": orthogonal_,
    "gaussian": nn.init.normal_,
    "xavier": nn.init.xavier_uniform_,
    "uniform": lambda bank: nn.init.uniform_(bank, -0.1, 0.1),
}


class BrgSAConfig(CosineConfig, frozen=True):
    """BrgSA and its switches."""

    width: int = Field(128, gt=0, description="official 768 (global_embedder, emb_global)")
    project: Literal["auto", "always", "never"] = Field("always", description="official always (both sides)")
    bank: bool = Field(True, description="official true; off: cosine alignment with the same projections")
    bank_size: int | None = Field(
        None, gt=0, description="official 2048; default 8/3 of width, as 2048 of 768"
    )
    bank_init: Literal["orthogonal", "gaussian", "xavier", "uniform"] = Field(
        "orthogonal", description="official orthogonal (the configured type is empty); uniform is ±0.1"
    )
    scale_codes: bool = Field(False, description="divide code logits by √width; official false")
    temperature_scale: float = Field(10.0, gt=0, description="multiplies cosines; official 10, fixed (temp3)")
    mse_weight: float = Field(0.5, ge=0, description="official 0.5 (mse_loss_weight)")
    direct_weight: float = Field(1.0, ge=0, description="official 1.0 (global_loss_weight)")
    reconstructed_weight: float = Field(1.0, ge=0, description="official 1.0 (global_recon_loss_weight)")
    score: Literal["both", "direct", "reconstructed"] = Field(
        "both", description="official both, their mean; direct: cos(v, t); reconstructed: cos(v̂, t)"
    )


@METHODS.register("brgsa")
class BrgSA(Method):
    """Cosine alignment whose two sides are also rebuilt from one shared bank."""

    name = "brgsa"
    title = "BrgSA"
    order, marker, dash, colour = 50, "P", (2, 2), "#56b4e9"
    Config = BrgSAConfig
    config: BrgSAConfig
    OFFICIAL: ClassVar[dict[str, Any]] = {"width": 768, "bank_size": 2048}
    OFFICIAL_RECIPE = Recipe(
        optimiser="adam", learning_rate=5e-5, betas=(0.5, 0.999), weight_decay=1e-6, decay_exempt="none",
        batch_size=64, epochs=39, clip_norm=0.25, schedule="constant", patience=10,
        precision="float16 mixed", source="BrgSA configs/mimic_pretrain_llm_clip_3D_proj_dict.yaml",
    )  # fmt: skip

    def __init__(self, config: BrgSAConfig, image_dim: int, text_dim: int) -> None:
        super().__init__(config, image_dim, text_dim)
        self.image_project = projection(image_dim, config.width, config.project)
        self.text_project = projection(text_dim, config.width, config.project)
        self.head = TokenHead(config)
        self.bank: nn.Parameter | None = None
        if config.bank:
            self.bank = nn.Parameter(torch.empty(config.bank_size or config.width * 8 // 3, config.width))
            _INIT[config.bank_init](self.bank)

    def prepare_image(self, image: ImageFeatures) -> Prepared:
        pooled = self.image_project(self.image_norm.pooled(image.pooled))
        return self._prepare(self.head.pooled(pooled, lambda: self._patches(image)))

    def prepare_text(self, text: TextFeatures) -> Prepared:
        return self._prepare(self.text_project(self.text_norm.pooled(text.pooled)))

    def interact(self, image: Prepared, text: Prepared, *, scoring: bool) -> Pairs:
        v, t = image.tensors["embedding"], text.tensors["embedding"]
        pairs = {"direct": cosine_matrix(v, t)}
        if self.bank is not None:
            rebuilt = t if scoring else text.tensors["reconstruction"]
            pairs["reconstructed"] = cosine_matrix(image.tensors["reconstruction"], rebuilt)
        return pairs

    def score_pairs(self, pairs: Pairs) -> Tensor:
        if self.bank is None or self.config.score == "direct":
            return pairs["direct"]
        if self.config.score == "reconstructed":
            return pairs["reconstructed"]
        return (pairs["direct"] + pairs["reconstructed"]) / 2

    def objective(
        self, pairs: Pairs, positives: Tensor, image: Prepared, text: Prepared, findings: Tensor | None
    ) -> Losses:
        cfg = self.config
        parts: dict[str, Tensor] = {}
        weight = {"direct": cfg.direct_weight, "reconstructed": cfg.reconstructed_weight}
        total = pairs["direct"].new_zeros(())
        for name, cosines in pairs.items():
            rows, columns = contrast(cfg.temperature_scale * cosines, positives)
            total = total + weight[name] * (rows + columns)
            parts |= {f"{name}_rows": rows.detach(), f"{name}_columns": columns.detach()}
        for side, prepared in (("image", image), ("text", text)):
            embedding = prepared.tensors["embedding"]
            parts[f"{side}_norm"] = torch.linalg.vector_norm(embedding.detach(), dim=-1).mean()
            if self.bank is not None:
                error = functional.mse_loss(prepared.tensors["reconstruction"], embedding)
                total = total + cfg.mse_weight * error
                parts[f"{side}_mse"] = error.detach()
                parts[f"{side}_code_entropy"] = prepared.tensors["entropy"].mean()
        return Losses(total, parts)

    def similarity_map(self, image: ImageFeatures, text: TextFeatures) -> Tensor | None:
        pooled = self.image_project(self.image_norm.pooled(image.pooled))
        patches = unit(self.head.patches(pooled, self._patches(image)))  # (I, P, d)
        prompt = unit(self.prepare_text(text).tensors["embedding"])
        return torch.einsum("ipd,td->itp", patches, prompt).unflatten(-1, image.grid)

    def embeddings(self, image: Prepared, text: Prepared) -> dict[str, tuple[Tensor, Tensor]]:
        """direct: v and t. bridged: v̂ and t, as in the score. reconstructed: v̂ and t̂, as in the loss."""
        v, t = image.tensors["embedding"], text.tensors["embedding"]
        if self.bank is None:
            return {"direct": (v, t)}
        rebuilt = image.tensors["reconstruction"]
        return {
            "direct": (v, t),
            "bridged": (rebuilt, t),
            "reconstructed": (rebuilt, text.tensors["reconstruction"]),
        }

    def codes(self, embedding: Tensor) -> Tensor:
        """(N, d) → (N, K): softmax of the dot products with the bank. Needs `bank: true`."""
        assert self.bank is not None
        scale = embedding.shape[-1] ** -0.5 if self.config.scale_codes else 1.0
        return (scale * (embedding @ self.bank.T)).softmax(-1)

    def reconstruct(self, embedding: Tensor) -> Tensor:
        """(N, d) → (N, d): what the bank makes of an embedding. Needs `bank: true`."""
        assert self.bank is not None
        return self.codes(embedding) @ self.bank

    def _patches(self, image: ImageFeatures) -> Tensor:
        patches: Tensor = self.image_project(self.image_norm.local(image.local))
        return patches

    def _prepare(self, embedding: Tensor) -> Prepared:
        tensors = {"embedding": embedding}
        if self.bank is not None:
            codes = self.codes(embedding)
            tensors["reconstruction"] = codes @ self.bank
            tensors["entropy"] = torch.special.entr(codes.detach()).sum(-1)
        return Prepared(tensors, len(embedding))

    @classmethod
    def official_options(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        size, width = _official(state).shape("dictionarylearning.dictionary.weight")
        return {**cls.settings("official"), "width": width, "bank_size": size}

    @classmethod
    def import_official(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        table = {"dictionarylearning.dictionary.weight": "bank"}
        for leaf in ("weight", "bias"):
            table[f"img_encoder.global_embedder.{leaf}"] = f"image_project.{leaf}"
            table[f"text_encoder.emb_global.{leaf}"] = f"text_project.{leaf}"
        return _official(state).rename(table)


def _official(state: Mapping[str, Tensor]) -> OfficialState:
    skip = (
        "img_encoder.model.",
        "img_encoder.local_embedder.",
        "text_encoder.model.",
        "text_encoder.emb_local.",
    )
    return OfficialState("BrgSA", state, "gloria.", skip)
