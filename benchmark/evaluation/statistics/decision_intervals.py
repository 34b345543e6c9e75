"""Intervals of decisions at a fixed threshold: rates, and F1 and Matthews correlation as functions of rates.

With few positives, a gradient times a standard error is of no use: where none of three is found, the
sensitivity seems certain, and so does what is computed from it. Therefore each rate has Wilson's interval,
with as many images as patients are worth, and the limits of the rates are carried through the formula of the
metric (MOVER):

    F1  = 2πs / (π + q)      MCC = (s - f) √(π(1-π)) / √(q(1-q))      q = πs + (1-π)f, called
    low = M - √Σ (M - M(limit of one rate))²                          over s: sensitivity, f: false positive
                                                                      rate, π: prevalence; high alike

An image is worth 1/d images, d the design effect of its rate: the clustered variance over the binomial one,
averaged with what it would be if all images of a patient were decided alike, which counts as PRIOR_DF
patients. A macro mean is linear in its classes, so it sums influences; the positives of rare classes are
centred together (`pooling`), as those of one patient show no spread.

Sources: Wilson 1927; Rao & Scott 1992 (effective sample size of clusters); Zou & Donner 2008 (MOVER).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from benchmark.evaluation.statistics.intervals import t_quantile
from benchmark.evaluation.statistics.panel import Column
from benchmark.evaluation.statistics.pooling import centred, rare_classes
from benchmark.evaluation.statistics.rare import PRIOR_DF
from benchmark.evaluation.statistics.thresholds import Decision, ratio_influence

Formula = Callable[[np.ndarray], np.ndarray]


def rate_interval(above: np.ndarray, below: np.ndarray, level: float) -> tuple[float, float]:
    """Wilson's limits of Σ above / Σ below over patients (P,); below: images of the patient that count."""
    there = below > 0
    above, below = above[there], below[there]
    share, influence = ratio_influence(above, below)
    images, known = float(below.sum()), len(below) - 1
    alike = float(below @ below) / images
    binomial = share * (1 - share) / images
    seen = float(influence @ influence) / binomial if binomial > 0 else alike
    worth = images * (PRIOR_DF + known) / (PRIOR_DF * alike + known * seen)
    t = t_quantile(PRIOR_DF + known, level)
    centre = (share + t**2 / (2 * worth)) / (1 + t**2 / worth)
    half = t / (1 + t**2 / worth) * np.sqrt(share * (1 - share) / worth + t**2 / (4 * worth**2))
    return float(centre - half) if share > 0 else 0.0, float(centre + half) if share < 1 else 1.0


def decision_interval(counts: np.ndarray, metric: Formula, level: float) -> tuple[float, float]:
    """Limits of a metric of the four counts (P, 4) tp, fp, fn, tn; `metric` maps (…, 4) shares of images."""
    tp, fp, fn, tn = counts.T
    total = counts.sum()
    rates = [(tp, tp + fn), (fp, fp + tn), (tp + fn, counts.sum(axis=1))]
    at = np.array([above.sum() / below.sum() for above, below in rates])
    value = float(metric(counts.sum(axis=0) / total))
    down = up = 0.0
    for place, (above, below) in enumerate(rates):
        moved = np.stack([at, at])
        moved[:, place] = rate_interval(above, below, level)
        found = metric(_shares(moved))
        down += max(0.0, value - np.nanmin(found)) ** 2
        up += max(0.0, np.nanmax(found) - value) ** 2
    return value - float(np.sqrt(down)), value + float(np.sqrt(up))


def _shares(rates: np.ndarray) -> np.ndarray:
    """(…, 3) sensitivity, false positive rate, prevalence → (…, 4) shares of tp, fp, fn, tn."""
    s, f, p = np.moveaxis(rates, -1, 0)
    return np.stack([p * s, (1 - p) * f, p * (1 - s), (1 - p) * (1 - f)], axis=-1)


def mean_of_decisions(decisions: Sequence[Decision]) -> tuple[np.ndarray, float]:
    """(P,) influence of every patient on the unweighted mean of a metric over classes, and the variance to
    add to the sum of its squares: what the positives of rare classes lack beside half a positive found and
    half a one missed (Jeffreys), as of all that are missed none shows a spread."""
    held = np.array([np.count_nonzero(d.positives) for d in decisions])
    rare = [decisions[i] for i in rare_classes(held, np.arange(len(decisions)))]
    total = np.sum([d.influence for d in decisions], axis=0)
    lacking = 0.0
    if rare:
        units = [np.flatnonzero(d.positives) for d in rare]
        share, found, slope, own = (
            np.concatenate(part)
            for part in zip(*(_units(d, there) for d, there in zip(rare, units, strict=True)), strict=True)
        )
        step = slope * centred(share, found)
        total += np.bincount(np.concatenate(units), step - own, len(total))
        likely = (found.sum() + 0.5) / (len(found) + 1)
        least = likely * (1 - likely) * float(np.square(slope * share).sum())
        lacking = max(0.0, least - float(step @ step))
    return total / len(decisions), lacking / len(decisions) ** 2


def few_positives(held: Sequence[np.ndarray]) -> str:
    """Empty, or that few patients carry a class or a mean of classes; held: (P,) positives of each class."""
    shares = [own[own > 0] / own.sum() for own in held]
    q = shares[0] if len(held) == 1 else np.square(np.concatenate(shares))
    patients = int(np.count_nonzero(np.sum(held, axis=0)))
    worth = min(float(q.sum() ** 2 / np.square(q).sum()), float(patients))
    images = int(np.sum(held))
    return Column("macro", "all", images, 0, 0, patients, patients, worth=worth).few_note


def _units(one: Decision, there: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of each patient with a positive (U,): share of the positives, share of its own that is called, slope of
    the class, and the influence that the class's own mean gives."""
    held = one.positives[there]
    return (
        held / one.positives.sum(),
        one.found[there] / held,
        np.full(len(there), one.slope),
        one.of_positives[there],
    )
