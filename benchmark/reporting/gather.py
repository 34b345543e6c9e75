"""Stage report: gather what is on disk into plain values and hand them to the reporting room.

Nothing is computed anew but what needs the joint scores of several classes: trends over training frequency,
interactions of strata, and curves. They come from the saved predictions, offline.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.core.errors import BenchError, DataError, MetricUndefined
from benchmark.core.files import read_json
from benchmark.core.guard import parsing
from benchmark.core.settings import StatisticsConfig, set_fields
from benchmark.core.tables import Manifest, Predictions
from benchmark.data.cards import card_names, load_card
from benchmark.data.chosen import chosen_set
from benchmark.data.dataset import EvaluationSet
from benchmark.encoders.cards import Seen
from benchmark.encoders.exposure import NOT_SAID, Exposure
from benchmark.evaluation.evaluation_data import strata_of
from benchmark.evaluation.statistics.bands import Band, bands
from benchmark.evaluation.statistics.multiplicity import holm
from benchmark.evaluation.statistics.paired import difference
from benchmark.evaluation.statistics.panel import Panel
from benchmark.evaluation.statistics.seeds import SeedSummary, summarise
from benchmark.evaluation.statistics.trend import frequency_trend
from benchmark.grid.declared import declared
from benchmark.grid.layout import Project, source_name
from benchmark.grid.modality import on_volumes
from benchmark.grid.params import Cell, Params, ablation_cell, command_for, encoders_of, main_cell
from benchmark.grid.params_file import load_params
from benchmark.grid.parts import ENCODERS, PARTS, VOLUMES
from benchmark.official.seen import SEEN, method_of
from benchmark.prompts.named import Named
from benchmark.reporting.attribution import contributions, family_size, lacking
from benchmark.reporting.evidence import SEPARATOR, CellInfo, Evidence, SmoothedTrend
from benchmark.reporting.factor_effects import factor_effects
from benchmark.reporting.joint import Scores, panels_of
from benchmark.reporting.kept_rows import KeptRows
from benchmark.reporting.made_with import check_summary, check_tables
from benchmark.reporting.on_disk import OnDisk
from benchmark.reporting.seen import trained_exposures
from benchmark.stages.code import code_digest
from benchmark.stages.summarise import Summary, settings_of
from benchmark.stages.texts import read_named, texts_folder

if TYPE_CHECKING:
    import pandas as pd

CLIP_CELL = "clip-main"
"""What models of two towers are compared with: the method that scores as they do."""


@dataclass(eq=False)
class Gathered:
    """A project with results: evidence for reporting, and the joint computations that need predictions."""

    project: Project
    params: Params
    part: str

    @cached_property
    def cells(self) -> dict[str, Cell]:
        """Main cells, ablation cells and what `bench run` added (official checkpoints, other settings)."""
        main = {method: main_cell(self.params, method) for method in self.params.methods}
        found = [*main.values(), *(ablation_cell(self.params, name) for name in self.params.cells)]
        known = {cell.name: cell for cell in found}
        if self.part == ENCODERS:
            return known
        checkpoints = (
            *self.project.evaluated_cells("*-official"),
            *self.project.evaluated_cells("*-official@*"),
        )
        for name in checkpoints:
            release, _, settings = name.partition("-official")
            base = main.get(method_of(release))
            if base is not None and name not in known and self._read_here(name):
                own = {"name": name, "variant": "official", "table": "official"}
                if settings:
                    own["label"] = f"official, {settings.removeprefix('@')}"
                known[name] = base.model_copy(update=own)
        for name in self.project.evaluated_cells("*-model") if self.part != VOLUMES else ():
            own = {"name": name, "variant": "model", "table": "models", "label": name.removesuffix("-model")}
            known.setdefault(name, main_cell(self.params, "clip").model_copy(update=own))
        return known

    def _read_here(self, cell: str) -> bool:
        """Whether a checkpoint was evaluated on what this part holds, volumes or radiographs."""
        folders = {
            folder.name for _, results in self.project.evaluations(cell) for folder in results.iterdir()
        }
        names = {name.removesuffix("-official") for name in folders} & set(card_names())
        return ("ct" in {load_card(name).modality for name in names}) == (self.part == VOLUMES)

    @cached_property
    def evidence(self) -> Evidence:
        """Raises BenchError where this part was never summarised, and where what lies there is of other
        results or settings."""
        import pandas as pd

        folder = self.project.summary(self.part)
        if not self.project.sources(self.part).is_file():
            raise BenchError(
                f"{self.project.relative(folder)}: no summary. Run `bench stage summarise {self.part}` first."
            )
        check_tables(self.project, self.part, self._sources)
        summary = Summary.load(folder)
        again = f"Run `{command_for(self.params)}`, then `bench stage summarise {self.part}`."
        shown = self.project.relative(folder)
        check_summary(summary.settings, settings_of(self.params), shown, again)
        cells = {
            name: CellInfo(
                cell.name,
                cell.method,
                declared(cell.method).title,
                cell.variant,
                cell.table,
                cell.label,
                cell.prompts.style,
                cell.texts,
                tuple(set_fields(self.params.cells[name].options)) if name in self.params.cells else (),
                tuple(cell.evaluate),
                len(cell.more_prompts),
                tuple(cell.more_prompts_on),
                encoders_of(self.params, cell).both,
                encoders_of(self.params, cell).train.trains,
            )
            for name, cell in self.cells.items()
        }
        metrics = summary.metrics.copy()
        metrics["name"] = [
            run if run not in cells or prompts == cells[run].prompts else f"{run}{SEPARATOR}{prompts}"
            for run, prompts in metrics[["run_id", "prompts"]].itertuples(index=False)
        ]
        metrics = metrics[metrics["run_id"].isin(list(cells))]
        kept = KeptRows(self.project.cache / "rows" / f"{self.part}.arrow", code_digest())
        disk = replace(self._disk, kept=kept)
        seeds, sets, checkpoints = disk.averages(list(dict.fromkeys(metrics["dataset"])))
        tasks, task_sets, official = disk.task_rows()
        kept.save()
        seeds = pd.concat([seeds, *tasks], ignore_index=True)
        checkpoints += official
        metrics = pd.concat([metrics, *checkpoints], ignore_index=True) if checkpoints else metrics
        return Evidence(
            part=self.part,
            metrics=metrics,
            comparisons=summary.comparisons,
            ranks=summary.ranks,
            cells=cells,
            seeds=seeds,
            runs=self._disk.runs(set(metrics["run_id"])),
            sets=sets,
            task_sets=task_sets,
            frequency={d: self.frequency(d) for d, a in sets.items() if a["dataset"] == d},
            trained_on=self._disk.trained_on(),
            task_plan={task: own.datasets for task, own in self.params.tasks.items()},
            recipe=self.params.recipe,
            level=self.config.level,
            power=self.config.power,
            rounding=self._disk.rounding(),
            references=summary.references,
            floor=summary.floor,
            exposure=self._exposures(),
        )

    def _exposures(self) -> dict[str, Exposure]:
        """Cell → what its weights were fitted to, those of its encoders among them."""
        here = [cell for cell in self.cells.values() if not cell.trained_elsewhere]
        found = trained_exposures(self.params, here)
        for name in self.cells.keys() - found.keys():
            if self.cells[name].variant == "official":
                found[name] = SEEN.get(name.partition("-official")[0], NOT_SAID)
                continue
            path = self.project.run(name, 0) / "source.json"
            with parsing(path, "a record of a model", "Run `bench run --model` again."):
                found[name] = tuple(Seen.model_validate(row) for row in read_json(path)["seen"])
        return found

    @cached_property
    def traced(self) -> Evidence:
        """The evidence with all that needs predictions, also trends of the main cells over training
        frequency."""
        return replace(
            self.factored,
            trends=dict(self._trends(self.evidence)),
            model_effects=self._model_effects(self.evidence),
        )

    @cached_property
    def factored(self) -> Evidence:
        """The evidence with the effects of what the training text is made of."""
        found = factor_effects(self.evidence, self.panels, self.config)
        return replace(self.attributed, factor_effects=tuple(found))

    @cached_property
    def attributed(self) -> Evidence:
        """The evidence with what each ingredient of a difference is worth, of the part that has ablations."""
        if self.part != "all":
            return self.evidence
        declared, cells = self.params.attribution, self.evidence.cells
        return replace(
            self.evidence,
            contributions=tuple(contributions(declared, self.evidence.datasets, self.panels, self.config)),
            contributions_planned=family_size(declared, cells),
            contributions_lacking=tuple(
                lacking(declared, cells, lambda name, dataset: self.scores(name, dataset) is not None)
            ),
        )

    @cached_property
    def _disk(self) -> OnDisk:
        return OnDisk(self.project, self.params, self.cells, self._sources)

    def counts(self, cell: str, path: Path) -> bool:
        """Whether the summary rests on this file of results."""
        return self._disk.counts(cell, path)

    @cached_property
    def _sources(self) -> dict[str, str]:
        found: dict[str, str] = read_json(self.project.sources(self.part))
        return found

    @property
    def config(self) -> StatisticsConfig:
        return self.params.statistics

    def prepared(self, dataset: str) -> Path:
        """The folder of its manifest."""
        return self.project.prepared(source_name(dataset, self.origin(dataset)))

    def origin(self, dataset: str) -> str:
        return "official" if dataset in self.params.data.roots else "twin"

    @cached_property
    def named(self) -> Named | None:
        """What the training reports state; None where they were not aligned here."""
        train = self.params.data.train
        try:
            return read_named(texts_folder(self.project, self.params, train))
        except DataError:
            return None

    @property
    def _stated(self) -> dict[str, int] | None:
        """Concept → training studies that state it; None without training reports."""
        return self.named.present if self.named is not None and self.named.studies else None

    def frequency(self, dataset: str) -> dict[str, int]:
        """class → training studies whose report names one of its concepts; empty where that is not known."""
        from benchmark.evaluation.evaluation_data import nameable

        named = self.named
        if named is None or not named.studies:
            return {}
        card = load_card(dataset)
        return {
            cls: max((int(named.present.get(k, 0)) for k in concepts), default=0)
            for cls, concepts in card.concepts.items()
            if cls not in card.pseudo and nameable(card, cls)
        }

    def predicted(self, name: str, dataset: str) -> dict[int, Path]:
        """Seed → saved predictions of a name that the summary rests on; empty too where the set that they are
        of is not prepared. Raises BenchError where they were made again since."""
        facts = self.evidence.sets.get(dataset)
        if facts is not None and facts["dataset"] != dataset:
            return {}
        cell, _, prompts = name.partition(SEPARATOR)
        place = source_name(dataset, self.origin(dataset))
        file = f"predictions-{prompts}.parquet" if prompts else "predictions.parquet"
        folders = self.project.evaluations(cell)
        paths = {seed: own for seed, f in folders if self.counts(cell, own := f / place / file)}
        return paths if (self.prepared(dataset) / "manifest.parquet").is_file() else {}

    @lru_cache(maxsize=64)  # noqa: B019
    def scores(self, name: str, dataset: str) -> Scores | None:
        """Saved predictions of every seed of a name, joined by image id with the labels of its protocol."""
        paths = self.predicted(name, dataset)
        if not paths:
            return None
        loaded = [Predictions.load(path) for path in paths.values()]
        chosen = self._chosen(dataset, loaded[0].info.protocol)
        ids, stack = chosen.frame["image_id"].tolist(), []
        for predictions in loaded:
            frame = predictions.frame
            if frame["image_id"].tolist() != ids:
                frame = frame.set_index("image_id").loc[ids]
            stack.append(frame[list(chosen.classes)].to_numpy(dtype=np.float64))
        return Scores(
            tuple(chosen.classes),
            np.asarray(chosen.labels),
            np.asarray(chosen.patients),
            np.stack(stack),
            tuple(paths),
            strata_of(load_card(dataset), tuple(chosen.classes), self._stated),
        )

    @lru_cache(maxsize=16)  # noqa: B019
    def _chosen(self, dataset: str, protocol: str) -> EvaluationSet:
        """The images and labels of a protocol, which all rows share."""
        return chosen_set(Manifest.load(self.prepared(dataset)), load_card(dataset), protocol)

    def panels(self, name: str, dataset: str) -> list[Panel]:
        """One AUROC panel a seed; empty without predictions."""
        own = self.scores(name, dataset)
        return [] if own is None else panels_of(own)

    @lru_cache(maxsize=64)  # noqa: B019
    def summary(self, name: str, dataset: str) -> SeedSummary | None:
        """AUROC over the seeds of a name; None without predictions."""
        panels = self.panels(name, dataset)
        return summarise(panels) if panels else None

    def _model_effects(self, evidence: Evidence) -> dict[tuple[str, str], tuple[float, float, float, float]]:
        """(model, dataset) → difference to the main cell of CLIP with its limits, and p, corrected over the
        models of a set; nothing where either has no predictions of the same images."""
        models = [name for name, cell in self.cells.items() if cell.variant == "model"]
        found: dict[tuple[str, str], tuple[float, float, float, float]] = {}
        for dataset in evidence.datasets if models and CLIP_CELL in self.cells else ():
            base = self.panels(CLIP_CELL, dataset)
            own = {name: panels for name in models if (panels := self.panels(name, dataset))}
            effects = {}
            for name, panels in own.items() if base else ():
                pair = summarise(panels), summarise(base)
                columns = [[(c.name, c.stratum) for c in s.columns] for s in pair]
                if columns[0] == columns[1]:
                    k = columns[0].index(("macro", "all"))
                    effects[name] = difference(*pair, k, self.config.level, self.config.power)
            corrected = holm(np.array([e.p for e in effects.values()]))
            for (name, e), p in zip(effects.items(), corrected, strict=True):
                found[name, dataset] = (e.value, e.low, e.high, float(p))
        return found

    def _trends(self, evidence: Evidence) -> Iterator[tuple[tuple[str, str], SmoothedTrend]]:
        for name in evidence.mains:
            for dataset in evidence.datasets:
                counts = evidence.frequency.get(dataset, {})
                summary = self.summary(name, dataset) if counts else None
                if summary is None:
                    continue
                ks = [k for k, c in enumerate(summary.columns) if c.single and c.name in counts]
                x = np.array([counts[summary.columns[k].name] for k in ks])
                try:
                    trend = frequency_trend(
                        x, summary.mean[ks], summary.influence[:, ks], level=evidence.level
                    )
                except MetricUndefined:
                    continue
                yield (
                    (name, dataset),
                    SmoothedTrend(
                        trend.frequency.tolist(),
                        trend.value.tolist(),
                        trend.low.tolist(),
                        trend.high.tolist(),
                        float(trend.slope),
                        float(trend.slope_low),
                        float(trend.slope_high),
                        trend.classes,
                    ),
                )

    def bands(self, name: str, dataset: str) -> tuple[Band, Band] | None:
        """ROC and precision-recall with bands; None without predictions or frequent classes."""
        own = self.scores(name, dataset)
        return None if own is None else bands(own.scores, own.labels, own.patients, level=self.config.level)

    @cached_property
    def histories(self) -> pd.DataFrame:
        """history.csv of every run, with cell and seed."""
        return self._disk.histories()


def gather(project: Project, part: str | None = None) -> Gathered:
    """part: one of PARTS; None takes all where it was summarised, else main. Raises BenchError for others and
    where nothing was summarised."""
    params = load_params(project.params)
    if part is None:
        there = [p for p in ("all", "main") if (project.summary(p) / "metrics.parquet").is_file()]
        if not there:
            raise BenchError(
                "results/summary: nothing was summarised. Run `bench stage summarise main` first."
            )
        part = there[0]
    elif part not in PARTS:
        raise BenchError(f"--part {part}: expected {', '.join(PARTS)}.")
    return Gathered(project, on_volumes(params) if part == VOLUMES else params, part)
