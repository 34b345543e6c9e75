"""What `bench run` shows of sets whose protocol is of another task than classification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmark.core.tasks import Task, task_named
from benchmark.grid.params import Cell
from benchmark.grid.request import protocol_task
from benchmark.reporting.rows import MetricRow, is_few
from benchmark.stages.evaluate import evaluate_task
from benchmark.stages.run import Session
from benchmark.stages.run_record import WeightsRecord

if TYPE_CHECKING:
    import pandas as pd

    from methods.base import Method


def value_text(row: MetricRow | None) -> str:
    """`value [low, high]` of a metric row, with a star where few positive patients carry it."""
    if row is None or row["value"] is None:
        return "undefined"
    star = "*" if is_few(row) else ""
    if row["low"] is None:
        return f"{row['value']:.3f} [no interval]{star}"
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]{star}"


@dataclass
class TaskResults:
    """Metric rows by dataset and cell, one frame a seed. Under torchrun rank 0 alone has them."""

    session: Session
    _frames: dict[tuple[str, str], list[pd.DataFrame]] = field(default_factory=dict)

    def add(
        self, cell: Cell, seed: int, dataset: str, run: WeightsRecord, method: Method | None = None,
        session: Session | None = None,
    ) -> None:  # fmt: skip
        """Evaluate the task of the dataset's protocol, or take it from disk; nothing where it has none.
        session: in which the cell is evaluated, where it has features of its own."""
        own = self._task(dataset)
        if own is None:
            return
        rows = evaluate_task(session or self.session, own.name, cell, seed, dataset, run, method)
        if rows is not None:
            self._frames.setdefault((dataset, cell.name), []).append(rows)

    def _task(self, dataset: str) -> Task | None:
        name = protocol_task(self.session.params, dataset, self.session.protocol)
        return None if name is None else task_named(name)

    def headline(self, dataset: str) -> str | None:
        """The metric that stands for the set, or None where the protocol ranks by one of classification."""
        found = self._task(dataset)
        return None if found is None else found.headlines[0]

    def mean(self, dataset: str, cell: Cell, metric: str) -> MetricRow | None:
        """Mean over seeds with its interval; None for a method that the task does not apply to."""
        from benchmark.reporting.effects import seed_mean

        rows = [
            {str(k): v for k, v in row.items()}
            for frame in self._frames.get((dataset, cell.name), [])
            for row in frame[frame["metric"] == metric].tail(1).to_dict("records")
        ]
        level = self.session.params.statistics.level
        task = self._task(dataset)
        if not rows or task is None:
            return None
        return seed_mean(rows, level, share=task.is_share(metric))

    def lines(self, dataset: str, cells: Sequence[Cell]) -> list[str]:
        """A table of the set, or no line where its protocol is classification."""
        found = self._task(dataset)
        if found is None:
            return []
        wide = max(34, *(len(cell.name) + 2 for cell in cells))
        out = [f"  {'method':<{wide}}{'metric':<28}{'protocol':<14}{'value':<25}{'trials':>8}"]
        for cell in cells:
            name = cell.name.removesuffix("-main")
            for metric in found.shown:
                row = self.mean(dataset, cell, metric)
                if row is not None:
                    title = metric.replace("_", " ")
                    head = f"  {name:<{wide}}{title:<28}{row['split']:<14}"
                    out.append(f"{head}{value_text(row):<25}{row['n_pos']:>8,}")
                    name = ""
            if name:
                out.append(f"  {name:<{wide}}{found.lacking}")
        return out

    def rows(self) -> list[dict[str, Any]]:
        """Every row for JSON; undefined is null."""
        out: list[dict[str, Any]] = []
        for (dataset, cell), frames in self._frames.items():
            for frame in frames:
                plain = frame.astype(object).where(frame.notna(), None)
                out += [
                    {"dataset": dataset, "cell": cell, **{str(k): v for k, v in row.items()}}
                    for row in plain.to_dict("records")
                ]
        return out
