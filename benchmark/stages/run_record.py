"""Weights that evaluations read, and what the training of those made here recorded, from its run.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError, model_validator

from benchmark.core.errors import DataError
from benchmark.core.files import read_json


class WeightsRecord(BaseModel):
    """The weights of a method, trained here or published. identity: of the training, or of the published
    files. options: of the method. device, commit, versions: of what trained or loaded them; commit is None
    for an installed package. trained_on: dataset, or `as published`."""

    model_config = ConfigDict(frozen=True)

    model_sha256: str
    options: dict[str, JsonValue]
    device: str
    commit: str | None
    identity: str = ""
    method: str = ""
    versions: dict[str, str] = {}
    trained_on: str | None = None


class RunRecord(WeightsRecord):
    """run.json, as far as evaluations, tables, pages and bundles read it. Fields with a default are those
    that records of older trainings lack."""

    best_epoch: int
    epochs: int
    val_loss: float
    seconds: float
    peak_memory_bytes: int
    train_images: int
    val_images: int
    parameters_trained: int
    seed: int | None = None
    steps: int | None = None
    training: dict[str, JsonValue] = {}
    selected_by: str | None = None
    val_auroc: float | None = None
    gain_last_quarter: float | None = None
    converged: bool | None = None
    sentences_seen: int | None = None
    flops_per_image: float | None = None
    numerics: str | None = None
    data_key: str | None = None
    text_key: str | None = None
    images_key: str | None = None

    @model_validator(mode="after")
    def _of_known_code(self) -> RunRecord:
        if not self.code:
            raise ValueError("neither the commit nor the version of the package that trained")
        return self

    @property
    def code(self) -> str:
        """The commit that trained; of an installed package its version, `v0.1.0`."""
        version = self.versions.get("cxr-alignbench")
        return self.commit or (f"v{version}" if version else "")


def read_run(path: Path) -> RunRecord:
    """Raises DataError, naming the file and the field, for what is no record of a training."""
    return run_record(read_json(path), path)


def run_record(found: Any, path: Path) -> RunRecord:
    """`read_run` of what was read from `path`."""
    try:
        return RunRecord.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "missing":
            said = f"no '{name}' in the record of a training"
        else:
            reason = f"{name}: {first['msg']}".removeprefix(": Value error, ").removeprefix(": ")
            said = f"not a readable record of a training ({reason})"
        raise DataError(f"{path}: {said}. Train the cell again.") from None
