"""CARZero as its equations say it: the oracle of `methods.carzero`, and the released per-image loop.

Nothing is shared between pairs or calls here: each call normalises and projects its memory and its queries
in every layer, through the library's attention module with averaged weights, as upstream does
(transformer_decoder.py; CARZero.py: dqn_shot_classification, get_dqn_similarities).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from benchmark.core.features import ImageFeatures, TextFeatures
from methods.carzero import CARZero, DecoderLayer


def decode(method: CARZero, memory: Tensor, queries: Tensor, mask: Tensor | None = None) -> Tensor:
    """SimR (M, Q, d). memory: (M, S, d); queries: (Q, d); mask: (M, S) bool, True on columns to attend."""
    memory = method.decoder_norm(memory)
    x = method.decoder_norm(queries).expand(len(memory), -1, -1)
    ignored = None if mask is None else ~mask
    for layer in (cast(DecoderLayer, part) for part in method.layers):
        attended, _ = layer.attention(layer.norm_query(x), memory, memory, key_padding_mask=ignored)
        x = x + layer.dropout(attended)
        hidden = layer.dropout(functional.relu(layer.linear1(layer.norm_feedforward(x))))
        x = x + layer.dropout(layer.linear2(hidden))
    simr: Tensor = method.decoder_norm(x)
    return simr


def plain_scores(method: CARZero, image: ImageFeatures, text: TextFeatures) -> Tensor:
    """(I, T) scores of the released form: both directions, global and local memory, a head."""
    pooled = method.image_project(method.image_norm.pooled(image.pooled))
    patches = method.image_project(method.image_norm.local(image.local))
    sentence = method.text_project(method.text_norm.pooled(text.pooled))
    words = method.text_project(method.text_norm.local(text.local))
    mask = None
    if method.config.mask_padding:
        mask = torch.cat([torch.ones_like(text.mask[:, :1]), text.mask], 1)
    by_image = decode(method, torch.cat([pooled[:, None], patches], 1), sentence)  # (I, T, d)
    by_text = decode(method, torch.cat([sentence[:, None], words], 1), pooled, mask)  # (T, I, d)
    return (method.head(by_image).squeeze(-1) + method.head(by_text).squeeze(-1).T) / 2


def per_image_loop(method: CARZero, image: ImageFeatures, text: TextFeatures) -> Tensor:
    """The released inference: one image at a time, and all prompts projected again for each."""
    return torch.cat([plain_scores(method, image[i : i + 1], text) for i in range(len(image))])
