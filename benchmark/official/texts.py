"""Text encoders of the official checkpoints behind the shared interface, with the official cleaning.

Sources: marshuang80/gloria `text_model.py`, `gloria_model.py` (CARZero and BrgSA use both);
RyanWangZf/MedCLIP `modeling_medclip.py`; deepnoid-ai/RadZero `text_encoders.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from benchmark.core.errors import BenchError
from benchmark.core.features import TextFeatures
from benchmark.core.hashing import hash_strings
from benchmark.core.pretrained import from_folder
from benchmark.encoders.base import TextEncoder, TokenBatch
from benchmark.encoders.cards import TextCard
from benchmark.official.bert import (
    bert_from_state,
    last_layers,
    mean_pool,
    medclip_pool,
    mpnet_from_state,
)
from benchmark.official.cleaning import clean_prompts
from benchmark.official.word_aggregation import group_pieces, pool_layers

WORD_COLUMNS = 97
"""`data.text.word_num` of GLoRIA, CARZero and BrgSA: tokens and word columns of every text."""


def load_tokenizer(source: Path | str | None, vocabulary: int) -> Any:
    """A fast tokenizer from a folder whose vocabulary fits `vocabulary` embedding rows.

    Raises BenchError where none is given, it cannot be loaded, or its size differs: then every token id
    would mean another word.
    """
    if source is None:
        raise BenchError(
            "an official checkpoint holds no vocabulary; give its tokenizer's folder with "
            f"--tokenizer (it needs {vocabulary:,} tokens)."
        )
    tokenizer = from_folder("AutoTokenizer", source)
    if len(tokenizer) != vocabulary:
        raise BenchError(
            f"tokenizer '{source}' has {len(tokenizer):,} tokens, the checkpoint's word embeddings "
            f"{vocabulary:,}; give the tokenizer that the checkpoint was trained with."
        )
    return tokenizer


def bert_card(name: str, tokenizer: Any, weights: str, layers: int, length: int) -> TextCard:
    """The card of a checkpoint's text encoder; its architecture names the vocabulary by content."""
    vocabulary = tokenizer.get_vocab()
    words = hash_strings(sorted(vocabulary, key=lambda word: (vocabulary[word], word)))
    return TextCard(
        name=name,
        source="transformers",
        architecture=f"vocabulary {words}",
        weights=f"path:{weights}",
        licence="of the checkpoint",
        seen="unknown",
        max_length=length,
        layers=layers,
        specials="keep",
    )


@dataclass(frozen=True)
class WordBatch(TokenBatch):
    """index: (B, W) word column of each token, -1 for dropped ones."""

    index: Tensor


class WordBert(TextEncoder):
    """BERT of GLoRIA, CARZero and BrgSA: last four layers summed, pieces summed to words, 97 columns.

    local: (T, 97, D), zero beyond a text's words, which include [CLS] and [SEP]. pooled: (T, D), the mean
    over all 97 columns. Texts are cleaned as officially; one that comes out empty is an error (Q-G6).
    """

    def __init__(
        self,
        state: Mapping[str, Tensor],
        tokenizer: Path | str | None,
        weights: str,
        name: str,
        heads: int | None = None,
        layers: int = 4,
    ) -> None:
        model = bert_from_state(state, heads)
        loaded = load_tokenizer(tokenizer, model.config.vocab_size)
        columns = min(WORD_COLUMNS, model.config.max_position_embeddings)
        super().__init__(bert_card(name, loaded, weights, layers, columns))
        self.model, self.tokenizer, self.columns = model, loaded, columns
        self.width = int(model.config.hidden_size)

    def tokenize(self, texts: Sequence[str]) -> WordBatch:
        batch = self.tokenizer(
            clean_prompts(texts),
            padding="max_length",
            truncation=True,
            max_length=self.columns,
            return_tensors="pt",
        )
        ids = batch["input_ids"]
        grouped = group_pieces([self.tokenizer.convert_ids_to_tokens(row.tolist()) for row in ids])
        words = tuple(row[: int(mask.sum())] for row, mask in zip(grouped.words, grouped.mask, strict=True))
        return WordBatch(ids, batch["attention_mask"].bool(), grouped.mask, words, grouped.index)

    def hidden(self, tokens: TokenBatch) -> tuple[Tensor, Tensor]:
        if not isinstance(tokens, WordBatch):
            raise BenchError(f"encoder {self.card.name}: texts have to pass its own tokenize.")
        layers = last_layers(self.model, tokens.ids, tokens.attended.long(), self.card.layers)
        words, sentence = pool_layers(layers, tokens.index)
        return sentence, words

    def forward(self, tokens: TokenBatch) -> TextFeatures:
        if isinstance(tokens, WordBatch):
            device = next(self.parameters()).device
            tokens = WordBatch(
                tokens.ids.to(device),
                tokens.attended.to(device),
                tokens.kept.to(device),
                tokens.words,
                tokens.index.to(device),
            )
        sentence, words = self.hidden(tokens)
        return TextFeatures(sentence, words, tokens.kept, tokens.words)


class MedCLIPText(TextEncoder):
    """MedCLIP's BERT: mean over positions of hidden states 1, 2 and last, averaged; 77 tokens.

    pooling: `masked` averages real tokens; `all_positions` averages the padding of the batch as well, as
    released, so that a text depends on the others of its batch (Q-M1).
    """

    def __init__(
        self,
        state: Mapping[str, Tensor],
        tokenizer: Path | str | None,
        weights: str,
        pooling: Literal["masked", "all_positions"] = "masked",
        heads: int | None = None,
    ) -> None:
        model = bert_from_state(state, heads)
        loaded = load_tokenizer(tokenizer, model.config.vocab_size)
        super().__init__(bert_card(f"medclip-bert-{pooling}", loaded, weights, 1, 77))
        self.model, self.tokenizer, self.pooling = model, loaded, pooling
        self.width = int(model.config.hidden_size)

    def vocabulary(self) -> str:
        """What the card does not say of the features, so that no pooling is taken for another one's."""
        return "" if self.pooling == "masked" else self.pooling

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        return token_batch(self.tokenizer, texts, self.card.max_length)

    def hidden(self, tokens: TokenBatch) -> tuple[Tensor, Tensor]:
        output = self.model(
            input_ids=tokens.ids, attention_mask=tokens.attended.long(), output_hidden_states=True
        )
        mask = tokens.attended if self.pooling == "masked" else None
        return medclip_pool(output.hidden_states, mask), output.last_hidden_state


class MPNetText(TextEncoder):
    """RadZero's MPNet: mean over the real tokens of the last hidden states."""

    def __init__(self, state: Mapping[str, Tensor], tokenizer: Path | str | None, weights: str) -> None:
        model = mpnet_from_state(state)
        loaded = load_tokenizer(tokenizer, model.config.vocab_size)
        length = min(384, model.config.max_position_embeddings - 2)
        super().__init__(bert_card("radzero-mpnet", loaded, weights, 1, length))
        self.model, self.tokenizer = model, loaded
        self.width = int(model.config.hidden_size)

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        return token_batch(self.tokenizer, texts, self.card.max_length)

    def hidden(self, tokens: TokenBatch) -> tuple[Tensor, Tensor]:
        states = self.model(input_ids=tokens.ids, attention_mask=tokens.attended.long()).last_hidden_state
        return mean_pool(states, tokens.attended), states


class ClipText(TextEncoder):
    """Text tower of an OpenAI-CLIP state dict (CheXzero); its byte-pair vocabulary ships with open_clip."""

    def __init__(self, model: Any, weights: str) -> None:
        import open_clip

        loaded = open_clip.get_tokenizer("ViT-B-32")
        rows = model.token_embedding.weight.shape[0]
        if loaded.vocab_size != rows:
            raise BenchError(
                f"{weights}: {rows:,} word embeddings, CLIP's byte-pair vocabulary has {loaded.vocab_size:,}."
            )
        card = TextCard(
            name="chexzero-text",
            source="open_clip",
            architecture="clip text",
            weights=f"path:{weights}",
            licence="of the checkpoint",
            seen="unknown",
            max_length=model.context_length,
            pooling="model",
        )
        super().__init__(card)
        self.model, self.tokenizer = model, loaded
        self.width = model.text_projection.shape[1]

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        ids = self.tokenizer(list(texts), context_length=self.card.max_length)
        specials = torch.tensor([0, self.tokenizer.sot_token_id, self.tokenizer.eot_token_id])
        kept = ~torch.isin(ids, specials)
        words = tuple(
            tuple(self.tokenizer.decoder[i] for i in row[keep].tolist())
            for row, keep in zip(ids, kept, strict=True)
        )
        return TokenBatch(ids, ids != 0, kept, words)

    def hidden(self, tokens: TokenBatch) -> tuple[Tensor, Tensor]:
        model = self.model
        x = model.token_embedding(tokens.ids) + model.positional_embedding
        x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask))
        states = x @ model.text_projection
        return states[torch.arange(len(x)), tokens.ids.argmax(dim=-1)], states


def token_batch(tokenizer: Any, texts: Sequence[str], length: int) -> TokenBatch:
    """Token ids of the texts as they are, padded to the longest; every token is kept."""
    batch = tokenizer(list(texts), padding=True, truncation=True, max_length=length, return_tensors="pt")
    attended = batch["attention_mask"].bool()
    words = tuple(
        tuple(tokenizer.convert_ids_to_tokens(row[keep].tolist()))
        for row, keep in zip(batch["input_ids"], attended, strict=True)
    )
    return TokenBatch(batch["input_ids"], attended, attended, words)
