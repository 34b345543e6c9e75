"""Why whole reports fail: every combination of the text factors, and what each of them changes."""

from __future__ import annotations

from benchmark.reporting.evidence import Evidence
from benchmark.reporting.factors import SCORINGS, TEXT_FACTORS, datasets_of, designs, scored
from benchmark.reporting.figures.style import Drawing, colours, finish, marker, new_figure
from benchmark.reporting.numbers import missing, percent
from benchmark.reporting.tables.text_factors import factor_label

OFFSETS = (-0.16, 0.16)


def text_factors(evidence: Evidence) -> Drawing | None:
    """Macro AUROC with interval per combination, a panel a method and dataset."""
    found = designs(evidence)
    if not found:
        return None
    datasets = datasets_of(evidence)
    palette = colours(list(found))
    down = len(datasets)
    figure, axes = new_figure(
        max(2.3 * len(found) + 2.3, 7.6),
        2.7 * down + 0.7,
        len(found),
        down,
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    order = list(dict.fromkeys(levels for cells in found.values() for levels in cells))
    said = []
    for dataset, row in zip(datasets, axes, strict=True):
        for axis, (method, cells) in zip(row, found.items(), strict=True):
            for place, levels in enumerate(order):
                for scoring, offset in zip(SCORINGS, OFFSETS, strict=True):
                    name = scored(evidence, cells[levels], scoring) if levels in cells else None
                    value = evidence.value(name, dataset) if name else None
                    if value is None:
                        continue
                    low, high = (value["value"] if missing(value[k]) else value[k] for k in ("low", "high"))
                    first = scoring == SCORINGS[0]
                    axis.plot([low, high], [place + offset] * 2, color=palette[method], lw=1.6, alpha=0.75)
                    axis.plot(
                        value["value"], place + offset, marker(method), ms=5.5, mew=1.1,
                        color=palette[method], mfc=palette[method] if first else "white",
                    )  # fmt: skip
                    if first and place in (0, len(order) - 1):
                        said.append(f"{evidence.title(method)}, {', '.join(levels)}: {value['value']:.2f}")
            axis.axvline(0.5, color="#5b6270", lw=0.9, ls=(0, (3, 2)))
            axis.set_yticks(range(len(order)), [" · ".join(levels) for levels in order])
            axis.set_ylim(len(order) - 0.5, -0.5)
            axis.set_title(evidence.title(method) + (f", {dataset}" if down > 1 else ""))
            axis.set_xlabel("macro AUROC")
            axis.grid(axis="y", visible=False)
    title = "Whole reports, sentences, negations and wording"
    finish(
        figure,
        title,
        evidence.synthetic(),
        "filled: positive prompts; open: with negative; dashed: chance",
    )
    caption = (
        "Macro AUROC of methods that differ only in their training text (unit, negations, wording), with "
        f"{percent(evidence.level)} intervals; below the dashed line the ranking is turned round."
    )
    return Drawing(TEXT_FACTORS, title, caption, f"Points. {'; '.join(said)}.", figure, evidence.synthetic())


def text_factor_effects(evidence: Evidence) -> Drawing | None:
    """Change of macro AUROC by each factor, averaged over the others, and what two do together."""
    effects = [e for e in evidence.factor_effects if e.kind != "alone"]
    if not effects:
        return None
    methods = list(dict.fromkeys(e.method for e in effects))
    datasets = list(dict.fromkeys(e.dataset for e in effects))
    names = list(dict.fromkeys(e.name for e in effects))
    palette = colours(methods)
    figure, axes = new_figure(
        7.6, (0.55 * len(names) + 0.8) * len(datasets) + 0.8, len(SCORINGS), len(datasets), sharex=True,
        sharey=True, squeeze=False,
    )  # fmt: skip
    for dataset, row in zip(datasets, axes, strict=True):
        for axis, scoring in zip(row, SCORINGS, strict=True):
            for k, method in enumerate(methods):
                own = {
                    e.name: e
                    for e in effects
                    if (e.method, e.dataset, e.scoring) == (method, dataset, scoring)
                }
                shift = 0.7 * ((k + 0.5) / len(methods) - 0.5)
                for place, name in enumerate(names):
                    if name in own:
                        e = own[name]
                        axis.plot([e.low, e.high], [place + shift] * 2, color=palette[method], lw=1.6)
                        axis.plot(
                            e.value, place + shift, marker(method), color=palette[method], ms=5.5,
                            mec="white", mew=0.6,
                        )  # fmt: skip
                axis.plot([], [], marker(method), color=palette[method], label=evidence.title(method))
            axis.axvline(0, color="#1b1f27", lw=0.9)
            axis.set_yticks(range(len(names)), [factor_label(n) for n in names])
            axis.set_ylim(len(names) - 0.5, -0.5)
            axis.set_title(f"{scoring} prompts" + (f", {dataset}" if len(datasets) > 1 else ""))
            axis.set_xlabel("change in macro AUROC")
            axis.grid(axis="y", visible=False)
    axes[0][-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    averages = [e for e in effects if e.kind == "average" and e.scoring == SCORINGS[0]]
    alt = "; ".join(f"{evidence.title(e.method)}, {e.name}: {e.value:+.2f}" for e in averages)
    title = "What each part of the training text changes"
    finish(
        figure,
        title,
        evidence.synthetic(),
        f"{percent(evidence.level)} intervals; ×: what two do beyond the sum of their own",
    )
    caption = (
        "Change in macro AUROC by each factor of the training text, averaged over the other factors, with "
        f"{percent(evidence.level)} intervals over patients and trainings."
    )
    return Drawing("text_factor_effects", title, caption, f"Points. {alt}.", figure, evidence.synthetic())
