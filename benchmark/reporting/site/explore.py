"""What the page's explorer shows: every class of every set, pairs of methods, and curves, as plain lists."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.reporting.evidence import SEPARATOR, Evidence
from benchmark.reporting.joint import Scores
from benchmark.reporting.numbers import known

FALSE_POSITIVE = np.array([0, 5, 10, 20, 30, 50, 75, *range(100, 1001, 50)]) / 1000
RECALL = np.arange(50, 1001, 50) / 1000
MOST_CONFUSED = 3
Triple = list[float | None]


def explorer(
    evidence: Evidence,
    scores: Mapping[tuple[str, str], Scores],
) -> dict[str, Any]:
    """sets: dataset → classes with counts; auroc: cell → dataset → class → [value, low, high]; groups: their
    letters; pairs: `a|b` → dataset → [class, difference, low, high, Holm p], the class `macro` first; curves:
    cell → dataset → class → [true positive rates, precisions] in thousandths at `grid`; confused: the same
    keys → as `confusions` counts; slopes: as `slopes` lists.

    scores: (cell, dataset) → saved scores of every seed.
    """
    mains = evidence.mains
    ranking = evidence.ranking(evidence.declared_mains)
    frame = evidence.metrics
    own = frame[
        (frame["metric"] == "auroc") & (frame["stratum"] == "all") & frame["name"].isin(mains)
    ].to_dict("records")
    sets: dict[str, Any] = {}
    auroc: dict[str, dict[str, dict[str, Triple]]] = {name: {} for name in mains}
    for row in own:
        name, dataset, cls = (str(row[k]) for k in ("name", "dataset", "class"))
        if cls in ("micro", "weighted"):
            continue
        auroc[name].setdefault(dataset, {})[cls] = _triple(row["value"], row["low"], row["high"])
        if cls != "macro":
            counts = sets.setdefault(dataset, {"classes": {}, "origin": evidence.origin(dataset)})["classes"]
            named = evidence.frequency.get(dataset, {}).get(cls)
            counts[cls] = [known(row["n_pos"]), known(row["n_neg"]), named]
    groups = {
        name: {d: str(r["groups"]) for (n, d, s), r in ranking.items() if n == name and s == "all"}
        for name in mains
    }
    return {
        "methods": [[name, evidence.cell(name).title] for name in mains],
        "sets": sets,
        "auroc": auroc,
        "groups": groups,
        "beside": [
            [
                b.heading,
                {d: _triple(v["value"], v["low"], v["high"]) for d in sets if (v := b.value(d, "all"))},
            ]
            for b in evidence.beside
        ],
        "pairs": {f"{a}|{b}": _pairs(evidence, a, b, sets) for a, b in combinations(mains, 2)},
        "grid": [_thousandths(FALSE_POSITIVE), _thousandths(RECALL)],
        "curves": {name: {d: curves(scores[name, d]) for d in sets if (name, d) in scores} for name in mains},
        "confused": {
            name: {d: confusions(scores[name, d]) for d in sets if (name, d) in scores} for name in mains
        },
        "slopes": {name: slopes(evidence, name, list(sets)) for name in mains},
    }


def slopes(evidence: Evidence, main: str, datasets: Sequence[str]) -> list[list[Any]]:
    """What was changed of a main cell: [label, dataset → [main, changed, difference, low, high, p]] of every
    ablation cell of its method and of its other prompts that were compared with it."""
    method = evidence.cell(main).method
    cells = [n for n, c in evidence.cells.items() if c.ablation and c.method == method]
    found: list[list[Any]] = []
    for name in [*cells, *evidence.prompt_names(main)]:
        values = {}
        for dataset in datasets:
            row = evidence.pair(name, main, dataset)
            if row is not None and known(row["delta"]) is not None:
                both = [_round(row["value_b"]), _round(row["value_a"])]
                numbers = _triple(row["delta"], row["low"], row["high"])
                values[dataset] = [*both, *numbers, _round(row["p_holm"])]
        if values:
            cell = evidence.cell(name)
            label = name.partition(SEPARATOR)[2]
            found.append([f"prompts {label}" if label else cell.row or cell.name, values])
    return found


def confusions(scores: Scores) -> dict[str, list[Any]]:
    """class → [found, missed, false alarms, rightly left, what the false alarms show], means over seeds.

    As many images are called positive as there are, those that score highest. The last item lists up to
    MOST_CONFUSED other classes that false alarms show more often than the other negatives do:
    [class, share of the false alarms, share of all negatives], the largest difference first; shares are of
    the images whose label of that class is not ignored.
    """
    labels = np.asarray(scores.labels)
    found = {}
    for k, cls in enumerate(scores.classes):
        told, positive = labels[:, k] >= 0, labels[:, k] == 1
        count, negatives = int(positive.sum()), int((labels[:, k] == 0).sum())
        if not count or not negatives:
            continue
        alarms = np.zeros(len(labels))
        for seed in scores.scores:
            order = np.argsort(-np.where(told, seed[:, k], -np.inf), kind="stable")[:count]
            alarms[order[~positive[order]]] += 1 / len(scores.scores)
        false = float(alarms.sum())
        others = []
        if false:
            among = _share(labels, alarms)
            usual = _share(labels, (labels[:, k] == 0).astype(float))
            ahead = np.where(np.arange(len(usual)) == k, 0.0, among - usual)
            for j in np.argsort(-np.nan_to_num(ahead), kind="stable")[:MOST_CONFUSED]:
                if ahead[j] > 0:
                    others.append([scores.classes[j], round(float(among[j]), 3), round(float(usual[j]), 3)])
        counts = [count - false, false, false, negatives - false]
        found[cls] = [*(round(v, 1) for v in counts), others]
    return found


def _share(labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(C,) share of positives among the labels (N, C) that are not ignored, images weighing `weights` (N,);
    NaN where all are."""
    with np.errstate(invalid="ignore"):
        return np.asarray(weights @ (labels == 1) / (weights @ (labels >= 0)))


def _pairs(evidence: Evidence, a: str, b: str, sets: Mapping[str, Any]) -> dict[str, list[list[Any]]]:
    found: dict[str, list[list[Any]]] = {}
    for dataset, about in sets.items():
        for cls in ("macro", *about["classes"]):
            row = evidence.pair(a, b, dataset, cls=cls)
            if row is not None and known(row["delta"]) is not None:
                numbers = [*_triple(row["delta"], row["low"], row["high"]), _round(row["p_holm"])]
                found.setdefault(dataset, []).append([cls, *numbers])
    return found


def curves(scores: Scores) -> dict[str, list[list[int]]]:
    """class → [true positive rate at FALSE_POSITIVE, precision at RECALL], means of seeds, in thousandths."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    found = {}
    for k, cls in enumerate(scores.classes):
        labels = np.asarray(scores.labels)[:, k]
        told = labels >= 0
        if not (labels == 1).any() or not (labels == 0).any():
            continue
        roc, recall = [], []
        for seed in scores.scores:
            x, y, _ = roc_curve(labels[told], seed[told, k])
            roc.append(np.interp(FALSE_POSITIVE, x, y))
            precision, reached, _ = precision_recall_curve(labels[told], seed[told, k])
            up = np.maximum.accumulate(precision)  # from the largest recall to the smallest
            recall.append([up[np.flatnonzero(reached >= r - 1e-12)[-1]] for r in RECALL])
        found[cls] = [_thousandths(np.mean(roc, axis=0)), _thousandths(np.mean(recall, axis=0))]
    return found


def answers(evidence: Evidence) -> list[dict[str, Any]]:
    """What came out on each set, in words: who leads, who cannot be told from it, and what floor and ceiling
    are."""
    ranking = evidence.ranking(evidence.declared_mains)
    found = []
    for dataset in evidence.datasets:
        rows = [(n, r) for n in evidence.mains if (r := evidence.value(n, dataset)) is not None]
        if not rows:
            continue
        rows.sort(key=lambda item: -item[1]["value"])
        leader, value = rows[0]
        letters = _letters(ranking.get((leader, dataset, "all")))
        level = [
            evidence.cell(n).heading
            for n, _ in rows[1:]
            if not letters or letters & _letters(ranking.get((n, dataset, "all")))
        ]
        beside = [(b, v["value"]) for b in evidence.beside if (v := b.value(dataset, "all")) is not None]
        floors = sorted(((v, b.title) for b, v in beside if b.kind == "floor"), reverse=True)
        ceilings = sorted(((v, b.title) for b, v in beside if b.kind != "floor"), reverse=True)
        found.append(
            {
                "dataset": dataset,
                "twin": evidence.origin(dataset) == "twin",
                "leader": evidence.cell(leader).heading,
                "value": _triple(value["value"], value["low"], value["high"]),
                "level": level,
                "floor": floors[0] if floors else None,
                "ceiling": ceilings[0] if ceilings else None,
                "sunk": [evidence.cell(n).heading for n, _ in rows if evidence.level_with_floor(n, dataset)],
            }
        )
    return found


def plotly() -> str:
    """The library that draws the interactive figures, packed; empty where it is not installed
    (`pip install 'cxr-alignbench[page]'`), and then the page says so."""
    if find_spec("plotly") is None:
        return ""
    import plotly

    return packed((Path(plotly.__file__).parent / "package_data" / "plotly.min.js").read_bytes())


def packed(content: bytes) -> str:
    """gzip, then base64; the same bytes for the same content."""
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def _letters(row: Mapping[str, Any] | None) -> set[str]:
    groups = None if row is None else known(row["groups"])
    return set(str(groups)) if groups else set()


def _triple(value: Any, low: Any, high: Any) -> Triple:
    return [_round(v) for v in (value, low, high)]


def _round(value: Any) -> float | None:
    return None if known(value) is None else round(float(value), 4)


def _thousandths(values: np.ndarray) -> list[int]:
    return [round(float(v) * 1000) for v in values]
