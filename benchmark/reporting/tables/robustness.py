"""Ranks under every setting, agreement with the default, and pairs that change places.

`bench stage robustness` writes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmark.encoders.exposure import Exposure, level
from benchmark.grid.declared import declared
from benchmark.grid.params import ablation_cell, main_cell
from benchmark.grid.robust_cells import BEFORE, params_of
from benchmark.reporting import columns as common
from benchmark.reporting.numbers import missing, percent
from benchmark.reporting.robustness import ONE_SEED, Standing
from benchmark.reporting.seen import levels_in_words, trained_exposure
from benchmark.reporting.table import Measured, Row, Table, TableColumn, change, count, estimate, words
from benchmark.stages.robustness import Study

FAMILY = "all pairs of methods on all sets, by default and under one setting."
HOW = (
    "The default is the mean of the main cells over their seeds, a setting one seed of every method, whose "
    "variance between trainings is taken from the main cells. The row of the default with one seed shows "
    "what another training alone does."
)


def robustness_tables(study: Study, found: Sequence[Standing]) -> list[Table]:
    """Ranks, agreement and swaps. found: of `reporting.robustness.standings`."""
    commits = ", ".join(dict.fromkeys(c[:10] for own in found for c in own.commits))
    made = (ranks(study, found), agreement(study, found), swaps(study, found))
    return [common.signed(table, "bench stage robustness", commits) for table in made]


def title_of(study: Study, setting: str) -> str:
    """How a setting is called."""
    if setting in ("", ONE_SEED):
        return "default" if not setting else "default, one seed"
    return study.params.robustness.settings[setting].label


def _changed(study: Study, setting: str) -> str:
    own = study.params.robustness.settings.get(setting)
    return "" if own is None else " + ".join(own.factors)


def ranks(study: Study, found: Sequence[Standing]) -> Table:
    """One row a set and setting: macro AUROC and rank of every method."""
    methods, exposures = study.params.methods, _exposures(study, found)
    rows: list[Row] = []
    for dataset, at in study.sets.items():
        for own in found:
            ranked = {m: own.rank(m, dataset) for m in methods}
            values = {m: rank and (own.values[m, dataset][0], rank) for m, rank in ranked.items()}
            rising = ", ".join(declared(m).title for m in own.rising)
            rows.append(
                {
                    "dataset": dataset,
                    "setting": own.setting or "default",
                    "title": title_of(study, own.setting),
                    "changed": _changed(study, own.setting),
                    "seeds": own.seeds,
                    **values,
                    "tau": _tau(own, dataset),
                    "rising": rising,
                    "seen": _seen(study, exposures, [dataset], own.setting),
                    "origin": at.manifest.origin,
                }
            )
    return Table(
        name="ranks",
        title="Macro AUROC and rank of every method under every setting",
        columns=(
            common.DATASET, words("setting"), words("title", "Setting"), words("changed", "Changed"),
            count("seeds", "Seeds"),
            *(TableColumn(m, declared(m).title, _ranked, (f"{m}_value", f"{m}_rank")) for m in methods),
            estimate("tau", "Kendall's τ to the default", "tau_", marked=False),
            words("rising", "Not converged"), common.SEEN, common.ORIGIN,
        ),
        rows=tuple(rows),
        notes=("Rank 1 is the best.", HOW, *_not_here(study)),
        family=FAMILY,
        synthetic=_synthetic(study),
    )  # fmt: skip


def agreement(study: Study, found: Sequence[Standing]) -> Table:
    """One row a setting, over all sets: pairs in the order of the default, τ, and who changes places."""
    rows: list[Row] = []
    exposures = _exposures(study, found)
    for own in (own for own in found if own.pairs):
        whole = own.count()
        rows.append(
            {
                "setting": own.setting,
                "title": title_of(study, own.setting),
                "changed": _changed(study, own.setting),
                "pairs": whole.pairs,
                "agree": whole.agree,
                "range": (whole.least, whole.most),
                "tau": _tau(own),
                "swapped": _names(own, False),
                "surely": _names(own, True),
                "seen": _seen(study, exposures, study.sets, own.setting),
            }
        )
    return Table(
        name="agreement",
        title="Does the ranking survive? Pairs of methods in the order of the default",
        columns=(
            words("setting"), words("title", "Setting"), words("changed", "Changed"), count("pairs", "Pairs"),
            count("agree", "Same order"),
            TableColumn("range", "At least–at most", _range, ("agree_least", "agree_most")),
            estimate("tau", "Kendall's τ", "tau_", marked=False), words("swapped", "Change places"),
            words("surely", "of them separable"), common.SEEN,
        ),
        rows=tuple(rows),
        notes=(
            HOW,
            "Pairs: of methods, on each set. At least: separable with one sign by default and here; at most: "
            "all but those that are separable with opposite signs. With "
            f"{percent(study.params.statistics.level)} confidence the true number of a "
            "setting lies between them, and τ between its limits.",
            *_not_here(study),
        ),
        family=FAMILY,
        synthetic=_synthetic(study),
    )  # fmt: skip


def swaps(study: Study, found: Sequence[Standing]) -> Table:
    """One row a pair of methods and set: its difference by default, and where its sign is another one."""
    rows: list[Row] = []
    others = [own for own in found if own.pairs and own.setting != ONE_SEED]
    exposures = _exposures(study, others)
    for dataset, at in study.sets.items():
        table = [{p.methods: p for p in own.pairs if p.dataset == dataset} for own in others]
        for methods in table[0] if table else ():
            pairs = [own[methods] for own in table]
            usual = pairs[0].default
            where = [title_of(study, o.setting) for o, p in zip(others, pairs, strict=True) if p.swapped]
            surely = sum(p.swapped and p.separable for p in pairs)
            notes = (usual.note,) if usual.note else ()
            rows.append(
                {
                    "dataset": dataset,
                    "pair": " − ".join(declared(m).title for m in methods),
                    "a": methods[0],
                    "b": methods[1],
                    "default": Measured(usual.value, usual.low, usual.high, notes=notes),
                    "least": min(p.here.value for p in pairs),
                    "most": max(p.here.value for p in pairs),
                    "settings": len(pairs),
                    "swapped": len(where),
                    "surely": surely,
                    "where": "; ".join(where),
                    "seen": _seen(study, exposures, [dataset], *methods),
                    "origin": at.manifest.origin,
                }
            )
    return Table(
        name="swaps",
        title="Which pairs of methods ever change places",
        columns=(
            common.DATASET, words("pair", "Pair", csv=False), words("a"), words("b"),
            change("default", "Default"), TableColumn("least", "Least", _signed, ("least",)),
            TableColumn("most", "Most", _signed, ("most",)), count("settings", "Settings"),
            count("swapped", "Other sign"), count("surely", "of them separable"), words("where", "Under"),
            common.SEEN, common.ORIGIN,
        ),
        rows=tuple(rows),
        notes=(
            f"Default: difference of macro AUROC with its {percent(study.params.statistics.level)} interval "
            "over patients and seeds, uncorrected. "
            "Least and most: of the same difference over the settings.",
            *_not_here(study),
        ),
        family=FAMILY,
        synthetic=_synthetic(study),
    )  # fmt: skip


def _exposures(study: Study, found: Sequence[Standing]) -> dict[tuple[str, str], Exposure]:
    """(setting, method) → what its weights were fitted to; a setting may bring other encoders."""
    exposures = {}
    for setting in (own.setting for own in found):
        usual = setting in ("", ONE_SEED)
        params = study.params if usual else params_of(study.params, f"{BEFORE}{setting}")
        for method in study.params.methods:
            cell = main_cell(params, method) if usual else ablation_cell(params, f"{method}-{setting}")
            exposures[setting, method] = trained_exposure(params, cell)
    return exposures


def _seen(
    study: Study, exposures: Mapping[tuple[str, str], Exposure], datasets: Iterable[str], *asked: str
) -> str:
    """In words. asked: settings or methods, none for all."""
    levels: dict[tuple[str, str], str] = {}
    names: dict[str, str] = {}
    for (setting, method), own in exposures.items():
        if not asked or setting in asked or method in asked:
            names[f"{setting} {method}"] = f"{declared(method).title}, {title_of(study, setting)}"
            levels |= {(f"{setting} {method}", dataset): level(own, dataset) for dataset in datasets}
    return levels_in_words(levels, names)


def _ranked(value: object) -> str:
    return f"{value[0]:.3f} ({value[1]})" if isinstance(value, tuple) else "–"


def _range(value: object) -> str:
    return f"{value[0]}–{value[1]}" if isinstance(value, tuple) else "–"


def _signed(value: Any) -> str:
    return "–" if missing(value) else f"{value:+.3f}"


def _tau(own: Standing, dataset: str | None = None) -> Measured | None:
    whole = own.count(dataset)
    return Measured(*whole.tau()) if whole.pairs else None


def _names(own: Standing, separable: bool) -> str:
    """The pairs that change places, with their set."""
    found = [p for p in own.pairs if p.swapped and (p.separable or not separable)]
    said = [f"{declared(p.methods[0]).title}/{declared(p.methods[1]).title} ({p.dataset})" for p in found]
    return ", ".join(said)


def _not_here(study: Study) -> list[str]:
    """Every setting of params.yaml that has no row, and why."""
    return [f"Not run: {title_of(study, name)} ({name}): {why}." for name, why in study.lacking.items()]


def _synthetic(study: Study) -> bool:
    return any(at.manifest.origin == "twin" for at in study.sets.values())
