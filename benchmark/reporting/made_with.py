"""Whether a summary and the trainings that it rests on have the settings that params.yaml gives now: tables
of other ones would stand under names that mean something else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.core.errors import BenchError
from benchmark.grid.params import Cell
from benchmark.stages.run_record import read_run


def check_trained(cell: Cell, run: Path, shown: str, advice: str) -> None:
    """Raises BenchError where the record of a finished training (`run.json`) has another setting than its
    cell; settings that its code did not have are not compared. shown: how the message calls the record.
    advice: what makes the training again."""
    made = read_run(run)
    for place, was, now in (
        ("training", made.training, cell.training.identity()),
        ("options", made.options, cell.options.model_dump(mode="json")),
    ):
        for key in _differing(was, now):
            raise BenchError(
                f"{shown}: trained with {place}.{key} {was[key]}, where {cell.name} has {now[key]} now. "
                f"{advice}"
            )


def check_summary(made: Mapping[str, Any], now: Mapping[str, Any], shown: str, advice: str) -> None:
    """Raises BenchError where a summary was made with other settings. made, now: of `settings_of`, empty of
    summaries of older code. shown: how the message calls the summary. advice: what makes it again."""
    for section in _differing(made, now):
        was, own = made[section], now[section]
        keys = _differing(was, own) if isinstance(was, dict) and isinstance(own, dict) else []
        for key in keys:
            raise BenchError(
                f"{shown}: summarised with {section}.{key} {was[key]}, where params.yaml has {own[key]} now. "
                f"{advice}"
            )
        if not keys:
            raise BenchError(f"{shown}: summarised with {section} {was}, where it is {own} now. {advice}")


def _differing(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [key for key in sorted({*was} & {*now}) if was[key] != now[key]]
