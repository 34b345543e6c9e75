"""What settings of the robustness study came to, kept as small files beside its tables, so that settings that
were trained on several machines, or at several times, stand in one table.

A record holds only under the key that it was made under: the setting and its cells, the scores of the default
to the last bit, labels and patients of every set, the statistics, and the code that trains and tests. The
correction for many tests is within one setting, so that settings may come from records one by one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError, field_validator

from benchmark.core.errors import DataError
from benchmark.core.files import read_json, write_json
from benchmark.core.hashing import hash_array
from benchmark.core.reuse import Key, key_of, source
from benchmark.evaluation.statistics.paired import Difference
from benchmark.grid.params import ablation_cell
from benchmark.grid.robust_cells import BEFORE, SHOWN, params_of
from benchmark.grid.strict import Strict
from benchmark.reporting.robustness import ONE_SEED, Pair, Standing
from benchmark.stages.robustness import Study
from methods.base import METHODS

CODE = (
    "benchmark.training.loop", "benchmark.evaluation.statistics.paired",
    "benchmark.evaluation.statistics.seeds",
)  # fmt: skip
"""With the methods themselves, the code that a record rests on."""


class RecordedPair(Strict):
    dataset: str
    methods: tuple[str, str]
    separable: bool
    default: Difference
    here: Difference

    @field_validator("default", "here", mode="before")
    @classmethod
    def _undefined(cls, given: Any) -> Any:
        """JSON has no NaN; null stands for it."""
        return (
            {k: math.nan if v is None else v for k, v in given.items()} if isinstance(given, dict) else given
        )


class SettingRecord(Strict):
    """One setting's standing. values: dataset → method → macro AUROC with its limits."""

    key: str
    parts: dict[str, str]
    commits: tuple[str, ...]
    seeds: int
    rising: tuple[str, ...]
    values: dict[str, dict[str, tuple[float, float, float]]]
    pairs: tuple[RecordedPair, ...]

    def standing(self, setting: str) -> Standing:
        values = {(m, d): own for d, methods in self.values.items() for m, own in methods.items()}
        pairs = tuple(Pair(p.dataset, p.methods, p.default, p.here, p.separable) for p in self.pairs)
        return Standing(setting, self.seeds, values, self.rising, pairs, self.commits)


def record_file(folder: Path, setting: str) -> Path:
    return folder / "settings" / f"{setting}.json"


def record_key(study: Study, setting: str) -> Key:
    """What the standing of a setting rests on."""
    params, own = study.params, params_of(study.params, f"{BEFORE}{setting}")
    default = study.ranked[0].scores
    return key_of(
        setting=params.robustness.settings[setting].model_dump(mode="json", exclude={"label"}),
        cells=[ablation_cell(own, name).model_dump(mode="json", exclude=SHOWN) for name in own.cells],
        seeds=list(params.robustness.seeds),
        default={f"{method} {dataset}": hash_array(s) for (method, dataset), s in default.items()},
        sets={dataset: [at.identity, at.content("labels")] for dataset, at in study.sets.items()},
        statistics=params.statistics.model_dump(mode="json"),
        source=source(*CODE, *(METHODS.get(name).__module__ for name in params.methods)),
    )


def keep(study: Study, found: Sequence[Standing], folder: Path) -> list[Path]:
    """Write the record of every setting whose results are on disk. found: of `standings`."""
    here = {own.setting for own in study.ranked[1:]}
    paths = []
    for own in (own for own in found if own.setting in here):
        key = record_key(study, own.setting)
        values: dict[str, dict[str, tuple[float, float, float]]] = {}
        for (method, dataset), value in own.values.items():
            values.setdefault(dataset, {})[method] = value
        pairs = tuple(
            RecordedPair(
                dataset=p.dataset, methods=p.methods, separable=p.separable, default=p.default, here=p.here
            )
            for p in own.pairs
        )
        record = SettingRecord(
            key=key.digest, parts=dict(key.parts), commits=own.commits, seeds=own.seeds, rising=own.rising,
            values=values, pairs=pairs,
        )  # fmt: skip
        paths.append(record_file(folder, own.setting))
        write_json(paths[-1], json.loads(record.model_dump_json()))
    return paths


def recorded(study: Study, folder: Path) -> tuple[dict[str, Standing], dict[str, str]]:
    """The settings that have a record and no results in the study: those whose record holds, and why the
    others do not. Raises DataError for a file that is no record."""
    held, refused = {}, {}
    here = {own.setting for own in study.ranked}
    for setting in study.params.robustness.settings:
        path = record_file(folder, setting)
        if setting in here or not path.is_file():
            continue
        try:
            record = SettingRecord.model_validate(read_json(path))
        except ValidationError as error:
            place = ".".join(map(str, error.errors(include_url=False)[0]["loc"]))
            raise DataError(
                f"{path}: not the record of a setting ({place}). Remove it; "
                f"`bench stage robustness --setting {setting}` makes it again."
            ) from None
        key = record_key(study, setting)
        if key.digest == record.key:
            held[setting] = record.standing(setting)
        else:
            refused[setting] = f"its record is of other {', '.join(key.changed(record.parts))}"
    return held, refused


def joined(study: Study, found: Sequence[Standing], folder: Path) -> tuple[Study, list[Standing]]:
    """The study with the settings that stand in records. found: of `standings`."""
    held, refused = recorded(study, folder)
    lacking = {name: refused.get(name, why) for name, why in study.lacking.items() if name not in held}
    order = ("", ONE_SEED, *study.params.robustness.settings)
    every = {own.setting: own for own in (*found, *held.values())}
    return replace(study, lacking=lacking), [every[name] for name in order if name in every]
