"""Word pieces back to words, and BERT layers to one vector a word (GLoRIA, CARZero, BrgSA).

Walk the tokens up to and including [SEP]; a piece `##…` belongs to the word begun before it. A word
vector is the sum of its pieces' vectors in every layer; [CLS] and [SEP] are words; what follows [SEP]
is dropped; the list is padded with zero vectors back to the W columns of the tokenizer.

Source: marshuang80/gloria `gloria/models/text_model.py` (aggregate_tokens), used unchanged by CARZero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

PAD, CLS, SEP = "[PAD]", "[CLS]", "[SEP]"


@dataclass(frozen=True)
class WordColumns:
    """index: (B, W) int64, the word column of each token, -1 for dropped tokens.
    words: per text, W strings, `[PAD]` beyond the last word. mask: (B, W) bool, True on words."""

    index: Tensor
    words: tuple[tuple[str, ...], ...]
    mask: Tensor


def group_pieces(tokens: Sequence[Sequence[str]]) -> WordColumns:
    """Word columns of B texts of W tokens each."""
    index, words = [], []
    for row in tokens:
        columns: list[int] = []
        found: list[str] = []
        for token in row:
            if token.startswith("##") and found:
                found[-1] += token[2:]
            else:
                found.append(token.removeprefix("##"))
            columns.append(len(found) - 1)
            if token == SEP:
                break
        index.append(columns + [-1] * (len(row) - len(columns)))
        words.append(tuple(found + [PAD] * (len(row) - len(found))))
    mask = torch.tensor([[word != PAD for word in row] for row in words], dtype=torch.bool)
    return WordColumns(torch.tensor(index, dtype=torch.long), tuple(words), mask)


def ungrouped(tokens: Sequence[Sequence[str]]) -> WordColumns:
    """Every token its own column, padding included (the official `agg_tokens: false`)."""
    index = torch.arange(len(tokens[0])).expand(len(tokens), -1)
    words = tuple(tuple(row) for row in tokens)
    mask = torch.tensor([[word != PAD for word in row] for row in words], dtype=torch.bool)
    return WordColumns(index, words, mask)


def sum_pieces(hidden: Tensor, index: Tensor) -> Tensor:
    """(..., B, W, d) token vectors → (..., B, W, d) word vectors, zero beyond the last word."""
    width = hidden.shape[-2]
    target = torch.where(index < 0, width, index)
    target = target[..., None].expand(hidden.shape)
    words = hidden.new_zeros(*hidden.shape[:-2], width + 1, hidden.shape[-1])
    return words.scatter_add(-2, target, hidden)[..., :width, :]


def pool_layers(
    layers: Tensor, index: Tensor, combine: Literal["sum", "mean"] = "sum"
) -> tuple[Tensor, Tensor]:
    """Word and sentence vectors from the last layers of BERT.

    layers: (n, B, W, d). Returns word (B, W, d) and sentence (B, d): the mean over all W columns, zeros
    included, of each layer; then the sum or mean over layers.
    """
    words = sum_pieces(layers, index)
    sentences = words.mean(dim=-2)
    if combine == "sum":
        return words.sum(dim=0), sentences.sum(dim=0)
    return words.mean(dim=0), sentences.mean(dim=0)
