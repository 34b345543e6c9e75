"""GLoRIA: global and word-region attention (Huang et al. 2021, ICCV, sec. 3.2).

    G = t3 · cos(v_i, u_t)                                           v: image, u: text, global
    A = V_i w_jᵀ, softmax over words;  α_j = softmax over regions (t1 · A_j);  c_j = Σ_s α_js V_is
    L = t3 · log Σ_j exp( t2 · cos(c_j, w_j) )                       V: regions (P, d), w: words of t
    loss = CE_rows(L) + CE_cols(L) + CE_rows(G) + CE_cols(G)
    score = ( max_j t2 · cos(c_j, w_j) + cos(v_i, u_t) ) / 2

Source: marshuang80/gloria loss/gloria_loss.py, models/{gloria_model,vision_model,retrival_model}.py,
gloria.py, utils/utils.py (416466a).

Differs from the official code: inference counts words; the official code counts the characters of the
raw string, so zero columns join the softmax and the maximum: `caption_length: characters` counts those of
the words and the blanks between them (Q-G1). Training sums over [CLS] and the words, inference takes the
best word without [CLS], as released (Q-G2). Networks are always in evaluation mode at inference (Q-G3).
Scores are not z-normalised over the images of a call; `standardise_over_images` does it where the published
accuracy protocol is wanted (Q-G4). A word written "[…" such as [UNK] is not counted, which cuts the
caption's last word (Q-G5); `count_unknown` mends it. Batches are never reordered and may hold one pair
(Q-G8). Retrieval z-normalises local and global over the candidates; its skipped first word (Q-G10) is left
to whoever passes the word mask. Widths come from the encoder (Q-G7); text cleaning, learning rate and
sampling (Q-G6, Q-G9, Q-G11) belong to other rooms. The text side has no projection unless its width
differs; then one Linear serves sentence and words. All sentences of an image as positives (`multi_positive`)
and a `head` over global vector and regions are ours: `blocks.contrast` on G and L, `blocks.CosineConfig`. A
text without words has local similarity 0. All
captions are computed at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from benchmark.core.errors import ParamsError
from benchmark.core.features import ImageFeatures, TextFeatures
from methods.base import METHODS, Losses, Method, Pairs, Prepared, Recipe
from methods.blocks import (
    CosineConfig,
    OfficialState,
    TokenHead,
    contrast,
    cosine,
    cosine_matrix,
    projection,
)


class GLoRIAConfig(CosineConfig, frozen=True):
    """GLoRIA and its switches."""

    width: int = Field(
        128, gt=0, description="official 768, the width of BERT (configs/chexpert_pretrain_config)"
    )
    project: Literal["auto", "always", "never"] = Field(
        "always", description="image side; official always (global_embedder, local_embedder); text side: auto"
    )
    local_dim: int | None = Field(
        None, gt=0, description="width of local image features where it differs; official 1024 (layer3)"
    )
    features: Literal["global", "local", "both"] = Field("both", description="official both")
    temp1: float = Field(4.0, gt=0, description="official 4.0 (temp1: sharpness of the region attention)")
    temp2: float = Field(5.0, gt=0, description="official 5.0 (temp2: sharpness over words)")
    temp3: float = Field(10.0, gt=0, description="official 10.0 (temp3: scale of both losses)")
    local_weight: float = Field(1.0, ge=0, description="official 1.0 (local_loss_weight)")
    global_weight: float = Field(1.0, ge=0, description="official 1.0 (global_loss_weight)")
    aggregate: Literal["sum", "mean"] = Field("sum", description="over words in training; official sum (agg)")
    score_aggregate: Literal["max", "sum"] = Field(
        "max", description="over words at inference; official max (gloria.py: get_similarities)"
    )
    cls_in_training: bool = Field(True, description="[CLS] counts as a word in training; official true")
    cls_in_scoring: bool = Field(False, description="[CLS] counts as a word at inference; official false")
    caption_length: Literal["words", "characters"] = Field(
        "words", description="columns used at inference; official characters (Q-G1), an error of process_text"
    )
    count_unknown: bool = Field(False, description="words written '[…' count; official false (Q-G5)")
    text_columns: int = Field(97, gt=0, description="official 97; only read with caption_length: characters")


@METHODS.register("gloria")
class GLoRIA(Method):
    """Global cosine plus attention-weighted word-region cosine."""

    name = "gloria"
    title = "GLoRIA"
    order, marker, dash, colour = 30, "D", (4, 1.5, 1, 1.5), "#d55e00"
    Config = GLoRIAConfig
    config: GLoRIAConfig
    MAP_IS_ATTENTION = True
    OFFICIAL: ClassVar[dict[str, Any]] = {"width": 768}
    OFFICIAL_RECIPE = Recipe(
        optimiser="adam", learning_rate=5e-5, betas=(0.5, 0.999), weight_decay=1e-6, decay_exempt="none",
        batch_size=48, epochs=50, clip_norm=0.25, schedule="constant", patience=10,
        precision="float16 mixed",
        source="gloria configs/chexpert_pretrain_config.yaml; its plateau schedule never steps (Q-G9)",
    )  # fmt: skip

    def __init__(self, config: GLoRIAConfig, image_dim: int, text_dim: int) -> None:
        super().__init__(config, image_dim, text_dim)
        local_dim = config.local_dim or image_dim
        self.image_global = projection(image_dim, config.width, config.project)
        self.image_local = projection(local_dim, config.width, config.project, bias=False)
        self.text_project = projection(text_dim, config.width, "auto")
        self.head = TokenHead(config)

    def prepare_image(self, image: ImageFeatures) -> Prepared:
        pooled = self.image_global(self.image_norm.pooled(image.pooled))  # (I, d)
        if self.config.features == "global":
            own = self.head.pooled(pooled, lambda: self.image_local(self.image_norm.local(image.local)))
            return Prepared({"global": own}, len(image))
        regions = self.image_local(self.image_norm.local(image.local))  # (I, P, d)
        if self.config.head != "linear":
            tokens = self.head(torch.cat([pooled[:, None], regions], 1))
            pooled, regions = tokens[:, 0], tokens[:, 1:]
        return Prepared({"global": pooled, "regions": regions}, len(image))

    def prepare_text(self, text: TextFeatures) -> Prepared:
        tensors = {"global": self.text_project(self.text_norm.pooled(text.pooled))}  # (T, d)
        if self.config.features != "global":
            training, scoring = self._word_masks(text)  # (T, L)
            local = self.text_norm.local(text.local) * text.mask[..., None]
            local = functional.pad(local, (0, 0, 0, training.shape[1] - local.shape[1]))
            tensors["words"] = self.text_project(local)  # (T, L, d)
            tensors["training"], tensors["scoring"] = training, scoring
        return Prepared(tensors, len(text))

    def interact(self, image: Prepared, text: Prepared, *, scoring: bool) -> Pairs:
        cfg = self.config
        pairs: Pairs = {}
        if cfg.features != "local":
            similarity = cosine_matrix(image.tensors["global"], text.tensors["global"])
            pairs["global"] = similarity if scoring else cfg.temp3 * similarity
        if cfg.features != "global":
            mask = text.tensors["scoring" if scoring else "training"]
            rule = cfg.score_aggregate if scoring else cfg.aggregate
            local = self._local(image.tensors["regions"], text.tensors["words"], mask, rule)
            pairs["local"] = local if scoring else cfg.temp3 * local
        return pairs

    def score_pairs(self, pairs: Pairs) -> Tensor:
        return torch.stack(list(pairs.values())).mean(0)

    def objective(
        self, pairs: Pairs, positives: Tensor, image: Prepared, text: Prepared, findings: Tensor | None
    ) -> Losses:
        weight = {"global": self.config.global_weight, "local": self.config.local_weight}
        total = positives.new_zeros((), dtype=next(iter(pairs.values())).dtype)
        parts: dict[str, Tensor] = {}
        for name, logits in pairs.items():
            rows, columns = contrast(logits, positives)
            total = total + weight[name] * (rows + columns)
            parts |= {f"{name}_rows": rows.detach(), f"{name}_columns": columns.detach()}
        return Losses(total, parts)

    def similarity_map(self, image: ImageFeatures, text: TextFeatures) -> Tensor | None:
        """Region attention, the largest over the words that score (plot_attn_maps). (I, T, *grid)"""
        if self.config.features == "global":
            return None
        maps = self.attention(image, text, scoring=True)
        return maps.amax(2).unflatten(-1, image.grid)

    def embeddings(self, image: Prepared, text: Prepared) -> dict[str, tuple[Tensor, Tensor]]:
        return {"direct": (image.tensors["global"], text.tensors["global"])}

    def attention(self, image: ImageFeatures, text: TextFeatures, *, scoring: bool = False) -> Tensor:
        """Attention α of every word over the regions, (I, T, L, P); zero rows where no word counts."""
        own, words = self.prepare_image(image).tensors, self.prepare_text(text).tensors
        mask = words["scoring" if scoring else "training"]
        logits = word_region_products(own["regions"], words["words"], mask)
        return (self.config.temp1 * logits).softmax(-1) * mask[None, :, :, None]

    def _local(
        self, regions: Tensor, words: Tensor, mask: Tensor, rule: Literal["sum", "mean", "max"]
    ) -> Tensor:
        """Local similarity of all pairs, (I, T), a few texts of similar length at a time.

        Most columns of a batch are padding, and what one group needs stays in a processor's cache; values
        are those of all texts at once.
        """
        columns = torch.arange(1, mask.shape[1] + 1, device=mask.device)
        ends = (mask * columns).amax(1)  # (T,) columns up to the last word that counts
        order = ends.argsort(stable=True)
        found = []
        for own in order.split(_GROUP):
            last = max(int(ends[own[-1]]), 1)
            chosen, counted = words[own, :last], mask[own, :last]
            word = word_similarity(regions, chosen, counted, self.config.temp1)  # (I, t, L)
            found.append(pool_words(self.config.temp2 * word, counted, rule))
        return torch.cat(found, 1)[:, order.argsort()]

    def _word_masks(self, text: TextFeatures) -> tuple[Tensor, Tensor]:
        """(T, L) columns that count in training and in scoring; without word strings, the text's mask."""
        cfg, mask = self.config, text.mask
        if text.words is None:
            if cfg.caption_length == "characters":
                raise ParamsError("gloria.caption_length: characters needs word strings; use words.")
            return mask, mask
        columns = mask.shape[1]
        if cfg.caption_length == "characters":
            columns = max(columns, cfg.text_columns)
        position = torch.arange(columns, device=mask.device)
        training, scoring = [], []
        for words in text.words:
            plain = [word for word in words if word not in _SPECIAL]
            start = int(bool(words) and words[0] in _START)
            counted = sum(cfg.count_unknown or not word.startswith("[") for word in plain)
            length = len(plain)
            if cfg.caption_length == "characters":
                length = len(" ".join(plain).replace("[", ""))
                if start + length > columns:
                    raise ParamsError(
                        f"gloria.caption_length: characters: a prompt of {length} characters exceeds "
                        f"{columns} columns; use caption_length: words."
                    )
            first = 0 if cfg.cls_in_training else start
            training.append((position >= first) & (position < start + counted))
            first = 0 if cfg.cls_in_scoring else start
            scoring.append((position >= first) & (position < start + length))
        return torch.stack(training), torch.stack(scoring)

    @classmethod
    def official_options(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        own = _official(state)
        width, local_dim = own.shape("img_encoder.local_embedder.weight")[:2]
        return {**cls.settings("official"), "width": width, "local_dim": local_dim}

    @classmethod
    def import_official(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        table = {
            "img_encoder.global_embedder.weight": "image_global.weight",
            "img_encoder.global_embedder.bias": "image_global.bias",
            "img_encoder.local_embedder.weight": "image_local.weight",
        }
        ours = _official(state).rename(table)
        return ours | {"image_local.weight": ours["image_local.weight"].flatten(1)}  # Conv1x1 → Linear


_GROUP = 8
"""Texts whose words meet the regions at once."""

_START = frozenset({"[CLS]", "<s>"})
_SPECIAL = _START | {"[SEP]", "</s>", "[PAD]", "<pad>"}


def _official(state: Mapping[str, Tensor]) -> OfficialState:
    return OfficialState("GLoRIA", state, "gloria.", ("text_encoder.", "img_encoder.model."))


def word_region_products(regions: Tensor, words: Tensor, mask: Tensor) -> Tensor:
    """First softmax: dot products of regions and words, normalised over the words of a text that count.

    regions: (I, P, d); words: (T, L, d); mask: (T, L) → (I, T, L, P).
    """
    products = (words.flatten(0, 1) @ regions.transpose(1, 2)).unflatten(1, mask.shape)
    if not bool(mask.all()):
        products = products.masked_fill(~mask[None, :, :, None], torch.finfo(products.dtype).min / 4)
    return products.softmax(2)


def word_similarity(regions: Tensor, words: Tensor, mask: Tensor, temp1: float) -> Tensor:
    """cos(c_j, w_j) of every word with its attended region vector, (I, T, L); see word_region_products."""
    attention = (temp1 * word_region_products(regions, words, mask)).softmax(-1)
    attended = (attention.flatten(1, 2) @ regions).unflatten(1, mask.shape)  # (I, T, L, d)
    return cosine(attended, words)


def pool_words(values: Tensor, mask: Tensor, rule: Literal["sum", "mean", "max"]) -> Tensor:
    """(I, T, L) → (I, T): log-sum-exp, log-mean-exp or maximum over the words that count; 0 where none."""
    masked = values.masked_fill(~mask, torch.finfo(values.dtype).min / 4)
    count = mask.sum(1)
    pooled = masked.amax(-1) if rule == "max" else masked.logsumexp(-1)
    if rule == "mean":
        pooled = pooled - count.clamp(min=1).to(values.dtype).log()
    return torch.where(count > 0, pooled, torch.zeros_like(pooled))


def standardise_over_images(scores: Tensor) -> Tensor:
    """z-scores of each column over the images of the call, population std (zero_shot_classification)."""
    std, mean = torch.std_mean(scores, dim=0, correction=0, keepdim=True)
    return (scores - mean) / std


def retrieval_scores(local: Tensor, global_: Tensor) -> Tensor:
    """Retrieval rule for one query over R candidates: mean of the two z-scores (retrival_model.py)."""
    return (standardise_over_images(local) + standardise_over_images(global_)) / 2
