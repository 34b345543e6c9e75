"""What a score does when exactly one finding of an image changes.

Scores come as the matrix of all scenes and prompts of a plan (`benchmark/twins/counterfactual.py`). Changes
are measured in deviations of the prompt's scores over the patients' own images, so that prompts compare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmark.core.settings import StatisticsConfig
from benchmark.evaluation.evaluate import evaluate
from benchmark.evaluation.statistics.metric_values import MetricValue, metric_value, values_of
from benchmark.evaluation.statistics.panel import Column
from benchmark.evaluation.statistics.trials import (
    Trials,
    mean_influence,
    patient_influence,
    smooth_interval,
    wins,
)
from benchmark.evaluation.trial_rows import Rows, trial_rows

LEAST = 8
"""Patients that a finding needs to be measured at all."""


@dataclass(frozen=True)
class Pairs:
    """Images of one finding. before, after: (n,) rows without and with it, of the same patients (n,)."""

    finding: str
    before: np.ndarray
    after: np.ndarray
    patients: np.ndarray


@dataclass(frozen=True)
class Specificity:
    """changes: (F, T) mean change of every prompt when a finding is added, in deviations of the prompt.
    wins: finding → (n,) share of unrelated prompts that its own prompt's change exceeds, in each patient."""

    findings: tuple[str, ...]
    prompts: tuple[str, ...]
    changes: np.ndarray
    wins: Mapping[str, np.ndarray]


def causal_rows(
    scores: np.ndarray, prompts: Sequence[str], pairs: Sequence[Pairs], config: StatisticsConfig
) -> Rows:
    """`causal_auroc`: AUROC of images with a finding against the same patients' without it, by finding and
    macro; `score_rises`: share of patients whose score rises; `score_change`: its mean, in deviations.

    scores: (S, T) of all scenes and prompts.
    """
    people = 1 + max(int(p.patients.max()) for p in pairs)
    spread = deviations(scores, pairs)
    stacked, labels, who = [], [], []
    rises, changes = [], []
    for k, pair in enumerate(pairs):
        column = list(prompts).index(pair.finding)
        difference = scores[pair.after, column] - scores[pair.before, column]
        rises.append(Trials(pair.finding, wins(difference, np.zeros(1)), pair.patients))
        changes.append(Trials(pair.finding, difference / spread[column], pair.patients))
        for images, label in ((pair.before, 0), (pair.after, 1)):
            block = np.full((len(images), len(pairs)), -1, np.int8)
            block[:, k] = label
            values = np.zeros((len(images), len(pairs)), np.float32)
            values[:, k] = scores[images, column]
            stacked.append(values)
            labels.append(block)
            who.append(pair.patients)
    names = [pair.finding for pair in pairs]
    patients = np.concatenate(who).astype(str)
    frame = evaluate(
        np.concatenate(stacked), np.concatenate(labels), patients, names, strata={}, config=config
    )
    kept = frame[(frame["metric"] == "auroc") & (frame["stratum"] == "all")]
    kept = kept[kept["class"].isin([*names, "macro"])]
    rows = values_of(kept.assign(metric="causal_auroc"))
    rows += trial_rows("score_rises", rises, people, config.level, "")
    return rows + mean_rows("score_change", changes, people, config.level)


def denial_rows(
    scores: np.ndarray,
    denied: np.ndarray,
    prompts: Sequence[str],
    pairs: Sequence[Pairs],
    config: StatisticsConfig,
) -> Rows:
    """What adding a finding does to "There is no ...": `denial_auroc`, AUROC of absence among the same pairs
    of images; `denial_falls`, share of patients whose score of the denial falls; `contrast_auroc`, AUROC of
    the finding asked by its prompt minus the denial. 0.5 is chance; a method that reads over "no" has 1 minus
    what it has for the prompt.

    scores, denied: (S, T) of all scenes with the prompts and their denials.
    """
    kept = {"causal_auroc": "denial_auroc", "score_rises": "denial_falls"}
    rows = [(kept, row) for row in causal_rows(-denied, prompts, pairs, config)]
    rows += [
        ({"causal_auroc": "contrast_auroc"}, row)
        for row in causal_rows(scores - denied, prompts, pairs, config)
    ]
    return [replace(row, metric=names[row.metric]) for names, row in rows if row.metric in names]


def mean_rows(metric: str, groups: Sequence[Trials], people: int, level: float) -> Rows:
    """A row a group and `macro` of means that are no shares, with patients as clusters."""
    rows = []
    for group in groups:
        influence = patient_influence(group.values, group.codes, people)
        rows.append(_mean_row(metric, group.name, float(group.values.mean()), influence, group.codes, level))
    value, every = (
        float(np.mean([g.values.mean() for g in groups])),
        np.concatenate([g.codes for g in groups]),
    )
    return [*rows, _mean_row(metric, "macro", value, mean_influence(groups, people), every, level)]


def _mean_row(
    metric: str, name: str, value: float, influence: np.ndarray, codes: np.ndarray, level: float
) -> MetricValue:
    patients = len(np.unique(codes))
    column = Column(name, "all", patients, 0, 0, patients, patients)
    return metric_value(column, metric, smooth_interval(value, influence, level))


def deviations(scores: np.ndarray, pairs: Sequence[Pairs]) -> np.ndarray:
    """(T,) standard deviation of each prompt over the distinct images without an added finding."""
    bases = np.unique(np.concatenate([pair.before for pair in pairs]))
    spread: np.ndarray = np.maximum(scores[bases].std(axis=0), 1e-6)
    return spread


def specificity(
    scores: np.ndarray,
    prompts: Sequence[str],
    pairs: Sequence[Pairs],
    related: Mapping[str, frozenset[str]],
) -> Specificity:
    """The matrix of findings added × prompts asked. related: finding → prompts that may rise with it: itself,
    its kinds and what it is a kind of."""
    spread = deviations(scores, pairs)
    names = list(prompts)
    changes = np.zeros((len(pairs), len(names)))
    exceeded = {}
    for i, pair in enumerate(pairs):
        difference = (scores[pair.after] - scores[pair.before]) / spread  # (n, T)
        changes[i] = difference.mean(axis=0)
        others = np.array([name not in related[pair.finding] for name in names])
        own = difference[:, [names.index(pair.finding)]]
        exceeded[pair.finding] = wins(own, difference[:, others]).mean(axis=1)
    return Specificity(tuple(p.finding for p in pairs), tuple(names), changes, exceeded)


def specificity_rows(
    found: Specificity, pairs: Sequence[Pairs], related: Mapping[str, frozenset[str]], level: float
) -> Rows:
    """`specificity`: how often the own prompt rises more than an unrelated one, 0.5 by chance and 1 for a
    diagonal matrix; `own_prompt_first`: share of findings whose own or a related prompt rises most."""
    people = 1 + max(int(p.patients.max()) for p in pairs)
    trials = [Trials(p.finding, found.wins[p.finding], p.patients) for p in pairs]
    first = []
    for i, name in enumerate(found.findings):
        best = found.prompts[int(found.changes[i].argmax())]
        first.append(float(best in related[name]))
    whole = Column("macro", "all", len(first), 0, 0, people, people)
    rows = trial_rows("specificity", trials, people, level, "")
    return [
        *rows,
        metric_value(
            whole, "own_prompt_first", smooth_interval(float(np.mean(first)), np.zeros(people), level)
        ),
    ]
