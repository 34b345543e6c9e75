"""What of the training texts the text encoder reads."""

from __future__ import annotations

import pytest
import torch

from benchmark.encoders.base import TextFeatures
from benchmark.encoders.cards import TextCard
from benchmark.encoders.store import TextStore
from benchmark.stages.features import texts_cut


@pytest.mark.parametrize(("specials", "cut"), [("drop", 2), ("keep", 1)])
def test_texts_that_fill_the_encoder_are_counted(specials: str, cut: int) -> None:
    card = TextCard.model_validate(
        {
            **{"name": "tiny", "source": "transformers", "weights": "random", "licence": "none", "seen": []},
            **{"max_length": 8, "specials": specials},
        }
    )
    lengths = torch.tensor([3, 5, 6, 8])
    mask = torch.arange(8) < lengths[:, None]
    store = TextStore.of(list("abcd"), TextFeatures(torch.zeros(4, 2), torch.zeros(4, 8, 2), mask))
    said = texts_cut(store, card)
    assert said is not None
    assert said.startswith(f"{cut} of 4 texts fill the 8 tokens that tiny reads")
    short = TextStore.of(["a"], TextFeatures(torch.zeros(1, 2), torch.zeros(1, 8, 2), mask[:1]))
    assert texts_cut(short, card) is None
