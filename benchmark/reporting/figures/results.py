"""Forest plot, ablation bars, heatmap of classes, prompt sensitivity."""

from __future__ import annotations

import numpy as np

from benchmark.reporting.columns import marked_letters
from benchmark.reporting.evidence import Evidence
from benchmark.reporting.figures.style import MARKERS, Drawing, colours, finish, marker, new_figure
from benchmark.reporting.numbers import missing, percent
from benchmark.reporting.tables.ablation import AVERAGE, ablation, label_of
from benchmark.reporting.tables.prompt_sensitivity import is_template

HEAT_CLASSES = 40
MANY_ROWS = 24
"""Beyond that many rows inference prompts are left to the figure of prompt sensitivity."""


MARKS = {
    "bare class name": ("x", "bare name"),
    "ensemble": ("*", "ensemble"),
    "pos-neg": ("+", "with negative"),
    "synonyms": ("v", "synonyms"),
}
"""What the label of a prompt says, its marker and name."""


def forest(evidence: Evidence) -> Drawing | None:
    """Macro AUROC of every method with its interval, one panel a dataset."""
    names, datasets = evidence.mains, evidence.datasets
    if not names:
        return None
    palette = colours([evidence.cell(n).method for n in names])
    ranks = evidence.ranking(evidence.declared_mains)
    columns = min(len(datasets), 3)
    rows = -(-len(datasets) // columns)
    figure, axes = new_figure(
        3.1 * columns + 0.9,
        (0.34 * len(names) + 0.75) * rows + 0.7,
        columns,
        rows,
        sharey=True,
        squeeze=False,
    )
    for axis, dataset in zip(axes.flat, datasets, strict=False):
        for place, name in enumerate(names):
            row = evidence.value(name, dataset)
            if row is None:
                continue
            method = evidence.cell(name).method
            low, high = (row["value"] if missing(row[k]) else row[k] for k in ("low", "high"))
            axis.plot([low, high], [place, place], color=palette[method], lw=2.2, solid_capstyle="round")
            axis.plot(
                row["value"], place, marker(method), color=palette[method], ms=6.5, mec="white", mew=0.7
            )
            rank = ranks.get((name, dataset, "all"))
            letters = "" if rank is None or missing(rank["rank"]) else f"  {marked_letters(rank)}"
            axis.annotate(
                f"{row['value']:.3f}{letters}",
                (1.0, place),
                xycoords=("axes fraction", "data"),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=7.5,
                color="#3a404b",
            )
        axis.axvline(0.5, color="#5b6270", lw=0.9, ls=(0, (3, 2)))
        axis.set_yticks(range(len(names)), [evidence.cell(n).title for n in names])
        axis.set_ylim(len(names) - 0.4, -0.6)
        axis.set_title(dataset)
        axis.set_xlabel("macro AUROC")
        axis.grid(axis="y", visible=False)
    for axis in list(axes.flat)[len(datasets) :]:
        axis.set_visible(False)
    finish(
        figure,
        "Zero-shot classification by method",
        evidence.synthetic(),
        f"{percent(evidence.level)} intervals; shared letter: not separable; dashed: chance",
    )
    highest = []
    for dataset in datasets:
        known = {n: r["value"] for n in names if (r := evidence.value(n, dataset)) is not None}
        if known:
            name = max(known, key=lambda n, known=known: known[n])  # type: ignore[misc]
            highest.append(f"{dataset}: highest {evidence.cell(name).title} {known[name]:.3f}")
    alt = "; ".join(highest)
    caption = (
        f"Macro AUROC, mean over seeds, with {percent(evidence.level)} intervals over patients and seeds. "
        "Methods that share a letter are not separable."
    )
    return Drawing(
        "forest", "Methods per dataset", caption, f"Forest plot. {alt}.", figure, evidence.synthetic()
    )


def ablation_bars(evidence: Evidence, table: str) -> Drawing | None:
    """Difference to the method's main cell, per row and dataset, with paired intervals."""
    found = ablation(evidence, table)
    if found is None:
        return None
    raws = [r for r in found.records() if r["difference"] is not None]
    rows = list(dict.fromkeys((str(r["method"]), str(r["row"])) for r in raws))
    if len(rows) > MANY_ROWS:
        rows = [row for row in rows if "inference prompt" not in row[1]]
    if not rows:
        return None
    import seaborn as sns

    datasets = [d for d in dict.fromkeys(str(r["dataset"]) for r in raws) if d != AVERAGE]
    palette = dict(zip(datasets, sns.color_palette("colorblind", max(len(datasets), 3)), strict=False))
    figure, axis = new_figure(7.4, 1.5 + 0.46 * len(rows))
    for place, row in enumerate(rows):
        own = {str(r["dataset"]): r for r in raws if (str(r["method"]), str(r["row"])) == row}
        mean = own.get(AVERAGE) or next(iter(own.values()))
        axis.barh(place, mean["difference"], 0.62, color="#c9ced6")
        if not missing(mean["difference_low"]):
            axis.plot(
                [mean["difference_low"], mean["difference_high"]], [place, place], color="#1b1f27", lw=1.6
            )
        for k, dataset in enumerate(d for d in datasets if d in own):
            y = place + 0.44 * ((k + 0.5) / len(datasets) - 0.5)
            shape = MARKERS[datasets.index(dataset) % len(MARKERS)]
            axis.plot(
                own[dataset]["difference"], y, shape, color=palette[dataset], ms=5, mec="white", mew=0.5
            )
    for dataset in datasets:
        shape = MARKERS[datasets.index(dataset) % len(MARKERS)]
        axis.plot([], [], shape, color=palette[dataset], ms=5, label=dataset)
    axis.axvline(0, color="#1b1f27", lw=0.9)
    axis.set_yticks(range(len(rows)), [f"{m}: {r.replace('inference prompt: ', '')}" for m, r in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlabel("difference in macro AUROC to the unchanged method")
    axis.grid(axis="y", visible=False)
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    title = found.title
    finish(
        figure,
        title,
        evidence.synthetic(),
        f"bar: average with paired {percent(evidence.level)} interval; dots: evaluation sets",
    )
    alt = "; ".join(f"{r['method']}, {r['row']}, {r['dataset']}: {r['difference']:+.3f}" for r in raws[:12])
    caption = (
        "Paired difference to the method's main cell on the same images; negative: the change costs accuracy."
    )
    return Drawing(f"ablation_{table}", title, caption, f"Bars. {alt}.", figure, evidence.synthetic())


def heatmap(evidence: Evidence, dataset: str) -> Drawing | None:
    """AUROC of every method on the most frequent classes."""
    import pandas as pd
    import seaborn as sns

    frame = evidence.metrics
    own = frame[
        (frame["dataset"] == dataset)
        & (frame["metric"] == "auroc")
        & (frame["stratum"] == "all")
        & ~frame["class"].isin(["macro", "micro", "weighted"])
        & frame["name"].isin(evidence.mains)
        & frame["value"].notna()
    ]
    if own.empty:
        return None
    counts = own.groupby("class")["n_pos"].max().sort_values(ascending=False, kind="stable")
    chosen = list(counts.index[:HEAT_CLASSES])
    wide = (
        own.pivot_table(index="name", columns="class", values="value")
        .reindex(index=evidence.mains, columns=chosen)
        .dropna(how="all")
    )
    wide = wide.T
    titles = [evidence.cell(str(n)).title for n in wide.columns]
    height = 0.9 + 0.21 * len(chosen) + 0.5
    figure, axis = new_figure(2.9 + 0.62 * len(titles), height)
    sns.heatmap(
        pd.DataFrame(wide.to_numpy(), index=[f"{c} ({int(counts[c])})" for c in chosen], columns=titles),
        ax=axis,
        cmap=sns.color_palette("vlag_r", as_cmap=True),
        vmin=0,
        vmax=1,
        center=0.5,
        annot=True,
        fmt=".2f",
        annot_kws={"size": 6.5},
        cbar_kws={"label": "AUROC (0.5: chance)", "shrink": 0.5},
        linewidths=0.4,
        linecolor="white",
    )
    axis.tick_params(left=False, bottom=False)
    axis.set(xlabel="", ylabel="")
    axis.tick_params(axis="y", labelrotation=0, labelsize=7.5)
    finish(figure, f"AUROC per class, {dataset}", evidence.synthetic([dataset]), "(n): positives")
    shown = "all" if len(chosen) == len(counts) else f"the {len(chosen)} most frequent"
    caption = (
        f"{dataset}: {shown} of {len(counts)} classes with positives, most frequent first; "
        "in brackets their positives."
    )
    mean = float(np.nanmean(wide.to_numpy()))
    alt = (
        f"Heatmap of {len(chosen)} classes by {len(titles)} methods on {dataset}; mean AUROC {mean:.2f}. "
        "The table per class holds the numbers."
    )
    return Drawing(
        f"classes_{dataset}",
        f"Per class: {dataset}",
        caption,
        alt,
        figure,
        evidence.synthetic([dataset]),
        dataset,
    )


def _prompted(evidence: Evidence, name: str) -> str:
    """`CLIP`, or `CLIP, raw report`."""
    cell = evidence.cell(name)
    return cell.title if cell.main else f"{cell.title}, {cell.row or cell.variant}"


def prompt_sensitivity(evidence: Evidence) -> Drawing | None:
    """Every evaluated wording of every method and training text: the spread and median of paraphrased
    templates, and the other kinds of prompts."""
    present = set(evidence.metrics["name"])
    shown = [n for n, c in evidence.cells.items() if c.main or c.table == "prompt_alignment"]
    cells = [n for n in shown if n in present and evidence.prompt_names(n)]
    methods = list(dict.fromkeys(evidence.cell(n).method for n in cells))
    names = sorted(cells, key=lambda n: methods.index(evidence.cell(n).method))
    if not names:
        return None
    palette = colours([evidence.cell(n).method for n in names])
    datasets = [
        d
        for d in evidence.datasets
        if any(evidence.value(p, d) for n in names for p in evidence.prompt_names(n))
    ]
    columns = min(len(datasets), 3)
    down = -(-len(datasets) // columns)
    figure, axes = new_figure(
        3.1 * columns + 2.6,
        (0.62 * len(names) + 0.9) * down + 0.7,
        columns,
        down,
        sharey=True,
        squeeze=False,
    )
    spread = []
    for axis in list(axes.flat)[len(datasets) :]:
        axis.set_visible(False)
    for axis, dataset in zip(axes.flat, datasets, strict=False):
        for place, name in enumerate(names):
            colour = palette[evidence.cell(name).method]
            rows = {n: evidence.value(n, dataset) for n in [name, *evidence.prompt_names(name)]}
            values = {n: r["value"] for n, r in rows.items() if r is not None}
            templates = [v for n, v in values.items() if n == name or is_template(evidence, n)]
            if not templates:
                continue
            axis.plot([min(templates), max(templates)], [place] * 2, color=colour, lw=1.6, alpha=0.55)
            axis.plot(np.median(templates), place, "d", color="white", mec=colour, ms=7.5, mew=1.4)
            for n, value in values.items():
                others = n != name and not is_template(evidence, n)
                shape = "o" if n == name else _mark(label_of(evidence, n)) if others else "|"
                axis.plot(value, place + 0.26 * others, shape, color=colour, ms=6 if others else 7, mew=1.6)
            spread.append(
                f"{_prompted(evidence, name)} on {dataset}, {len(templates)} templates: "
                f"{min(templates):.3f} to {max(templates):.3f}, median {np.median(templates):.3f}"
            )
        axis.axvline(0.5, color="#5b6270", lw=0.9, ls=(0, (3, 2)))
        axis.set_yticks(range(len(names)), [_prompted(evidence, n) for n in names])
        axis.set_ylim(len(names) - 0.4, -0.6)
        axis.set(title=dataset, xlabel="macro AUROC")
        axis.grid(axis="y", visible=False)
    key = axes[0][-1]
    for shape, words in (("o", "house template"), ("|", "other template"), *MARKS.values()):
        key.plot([], [], shape, color="#3a404b", ms=6, mew=1.6, label=words)
    key.plot([], [], "d", color="white", mec="#3a404b", ms=7, mew=1.4, label="median of templates")
    key.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7.5)
    finish(
        figure,
        "Sensitivity to the prompt at inference",
        evidence.synthetic(),
        "line: templates; dashed: chance",
    )
    caption = (
        "The same trained models with other prompts. The line spans the paraphrased templates, the diamond "
        "is their median; below it other kinds of prompts: bare name, ensemble, with negative, synonyms."
    )
    return Drawing(
        "prompt_sensitivity",
        "Prompt sensitivity",
        caption,
        f"Range over prompts. {'; '.join(spread)}.",
        figure,
        evidence.synthetic(),
    )


def _mark(label: str) -> str:
    """Marker of a prompt that is no template."""
    return next((shape for words, (shape, _) in MARKS.items() if words in label), "1")
