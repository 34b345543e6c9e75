"""What `bench run` shows of sets whose protocol asks for maps: the pointing game, or masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from benchmark.grid.params import Cell
from benchmark.grid.request import protocol_task
from benchmark.stages.run import Session
from benchmark.stages.tasks import Tasks

if TYPE_CHECKING:
    import pandas as pd

    from methods.base import Method

HEADLINES = {"grounding": "pointing_game", "segmentation": "dice"}
SHOWN = {
    "grounding": ("pointing_game", "pointing_game_ties_shared"),
    "segmentation": ("dice", "dice_held_out", "pixel_auroc"),
}


def value_text(row: dict[str, Any] | None) -> str:
    """`value [low, high]` of a metric row."""
    if row is None or row["value"] is None:
        return "undefined"
    if row["low"] is None:
        return f"{row['value']:.3f} [no interval]"
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


@dataclass
class TaskResults:
    """Metric rows by dataset and cell, one frame a seed. Rank 0 alone evaluates them under torchrun."""

    session: Session
    _frames: dict[tuple[str, str], list[pd.DataFrame]] = field(default_factory=dict)
    _tasks: Tasks | None = None

    def add(
        self, cell: Cell, seed: int, dataset: str, run: dict[str, Any], method: Method | None = None
    ) -> None:
        """Evaluate the task of the dataset's protocol, or take it from disk; nothing where it has none."""
        task = protocol_task(self.session.params, dataset, self.session.protocol)
        if task is None or not self.session.processes.first:
            return
        if self._tasks is None:
            self._tasks = Tasks(replace(self.session, group=None))
        own = cell.model_copy(update={"tasks": (task,)})
        found = self._tasks.evaluate(own, seed, run, method, dataset)
        self._frames.setdefault((dataset, cell.name), []).extend(found.values())

    def headline(self, dataset: str) -> str | None:
        """The metric that stands for the set, or None where it is macro AUROC."""
        task = protocol_task(self.session.params, dataset, self.session.protocol)
        return None if task is None else HEADLINES[task]

    def mean(self, dataset: str, cell: Cell, metric: str) -> dict[str, Any] | None:
        """Mean over seeds with its interval; None for a method without maps."""
        from benchmark.reporting.effects import seed_mean

        rows = [
            {str(k): v for k, v in row.items()}
            for frame in self._frames.get((dataset, cell.name), [])
            for row in frame[frame["metric"] == metric].tail(1).to_dict("records")
        ]
        level = self.session.params.statistics.level
        return seed_mean(rows, level) if rows else None

    def lines(self, dataset: str, cells: Sequence[Cell]) -> list[str]:
        """A table of the set, or no line where its protocol is classification."""
        task = protocol_task(self.session.params, dataset, self.session.protocol)
        if task is None:
            return []
        wide = max(34, *(len(cell.name) + 2 for cell in cells))
        out = [f"  {'method':<{wide}}{'metric':<28}{'protocol':<14}{'value':<25}{'trials':>8}"]
        for cell in cells:
            name = cell.name.removesuffix("-main")
            for metric in SHOWN[task]:
                row = self.mean(dataset, cell, metric)
                if row is not None:
                    title = metric.replace("_", " ")
                    head = f"  {name:<{wide}}{title:<28}{row['split']:<14}"
                    out.append(f"{head}{value_text(row):<25}{row['n_pos']:>8,}")
                    name = ""
            if name:
                out.append(f"  {name:<{wide}}no maps of two dimensions")
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
