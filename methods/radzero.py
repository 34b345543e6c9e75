"""RadZero: similarity-based cross-attention, VL-CABS (Park et al. 2025, NeurIPS, sec. 3).

    v̂_k = LN(v_k)/‖LN(v_k)‖,  û = LN(u)/‖LN(u)‖         v: [CLS; patches] after the align layers; u: sentence
    s_k = ⟨û, v̂_k⟩ / T;  a = softmax over k;  o = Σ_k a_k v̂_k;  ℓ = ⟨û, o/‖o‖⟩;  score = ℓ / T
    loss = ½ ( mean over sentences of InfoNCE + mean over sentences of MP-NCE )

MP-NCE leaves the other sentences of the same image out of the denominator.

Source: deepnoid-ai/RadZero exp/cxr_pt/model/{modeling,losses,align_transformers}.py, configs/radzero.yaml
(656ae5f).

Differs from the official code: parameters stay float32 (the released bfloat16 ones hardly move, Q1). The
shared LayerNorm before the cosine, absent from the paper, is kept (`layer_norm`, Q4); the attended sum runs
over normalised tokens as in the code, not the paper (Q5); the two terms are halved (Q6). Exponentials are
log-sum-exps with the official ε inside, so nothing overflows (Q7), and T is kept ≥ 0.01 after each step,
which the official code does not do (`min_temperature: 0`). Matrices stay (I, T) for one image or prompt
(Q8). `features` is use_vision_cls_token: both, local (patches only), or global (CLS only: a plain cosine).
The encoder's own position resize, image stretch and evaluation quirks (Q2, Q3, Q9 … Q16) belong to other
rooms. Training images are those of every method, frontal by default (Q17); the batch of the recipe is the
whole of what upstream spreads over four processes (Q18). One Linear per side maps the shared encoders to
`width`; upstream both are 768 wide.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from benchmark.core.features import ImageFeatures, TextFeatures
from methods.base import METHODS, Losses, Method, MethodConfig, Pairs, Prepared, Recipe
from methods.blocks import AlignLayer, OfficialState, heads_of, negative_mass, projection, unit


class RadZeroConfig(MethodConfig, frozen=True):
    """RadZero and its switches."""

    width: int = Field(128, gt=0, description="official 768 (configs/radzero.yaml)")
    multi_positive: bool = Field(True, description="official true; off: one random sentence per image")
    features: Literal["global", "local", "both"] = Field(
        "both", description="tokens attended: CLS and patches (official, use_vision_cls_token), patches, CLS"
    )
    sim_op: Literal["cos", "dot"] = Field(
        "cos", description="official cos; dot: ⟨LN u, LN v⟩/√width attention"
    )
    align: Literal["transformer", "linear", "mlp", "identity"] = Field(
        "transformer", description="official transformer; linear is the 'Linear' row of table 5"
    )
    align_layers: int = Field(2, gt=0, description="official 2 (num_hidden_layers)")
    align_heads: int | None = Field(None, gt=0, description="official 12; default width / 64, at least 1")
    mlp_ratio: float = Field(4.0, gt=0, description="official 4 (DINOv2 layer)")
    layer_norm: bool = Field(True, description="official true (use_layer_norm); false is the paper's formula")
    text_l2_norm: bool = Field(False, description="official false (text_features_l2_norm)")
    temperature: float = Field(0.07, gt=0, description="initial; official 0.07, learned (loss_temperature)")
    min_temperature: float = Field(0.01, ge=0, description="floor after each step; official none (0), see Q7")
    attention_temperature: float | None = Field(
        None, gt=0, description="a second, learned temperature for the attention; official none (null)"
    )
    row_sum: bool = Field(False, description="group the sentences of an image, rows; official false")
    column_sum: bool = Field(False, description="group the sentences of an image, MIL-NCE; official false")
    epsilon: float = Field(1e-8, ge=0, description="inside the logarithms; official 1e-8 (losses.py)")


@METHODS.register("radzero")
class RadZero(Method):
    """Cosine of a sentence with the patches it attends to."""

    name = "radzero"
    title = "RadZero"
    order, marker, dash, colour = 40, "v", (7, 2), "#cc78bc"
    Config = RadZeroConfig
    config: RadZeroConfig
    OFFICIAL: ClassVar[dict[str, Any]] = {"width": 768, "min_temperature": 0.0, "align_heads": 12}
    OFFICIAL_RECIPE = Recipe(
        optimiser="adamw", learning_rate=1e-4, weight_decay=0.05, decay_exempt="norms and biases",
        batch_size=256, epochs=20, clip_norm=1.0, schedule="cosine", warmup_steps=50, patience=5,
        precision="bfloat16",
        source="RadZero exp/cxr_pt/configs/{config,radzero}.yaml; README: 64 on each of 4 processes (Q18)",
    )  # fmt: skip

    def __init__(self, config: RadZeroConfig, image_dim: int, text_dim: int) -> None:
        super().__init__(config, image_dim, text_dim)
        width = config.width
        self.image_project = projection(image_dim, width, config.project)
        self.text_project = projection(text_dim, width, config.project)
        self.align = _align(config)
        self.norm = nn.LayerNorm(width) if config.layer_norm else nn.Identity()
        self.log_temperature = nn.Parameter(torch.tensor([math.log(config.temperature)]))
        second = config.attention_temperature
        self.log_attention_temperature = (
            None if second is None else nn.Parameter(torch.tensor([math.log(second)]))
        )

    def prepare_image(self, image: ImageFeatures) -> Prepared:
        tokens = torch.cat(
            [self.image_norm.pooled(image.pooled)[:, None], self.image_norm.local(image.local)], 1
        )
        tokens = self.align(self.image_project(tokens))  # (I, 1 + P, d)
        kept = {"both": tokens, "local": tokens[:, 1:], "global": tokens[:, :1]}[self.config.features]
        kept = self.norm(kept)
        return Prepared({"tokens": unit(kept) if self.config.sim_op == "cos" else kept}, len(image))

    def prepare_text(self, text: TextFeatures) -> Prepared:
        sentence = self.text_project(self.text_norm.pooled(text.pooled))  # (T, d)
        sentence = self.norm(unit(sentence) if self.config.text_l2_norm else sentence)
        return Prepared({"sentence": sentence, "query": unit(sentence)}, len(text))

    def interact(self, image: Prepared, text: Prepared, *, scoring: bool) -> Pairs:
        scores = self.token_scores(image, text)
        attended = scores.softmax(-1) @ image.tensors["tokens"]  # (I, T, d)
        return {"cosine": (unit(attended) * text.tensors["query"]).sum(-1)}

    def token_scores(self, image: Prepared, text: Prepared) -> Tensor:
        """Attention logits s of every sentence over the tokens of every image, (I, T, S)."""
        tokens = image.tensors["tokens"].transpose(1, 2)  # (I, d, S)
        if self.config.sim_op == "dot":
            scale = 1 / self.config.width**0.5
            return (text.tensors["sentence"] * scale) @ tokens
        own = self.log_attention_temperature
        temperature = self.log_temperature if own is None else own
        return (text.tensors["query"] @ tokens) / temperature.exp()

    def score_pairs(self, pairs: Pairs) -> Tensor:
        return pairs["cosine"] / self.log_temperature.exp()

    def objective(
        self, pairs: Pairs, positives: Tensor, image: Prepared, text: Prepared, findings: Tensor | None
    ) -> Losses:
        cfg = self.config
        rows, columns = multi_positive_nce(
            self.score_pairs(pairs), positives, cfg.row_sum, cfg.column_sum, cfg.epsilon
        )
        row, column = (terms.sum() / max(terms.numel(), 1) for terms in (rows, columns))
        return Losses(
            (row + column) / 2, {"sentence_to_image": row.detach(), "image_to_sentence": column.detach()}
        )

    def similarity_map(self, image: ImageFeatures, text: TextFeatures) -> Tensor | None:
        """Patch scores s without CLS, divided by T as released. (I, T, *grid)"""
        if self.config.features == "global":
            return None
        scores = self.token_scores(self.prepare_image(image), self.prepare_text(text))
        return scores[..., 1 if self.config.features == "both" else 0 :].unflatten(-1, image.grid)

    def after_step(self) -> None:
        if self.config.min_temperature:
            with torch.no_grad():
                self.log_temperature.clamp_(min=math.log(self.config.min_temperature))

    @classmethod
    def official_options(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        own = _official(state)
        name = "loss_fns.RadZeroLoss.layer_norm.weight"
        layers = own.layers(_LAYER)
        query = f"{_LAYER}0.attention.attention.query.weight"
        options = cls.settings("official") | {"layer_norm": name in own.all}
        if layers:
            options |= {"align_layers": layers, "width": own.shape(query)[0]}
            options["mlp_ratio"] = own.shape(f"{_LAYER}0.mlp.fc1.weight")[0] / options["width"]
        elif name in own.all:
            options |= {"align": "identity", "width": own.shape(name)[0]}
        if "loss_fns.RadZeroLoss.attn_temperature" in own.all:
            options["attention_temperature"] = 0.07
        return options

    @classmethod
    def import_official(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        own = _official(state)
        loss = "loss_fns.RadZeroLoss."
        table = {f"{loss}loss_temperature": "log_temperature"}
        if f"{loss}attn_temperature" in own.tensors:
            table[f"{loss}attn_temperature"] = "log_attention_temperature"
        if any(name.startswith(f"{loss}layer_norm.") for name in own.tensors):
            table |= {f"{loss}layer_norm.{leaf}": f"norm.{leaf}" for leaf in ("weight", "bias")}
        for index in range(own.layers(_LAYER)):
            for theirs, ours in _NAMES.items():
                for leaf in ("weight", "bias"):
                    table[f"{_LAYER}{index}.{theirs}.{leaf}"] = f"align.{index}.{ours}.{leaf}"
            for scale in ("1", "2"):
                table[f"{_LAYER}{index}.layer_scale{scale}.lambda1"] = f"align.{index}.scale{scale}"
        return own.rename(table)


_LAYER = "align_transformer.transformer_layers.layer."
_NAMES = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attention.attention.query": "query",
    "attention.attention.key": "key",
    "attention.attention.value": "value",
    "attention.output.dense": "out",
    "mlp.fc1": "fc1",
    "mlp.fc2": "fc2",
}


def _official(state: Mapping[str, Tensor]) -> OfficialState:
    return OfficialState(
        "RadZero", state, "base_model.model.", ("vision_model.", "text_model.", "text_projector.")
    )


def _align(config: RadZeroConfig) -> nn.Sequential:
    width = config.width
    if config.align == "transformer":
        heads = heads_of(width, config.align_heads, "radzero.align_heads")
        return nn.Sequential(
            *(AlignLayer(width, heads, config.mlp_ratio) for _ in range(config.align_layers))
        )
    if config.align == "linear":
        return nn.Sequential(nn.Linear(width, width))
    steps: list[nn.Module] = []
    if config.align == "mlp":
        for _ in range(3):
            steps += [nn.Linear(width, width), nn.ReLU(), nn.Dropout(0.1)]
        steps.append(nn.Linear(width, width))
    return nn.Sequential(*steps)


def multi_positive_nce(
    logits: Tensor, positives: Tensor, row_sum: bool, column_sum: bool, epsilon: float = 1e-8
) -> tuple[Tensor, Tensor]:
    """RadZero's two terms before their means: sentence → image and image → sentence.

    logits: (I, T), already divided by the temperature. positives: (I, T) bool. Without grouping, one value
    per positive pair; with `row_sum` or `column_sum`, one per image that has a sentence. A sentence of
    several images, which upstream cannot have, leaves the others out of its denominator. Computed with
    log-sum-exp; epsilon enters as in the official formulas:
    -log( p / (Σ + ε) + ε ). Source: losses.py, multi_positive_nce_loss.
    """
    lowest = torch.finfo(logits.dtype).min / 4
    small = logits.new_full((), math.log(epsilon) if epsilon else lowest)
    own = logits.masked_fill(~positives, lowest).logsumexp(1)  # (I,) Σ over the sentences of an image
    over_images = torch.logaddexp(logits, negative_mass(logits, positives, 0))  # (I, T)
    over_texts = torch.logaddexp(logits, negative_mass(logits, positives, 1))
    has_text = positives.any(1)

    def term(positive: Tensor, total: Tensor) -> Tensor:
        return -torch.logaddexp(positive - torch.logaddexp(total, small), small)

    if row_sum:
        rows = term(own, over_images.masked_fill(~positives, lowest).logsumexp(1))[has_text]
    else:
        rows = term(logits, over_images).T[positives.T]
    if column_sum:
        columns = term(own, logits.logsumexp(1))[has_text]
    else:
        columns = term(logits, over_texts).T[positives.T]
    return rows, columns
