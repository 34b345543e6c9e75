"""What labels add: draws of labelled patients, a linear probe of frozen features, and a tuned alignment."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional

from benchmark.core.features import TextFeatures
from benchmark.core.hashing import derive_seed
from benchmark.encoders.store import FeatureStore
from benchmark.prompts.class_prompts import PromptSet
from methods.base import Method

Floats = NDArray[np.floating]
Labels = NDArray[np.int8]
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""C of the logistic regression, of which the held-out patients choose one for all classes."""
CHECKED = 0.2
AT_ONCE = 256
_OUTER_RATE = 1e-2
"""Learning rate of the gain and the biases, which turn scores of any scale into log-odds."""


@dataclass(frozen=True)
class LabelDraw:
    """Rows of the labelled images. fit: what weights are fitted to. check: images of other patients, which
    choose the penalty or the epoch; they count among the labels that were used."""

    fit: NDArray[np.int64]
    check: NDArray[np.int64]

    @property
    def rows(self) -> NDArray[np.int64]:
        return np.concatenate([self.fit, self.check])


def label_draws(patients: Sequence[str], share: float, draws: int) -> list[LabelDraw]:
    """Draws of whole patients with at least `share` of the images; a larger share holds the smaller ones.

    patients: (N,) of the labelled images. All labels are drawn once, as every draw of them is the same. A
    draw has two patients at least, so that one can be checked.
    """
    names, codes = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    if len(names) < 2:
        return []
    found = []
    for number in range(draws if share < 1 else 1):
        order = np.random.default_rng(derive_seed(number, "transfer")).permutation(len(names))
        images = np.cumsum(np.bincount(codes)[order])
        count = max(2, int(np.searchsorted(images, share * len(codes) - 1e-9)) + 1)
        chosen = order[:count]
        checked = chosen[: max(1, round(CHECKED * count))]
        fit, check = (np.flatnonzero(np.isin(codes, own)) for own in (np.setdiff1d(chosen, checked), checked))
        found.append(LabelDraw(fit, check))
    return found


def learnable(labels: Labels) -> NDArray[np.bool_]:
    """(C,) whether images (N, C) show a class and its absence; no other class can be fitted."""
    return np.asarray((labels == 1).any(axis=0) & (labels == 0).any(axis=0))


def pooled_inputs(images: FeatureStore, rows: NDArray[np.int64]) -> Floats:
    """(N, D) pooled vectors of the encoder."""
    return np.concatenate(
        [images.get(rows[k : k + AT_ONCE]).pooled.numpy() for k in range(0, len(rows), AT_ONCE)]
    ).astype(np.float64)


def linear_probe(x: Floats, labels: Labels, draw: LabelDraw) -> Callable[[Floats], Floats]:
    """Logistic regression of each class on standardised inputs: (N, F) → (N, C) log-odds.

    x: (M, F) and labels: (M, C) in {1, 0, -1 unknown} of the labelled images. The penalty with the lowest
    log loss on the checked patients is kept, and everything drawn is fitted with it. A class that the draw
    does not show scores 0 everywhere, an AUROC of 0.5.
    """
    losses = [
        _log_loss(_fitted(x, labels, draw.fit, c)(x[draw.check]), labels[draw.check]) for c in STRENGTHS
    ]
    return _fitted(x, labels, draw.rows, STRENGTHS[int(np.argmin(losses))])


def _fitted(
    x: Floats, labels: Labels, rows: NDArray[np.int64], strength: float
) -> Callable[[Floats], Floats]:
    scale = StandardScaler().fit(x[rows])
    inputs = scale.transform(x[rows])
    weights, offsets = np.zeros((x.shape[1], labels.shape[1])), np.zeros(labels.shape[1])
    for k in np.flatnonzero(learnable(labels[rows])):
        known = labels[rows, k] >= 0
        model = LogisticRegression(C=strength, max_iter=2000).fit(inputs[known], labels[rows[known], k])
        weights[:, k], offsets[k] = model.coef_[0], model.intercept_[0]
    return lambda shown: np.asarray(scale.transform(shown) @ weights + offsets)


def _log_loss(logits: Floats, labels: Labels) -> float:
    known = labels >= 0
    return (
        float(np.logaddexp(0.0, np.where(labels == 1, -logits, logits))[known].mean()) if known.any() else 0.0
    )


def has_weights(method: Method) -> bool:
    """Whether there is more to tune than a scale and a bias, which move no rank."""
    return any(p.requires_grad and p.ndim > 0 for p in method.parameters())


def tuned(
    method: Method,
    images: FeatureStore,
    rows: NDArray[np.int64],
    labels: Labels,
    text: TextFeatures,
    prompts: PromptSet,
    draw: LabelDraw,
    *,
    epochs: int,
    learning_rate: float,
    batch: int,
    device: str,
    seed: int,
) -> Method:
    """A copy of an alignment with all its weights tuned on labels; encoders stay as they are.

    rows: (M,) of `images`, labels: (M, C) of the labelled ones. text: features of `prompts`. The log-odds of
    a class are its score as in zero-shot classification, standardised over the fitted images, times a gain,
    plus a bias; both are tuned too. Binary cross-entropy, AdamW. The weights are those after the epoch with
    the lowest loss on the checked patients, the untuned ones where no epoch is better.
    """
    own = copy.deepcopy(method).to(device)
    text = text.to(device)
    truth = torch.from_numpy(labels.astype(np.float32)).to(device)
    of_class = _of_class(prompts).to(device)
    gpus = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=gpus), torch.enable_grad():
        torch.manual_seed(seed)

        def scores(chosen: NDArray[np.int64]) -> Tensor:
            return own(images.get(rows[chosen]).to(device), text) @ of_class  # type: ignore[no-any-return]

        def log_odds(chosen: NDArray[np.int64]) -> Tensor:
            return gain.exp() * (scores(chosen) - mean) / std + bias

        def whole(read: Callable[[NDArray[np.int64]], Tensor], chosen: NDArray[np.int64]) -> Tensor:
            with torch.no_grad():
                own.eval()
                return torch.cat([read(chosen[k : k + AT_ONCE]) for k in range(0, len(chosen), AT_ONCE)])

        start = whole(scores, draw.fit)
        mean, std = start.mean(0), start.std(0, correction=0).clamp(min=1e-6)
        gain, bias = nn.Parameter(torch.zeros((), device=device)), nn.Parameter(_prior(truth[draw.fit]))
        inner = [p for p in own.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(
            [{"params": inner, "lr": learning_rate, "weight_decay": 0.01},
             {"params": [gain, bias], "lr": _OUTER_RATE, "weight_decay": 0.0}]
        )  # fmt: skip
        best, kept = float(_cross_entropy(whole(log_odds, draw.check), truth[draw.check])), own.state_dict()
        kept = {name: value.clone() for name, value in kept.items()}
        shuffle = np.random.default_rng(seed)
        for _ in range(epochs):
            own.train()
            order = shuffle.permutation(draw.fit)
            for k in range(0, len(order), batch):
                step = order[k : k + batch]
                loss = _cross_entropy(log_odds(step), truth[step])
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(inner, 1.0)
                optimiser.step()
                own.after_step()
            now = float(_cross_entropy(whole(log_odds, draw.check), truth[draw.check]))
            if now < best:
                best, kept = now, {name: value.clone() for name, value in own.state_dict().items()}
    own.load_state_dict(kept)
    return own.eval()


def _of_class(prompts: PromptSet) -> Tensor:
    """(T, C): the mean of a class's prompts, minus that of its negative ones where they count."""
    owner, sign = np.asarray(prompts.class_of_text), np.asarray(prompts.polarity)
    table = np.zeros((len(owner), len(prompts.classes)), np.float32)
    for c in range(len(prompts.classes)):
        for side in (1, -1) if prompts.contrastive else (1,):
            own = (owner == c) & (sign == side)
            table[own, c] = side / own.sum()
    return torch.from_numpy(table)


def _prior(truth: Tensor) -> Tensor:
    """(C,) log-odds of each class among the known labels, with one of each kind added."""
    present, absent = (truth == 1).sum(0) + 1.0, (truth == 0).sum(0) + 1.0
    return (present / absent).log()


def _cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean over the known labels; 0, with a gradient, where none is known."""
    known = truth >= 0
    loss = functional.binary_cross_entropy_with_logits(logits, truth.clamp(min=0), reduction="none")
    return (loss * known).sum() / known.sum().clamp(min=1)
