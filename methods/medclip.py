"""MedCLIP: semantic matching with soft targets (Wang et al. 2022, EMNLP, sec. 3.3).

    Z = exp(s) ⟨û, v̂⟩                                  û, v̂: unit image and text embeddings
    M = y_I y_Tᵀ                                        y in {-1, 0, 1}^K: what each says of K findings
    P_I = softmax over texts of M,  P_T = softmax over images of M
    loss = ½ [ CE(rows of Z, P_I) + CE(columns of Z, P_T) ]

Source: RyanWangZf/MedCLIP medclip/{losses,modeling_medclip,prompts}.py (9c3396f).

Differs from the official code: M stays the raw dot product of the code, not the paper's cosine, which is
`label_similarity: cosine` (Q-M2). Label vectors come from the text room; a sentence that names no finding
is all zero, and so has uniform targets (Q-M3). Without label vectors the loss is CLIP's, as released. s is
clamped to [0, 4.6052] where logits are made, with the gradient passing, and after each step: the values of
the official in-place clamp. The augmented-text copy is the `augmented` argument of `loss`; the shared budget
does not use it. Text pooling over padding (Q-M1), the report splitter, sampled prompts and per-class
re-encoding (Q-M4 … Q-M6, Q-M8, Q-M9) belong to encoders and prompts; projections are always used (Q-M10).
What decays is told by kind, not by name (Q-M7). Label vectors are of the findings that the training reports
name, where upstream has CheXpert's 14 label columns (Q-M11). Similarity maps are ours, and so are all
sentences of an image at once (`multi_positive`: the same loss, T texts an image over I images, targets over
all of them; without label vectors `blocks.contrast`) and a `head` behind the image projection.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
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
    clamp_through,
    contrast,
    cosine_matrix,
    projection,
    unit,
)

_MAX_LOG_SCALE = 4.6052  # losses.py writes ln 100 with four decimals


class MedCLIPConfig(CosineConfig, frozen=True):
    """MedCLIP and its switches."""

    width: int = Field(128, gt=0, description="official 512 (modeling_medclip.py)")
    project: Literal["auto", "always", "never"] = Field(
        "always", description="official always (projection_head of both sides, no bias)"
    )
    temperature: float = Field(0.07, gt=0, description="initial; official 0.07 (logit_scale_init_value)")
    targets: Literal["soft", "hard"] = Field(
        "soft", description="official soft (ImageTextContrastiveLoss with labels); hard is its CLIP fallback"
    )
    label_similarity: Literal["dot", "cosine"] = Field(
        "dot", description="official dot (losses.py); the paper says cosine (Q-M2)"
    )


@METHODS.register("medclip")
class MedCLIP(Method):
    """Global cosine with targets from the agreement of findings."""

    name = "medclip"
    title = "MedCLIP"
    order, marker, dash, colour = 20, "^", (1, 1.2), "#029e73"
    Config = MedCLIPConfig
    config: MedCLIPConfig
    OFFICIAL: ClassVar[dict[str, Any]] = {"width": 512}
    OFFICIAL_RECIPE = Recipe(
        optimiser="adamw", learning_rate=2e-5, weight_decay=1e-4, decay_exempt="norms and biases",
        batch_size=100, epochs=10, clip_norm=1.0, schedule="cosine", warmup_fraction=0.1,
        precision="float16 mixed", source="MedCLIP examples/run_medclip_pretrain.py, trainer.py",
    )  # fmt: skip

    def __init__(self, config: MedCLIPConfig, image_dim: int, text_dim: int) -> None:
        super().__init__(config, image_dim, text_dim)
        self.image_project = projection(image_dim, config.width, config.project, bias=False)
        self.text_project = projection(text_dim, config.width, config.project, bias=False)
        self.head = TokenHead(config)
        self.logit_scale = nn.Parameter(torch.tensor(-math.log(config.temperature)))

    def prepare_image(self, image: ImageFeatures) -> Prepared:
        pooled = self.image_project(self.image_norm.pooled(image.pooled))
        embedding = self.head.pooled(pooled, lambda: self._patches(image))  # (I, d)
        return Prepared({"embedding": unit(embedding)}, len(image))

    def prepare_text(self, text: TextFeatures) -> Prepared:
        embedding = unit(self.text_project(self.text_norm.pooled(text.pooled)))  # (T, d)
        return Prepared({"embedding": embedding}, len(text))

    def interact(self, image: Prepared, text: Prepared, *, scoring: bool) -> Pairs:
        return {"similarity": image.tensors["embedding"] @ text.tensors["embedding"].T}

    def score_pairs(self, pairs: Pairs) -> Tensor:
        return clamp_through(self.logit_scale, 0.0, _MAX_LOG_SCALE).exp() * pairs["similarity"]

    def objective(
        self, pairs: Pairs, positives: Tensor, image: Prepared, text: Prepared, findings: Tensor | None
    ) -> Losses:
        logits = self.score_pairs(pairs)
        if findings is None or self.config.targets == "hard":
            rows, columns = contrast(logits, positives)
        else:
            over_texts, over_images = soft_targets(findings.to(logits.dtype))
            rows = functional.cross_entropy(logits, over_texts)
            columns = functional.cross_entropy(logits.T, over_images.T)
        return Losses((rows + columns) / 2, {"rows": rows.detach(), "columns": columns.detach()})

    def agreement(self, image: Tensor | None, text: Tensor | None) -> Tensor | None:
        if image is None or text is None or self.config.label_similarity == "dot":
            return super().agreement(image, text)
        return cosine_matrix(image.float(), text.float())

    def loss(
        self,
        image: ImageFeatures,
        text: TextFeatures,
        positives: Tensor,
        augmented: TextFeatures | None = None,
    ) -> Losses:
        """Loss of one batch; with `augmented` texts, the mean of the two, both with the agreement of the
        original texts."""
        plain = super().loss(image, text, positives)
        if augmented is None:
            return plain
        prepared_image, prepared_text = self.prepare_image(image), self.prepare_text(augmented)
        pairs = self.interact(prepared_image, prepared_text, scoring=False)
        labels = self.agreement(image.findings, text.findings)
        other = self.objective(pairs, positives, prepared_image, prepared_text, labels)
        return Losses((plain.total + other.total) / 2, plain.parts)

    def similarity_map(self, image: ImageFeatures, text: TextFeatures) -> Tensor | None:
        pooled = self.image_project(self.image_norm.pooled(image.pooled))
        patches = unit(self.head.patches(pooled, self._patches(image)))  # (I, P, d)
        words = self.prepare_text(text).tensors["embedding"]
        return torch.einsum("ipd,td->itp", patches, words).unflatten(-1, image.grid)

    def embeddings(self, image: Prepared, text: Prepared) -> dict[str, tuple[Tensor, Tensor]]:
        return {"direct": (image.tensors["embedding"], text.tensors["embedding"])}

    def _patches(self, image: ImageFeatures) -> Tensor:
        patches: Tensor = self.image_project(self.image_norm.local(image.local))
        return patches

    def after_step(self) -> None:
        with torch.no_grad():
            self.logit_scale.clamp_(0, _MAX_LOG_SCALE)

    @classmethod
    def official_options(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        width = _official(state).shape("text_model.projection_head.weight")[0]
        return {**cls.settings("official"), "width": width}

    @classmethod
    def import_official(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        own = _official(state)
        resnet = "vision_model.model.fc.weight"
        vision = resnet if resnet in own.all else "vision_model.projection_head.weight"
        return own.rename(
            {
                "logit_scale": "logit_scale",
                "text_model.projection_head.weight": "text_project.weight",
                vision: "image_project.weight",
            }
        )


def soft_targets(agreement: Tensor) -> tuple[Tensor, Tensor]:
    """(I, T) agreement M → softmax over texts and softmax over images, both (I, T)."""
    return agreement.softmax(1), agreement.softmax(0)


class _MedCLIPState(OfficialState):
    """ResNet checkpoints keep the projection among the encoder's tensors."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__("MedCLIP", state, "", ("vision_model.model.", "text_model.model."))
        fc = "vision_model.model.fc.weight"
        if fc in self.all:
            self.tensors[fc] = self.all[fc]


def _official(state: Mapping[str, Tensor]) -> OfficialState:
    return _MedCLIPState(state)
