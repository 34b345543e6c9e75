"""Scores that are not those of an image and a text alone are refused before they are evaluated."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.core.errors import BenchError
from benchmark.core.features import ImageFeatures, TextFeatures
from benchmark.encoders.store import FeatureStore
from benchmark.evaluation.scored_alone import check_alone
from benchmark.evaluation.scoring import score
from methods.base import METHODS, Method, Pairs, build
from methods.clip import CLIP

ROWS = np.arange(20)[::-1]


@pytest.fixture(scope="module")
def images() -> FeatureStore:
    draw = torch.Generator().manual_seed(0)
    pooled, local = torch.randn(23, 12, generator=draw), torch.randn(23, 9, 12, generator=draw)
    return FeatureStore.of(ImageFeatures(pooled, local, (3, 3)))


@pytest.fixture
def texts() -> TextFeatures:
    draw = torch.Generator().manual_seed(1)
    mask = torch.arange(6)[None] < torch.tensor([6, 1, 4, 2, 5, 3, 6])[:, None]
    local = torch.randn(7, 6, 10, generator=draw) * mask[..., None]
    return TextFeatures(torch.randn(7, 10, generator=draw), local, mask)


def check(method: Method, images: FeatureStore, texts: TextFeatures) -> None:
    scores = score(method, images, texts, rows=ROWS)
    check_alone(method, images, ROWS, texts, scores, "cpu")


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_scores_a_pair_as_it_does_beside_others(
    name: str, images: FeatureStore, texts: TextFeatures
) -> None:
    torch.manual_seed(0)
    check(build(name, {"width": 8}, 12, 10), images, texts)


@pytest.mark.parametrize(
    "change",
    [
        lambda z: z.softmax(0),
        lambda z: z.softmax(1),
        lambda z: z - z.mean(0),
        lambda z: z + torch.randn_like(z),
        lambda z: z[:, :1],
        lambda z: z.argsort(0).float(),
    ],
    ids=["over images", "over texts", "of the batch", "by chance", "of one text for all", "ranks"],
)
def test_what_depends_on_anything_else_is_refused(
    change: Callable[[Tensor], Tensor], images: FeatureStore, texts: TextFeatures
) -> None:
    class Odd(CLIP):
        def score_pairs(self, pairs: Pairs) -> Tensor:
            return change(super().score_pairs(pairs))

    with pytest.raises(BenchError, match="clip: the score of an image and a text alone differs by"):
        check(Odd(Odd.Config(width=8), 12, 10), images, texts)


def test_a_method_that_keeps_state_is_refused(images: FeatureStore, texts: TextFeatures) -> None:
    class Flips(CLIP):
        sign = 1

        def score_pairs(self, pairs: Pairs) -> Tensor:
            self.sign = -self.sign
            return self.sign * super().score_pairs(pairs)

    with pytest.raises(BenchError, match="alone differs"):
        check(Flips(Flips.Config(width=8), 12, 10), images, texts)


def test_options_under_which_padding_counts_are_refused(images: FeatureStore, texts: TextFeatures) -> None:
    """CARZero's released rule without the released width: the longest text of a tile would decide."""
    torch.manual_seed(0)
    method = build("carzero", {"width": 8, "mask_padding": False, "init_std": 0.5}, 12, 10)
    with pytest.raises(BenchError, match="carzero: the score"):
        check(method, images, texts)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_finite_number_is_refused(value: float, images: FeatureStore, texts: TextFeatures) -> None:
    class Broken(CLIP):
        def score_pairs(self, pairs: Pairs) -> Tensor:
            scores = super().score_pairs(pairs)
            return torch.where(scores > scores.mean(), value, scores)

    with pytest.raises(BenchError, match=r"clip: \d+ of 140 scores are not finite"):
        check(Broken(Broken.Config(width=8), 12, 10), images, texts)


def test_a_set_without_images_has_nothing_to_check(images: FeatureStore, texts: TextFeatures) -> None:
    check_alone(
        METHODS.get("clip")(CLIP.Config(width=8), 12, 10), images, ROWS[:0], texts, np.empty((0, 7)), "cpu"
    )
