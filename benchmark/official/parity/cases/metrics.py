"""Official evaluation metrics: CARZero's areas, groups and protocols; BrgSA's thresholds and bootstrap."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmark.official import metrics as official
from benchmark.official.parity.check import Checker, Tolerance
from benchmark.official.parity.fixture import Fixture
from benchmark.official.parity.registry import case

_METRIC = Tolerance(atol=1e-9)
_ROUNDED = Tolerance(atol=1e-4)
_TWELVE = Tolerance(atol=1e-12)


def _tolerance(name: str) -> Tolerance:
    return _ROUNDED if name.endswith("_4dp") else _METRIC


def _check_counts(fixture: Fixture, checker: Checker, counts: np.ndarray) -> None:
    if "class_counts" in fixture.info:
        checker.equal("json/class_counts", counts, fixture.setting("class_counts"))
    if "head_threshold" in fixture.info:
        theta = official.head_threshold(counts)
        checker.values("json/head_threshold", theta, fixture.setting("head_threshold"), _METRIC)


def _group_macros(labels: np.ndarray, scores: np.ndarray, groups: dict[str, np.ndarray]) -> dict[str, float]:
    return {
        name: official.roc_areas(labels[:, rows], scores[:, rows]).macro
        for name, rows in groups.items()
        if len(rows)
    }


@case("carzero_metrics/areas", arrays=("in/labels", "in/scores", "out/macro_auc"))
def areas(fixture: Fixture, checker: Checker) -> None:
    labels, scores = fixture.array("in/labels"), fixture.array("in/scores")
    counts = labels.sum(axis=0)
    _check_counts(fixture, checker, counts)
    roc = official.roc_areas(labels, scores)
    micro, macro, per_class = official.trapezoidal_pr_areas(labels, scores)
    found: dict[str, Any] = {
        "macro_auc": roc.macro,
        "micro_auc": roc.micro,
        "weighted_auc": roc.weighted,
        "per_class_auc": roc.per_class,
        "micro_auprc": micro,
        "macro_auprc": macro,
        "per_class_auprc": per_class,
    }
    groups = official.long_tail_groups(counts)
    found |= {f"{name}_macro_auc": v for name, v in _group_macros(labels, scores, groups).items()}
    for name, value in found.items():
        checker.close(f"out/{name}", value, _METRIC)
    for name, rows in groups.items():
        checker.equal(f"out/{name}", rows)


@case("carzero_metrics/padchest", settings=("labels", "expected"), arrays=("in/scores", "out/label_matrix"))
def padchest(fixture: Fixture, checker: Checker) -> None:
    scores, expected = fixture.array("in/scores"), fixture.setting("expected")
    classes, labels = official.padchest_labels(fixture.setting("labels"))
    checker.equal(
        "json/classes_sorted_without_normal", classes, fixture.setting("classes_sorted_without_normal")
    )
    checker.equal("out/label_matrix", labels)
    counts = labels.sum(axis=0)
    _check_counts(fixture, checker, counts)
    groups = official.long_tail_groups(counts)
    for name, rows in groups.items():
        checker.equal(f"out/{name}", rows)
    roc = official.roc_areas(labels, scores)
    micro, macro, per_class = official.trapezoidal_pr_areas(labels, scores)
    found = {f"{name}_auc": value for name, value in _group_macros(labels, scores, groups).items()}
    found |= {"total_auc": roc.macro, "micro_auprc_4dp": micro, "macro_auprc_4dp": macro}
    for name, rows in (("padchest20", groups["tail"]), ("rarest100", official.rarest_classes(counts))):
        found[f"{name}_auroc"] = float(roc.per_class[rows].mean())
        found[f"{name}_auprc"] = float(per_class[rows].mean())
    found |= {f"auc_{name}": float(value) for name, value in zip(classes, roc.per_class, strict=True)}
    _check_expected(checker, found, expected)


@case("carzero_metrics/openi", settings=("labels_automatic", "expected"), arrays=("in/scores",))
def openi(fixture: Fixture, checker: Checker) -> None:
    """Per-class figures of the fixture stand in column order, under the official script's spellings."""
    scores, expected = fixture.array("in/scores"), fixture.setting("expected")
    terms = list(official.OPENI_TERMS.values())
    labels = official.substring_labels(fixture.setting("labels_automatic"), terms)
    checker.equal("out/label_matrix", labels)
    counts = labels.sum(axis=0)
    _check_counts(fixture, checker, counts)
    roc = official.roc_areas(labels, scores)
    micro, macro, _ = official.trapezoidal_pr_areas(labels, scores)
    groups = _group_macros(labels, scores, official.long_tail_groups(counts))
    found = {f"{name.capitalize()} AUC": value for name, value in groups.items()}
    found |= {"Total AUC": roc.macro, "micro_auprc_4dp": micro, "macro_auprc_4dp": macro}
    named = [name for name in expected if name not in found]
    found |= {name: float(v) for name, v in zip(named, roc.per_class, strict=True)}
    _check_expected(checker, found, expected)


@case("carzero_metrics/chexpert5x200", settings=("expected",), arrays=("in/labels", "in/scores"))
def chexpert(fixture: Fixture, checker: Checker) -> None:
    expected = fixture.setting("expected")
    accuracy, per_class = official.five_by_200(fixture.array("in/labels"), fixture.array("in/scores"))
    named = [name for name in expected if name != "accuracy"]
    found = {"accuracy": accuracy} | {n: float(v) for n, v in zip(named, per_class, strict=True)}
    _check_expected(checker, found, expected)


def _check_expected(checker: Checker, found: dict[str, float], expected: dict[str, float]) -> None:
    for name, value in expected.items():
        ours = found.get(name, float("nan"))
        checker.values(f"json/expected/{name}", ours, value, _tolerance(name))


@case("brgsa/bootstrap", arrays=("in/scores_no_ties", "out/threshold_no_ties"))
def bootstrap(fixture: Fixture, checker: Checker) -> None:
    labels, tied = fixture.array("in/labels"), fixture.array("in/scores")
    scores = fixture.array("in/scores_no_ties")

    def thresholds(rule: Any, values: np.ndarray, grid: np.ndarray | None = None) -> list[float]:
        return [
            rule(labels[:, c], values[:, c], np.unique(values[:, c]) if grid is None else grid)
            for c in range(labels.shape[1])
        ]

    corner = official.corner_threshold
    logistic = 1 / (1 + np.exp(-tied))
    checker.close("out/threshold_unique_values", thresholds(corner, tied), _TWELVE)
    on_grid = thresholds(corner, logistic, np.linspace(0, 1, 100))
    checker.close("out/threshold_grid100_on_sigmoid", on_grid, _TWELVE)
    best_f1 = thresholds(official.weighted_f1_threshold, tied)
    checker.close("out/threshold_weighted_f1", best_f1, _TWELVE)
    checker.close("out/auroc_full_set", official.roc_areas(labels, tied).per_class, _TWELVE)
    fixed = np.array(thresholds(corner, scores))
    checker.close("out/threshold_no_ties", fixed, _TWELVE)
    for name in fixture.under("out/strict_recall_at_"):
        k, _, option = name.partition("/")
        if option == "keep_zero_positive_rows":
            value = official.strict_recall_at(labels, scores, int(k), standardise=False, keep_empty=True)
        else:
            value = official.strict_recall_at(labels, scores, int(k), standardise=option == "zscore=1")
        checker.close(f"out/strict_recall_at_{name}", value, _TWELVE)
    for name in fixture.under("out/precision_at_"):
        k, _, option = name.partition("/")
        value = official.precision_at(labels, scores, int(k), standardise=option == "zscore=1")
        checker.close(f"out/precision_at_{name}", value, _TWELVE)
    resampled = official.row_bootstrap(labels, scores, fixed, len(fixture.array("out/bootstrap/auroc")))
    for name, draws in {**resampled.per_class, **resampled.overall}.items():
        checker.close(f"out/bootstrap/{name}", draws, _TWELVE)
        for statistic, summary in official.summarise_draws(draws).items():
            if f"out/summary/{name}/{statistic}" in fixture:
                checker.close(f"out/summary/{name}/{statistic}", summary, _TWELVE)
    first = len(fixture.array("out/bootstrap/indices_first5"))
    checker.equal("out/bootstrap/indices_first5", resampled.indices[:first])
