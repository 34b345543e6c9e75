"""What reporting reads: summaries, per-seed values and run records, as plain values with look-ups.

A row of a table is a *name*: a cell (`carzero-main`), or a cell with other prompts (`carzero-main · name`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from math import comb
from typing import TYPE_CHECKING, cast

import numpy as np

from benchmark.data.overlaps import all_cards, overlapping
from benchmark.encoders.exposure import NOT_SAID, Exposure, level
from benchmark.evaluation.statistics.intervals import join
from benchmark.evaluation.statistics.stability import UNSTABLE_ERROR, Trainings, unstable_mean
from benchmark.grid.params import TRAINED_ELSEWHERE
from benchmark.prompts.settings import TextParams
from benchmark.reporting.numbers import missing
from benchmark.reporting.rows import MetricRow, PairRow, RankRow, RowsByKey, SeedRows, SetFacts
from benchmark.reporting.seen import levels_in_words

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.evaluation.comparison import Macro

SEPARATOR = " · "
UNSTABLE = f"unstable: standard error over seeds above {UNSTABLE_ERROR:g}"


@dataclass(frozen=True)
class CellInfo:
    """One cell of params.yaml. title: of its method; table: the ablation table it belongs to; label: its row
    there; changes: the options it sets; evaluate: the sets that it is planned to be evaluated on;
    more_prompts: how many other inference prompts it is planned to be scored with, prompted_on: on which
    sets; encoders: names of its image and its text encoder; trains: whether it trains one of them."""

    name: str
    method: str
    title: str
    variant: str
    table: str
    label: str
    prompts: str = "template"
    texts: TextParams = field(default_factory=TextParams)
    changes: tuple[str, ...] = ()
    evaluate: tuple[str, ...] = ()
    more_prompts: int = 0
    prompted_on: tuple[str, ...] = ()
    encoders: tuple[str, str] = ("", "")
    trains: bool = False

    @property
    def row(self) -> str:
        """The label without the method's name, which has a column of its own; empty without a label."""
        return self.label.removeprefix(self.title).removeprefix(",").strip()

    @property
    def main(self) -> bool:
        return self.variant == "main"

    @property
    def ablation(self) -> bool:
        """Neither a main cell nor weights from elsewhere."""
        return not self.main and self.variant not in TRAINED_ELSEWHERE

    @property
    def heading(self) -> str:
        """The method's title, with what else the cell is in brackets."""
        if self.variant == "model":
            return self.label
        return self.title if self.main else f"{self.title} ({self.row or self.variant})"


@dataclass(frozen=True)
class SmoothedTrend:
    """One smoothed trend. frequency, value, low, high: (G,); slope: per tenfold frequency, with limits."""

    frequency: Sequence[float]
    value: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    slope: float
    slope_low: float
    slope_high: float
    classes: int


@dataclass(frozen=True)
class FactorEffect:
    """What one factor of the training text changes in the macro AUROC of a method. name, kind: of the
    contrast (`reporting.factors`); scoring: positive or positive-negative prompts; over: combinations of the
    other factors that it averages."""

    method: str
    dataset: str
    scoring: str
    name: str
    kind: str
    value: float
    low: float
    high: float
    p: float
    over: int = 1
    note: str = ""


@dataclass(frozen=True)
class Contribution:
    """What one ingredient gives of the difference of an attribution on a dataset. name: of the attribution;
    factor: empty for the whole difference; cells: all that the attribution compares."""

    name: str
    label: str
    dataset: str
    factor: str
    value: float
    low: float
    high: float
    p: float
    note: str = ""
    cells: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReferenceRow:
    """What stands below (`floor`) or above (`ceiling`) the methods. values: (dataset, stratum, class,
    metric) → metric row. about: what it reads and was fitted on → the sets of which that is so."""

    name: str
    title: str
    kind: str
    values: dict[tuple[str, str, str, str], MetricRow] = field(default_factory=dict)
    about: dict[str, list[str]] = field(default_factory=dict)

    @property
    def heading(self) -> str:
        return f"{self.kind}: {self.title}"

    def value(
        self, dataset: str, stratum: str = "all", cls: str = "macro", metric: str = "auroc"
    ) -> MetricRow | None:
        """The metric row, or None where there is none or its value is undefined."""
        row = self.values.get((dataset, stratum, cls, metric))
        return None if row is None or row["value"] != row["value"] else row

    @property
    def notes(self) -> list[str]:
        """What it is, a line for each basis."""
        return [
            f"{about} ({', '.join(dict.fromkeys(sets))})" if len(self.about) > 1 else about
            for about, sets in self.about.items()
        ]


@dataclass(frozen=True)
class Evidence:
    """metrics, comparisons, ranks: of one summary (`part`), metrics with a column `name`.

    seeds: METRIC_COLUMNS of every seed's averages, with `name`, and `label`, the full text of the prompts.
    runs: one row a cell and seed (parameters_trained, seconds, peak_memory_bytes, images_per_second, …).
    sets: dataset → what was evaluated (origin, images, patients, classes, protocol, note).
    task_sets: the same of the other tasks, by (task, dataset).
    frequency: dataset → class → training studies that name it. trends: (name, dataset) → AUROC over it.
    factor_effects: of the training text, per method and dataset. contributions: of the ingredients that
    params.yaml tells apart, of which it plans `contributions_planned`; contributions_lacking: what of them
    cannot be told yet, and why. task_plan: task → the sets that
    params.yaml plans for it. recipe: how the methods are trained. rounding: by how much macro values of
    trainings differ that differ in the last bit of their features, (name, dataset, stratum, metric) → (V,),
    where measured. references, floor: of the summary, what stands below and above the methods and whether
    they are above the floor. exposure: cell → what its weights were fitted to. model_effects: (model,
    dataset) → difference to the main cell of CLIP with its limits, and its Holm-corrected p.
    """

    part: str
    metrics: pd.DataFrame
    comparisons: pd.DataFrame
    ranks: pd.DataFrame
    cells: dict[str, CellInfo]
    seeds: pd.DataFrame
    runs: pd.DataFrame
    sets: dict[str, SetFacts]
    task_sets: dict[tuple[str, str], SetFacts] = field(default_factory=dict)
    frequency: dict[str, dict[str, int]] = field(default_factory=dict)
    trends: dict[tuple[str, str], SmoothedTrend] = field(default_factory=dict)
    factor_effects: tuple[FactorEffect, ...] = ()
    contributions: tuple[Contribution, ...] = ()
    contributions_planned: int = 0
    contributions_lacking: tuple[str, ...] = ()
    trained_on: dict[str, str] = field(default_factory=dict)
    task_plan: dict[str, tuple[str, ...]] = field(default_factory=dict)
    recipe: str = "equal-budget"
    level: float = 0.95
    power: float = 0.8
    rounding: dict[Macro, np.ndarray] = field(default_factory=dict)
    references: pd.DataFrame | None = None
    floor: pd.DataFrame | None = None
    exposure: Mapping[str, Exposure] = field(default_factory=dict)
    model_effects: Mapping[tuple[str, str], tuple[float, float, float, float]] = field(default_factory=dict)

    def seen(self, name: str, dataset: str) -> str:
        """What the weights of a row have seen of a set: zero-shot, seen images, seen reports, seen labels or
        unknown; empty where that is no set."""
        abouts = [self.sets.get(dataset), *(a for (_, d), a in self.task_sets.items() if d == dataset)]
        about = next((a for a in abouts if a is not None), None)
        if about is None:
            return ""
        own = self.exposure.get(name.partition(SEPARATOR)[0], NOT_SAID)
        of = str(about.get("dataset", dataset))
        return level(own, of, self._overlapping(of))

    @cached_property
    def _overlapping(self) -> Callable[[str], dict[str, str]]:
        """Dataset → the sets with images of it: all cards are read for one, and once for several."""
        return lru_cache(maxsize=None)(partial(overlapping, cards=all_cards()))

    def seen_by(self, names: Sequence[str], datasets: Sequence[str]) -> str:
        """What the weights of several rows have seen of several sets: the level where it is one, else every
        level with the rows and sets that it holds for."""
        rows, sets = dict.fromkeys(names), dict.fromkeys(datasets)
        levels = {(n, d): said for n in rows for d in sets if (said := self.seen(n, d))}
        return levels_in_words(levels, {name: self.cell(name).heading for name in rows})

    @cached_property
    def _values(self) -> RowsByKey:
        """By (name, dataset, stratum, class, metric)."""
        found = RowsByKey(self.metrics, ("name", "dataset", "stratum", "class", "metric"))
        notes = found.means.columns["note"]
        for name, dataset in ((name, dataset) for name in self.mains for dataset in self.datasets):
            n = found.means.numbers.get((name, dataset, "all", "macro", "auroc"))
            trained = self.trainings.get((name, dataset, "all", "auroc"))
            if n is not None and trained is not None and unstable_mean(trained.values):
                notes[n] = join("" if missing(notes[n]) else str(notes[n]), UNSTABLE)
        return found

    @cached_property
    def by_seed(self) -> SeedRows:
        return SeedRows(self.seeds)

    @cached_property
    def of_seeds(self) -> dict[Macro, dict[int, float]]:
        """The macro value of every seed; of several rows the first counts."""
        found: dict[Macro, dict[int, float]] = {}
        for key, rows in self.by_seed.macros.items():
            for own in (row for row in rows if not missing(row.value)):
                found.setdefault(key, {}).setdefault(own.seed, own.value)
        return found

    @cached_property
    def trainings(self) -> dict[Macro, Trainings]:
        """The macro values of every training, with what rounding alone changes where that was measured."""
        nothing = np.zeros(0)
        return {
            key: Trainings(np.array(values), self.rounding.get(key, nothing))
            for key, rows in self.by_seed.macros.items()
            if (values := [row.value for row in rows if not missing(row.value)])
        }

    @cached_property
    def beside(self) -> list[ReferenceRow]:
        """The references that have results: floors, then ceilings."""
        if self.references is None:
            return []
        found: dict[str, ReferenceRow] = {}
        for row in self.references.to_dict("records"):
            name = str(row["run_id"])
            own = found.setdefault(name, ReferenceRow(name, str(row["title"]), str(row["variant"])))
            own.values.setdefault(
                (row["dataset"], row["stratum"], row["class"], row["metric"]),
                row,  # type: ignore[arg-type]
            )
            own.about.setdefault(str(row["about"]), []).append(str(row["dataset"]))
        return sorted(found.values(), key=lambda r: r.kind != "floor")

    def level_with_floor(self, name: str, dataset: str) -> str:
        """Which reference a row is not separable from on a set, in words; empty where it is above all."""
        if self.floor is None:
            return ""
        own = self.floor[(self.floor["method"] == name) & (self.floor["dataset"] == dataset)]
        titles = {r.name: r.title for r in self.beside}
        for row in own[~own["above"].astype(bool)].to_dict("records"):
            return f"not separable from the floor ({titles.get(row['reference'], row['reference'])})"
        return ""

    @cached_property
    def _pairs(self) -> RowsByKey:
        """By (method a, method b, dataset, stratum, class, metric)."""
        keys = ("method_a", "method_b", "dataset", "stratum", "class", "metric")
        return RowsByKey(self.comparisons, keys)

    @property
    def datasets(self) -> list[str]:
        return list(self.sets)

    @cached_property
    def names(self) -> list[str]:
        """Every name that has results, as the metrics list them."""
        return [str(name) for name in dict.fromkeys(self.metrics["name"])]

    @property
    def mains(self) -> list[str]:
        """Names of the main cells that have results, in the order of params.yaml."""
        present = set(self.names)
        return [name for name, cell in self.cells.items() if cell.main and name in present]

    @property
    def declared_mains(self) -> list[str]:
        """The main cells of params.yaml, with or without results."""
        return [name for name, cell in self.cells.items() if cell.main]

    def title(self, method: str) -> str:
        """A method's title; its name where no cell has it."""
        return next((cell.title for cell in self.cells.values() if cell.method == method), method)

    @property
    def commits(self) -> list[str]:
        return sorted({str(c) for c in self.runs.get("commit", []) if c})

    @property
    def commit(self) -> str:
        """Short form of the commits that trained the cells, comma-separated."""
        return ", ".join(
            dict.fromkeys(c[:10] + ("-dirty" if c.endswith("-dirty") else "") for c in self.commits)
        )

    def prompt_names(self, cell: str) -> list[str]:
        """Names of `cell` with other prompts that have results."""
        return [n for n in self.names if n.startswith(cell + SEPARATOR)]

    def planned(self, name: str, metric: str) -> tuple[str, ...]:
        """The sets that params.yaml plans for a row and a metric of classification or of another task."""
        task = self.by_seed.tasks.get(metric, "classification")
        if task != "classification":
            return self.task_plan.get(task, ())
        cell = self.cell(name)
        return cell.prompted_on if SEPARATOR in name else cell.evaluate

    def cell(self, name: str) -> CellInfo:
        return self.cells[name.partition(SEPARATOR)[0]]

    def origin(self, dataset: str) -> str:
        return str(self.sets[dataset]["origin"])

    def synthetic(self, datasets: Sequence[str] | None = None) -> bool:
        """Whether any of these (default: all) was evaluated on a twin or by a model trained on one."""
        chosen = self.datasets if datasets is None else [d for d in datasets if d in self.sets]
        return any(self.origin(d) == "twin" for d in chosen) or "twin" in self.trained_on.values()

    def value(
        self, name: str, dataset: str, stratum: str = "all", cls: str = "macro", metric: str = "auroc"
    ) -> MetricRow | None:
        """The metric row, or None where there is none or its value is undefined."""
        row = cast("MetricRow | None", self._values.get(name, dataset, stratum, cls, metric))
        return None if row is None or row["value"] != row["value"] else row

    def pair(
        self, a: str, b: str, dataset: str, stratum: str = "all", cls: str = "macro", metric: str = "auroc"
    ) -> PairRow | None:
        """The paired comparison, turned so that delta is a - b; None where it was not made."""
        row = cast("PairRow | None", self._pairs.get(a, b, dataset, stratum, cls, metric))
        if row is not None:
            return row
        row = cast("PairRow | None", self._pairs.get(b, a, dataset, stratum, cls, metric))
        if row is None:
            return None
        return {
            **row,
            "method_a": a,
            "method_b": b,
            "value_a": row["value_b"],
            "value_b": row["value_a"],
            "n_seeds_a": row["n_seeds_b"],
            "n_seeds_b": row["n_seeds_a"],
            "delta": -row["delta"],
            "low": -row["high"],
            "high": -row["low"],
        }

    def ranking(self, names: Sequence[str], planned: int = 0) -> dict[tuple[str, str, str], RankRow]:
        """(name, dataset, stratum) → rank row by AUROC among `names`, Holm-corrected within each ranking.

        planned: how many rows the ranking has once everything was run, where that is more than `names`."""
        from benchmark.evaluation.comparison import ranking

        frame = self.comparisons
        own = frame[
            frame["method_a"].isin(list(names))
            & frame["method_b"].isin(list(names))
            & (frame["metric"] == "auroc")
        ]
        if own.empty:
            return {}
        pairs = comb(max(planned, len(names)), 2)
        rows = ranking(own, level=self.level, power=self.power, pairs=pairs, trainings=self.trainings)
        return {(r["method"], r["dataset"], r["stratum"]): r for r in rows.to_dict("records")}  # type: ignore[misc]
