"""Text encoders of the transformers library, from a package, a folder or the hub."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.utils import logging as transformers_logging

from benchmark.core.hashing import hash_value
from benchmark.core.pretrained import from_folder, model_from_folder, untrained
from benchmark.encoders.base import TextEncoder, TokenBatch
from benchmark.encoders.cards import TextCard
from benchmark.encoders.weights import WeightsError, weights_path

_PER_CALL = ("padding", "truncation")
"""What a tokenizer keeps of its last call."""


class TransformersText(TextEncoder):
    """Any AutoModel with a fast tokenizer. Code that a hub repository ships is never run."""

    def __init__(self, card: TextCard) -> None:
        super().__init__(card)
        path = weights_path(card)
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        if path is None:
            folder = card.architecture  # a folder with config and tokenizer
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                self.model = untrained(folder)
        else:
            folder = str(path if path.is_dir() else path.parent)
            unused = () if card.pooling == "model" else ("pooler.",)
            self.model = model_from_folder("AutoModel", folder, unused, use_safetensors=True)
        words = card.tokenizer.removeprefix("path:") or folder
        self.tokenizer = from_folder("AutoTokenizer", words)
        if not hasattr(self.model.config, "hidden_size"):
            kind = type(self.model).__name__
            raise WeightsError(
                f"encoder {card.name}: '{folder}' is a {kind}, which has more than a text tower; "
                "use source: open_clip for a CLIP, or a folder with a text model alone."
            )
        if not self.tokenizer.is_fast:
            raise WeightsError(f"encoder {card.name}: '{folder}' has no tokenizer.json, which is needed.")
        known = max(self.tokenizer.get_vocab().values(), default=0)
        embedded = self.model.get_input_embeddings().num_embeddings
        if known >= embedded:
            raise WeightsError(
                f"encoder {card.name}: '{folder}' has a tokenizer with ids up to {known:,} for a model of "
                f"{embedded:,} words; use the tokenizer and the weights of one model."
            )
        if hasattr(self.model, "pooler") and card.pooling != "model":
            self.model.pooler = None  # unused weights would be part of the fingerprint
        limit = getattr(self.model.config, "max_position_embeddings", card.max_length)
        self.length = min(card.max_length, limit)
        self.width = int(self.model.config.hidden_size)

    def vocabulary(self) -> str:
        """Of the tokenizer's rules and words; how long texts are cut is said by the card."""
        rules = json.loads(self.tokenizer.backend_tokenizer.to_str())
        return hash_value({key: value for key, value in rules.items() if key not in _PER_CALL})

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        batch = self.tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self.length,
            return_tensors="pt",
            return_special_tokens_mask=True,
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
            attention_mask=tokens.attended.long(),
            output_hidden_states=self.card.layers > 1,
        )
        if self.card.layers > 1:
            states = torch.stack(output.hidden_states[-self.card.layers :]).sum(0)
        else:
            states = output.last_hidden_state
        if self.card.pooling == "cls":
            return states[:, 0], states
        if self.card.pooling == "model":
            if getattr(output, "pooler_output", None) is None:
                raise WeightsError(f"encoder {self.card.name}: the model has no pooler; use pooling: mean.")
            return output.pooler_output, states
        weight = tokens.attended.unsqueeze(-1).to(states.dtype)
        return (states * weight).sum(1) / weight.sum(1).clamp(min=1), states


def _unknown(ids: Tensor, tokenizer: Any) -> Tensor:
    """[UNK] stands for a word of the text, whatever a tokenizer's special mask says of it."""
    unknown = tokenizer.unk_token_id
    return torch.zeros_like(ids, dtype=torch.bool) if unknown is None else ids == unknown
