from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmark.core.errors import BenchError, UnknownName
from benchmark.core.features import TextFeatures
from benchmark.data.cards import load_card
from benchmark.evaluation.prompt_scores import class_scores, pooled_prompts
from benchmark.prompts.class_prompts import PARAPHRASES, PromptSet, class_prompts
from benchmark.prompts.settings import AGGREGATIONS, STYLES

CARD = load_card("openi")


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("dataset", ["openi", "padchest", "chestxray14"])
def test_every_style_covers_every_class_in_order(dataset, style):
    card = load_card(dataset)
    prompts = class_prompts(card, style=style)
    assert prompts.classes == card.protocol_classes()
    assert sorted(set(prompts.class_of_text)) == list(range(len(prompts.classes)))
    assert list(prompts.class_of_text) == sorted(prompts.class_of_text)
    assert prompts.contrastive == (style == "pos-neg")
    assert all(text.strip() for text in prompts.texts)


def test_texts_of_one_class():
    index = CARD.protocol_classes().index("Effusion")

    def texts(style: str, **options: str) -> list[str]:
        prompts = class_prompts(CARD, style=style, **options)
        return [t for t, c in zip(prompts.texts, prompts.class_of_text, strict=True) if c == index]

    assert texts("template") == ["There is pleural effusion"]
    assert texts("template", template="{} is seen") == ["pleural effusion is seen"]
    assert texts("official") == ["There is Pleural Effusion"]
    assert texts("name") == ["Effusion"]
    assert texts("pos-neg") == ["There is pleural effusion", "There is no pleural effusion"]
    assert texts("pos-neg", template="official") == [
        "There is Pleural Effusion",
        "There is no Pleural Effusion",
    ]
    assert texts("pos-neg", template="{}") == ["pleural effusion", "no pleural effusion"]
    assert len(texts("ensemble")) == len(PARAPHRASES) >= 8


def test_synonyms_are_said_once():
    card = load_card("openi")
    prompts = class_prompts(card, style="synonyms")
    assert len({t.casefold() for t in prompts.texts}) == len(prompts.texts)
    assert len(prompts.texts) > len(prompts.classes)


def test_hash_depends_on_texts_order_and_aggregation():
    base = class_prompts(CARD)
    others = [class_prompts(CARD, style="official"), class_prompts(CARD, aggregation="max")]
    assert len({base.hash, *(o.hash for o in others)}) == 3
    assert base.hash == class_prompts(CARD).hash


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"style": "templates"}, "template"),
        ({"aggregation": "mean"}, "aggregation"),
        ({"template": "There is"}, "exactly once"),
        ({"style": "pos-neg", "template": "I see {}"}, "negation is not known"),
        ({"protocol": "nothing"}, "protocol"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(BenchError, match=message):
        class_prompts(CARD, **options)


def test_unknown_style_suggests():
    with pytest.raises(UnknownName, match="Did you mean 'synonyms'"):
        class_prompts(CARD, style="synonym")  # type: ignore[arg-type]


TWO = PromptSet(
    ("a", "b"), ("a1", "a2", "b1", "no a", "no b"), (0, 0, 1, 0, 1), (1, 1, 1, -1, -1), "mean-score", "x"
)
SCORES = np.array([[1.0, 3.0, 5.0, 0.5, 7.0], [0.0, 2.0, -1.0, 1.0, -2.0]])


def test_scores_by_aggregation():
    np.testing.assert_allclose(class_scores(SCORES, TWO), [[1.5, -2.0], [0.0, 1.0]])
    np.testing.assert_allclose(
        class_scores(SCORES, replace(TWO, aggregation="max")), [[2.5, -2.0], [1.0, 1.0]]
    )


def test_negative_prompts_rank_like_the_softmax_of_the_pair():
    rng = np.random.default_rng(0)
    pairs = PromptSet(("a",), ("a", "no a"), (0, 0), (1, -1), "mean-score", "x")
    scores = rng.normal(size=(50, 2))
    softmax = np.exp(scores[:, 0]) / np.exp(scores).sum(1)
    ours = class_scores(scores, pairs)[:, 0]
    np.testing.assert_allclose(1 / (1 + np.exp(-ours)), softmax)
    far = class_scores(np.array([[300.0, 0.0], [400.0, 0.0]]), pairs)[:, 0]
    assert far[0] < far[1]


def test_columns_permute_with_the_prompts():
    order = [4, 2, 0, 3, 1]
    shuffled = PromptSet(
        TWO.classes,
        tuple(TWO.texts[i] for i in order),
        tuple(TWO.class_of_text[i] for i in order),
        tuple(TWO.polarity[i] for i in order),
        TWO.aggregation,
        TWO.style,
    )
    np.testing.assert_allclose(class_scores(SCORES[:, order], shuffled), class_scores(SCORES, TWO))


def test_mean_embedding_pools_texts_and_keeps_their_words():
    torch.manual_seed(0)
    mask = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 0, 0], [1, 1, 0]], dtype=torch.bool)
    local = torch.randn(5, 3, 4) * mask[..., None]
    words = tuple(tuple(f"{i}{j}" if mask[i, j] else "" for j in range(3)) for i in range(5))
    features = TextFeatures(torch.randn(5, 4), local, mask, words)
    pooled, prompts = pooled_prompts(features, replace(TWO, aggregation="mean-embedding"))
    assert (prompts.class_of_text, prompts.polarity) == ((0, 0, 1, 1), (1, -1, 1, -1))
    torch.testing.assert_close(pooled.pooled[0], features.pooled[:2].mean(0))
    assert pooled.mask.sum(1).tolist() == [3, 1, 3, 2]
    assert pooled.words is not None
    assert pooled.words[0] == ("00", "01", "10")
    torch.testing.assert_close(pooled.local[0], torch.stack([local[0, 0], local[0, 1], local[1, 0]]))
    scores = class_scores(np.ones((1, 4)), prompts)
    assert scores.shape == (1, 2)


@pytest.mark.parametrize("aggregation", ["mean-score", "max"])
def test_other_aggregations_leave_features_alone(aggregation):
    features = TextFeatures(torch.randn(5, 4), torch.randn(5, 3, 4), torch.ones(5, 3, dtype=torch.bool))
    kept, prompts = pooled_prompts(features, replace(TWO, aggregation=aggregation))
    assert kept is features
    assert prompts.aggregation == aggregation
    assert aggregation in AGGREGATIONS


def test_misfits_are_refused():
    with pytest.raises(BenchError, match="do not fit 5 prompts"):
        class_scores(np.ones((2, 4)), TWO)
    with pytest.raises(BenchError, match="no negative text"):
        PromptSet(("a", "b"), ("a", "b", "no a"), (0, 1, 0), (1, 1, -1), "max", "x")
    with pytest.raises(BenchError, match="no positive text"):
        PromptSet(("a", "b"), ("a",), (0,), (1,), "max", "x")
