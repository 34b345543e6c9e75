"""Held-out AUROC of every trial of a search over its learning rate, one panel a method."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmark.grid.declared import declared
from benchmark.reporting.figures.style import Drawing, finish, new_figure
from benchmark.reporting.search import SearchRecord, on_twins

_MARKS = {"none": "o", "layer": "s", "standard": "^"}
_RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
_HELD, _SEALED = "#1b1f27", "#9aa3b2"


def search(records: Sequence[SearchRecord]) -> Drawing:
    """Black: held-out AUROC, a point a training, the seeds of a repeated trial joined. Grey: the same
    trainings on the first evaluation set, which took no part in the choice. A ring: the chosen trial."""
    from matplotlib.lines import Line2D

    columns = min(3, len(records))
    figure, axes = new_figure(
        3.1 * columns + 1.2, 2.5 * math.ceil(len(records) / columns) + 1.2, columns,
        math.ceil(len(records) / columns), sharex=True, squeeze=False,
    )  # fmt: skip
    said = []
    first = records[0].sets[0] if records[0].sets else ""
    for axis, record in zip(axes.flat, records, strict=False):
        axis.set_xscale("log")
        for trial in record.trials:
            mark = _MARKS.get(str(trial.says("options.normalise_inputs")), "o")
            sealed = [v for v in trial.sealed.get(first, ()) if v is not None]
            for values, colour in ((sealed, _SEALED), (trial.scores, _HELD)):
                axis.plot([trial.rate] * len(values), values, ls="-", lw=0.8, marker=mark, ms=4, color=colour)
        for score in record.best.scores[:1]:
            axis.plot(record.best.rate, score, "o", ms=11, mfc="none", mec="#b3261e", mew=1.3)
        said.append(f"{declared(record.method).title}: chosen at a rate of {record.best.rate:g}")
        for score in record.in_use:
            axis.axhline(score, color=_HELD, lw=0.6, ls=":")
        axis.set_title(declared(record.method).title)
    for axis in axes.flat[len(records) :]:
        axis.set_axis_off()
    for row in axes:
        row[0].set_ylabel("macro AUROC")
    for axis in axes[-1]:
        axis.set_xlabel("learning rate")
        axis.set_xticks(_RATES, [f"{rate:g}" for rate in _RATES])
        axis.minorticks_off()
    keys = [
        Line2D([], [], ls="", marker=m, color=_HELD, ms=4, label=f"inputs: {n}") for n, m in _MARKS.items()
    ]
    keys += [Line2D([], [], color=_HELD, label="held-out sentences"),
             Line2D([], [], color=_HELD, ls=":", lw=0.8, label="values in use, held-out")]  # fmt: skip
    if first:
        keys.append(Line2D([], [], color=_SEALED, label=f"{first}, sealed"))
    keys.append(Line2D([], [], ls="", marker="o", mfc="none", mec="#b3261e", ms=9, label="chosen"))
    axes[0][columns - 1].legend(handles=keys, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7.5)
    title = "Search of each method's settings"
    synthetic = on_twins(records)
    finish(figure, title, synthetic, "one space, one number of trials and one criterion for all methods")
    caption = (
        "Macro AUROC of held-out sentences over the learning rate, a point a training; the seeds of the "
        "three best trials are joined. Grey: an evaluation set, read after the choice. Dotted: the values in "
        "use before, a line a seed."
    )
    return Drawing("search", title, caption, f"Points. {'; '.join(said)}.", figure, synthetic)
