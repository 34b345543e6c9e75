"""Metrics, runs and histories of the cells of params.yaml, as the stages left them on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.core.errors import BenchError
from benchmark.core.files import read_json
from benchmark.core.guard import parsing
from benchmark.core.hashing import hash_file
from benchmark.core.tables import METRIC_COLUMNS, TWIN_NOTICE, read_arrow
from benchmark.core.tasks import CLASSIFICATION, TASKS
from benchmark.grid.declared import declared_task
from benchmark.grid.layout import METRICS, Project, slug
from benchmark.grid.params import Cell, Params, command_for
from benchmark.reporting.evidence import SEPARATOR
from benchmark.reporting.kept_rows import KeptRows, ResultRows
from benchmark.reporting.made_with import check_trained
from benchmark.reporting.rows import SetFacts
from benchmark.stages.run_record import read_run

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from benchmark.evaluation.comparison import Macro

ROUNDING = "reports/rounding.csv"
"""One row a training from features that differ in the last bit, and macro value: cell, dataset, stratum,
metric, run, change (to the training from the features as they are)."""
SHOWN_OF_RUNS = (
    "parameters_trained", "seconds", "peak_memory_bytes", "device", "commit", "best_epoch", "val_loss",
    "model_sha256", "train_images", "val_images", "options", "sentences_seen", "flops_per_image", "val_auroc",
    "gain_last_quarter", "converged", "epochs",
)  # fmt: skip
"""What of the record of a training the tables and the page show."""
HISTORY = ("epoch", "step", "learning_rate", "train_loss", "val_loss", "seconds")


@dataclass(frozen=True)
class OnDisk:
    """What the stages wrote of these cells.

    sources: path below the project → sha256 of the results that the summary rests on. Others are left out, as
    they are of other settings or data; those of weights from elsewhere have no summary and count as they are.
    kept: rows of files of the same content, where an earlier call kept them.
    """

    project: Project
    params: Params
    cells: Mapping[str, Cell]
    sources: Mapping[str, str]
    kept: KeptRows | None = None

    def __post_init__(self) -> None:
        """Raises BenchError where results that the summary counts, or their trainings, are gone: tables would
        join means over all seeds with what the others alone say. So too where a training has other settings
        than its cell has now."""
        summarise = "then run `bench stage summarise main` or `all`"
        runs: dict[Path, Cell] = {}
        for name in (name for name in self.sources if name.split("/")[1] in self.cells):
            _, cell, seed, _ = name.split("/", 3)
            run = self.project.run(cell, int(seed.removeprefix("seed-"))) / "run.json"
            runs[run] = self.cells[cell]
            for path in (self.project.root / name, run):
                if not path.is_file():
                    raise BenchError(
                        f"{self.project.relative(path)}: gone since it was summarised. Make it again "
                        f"(`{command_for(self.params)}`), {summarise}."
                    )
        for run, own in runs.items():
            advice = f"Train it again (`{command_for(self.params, own)}`), {summarise}."
            check_trained(own, run, self.project.relative(run), advice)

    def counts(self, cell: str, path: Path) -> bool:
        """Whether the summary rests on this file, of a cell that params.yaml still has. Raises BenchError
        where it was made again since."""
        if cell not in self.cells:
            return False
        if self.cells[cell].trained_elsewhere:
            return path.is_file()
        name = path.relative_to(self.project.root).as_posix()
        if name not in self.sources:
            return False
        if not path.is_file() or hash_file(path) != self.sources[name]:
            raise BenchError(
                f"{name}: changed since it was summarised. Run `bench stage summarise main` or `all` again."
            )
        return True

    def trainings(self, cell: str) -> list[tuple[int, Path]]:
        """(seed, folder) of the trainings whose results count."""
        of_seed = {name.split("/")[2] for name in self.sources if name.startswith(f"results/{cell}/")}
        return [(seed, f) for seed, f in self.project.trainings(cell) if f.name in of_seed]

    def origin(self, dataset: str) -> str:
        return "official" if dataset in self.params.data.roots else "twin"

    def _rows(self, cell: str, path: Path) -> ResultRows:
        """The averages of a file that counts; of weights from elsewhere every row."""
        if self.kept is None or self.cells[cell].trained_elsewhere:
            return _results(path, whole=self.cells[cell].trained_elsewhere)
        name = path.relative_to(self.project.root).as_posix()
        return self.kept.rows_of(name, self.sources[name], lambda: _results(path))

    def _folders(self) -> Iterator[tuple[str, int, Path]]:
        """(cell, seed, folder of one evaluation set) of all results of known cells."""
        for name in self.cells:
            for seed, results in self.project.evaluations(name):
                for folder in sorted(p for p in results.iterdir() if self.counts(name, p / METRICS)):
                    yield name, seed, folder

    def averages(
        self, datasets: Sequence[str]
    ) -> tuple[pd.DataFrame, dict[str, SetFacts], list[pd.DataFrame]]:
        """Averages of every seed, the evaluation sets, and all rows of official checkpoints.

        Official files of a dataset whose twin is configured are a set of their own, NAME-official; only
        checkpoints, which have one seed and no summary, are read there.
        """
        tables, checkpoints = [], []
        sets: dict[str, SetFacts] = {}
        for name, seed, folder in self._folders():
            found = self._rows(name, folder / METRICS)
            dataset, origin = found.about["dataset"], found.about["origin"]
            official = self.cells[name].trained_elsewhere
            configured = origin == self.origin(dataset)
            if not official and not (configured and dataset in datasets):
                continue
            place = dataset if configured else f"{dataset}-{origin}"
            rows = found.table
            names = [
                name if p is None or p == found.prompts else f"{name}{SEPARATOR}{slug(p)}"
                for p in rows["prompts"].to_pylist()
            ]
            rows = _with(rows, dataset=place, name=names, label=rows["prompts"], seed=seed)
            tables.append(_averages(rows) if official else rows)
            if official:
                checkpoints.append(rows.to_pandas().assign(run_id=name, seed=None).drop(columns="label"))
            if place not in sets:
                sets[place] = found.about
        if not tables:
            raise BenchError(
                f"results: no metrics of configured cells. Run `{command_for(self.params)}` first."
            )
        ordered = {d: sets[d] for d in [*[d for d in datasets if d in sets], *sets]}
        return _frame(tables), ordered, checkpoints

    def task_rows(
        self,
    ) -> tuple[list[pd.DataFrame], dict[tuple[str, str], SetFacts], list[pd.DataFrame]]:
        """Rows of the other tasks, in their order, in one frame or none, what was evaluated by (task,
        dataset), and the rows of each official checkpoint.

        Left out are tasks that params.yaml no longer names, and results on the twin of a dataset whose
        official files are configured now. A checkpoint is evaluated on official files even where the twin is
        configured; those rows stand under NAME-official, so that the two are never mixed."""
        found: list[tuple[tuple[int, str, str, int, int], bool, pa.Table]] = []
        tasks, order = set(TASKS.names()) - {CLASSIFICATION}, list(self.cells)
        sets: dict[tuple[str, str], SetFacts] = {}
        for name, cell in self.cells.items():
            files = [
                (seed, path)
                for seed, f in self.project.evaluations(name)
                for path in sorted(f.glob("*/*.parquet"))
            ]
            for seed, path in files:
                if path.stem not in tasks or not self.counts(name, path):
                    continue
                own = self._rows(name, path)
                table, about = own.table, own.about
                dataset, origin = about["dataset"], about["origin"]
                configured = origin == self.origin(dataset)
                if not cell.trained_elsewhere and not (configured and dataset in self._datasets(path.stem)):
                    continue
                place = dataset if configured else f"{dataset}-{origin}"
                task = str(table["task"][0].as_py())
                rows = _with(table, dataset=place, run_id=name, name=name, label=table["prompts"], seed=seed)
                position = (declared_task(task).order, task, place, order.index(name), seed)
                found.append((position, cell.trained_elsewhere, rows))
                if (path.stem, place) not in sets:
                    sets[path.stem, place] = about
        found.sort(key=lambda one: one[0])
        official = [rows.to_pandas().assign(seed=None).drop(columns="label") for _, own, rows in found if own]
        return [_frame([rows for *_, rows in found])] if found else [], sets, official

    def _datasets(self, task: str) -> tuple[str, ...]:
        settings = self.params.tasks.get(task)
        return () if settings is None else settings.datasets

    def runs(self, evaluated: set[str]) -> pd.DataFrame:
        """One row a cell and seed: SHOWN_OF_RUNS, and how many images a second."""
        import pandas as pd

        rows = []
        for name in (n for n in self.cells if n in evaluated):
            for seed, folder in self.trainings(name):
                run = read_run(folder / "run.json")
                seen = run.train_images * run.epochs
                speed = seen / run.seconds if run.seconds else float("nan")
                own = {"cell": name, "seed": seed, "images_seen": seen, "images_per_second": speed}
                rows.append(own | {k: getattr(run, k) for k in SHOWN_OF_RUNS} | {"commit": run.code})
        return pd.DataFrame(rows)

    def trained_on(self) -> dict[str, str]:
        """Dataset that a cell was trained on → official or twin."""
        found = {}
        for name in self.cells:
            for _, folder in self.project.seeds("runs", name):
                if (folder / "source.json").is_file():
                    source = read_json(folder / "source.json")
                    with parsing(folder / "source.json", "a record of a training", "Train the cell again."):
                        found[str(source["trained_on"])] = str(source.get("trained_origin", "official"))
        return found

    def rounding(self) -> dict[Macro, np.ndarray]:
        """What rounding alone changes in the macro values of a cell, (V,), as `python -m perf.rounding`
        measured it; empty without its file. What was measured on twins is of no set of official files."""
        import pandas as pd

        path = self.project.root / ROUNDING
        if not path.is_file():
            return {}
        found: dict[Macro, list[float]] = {}
        with parsing(path, "a table of `python -m perf.rounding`", "Make it again."):
            for row in pd.read_csv(path, keep_default_na=False).to_dict("records"):
                if (row["evidence"] == TWIN_NOTICE) != (self.origin(str(row["dataset"])) == "twin"):
                    continue
                key = (str(row["cell"]), str(row["dataset"]), str(row["stratum"]), str(row["metric"]))
                found.setdefault(key, []).append(float(row["change"]))
        return {key: np.array(values) for key, values in found.items()}

    def histories(self) -> pd.DataFrame:
        """history.csv of every run, with cell and seed."""
        import pandas as pd

        frames = []
        for name in self.cells:
            for seed, folder in self.trainings(name):
                path = folder / "history.csv"
                if path.is_file():
                    with parsing(path, "a history of a training", "Train the cell again."):
                        numbers = pd.read_csv(path)
                        numbers[list(HISTORY)].astype(float)
                    frames.append(numbers.assign(cell=name, seed=seed))
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["cell", "seed"])


def _results(path: Path, whole: bool = False) -> ResultRows:
    """The averages of one evaluation, or all of its rows. Raises DataError where no evaluation wrote the
    file.

    A table of Arrow: a data frame of each of hundreds of files takes longer than all else that is done with
    their rows."""
    table, meta = read_arrow(path)
    with parsing(path, "results of an evaluation", "Evaluate the cell again."):
        table.select(list(METRIC_COLUMNS))
        dataset, origin, encoder = (str(table[k][0].as_py()) for k in ("dataset", "origin", "encoder"))
        info = meta["evaluation"]
        about: SetFacts = {
            "origin": origin,
            "images": int(info["images"]),
            "patients": int(info["patients"]),
            "official_images": info.get("official_images"),
            "no_positives": list(info.get("no_positives", [])),
            "protocol": info["protocol"],
            "labels": info.get("labels", {}),
            "notes": list(info.get("notes", [])),
            "encoder": encoder,
            "note": meta.get("note", ""),
            "dataset": dataset,
            "classes": _classes(table),
        }
        prompts = table["prompts"][0].as_py()
    return ResultRows(table if whole else _averages(table), about, prompts)


def _averages(table: pa.Table) -> pa.Table:
    """The rows that are no class of classification."""
    import pyarrow.compute as pc

    return table.filter(
        pc.or_(pc.equal(table["class"], "macro"), pc.not_equal(table["task"], CLASSIFICATION))
    )


def _with(table: pa.Table, **columns: Any) -> pa.Table:
    """With these columns in place of those of the same name, or after them. A single value counts for every
    row."""
    import pyarrow as pa

    for name, value in columns.items():
        if isinstance(value, str | int):
            value = [value] * len(table)
        column = pa.array(value) if isinstance(value, list) else value
        at = table.schema.get_field_index(name)
        table = table.append_column(name, column) if at < 0 else table.set_column(at, name, column)
    return table


def _frame(tables: Sequence[pa.Table]) -> pd.DataFrame:
    """One frame of all rows."""
    import pyarrow as pa

    found: pd.DataFrame = pa.concat_tables(tables, promote_options="permissive").to_pandas()
    return found


def _classes(table: pa.Table) -> int:
    """How many classes there is a value of."""
    import pyarrow.compute as pc

    named = pc.unique(table["class"].filter(pc.equal(table["stratum"], "all"))).to_pylist()
    return len(set(named) - {"macro", "micro", "weighted", None})
