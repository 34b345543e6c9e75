"""Text encoders of the official checkpoints: BERT with word aggregation, MedCLIP's pooling, MPNet.

Architectures are transformers' own, sized by the shapes of the weights; state dicts keep the official
names. Sources: marshuang80/gloria `text_model.py` (CARZero and BrgSA use it), RyanWangZf/MedCLIP
`modeling_medclip.py`, deepnoid-ai/RadZero `text_encoders.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import BertConfig, BertModel, MPNetConfig, MPNetModel

from benchmark.core.checkpoints import load_strictly
from benchmark.core.errors import BenchError

HEAD_WIDTH = 64
_OLD_BUFFERS = frozenset({"embeddings.position_ids"})


def bert_from_state(state: Mapping[str, Tensor], heads: int | None = None) -> BertModel:
    """BERT of the given weights, in eval mode. heads: width / 64 where not given.

    Raises BenchError listing missing, surplus and misshapen names.
    """
    model = BertModel(BertConfig(**_sizes(state, heads), type_vocab_size=_rows(state, "token_type")))
    load_strictly(model, state, "BERT text encoder", _OLD_BUFFERS)
    model.train(False)
    return model


def mpnet_from_state(state: Mapping[str, Tensor]) -> MPNetModel:
    """MPNet of the given weights, in eval mode; the heads are those of its relative positions."""
    buckets = _tensor(state, "encoder.relative_attention_bias.weight")
    sizes = _sizes(state, buckets.shape[1])
    model = MPNetModel(MPNetConfig(**sizes, relative_attention_num_buckets=buckets.shape[0]))
    load_strictly(model, state, "MPNet text encoder", _OLD_BUFFERS)
    model.train(False)
    return model


def last_layers(model: BertModel, ids: Tensor, mask: Tensor, count: int) -> Tensor:
    """(count, B, W, d): the last hidden states, in their order."""
    output = model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    return torch.stack(output.hidden_states[-count:])


def medclip_pool(hidden: Sequence[Tensor], mask: Tensor | None) -> Tensor:
    """(B, d): mean over positions of hidden states 1, 2 and last, then mean of the three.

    hidden: embeddings' output first, each (B, W, d). mask: (B, W); None averages padding too, as the
    official code does, so that a text depends on the others of its batch (Q-M1).
    """
    layers = torch.stack([hidden[1], hidden[2], hidden[-1]])
    if mask is None:
        return layers.mean(dim=2).mean(dim=0)
    return mean_pool(layers.mean(dim=0), mask)


def mean_pool(states: Tensor, mask: Tensor) -> Tensor:
    """(B, W, d), (B, W) → (B, d): mean over the real tokens."""
    weight = mask.unsqueeze(-1).to(states.dtype)
    return (states * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1e-9)


def _sizes(state: Mapping[str, Tensor], heads: int | None) -> dict[str, Any]:
    words = _tensor(state, "embeddings.word_embeddings.weight")
    layers = {int(k.split(".")[2]) for k in state if k.startswith("encoder.layer.")}
    feed_forward = _tensor(state, "encoder.layer.0.intermediate.dense.weight")
    return {
        "vocab_size": words.shape[0],
        "hidden_size": words.shape[1],
        "num_hidden_layers": max(layers) + 1,
        "num_attention_heads": heads or max(words.shape[1] // HEAD_WIDTH, 1),
        "intermediate_size": feed_forward.shape[0],
        "max_position_embeddings": _rows(state, "position"),
    }


def _rows(state: Mapping[str, Tensor], which: str) -> int:
    return _tensor(state, f"embeddings.{which}_embeddings.weight").shape[0]


def _tensor(state: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in state:
        raise BenchError(f"text encoder: the checkpoint lacks '{name}'; check the file and --method.")
    return state[name]
