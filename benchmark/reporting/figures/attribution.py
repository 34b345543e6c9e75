"""What each ingredient gives of a difference, one panel a comparison."""

from __future__ import annotations

from benchmark.reporting.evidence import Evidence
from benchmark.reporting.figures.style import Drawing, finish, new_figure
from benchmark.reporting.numbers import percent

HUES = ("#2a6f97", "#c1666b", "#5c8a4a", "#8d6b94", "#b08b3e")


def attribution(evidence: Evidence) -> Drawing | None:
    """Contributions with their intervals, the whole difference last."""
    found = evidence.contributions
    if not found:
        return None
    names = list(dict.fromkeys(c.name for c in found))
    datasets = list(dict.fromkeys(c.dataset for c in found))
    figure, axes = new_figure(
        max(3.4 * len(names) + 1.2, 7.6), 2.9, len(names), 1, sharex=True, squeeze=False
    )
    said = []
    for axis, name in zip(axes[0], names, strict=True):
        own = [c for c in found if c.name == name]
        factors = list(dict.fromkeys(c.factor for c in own))
        for k, dataset in enumerate(datasets):
            shift = 0.7 * ((k + 0.5) / len(datasets) - 0.5)
            for c in (c for c in own if c.dataset == dataset):
                place, colour = factors.index(c.factor) + shift, HUES[k % len(HUES)]
                axis.plot([c.low, c.high], [place] * 2, color=colour, lw=1.6)
                axis.plot(c.value, place, "o", color=colour, ms=5)
                said.append(f"{c.label}, {c.dataset}, {c.factor or 'whole'}: {c.value:+.3f}")
            axis.plot([], [], "o-", color=HUES[k % len(HUES)], label=dataset)
        axis.axvline(0, color="#1b1f27", lw=0.9)
        axis.set_yticks(range(len(factors)), [f or "whole difference" for f in factors])
        axis.set_ylim(len(factors) - 0.5, -0.5)
        axis.set_title(own[0].label, fontsize=9)
        axis.set_xlabel("contribution to macro AUROC")
        axis.grid(axis="y", visible=False)
    axes[0][-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    title = "What each ingredient is worth"
    finish(
        figure,
        title,
        evidence.synthetic(),
        f"order-averaged; they sum to the whole; {percent(evidence.level)} intervals",
    )
    caption = (
        "Contributions of each ingredient to the difference in macro AUROC, averaged over every order of "
        f"adding them, with {percent(evidence.level)} intervals over patients and trainings."
    )
    return Drawing("attribution", title, caption, f"Points. {'; '.join(said)}.", figure, evidence.synthetic())
