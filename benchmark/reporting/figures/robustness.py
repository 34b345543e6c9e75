"""Macro AUROC of every method under every setting, one panel a set."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from benchmark.grid.declared import declared
from benchmark.reporting.figures.style import Drawing, colours, dash, finish, marker, new_figure
from benchmark.reporting.numbers import percent
from benchmark.reporting.robustness import Standing
from benchmark.reporting.tables.robustness import title_of
from benchmark.stages.robustness import Study


def robustness(study: Study, found: Sequence[Standing]) -> Drawing:
    """A line a method, so that lines that cross are methods that change places; τ to the default above."""
    methods, sets = study.params.methods, list(study.sets)
    names = [textwrap.fill(title_of(study, own.setting), 22) for own in found]
    figure, axes = new_figure(
        max(1.0 * len(found) + 2.6, 7.6), 2.6 * len(sets) + 1.6, 1, len(sets), sharex=True, squeeze=False
    )
    hues, said = colours(methods), []
    for (axis,), dataset in zip(axes, sets, strict=True):
        for method in methods:
            values = [own.values[method, dataset][0] for own in found]
            axis.plot(range(len(found)), values, ls=dash(method), marker=marker(method), color=hues[method],
                      ms=5, lw=1.2, label=declared(method).title)  # fmt: skip
            said.append(f"{declared(method).title} on {dataset}: {', '.join(f'{v:.3f}' for v in values)}")
        for place, own in enumerate(found):
            if own.pairs:
                tau, low, high = own.count(dataset).tau()
                axis.annotate(
                    f"τ {tau:.2f}\n[{low:.2f}, {high:.2f}]",
                    (place, 1.0),
                    xycoords=("data", "axes fraction"),
                    ha="center",
                    va="bottom",
                    fontsize=6.5,
                )
        axis.set_title(dataset, pad=24)
        axis.set_ylabel("macro AUROC")
    axes[-1][0].set_xticks(range(len(found)), names, rotation=40, ha="right", rotation_mode="anchor")
    axes[0][0].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    title = "Does the ranking survive?"
    synthetic = any(at.manifest.origin == "twin" for at in study.sets.values())
    finish(figure, title, synthetic, "τ: order of all pairs of methods against the default")
    caption = (
        "Macro AUROC of every method under settings that change one thing for all of them. Lines that cross "
        "are methods that change places; above, Kendall's τ to the default with "
        f"{percent(study.params.statistics.level)} limits over patients and "
        "trainings."
    )
    return Drawing("robustness", title, caption, f"Lines. {'; '.join(said)}.", figure, synthetic)
