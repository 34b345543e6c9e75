"""Curves: AUROC against training frequency, ROC and precision-recall, training, cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.evaluation.statistics.bands import POSITIVES, Band
from benchmark.reporting.evidence import Evidence
from benchmark.reporting.figures.style import Drawing, colours, dash, finish, marker, new_figure
from benchmark.reporting.numbers import percent, signed_text

if TYPE_CHECKING:
    import pandas as pd


def frequency(evidence: Evidence, dataset: str) -> Drawing | None:
    """AUROC of every class over the training studies that name it, with each method's trend and band."""
    names = [n for n in evidence.mains if (n, dataset) in evidence.trends]
    counts = evidence.frequency.get(dataset, {})
    if not names or not counts:
        return None
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    palette = colours([evidence.cell(n).method for n in names])
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure, axes = new_figure(
        2.7 * columns + 0.5, 2.35 * rows + 0.8, columns, rows, sharex=True, sharey=True, squeeze=False
    )
    slopes = []
    for axis, name in zip(axes.flat, names, strict=False):
        method = evidence.cell(name).method
        points = {c: evidence.value(name, dataset, cls=c) for c in counts}
        known = [(counts[c], r["value"], int(r["n_pos"])) for c, r in points.items() if r is not None]
        x, y, n = (np.array(v, dtype=float) for v in zip(*known, strict=True))
        jitter = np.random.default_rng(0).uniform(-0.03, 0.03, len(x))
        axis.scatter(1 + x * (1 + jitter), y, s=6 + 5 * np.sqrt(n), color=palette[method], alpha=0.3, lw=0)
        trend = evidence.trends[name, dataset]
        frequency = 1 + np.asarray(trend.frequency)
        axis.fill_between(frequency, trend.low, trend.high, color=palette[method], alpha=0.22, lw=0)
        axis.plot(frequency, trend.value, color=palette[method], lw=2, ls=dash(method))
        axis.axhline(0.5, color="#5b6270", lw=0.9, ls=(0, (3, 2)))
        axis.set(xscale="log", ylim=(-0.03, 1.03))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axis.set_title(f"{evidence.cell(name).title}")
        axis.annotate(
            f"{trend.slope:+.3f} [{trend.slope_low:+.3f}, {trend.slope_high:+.3f}] per ×10",
            (0.02, 0.03),
            xycoords="axes fraction",
            fontsize=7,
            color="#3a404b",
        )
        slopes.append(
            f"{evidence.cell(name).title} " + signed_text(trend.slope, trend.slope_low, trend.slope_high)
        )
    for axis in list(axes.flat)[len(names) :]:
        axis.set_visible(False)
    axes[-1][0].set_xlabel("1 + training studies naming the class", loc="left")
    for axis in axes[:, 0]:
        axis.set_ylabel("AUROC")
    finish(
        figure,
        f"AUROC against training frequency, {dataset}",
        evidence.synthetic([dataset]),
        f"dot: a class, larger with more positives; band: {percent(evidence.level)}",
    )
    caption = (
        f"Local linear trend over classes with its {percent(evidence.level)} band; "
        "the number is the slope per tenfold frequency by one straight line."
    )
    return Drawing(
        f"frequency_{dataset}",
        f"Training frequency: {dataset}",
        caption,
        f"Slope per tenfold frequency: {'; '.join(slopes)}.",
        figure,
        evidence.synthetic([dataset]),
        dataset,
    )


def roc_pr(evidence: Evidence, dataset: str, bands: Mapping[str, tuple[Band, Band]]) -> Drawing | None:
    """Macro-averaged ROC and precision-recall of the main cells with bands."""
    names = [n for n in evidence.mains if n in bands]
    if not names:
        return None
    palette = colours([evidence.cell(n).method for n in names])
    figure, (left, right) = new_figure(8.2, 3.9, 2)
    for name in names:
        method = evidence.cell(name).method
        for axis, band in zip((left, right), bands[name], strict=True):
            axis.fill_between(band.x, band.low, band.high, color=palette[method], alpha=0.13, lw=0)
            axis.plot(
                band.x,
                band.value,
                color=palette[method],
                ls=dash(method),
                lw=1.7,
                label=evidence.cell(name).title,
            )
    first = bands[names[0]]
    count = f"{first[0].classes} {'class' if first[0].classes == 1 else 'classes'}"
    left.plot([0, 1], [0, 1], color="#5b6270", lw=0.9, ls=(0, (3, 2)))
    right.axhline(first[1].base, color="#5b6270", lw=0.9, ls=(0, (3, 2)))
    left.set(
        xlabel="false positive rate",
        ylabel="true positive rate",
        title="ROC",
        xlim=(0, 1),
        ylim=(0, 1),
        aspect="equal",
    )
    right.set(xlabel="recall", ylabel="precision", title="Precision-recall", xlim=(0, 1), ylim=(0, None))
    right.legend(loc="upper right", fontsize=8)
    finish(
        figure,
        f"ROC and precision-recall, {dataset}",
        evidence.synthetic([dataset]),
        f"average of {count} with {POSITIVES} positives or more; dashed: chance",
    )
    caption = (
        f"Curves averaged over the {count} with at least {POSITIVES} positives and over "
        f"seeds; pointwise {percent(evidence.level)} bands from resampled patients."
    )
    alt = (
        f"ROC and precision-recall curves of {', '.join(evidence.cell(n).title for n in names)} on {dataset}."
    )
    return Drawing(
        f"curves_{dataset}",
        f"ROC and precision-recall: {dataset}",
        caption,
        alt,
        figure,
        evidence.synthetic([dataset]),
        dataset,
    )


def training_curves(evidence: Evidence, histories: pd.DataFrame) -> Drawing | None:
    """Training and validation loss per epoch; a panel a method, a line a seed."""
    own = histories[histories["cell"].isin(evidence.mains)] if len(histories) else histories
    if own.empty:
        return None
    names = [n for n in evidence.mains if n in set(own["cell"])]
    palette = colours([evidence.cell(n).method for n in names])
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure, axes = new_figure(2.6 * columns + 0.4, 1.95 * rows + 0.8, columns, rows, squeeze=False)
    for axis, name in zip(axes.flat, names, strict=False):
        method = evidence.cell(name).method
        for k, (_, part) in enumerate(own[own["cell"] == name].groupby("seed")):
            axis.plot(
                part["epoch"],
                part["val_loss"],
                color=palette[method],
                lw=1.6,
                label="validation" if k == 0 else None,
            )
            axis.plot(
                part["epoch"],
                part["train_loss"],
                color="#6b7280",
                lw=1.1,
                ls=(0, (2, 1.5)),
                label="training" if k == 0 else None,
            )
        axis.set(title=evidence.cell(name).title, xlabel="epoch")
        axis.legend(fontsize=7)
    for axis in list(axes.flat)[len(names) :]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("loss")
    finish(
        figure,
        "Training curves",
        evidence.synthetic(),
        "a line a seed; losses of different methods do not compare",
    )
    caption = "Each method minimises a loss of its own, so heights compare within a panel only."
    return Drawing(
        "training",
        "Training curves",
        caption,
        f"Loss per epoch of {', '.join(evidence.cell(n).title for n in names)}.",
        figure,
        evidence.synthetic(),
    )


def cost_accuracy(evidence: Evidence) -> Drawing | None:
    """Mean macro AUROC over the datasets against training time; area: parameters trained."""
    if evidence.runs.empty:
        return None
    points: list[dict[str, Any]] = []
    for name in evidence.mains:
        part = evidence.runs[evidence.runs["cell"] == name]
        values = [r["value"] for d in evidence.datasets if (r := evidence.value(name, d)) is not None]
        if len(part) and values:
            points.append(
                {
                    "name": name,
                    "seconds": float(part["seconds"].mean()),
                    "auroc": float(np.mean(values)),
                    "parameters": int(part["parameters_trained"].iloc[0]),
                }
            )
    if not points:
        return None
    palette = colours([evidence.cell(p["name"]).method for p in points])
    figure, axis = new_figure(5.6, 3.6)
    for p in points:
        cell = evidence.cell(p["name"])
        axis.scatter(
            p["seconds"],
            p["auroc"],
            s=30 + 0.06 * np.sqrt(p["parameters"]) * 4,
            marker=marker(cell.method),
            color=palette[cell.method],
            edgecolor="white",
            lw=0.8,
            zorder=3,
        )
        axis.annotate(
            f"{cell.title}\n{p['parameters'] / 1e3:,.0f} k",
            (p["seconds"], p["auroc"]),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
        )
    axis.set(
        xscale="log", xlabel="seconds of training (mean over seeds)", ylabel="macro AUROC, mean over datasets"
    )
    axis.axhline(0.5, color="#5b6270", lw=0.9, ls=(0, (3, 2)))
    axis.margins(x=0.22, y=0.2)
    finish(figure, "Cost against accuracy", evidence.synthetic(), "label: thousand parameters trained")
    alt = "; ".join(
        f"{evidence.cell(p['name']).title}: {p['seconds']:.0f} s, AUROC {p['auroc']:.3f}" for p in points
    )
    caption = "Frozen shared encoders, cached features: time is of the alignment alone."
    return Drawing("cost", "Cost against accuracy", caption, alt + ".", figure, evidence.synthetic())
