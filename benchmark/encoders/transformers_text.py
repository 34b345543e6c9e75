"""Text encoders of the transformers library, from a package, a folder or the hub."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchmark.core.hashing import hash_value
from benchmark.core.pretrained import from_folder
from benchmark.encoders.base import TextEncoder, TokenBatch
from benchmark.encoders.cards import TextCard
from benchmark.encoders.transformers_towers import Tower, check_own, load_tower
from benchmark.encoders.weights import WeightsError, weights_path

_PER_CALL = ("padding", "truncation")
"""What a tokenizer keeps of its last call."""


PROBES = ("edema", "There is no pneumothorax.")
_WHOLE_LENGTH = ("siglip_text_model", "siglip2_text_model")
"""Types of networks that were trained on texts padded to their full length, padding attended (SigLIP)."""


class TransformersText(TextEncoder):
    """Any AutoModel with a fast tokenizer, or the text tower of a model with two (CLIP, SigLIP), of which
    `pooling: model` gives `get_text_features`. Code that a hub repository ships is never run."""

    def __init__(self, card: TextCard) -> None:
        super().__init__(card)
        path = weights_path(card)
        unused = () if card.pooling == "model" else ("pooler.", "text_model.head.")
        tower = load_tower(card, path, "text_model", unused)
        self.model: Any = tower.network
        self.project = tower.projection if card.pooling == "model" else None
        folder = card.architecture if path is None else str(path if path.is_dir() else path.parent)
        words = card.tokenizer.removeprefix("path:") or folder
        self.tokenizer = from_folder("AutoTokenizer", words)
        if not self.tokenizer.is_fast:
            raise WeightsError(f"encoder {card.name}: '{words}' has no tokenizer.json, which is needed.")
        if not set(self.tokenizer.get_vocab()) - set(self.tokenizer.all_special_tokens):
            # The library makes a tokenizer of nothing, to which every word is unknown.
            raise WeightsError(f"encoder {card.name}: '{words}' has no vocabulary; add its tokenizer.json.")
        if self.tokenizer.pad_token is None:
            raise WeightsError(
                f"encoder {card.name}: '{words}' has a tokenizer without a token for padding; add the "
                "`pad_token` that the model was trained with to its tokenizer_config.json."
            )
        known = max(self.tokenizer.get_vocab().values(), default=0)
        embedded = self.model.get_input_embeddings().num_embeddings
        if known >= embedded:
            raise WeightsError(
                f"encoder {card.name}: '{words}' has a tokenizer with ids up to {known:,} for a model of "
                f"{embedded:,} words; use the tokenizer and the weights of one model."
            )
        if hasattr(self.model, "pooler") and card.pooling != "model":
            self.model.pooler = None  # unused weights would be part of the fingerprint
        config = self.model.config
        self.whole = getattr(config, "model_type", "") in _WHOLE_LENGTH
        limit = getattr(config, "max_position_embeddings", card.max_length)
        self.length = limit if self.whole else min(card.max_length, limit)
        self.width = int(config.hidden_size if self.project is None else self.project.out_features)
        self._check(tower)

    def _check(self, tower: Tower) -> None:
        """Raises WeightsError where two texts are one to the network, as where it looks for the end of a text
        by an id that this tokenizer never gives (CLIP), or where the model's own features are others."""
        tokens = self.tokenize(PROBES)
        with torch.no_grad():
            pooled = self.hidden(tokens)[0]
        if torch.allclose(pooled[0], pooled[1], rtol=1e-5, atol=1e-7):
            raise WeightsError(
                f"encoder {self.card.name}: every text has one vector under this tokenizer and `pooling: "
                f"{self.card.pooling}`; use the tokenizer and the weights of one model."
            )
        if self.card.pooling == "model":
            mask = {} if self.whole else {"attention_mask": tokens.attended.long()}
            check_own(self.card, tower, pooled, input_ids=tokens.ids, **mask)

    def vocabulary(self) -> str:
        """Of the tokenizer's rules and words; how long texts are cut is said by the card."""
        rules = json.loads(self.tokenizer.backend_tokenizer.to_str())
        return hash_value({key: value for key, value in rules.items() if key not in _PER_CALL})

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        batch = self.tokenizer(
            list(texts),
            padding="max_length" if self.whole else True,
            truncation=True,
            max_length=self.length,
            return_tensors="pt",
            return_special_tokens_mask=True,
            return_attention_mask=True,
        )
        attended = batch["attention_mask"].bool()
        kept = attended
        if self.card.specials == "drop":
            kept = attended & ~batch["special_tokens_mask"].bool() | _unknown(
                batch["input_ids"], self.tokenizer
            )
        words = tuple(
            tuple(self.tokenizer.convert_ids_to_tokens(row[keep].tolist()))
            for row, keep in zip(batch["input_ids"], kept, strict=True)
        )
        return TokenBatch(batch["input_ids"], attended, kept, words)

    def hidden(self, tokens: TokenBatch) -> tuple[Tensor, Tensor]:
        output = self.model(
            input_ids=tokens.ids,
            attention_mask=None if self.whole else tokens.attended.long(),
            output_hidden_states=self.card.layers > 1,
        )
        if self.card.layers > 1:
            states = torch.stack(output.hidden_states[-self.card.layers :]).sum(0)
        else:
            states = output.last_hidden_state
        if self.card.pooling == "cls":
            return states[:, 0], states
        if self.card.pooling == "model":
            pooled = getattr(output, "pooler_output", None)
            if pooled is None:
                raise WeightsError(f"encoder {self.card.name}: the model has no pooler; use pooling: mean.")
            if self.project is not None:
                return self.project(pooled), self.project(states)
            return pooled, states
        weight = tokens.attended.unsqueeze(-1).to(states.dtype)
        return (states * weight).sum(1) / weight.sum(1).clamp(min=1), states


def _unknown(ids: Tensor, tokenizer: Any) -> Tensor:
    """[UNK] stands for a word of the text, whatever a tokenizer's special mask says of it."""
    unknown = tokenizer.unk_token_id
    return torch.zeros_like(ids, dtype=torch.bool) if unknown is None else ids == unknown
