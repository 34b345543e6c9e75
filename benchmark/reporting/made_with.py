"""Whether a summary and the trainings that it rests on have the settings that params.yaml gives now, and
belong together: tables of other ones would stand under names that mean something else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.core.errors import BenchError
from benchmark.core.hashing import hash_file
from benchmark.grid.layout import Project
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


def check_tables(project: Project, part: str, sources: Mapping[str, str]) -> None:
    """Raises BenchError where a table of a summary is not the one that was made of the results here: `dvc
    checkout` brings tables back, and results of other code would stand beside their means. sources: of
    `Project.sources`; those of older code name no tables, which then count as they are."""
    folder = project.summary(part)
    for name, digest in sources.items():
        path = project.root / name
        if path.parent == folder and path.is_file() and hash_file(path) != digest:
            raise BenchError(
                f"{name}: not made of the results that lie here; `dvc checkout` brings one back without "
                f"them. Run `bench stage summarise {part}` again."
            )


def _differing(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [key for key in sorted({*was} & {*now}) if was[key] != now[key]]
