"""CLIP: cosine alignment of global features (Radford et al. 2021, sec. 2.3; open_clip).

    û = u / |u|,  v̂ = v / |v|               u: image (I, d), v: text (T, d), after projection
    Z = exp(s) ⟨û, v̂⟩ (+ b)                 (I, T); s: log scale, b: logit bias, absent by default
    loss = ( CE_rows(Z) + CE_cols(Z) ) / 2   or, `loss: sigmoid`,  -Σ log σ(y (Z)) / I  (SigLIP)

Source: mlfoundations/open_clip src/open_clip/{model,loss}.py, task/image_text_task.py,
zero_shot_classifier.py; CheXzero zero_shot.py. RadZero's global baselines (dino.txt style) are
`image_pool: pooled+mean` with either loss.

Differs from the official code: the encoders are the shared ones and only the projections (no bias, as
in open_clip) and s, b train here. s is clamped to [0, ln 100] after each step, not in the forward
(Q-C3). CheXzero ignores the temperature and scores with raw cosines (Q-C1): `chexzero_probability`
does that; plain scores carry the scale, which no ranking sees. CheXzero's single-template mode mixes
the classes of an image (Q-C2): offered as `chexzero_single`, never a default. The official targets are the
diagonal, which makes images with equal sentences negatives of each other; here `positives` says what is
a pair, and the diagonal gives the official loss. All sentences of an image as positives (`multi_positive`)
and a `head` behind the image projection are ours: `blocks.contrast`, `blocks.CosineConfig`. `similarity: dot`
is ours: ⟨u, v⟩ / √d with a scale that starts at 1. Similarity maps (cosine of projected patch and text)
are ours as well.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from benchmark.core.errors import ParamsError
from benchmark.core.features import ImageFeatures, TextFeatures
from methods.base import METHODS, Losses, Method, Pairs, Prepared, Recipe
from methods.blocks import MAX_LOG_SCALE, CosineConfig, TokenHead, contrast, projection, unit


class CLIPConfig(CosineConfig, frozen=True):
    """CLIP and its switches."""

    width: int = Field(128, gt=0, description="official 512 for ViT-B (Radford et al. 2021, table 20)")
    similarity: Literal["cosine", "dot"] = Field("cosine", description="official cosine (open_clip model.py)")
    temperature: float | None = Field(
        None, gt=0, description="initial temperature; official 0.07, scale 1/0.07 (model.py); dot starts at 1"
    )
    learn_temperature: bool = Field(True, description="official true (model.py: logit_scale)")
    logit_bias: float | None = Field(
        None, description="initial bias; official none, SigLIP -10 with temperature 0.1 (main.py --siglip)"
    )
    loss: Literal["softmax", "sigmoid"] = Field("softmax", description="official softmax (loss.py: ClipLoss)")
    image_pool: Literal["pooled", "pooled+mean"] = Field(
        "pooled", description="official pooled; pooled+mean of patches is dino.txt's (RadZero's baselines)"
    )


@METHODS.register("clip")
class CLIP(Method):
    """Global cosine alignment with a learned temperature."""

    name = "clip"
    title = "CLIP"
    order, marker, dash, colour = 10, "s", (5, 2), "#de8f05"
    Config = CLIPConfig
    config: CLIPConfig
    OFFICIAL: ClassVar[dict[str, Any]] = {"width": 512}
    OFFICIAL_RECIPE = Recipe(
        optimiser="adamw", learning_rate=5e-4, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.2,
        decay_exempt="at most one axis", batch_size=64, epochs=32, warmup_steps=10_000, schedule="cosine",
        source="open_clip_train/params.py, ViT defaults",
    )  # fmt: skip

    def __init__(self, config: CLIPConfig, image_dim: int, text_dim: int) -> None:
        super().__init__(config, image_dim, text_dim)
        pooled_dim = image_dim * (2 if config.image_pool == "pooled+mean" else 1)
        self.image_project = projection(pooled_dim, config.width, config.project, bias=False)
        self.text_project = projection(text_dim, config.width, config.project, bias=False)
        if config.head == "transformer" and config.image_pool != "pooled":
            raise ParamsError(
                "clip.head: transformer attends from the pooled vector; set image_pool: pooled."
            )
        self.head = TokenHead(config)
        start = config.temperature or (0.07 if config.similarity == "cosine" else 1.0)
        self.logit_scale = nn.Parameter(
            torch.tensor(-math.log(start)), requires_grad=config.learn_temperature
        )
        bias = config.logit_bias
        self.logit_bias = None if bias is None else nn.Parameter(torch.tensor(float(bias)))

    def prepare_image(self, image: ImageFeatures) -> Prepared:
        pooled = self.image_norm.pooled(image.pooled)
        if self.config.image_pool == "pooled+mean":
            pooled = unit(torch.cat([pooled, self.image_norm.local(image.local).mean(1)], -1))
        projected = self.head.pooled(
            self.image_project(pooled), lambda: self.image_project(self.image_norm.local(image.local))
        )
        return Prepared({"embedding": self._embed(projected)}, len(image))  # (I, d)

    def prepare_text(self, text: TextFeatures) -> Prepared:
        pooled = self.text_norm.pooled(text.pooled)
        return Prepared({"embedding": self._embed(self.text_project(pooled))}, len(text))  # (T, d)

    def interact(self, image: Prepared, text: Prepared, *, scoring: bool) -> Pairs:
        return {"similarity": image.tensors["embedding"] @ text.tensors["embedding"].T}

    def score_pairs(self, pairs: Pairs) -> Tensor:
        logits = self.logit_scale.exp() * pairs["similarity"]
        return logits if self.logit_bias is None else logits + self.logit_bias

    def objective(
        self, pairs: Pairs, positives: Tensor, image: Prepared, text: Prepared, findings: Tensor | None
    ) -> Losses:
        logits = self.score_pairs(pairs)
        if self.config.loss == "sigmoid":
            sign = positives.to(logits.dtype) * 2 - 1
            return Losses(-functional.logsigmoid(sign * logits).sum() / len(logits))
        rows, columns = contrast(logits, positives)
        return Losses((rows + columns) / 2, {"rows": rows.detach(), "columns": columns.detach()})

    def similarity_map(self, image: ImageFeatures, text: TextFeatures) -> Tensor | None:
        if self.config.image_pool != "pooled":
            return None
        pooled = self.image_project(self.image_norm.pooled(image.pooled))
        patches = self.head.patches(pooled, self.image_project(self.image_norm.local(image.local)))
        patches = self._embed(patches)  # (I, P, d)
        words = self.prepare_text(text).tensors["embedding"]
        return torch.einsum("ipd,td->itp", patches, words).unflatten(-1, image.grid)

    def embeddings(self, image: Prepared, text: Prepared) -> dict[str, tuple[Tensor, Tensor]]:
        return {"direct": (image.tensors["embedding"], text.tensors["embedding"])}

    def after_step(self) -> None:
        with torch.no_grad():
            self.logit_scale.clamp_(0, MAX_LOG_SCALE)

    def _embed(self, x: Tensor) -> Tensor:
        return unit(x) if self.config.similarity == "cosine" else x / x.shape[-1] ** 0.25


def zero_shot_classifier(prompts: Tensor, templates: int) -> Tensor:
    """open_clip's class vectors. prompts: (C · templates, d), class-major → (C, d): normalise, mean over
    the templates, normalise again (zero_shot_classifier.py)."""
    return unit(unit(prompts).unflatten(0, (-1, templates)).mean(1))


def chexzero_probability(positive: Tensor, negative: Tensor) -> Tensor:
    """CheXzero's pair score from (N, C) raw cosines with the positive and negative prompts: σ(c+ - c-)."""
    return torch.sigmoid(positive - negative)


def chexzero_single(positive: Tensor) -> Tensor:
    """CheXzero's single-template score: cosines (N, C) z-normalised over the classes of an image
    (population std), then the logistic function. It mixes classes; for comparison with published use."""
    std, mean = torch.std_mean(positive, dim=1, correction=0, keepdim=True)
    return torch.sigmoid((positive - mean) / std)
