"""How one number came about: value, seeds, prompts, data, statistics, provenance, command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmark.core.errors import BenchError, UnknownName
from benchmark.core.tables import TWIN_NOTICE, Predictions, read_table
from benchmark.data.cards import card_names
from benchmark.grid.layout import METRICS, Project, source_name
from benchmark.reporting.gather import Gathered, gather
from benchmark.reporting.numbers import missing
from benchmark.reporting.provenance import class_texts, mlflow_runs, reproduce, run_records, seed_facts
from benchmark.reporting.story import Compared, SavedScores, SeedValue, SetStory, Story

INTERVAL = (
    "analytic: influence of every patient (DeLong components summed within patients), logit scale, "
    "t quantile; with several seeds the spread between trainings is added (Obuchowski-Rockette)"
)

COUNTS = ("n_pos", "n_neg", "n_ignored", "n_patients")


def explain(project: Project, name: str, dataset: str, cls: str | None = None) -> Story:
    """Everything behind the AUROC of one cell on one dataset: of one class, or the macro mean.

    Raises UnknownName for a name that there is not, BenchError for a cell or dataset without results.
    """
    gathered = gather(project)
    evidence = gathered.evidence
    evaluated = set(evidence.metrics["run_id"])
    present = [c for c in gathered.cells if c in evaluated]
    cell_name = name if name in present else f"{name}-main"
    if cell_name not in present:
        raise UnknownName("cell", name, present, f"Cells with results: {', '.join(present)}.")
    own = set(evidence.metrics.loc[evidence.metrics["run_id"] == cell_name, "dataset"])
    sets = [known for known in evidence.datasets if known in own]
    if dataset not in sets:
        if dataset not in card_names():
            raise UnknownName("dataset", dataset, sets, "See `bench ls datasets`.")
        raise BenchError(
            f"{cell_name}: no value on {dataset} in these tables, but on {', '.join(sets)}. "
            "Choose one of these, or add the set to data.evaluate or data.ablate_on in params.yaml."
        )
    stories = Stories(gathered)
    texts = stories.texts(dataset)
    if cls is not None and cls not in texts:
        raise UnknownName("class", cls, texts, f"It is none of the classes of {dataset}.")
    return stories.of(cell_name, dataset, cls)


class Stories:
    """The record behind every AUROC of gathered results: `bench explain` prints one of them, the page shows
    each."""

    def __init__(self, gathered: Gathered) -> None:
        self._gathered = gathered
        self._runs = mlflow_runs(gathered.project)
        self._texts: dict[str, dict[str, str]] = {}
        self._values: dict[tuple[str, str], list[dict[str, SeedValue]]] = {}
        self._shared: dict[tuple[str, str], SetStory] = {}
        self._groups: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {}

    def texts(self, dataset: str) -> dict[str, str]:
        """class → the texts that it is scored with."""
        if dataset not in self._texts:
            self._texts[dataset] = class_texts(self._gathered, dataset)
        return self._texts[dataset]

    def of(self, cell: str, dataset: str, cls: str | None = None) -> Story:
        """The record of one cell on one dataset: of one class, or the macro mean."""
        evidence = self._gathered.evidence
        column = cls or "macro"
        row: Mapping[str, Any] = evidence.value(cell, dataset, cls=column) or {}
        prompts = self._gathered.cells[cell].prompts
        return Story(
            cell,
            dataset,
            column,
            *_interval(row),
            counts={k: None if missing(row.get(k)) else int(row[k]) for k in COUNTS},
            note="" if missing(row.get("note")) else str(row["note"]),
            seeds=self._seeds(cell, dataset, column),
            interval=f"{self._gathered.config.level:.0%}, {INTERVAL}",
            comparisons=_comparisons(self._gathered, cell, dataset, column),
            strata=[] if cls is None else self._strata(cell, dataset, cls),
            training_studies=evidence.frequency.get(dataset, {}).get(cls) if cls else None,
            prompt=self.texts(dataset)[cls] if cls else f"{prompts.style}: {prompts.template}",
            of_set=self._of_set(cell, dataset),
        )

    def _of_set(self, cell: str, dataset: str) -> SetStory:
        """What every class of a cell and dataset shares."""
        if (cell, dataset) not in self._shared:
            gathered, evidence = self._gathered, self._gathered.evidence
            about, own = evidence.sets[dataset], gathered.cells[cell]
            self._shared[cell, dataset] = SetStory(
                notice=TWIN_NOTICE if evidence.synthetic([dataset]) else "OFFICIAL DATA",
                protocol=about["protocol"],
                labels=about["labels"],
                images=about["images"],
                protocol_notes=about["notes"],
                encoder=about["encoder"],
                trained_on={
                    d: TWIN_NOTICE if o == "twin" else "official" for d, o in evidence.trained_on.items()
                },
                texts=own.texts,
                trainings=[
                    seed_facts(cell, seed, run, self._runs)
                    for seed, run in run_records(gathered.project, cell)
                ],
                predictions=_predictions(gathered, cell, dataset),
                reproduce=reproduce(gathered.project, own).replace(
                    "bench report site", f"bench explain {cell} {dataset}"
                ),
            )
        return self._shared[cell, dataset]

    def _seeds(self, cell: str, dataset: str, column: str) -> list[SeedValue]:
        """Value of every seed, from the metrics that its evaluation wrote."""
        if (cell, dataset) not in self._values:
            self._values[cell, dataset] = list(_seed_values(self._gathered, cell, dataset))
        return [values[column] for values in self._values[cell, dataset] if column in values]

    def _strata(self, cell: str, dataset: str, cls: str) -> list[str]:
        """Groups that hold a class: frequency of positives here, subsets of the card, named in training."""
        if (cell, dataset) not in self._groups:
            self._groups[cell, dataset] = _groups(self._gathered, cell, dataset)
        return [name for name, members in self._groups[cell, dataset].items() if cls in members]


def _seed_values(gathered: Gathered, cell: str, dataset: str) -> Iterator[dict[str, SeedValue]]:
    """class → AUROC over all, under the cell's own prompts, of each seed."""
    for seed, folder in _result_folders(gathered, cell, source_name(dataset, gathered.origin(dataset))):
        frame, _ = read_table(folder / METRICS)
        chosen = (frame["stratum"] == "all") & (frame["metric"] == "auroc")
        own = frame[chosen & (frame["prompts"] == frame["prompts"].iloc[0])]
        values: dict[str, SeedValue] = {}
        for row in own.to_dict("records"):
            values.setdefault(str(row["class"]), SeedValue(seed, *_interval(row)))
        yield values


def _result_folders(gathered: Gathered, cell: str, place: str) -> list[tuple[int, Path]]:
    found = [(seed, folder / place) for seed, folder in gathered.project.evaluations(cell)]
    return [(seed, folder) for seed, folder in found if gathered.counts(cell, folder / METRICS)]


def _predictions(gathered: Gathered, cell: str, dataset: str) -> list[SavedScores]:
    found = []
    for seed, folder in _result_folders(gathered, cell, source_name(dataset, gathered.origin(dataset))):
        path = folder / "predictions.parquet"
        if path.is_file():
            info = Predictions.load(path).info
            found.append(
                SavedScores(
                    seed, info.prompt_hash[:16], info.data_hash[:16], info.weights_hash[:16], info.precision,
                    info.device,
                )
            )  # fmt: skip
    return found


def _comparisons(gathered: Gathered, cell: str, dataset: str, column: str) -> list[Compared]:
    """Every paired comparison of this number, best other first."""
    evidence = gathered.evidence
    found = []
    for other in evidence.names:
        row = evidence.pair(cell, other, dataset, cls=column)
        if row is not None and not missing(row["delta"]):
            low, high, p, mde = (_float(row[k]) for k in ("low", "high", "p", "mde"))
            found.append(Compared(other, float(row["delta"]), low, high, p, mde, row["mde_undefined"]))
    return sorted(found, key=lambda compared: compared.delta)


def _groups(gathered: Gathered, cell: str, dataset: str) -> dict[str, tuple[str, ...]]:
    """Group → its classes, as the evaluation drew them; empty without predictions."""
    from benchmark.evaluation.statistics.panel import resolve_strata

    own = gathered.scores(cell, dataset)
    if own is None:
        return {}
    groups = resolve_strata((own.labels == 1).sum(axis=0), list(own.classes), own.strata)
    return {name: tuple(own.classes[k] for k in members) for name, members in groups.items()}


def _interval(row: Mapping[Any, Any]) -> tuple[float | None, float | None, float | None]:
    return _float(row.get("value")), _float(row.get("low")), _float(row.get("high"))


def _float(value: Any) -> float | None:
    return None if missing(value) else float(value)
