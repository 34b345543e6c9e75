"""MLflow: one run a trained cell, in a local SQLite store or wherever MLFLOW_TRACKING_URI points."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.core.errors import BenchError

EXPERIMENT = "cxr-alignbench"
"""One run a training, with the results of its seed."""
METHODS_EXPERIMENT = "cxr-alignbench-methods"
"""One run a row of a summary, with the means over seeds that the tables print."""

BEING_MADE = ("UniqueViolation", "already exists", "out-of-date database schema")
"""What is said of an empty database whose tables another process is making at the moment."""

Shape = tuple[int, ...]


def tracking_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or the SQLite store of the project."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"


def store_is_there(uri: str) -> bool:
    """Whether the store exists, as far as its address tells: a file is looked for, a server is not asked."""
    return not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).is_file()


def _without_key(uri: str) -> str:
    """The address without user and password."""
    return re.sub(r"//[^/@]*@", "//", uri)


class Tracker:
    """A thin writer of one MLflow run. Only numbers, parameters and files named by the caller are sent;
    report text is never among them."""

    def __init__(
        self,
        root: Path,
        name: str,
        tags: Mapping[str, str],
        identity: str | None = None,
        experiment: str = EXPERIMENT,
    ) -> None:
        """Starts a run, or goes on with the newest of this identity (see `identify`) if there is one. Raises
        BenchError, naming the store, where it cannot be reached."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("DO_NOT_TRACK", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        import logging

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        from mlflow.tracking import MlflowClient

        uri = tracking_uri(root)
        try:
            for waited in (1, 2, 4, 8, 16, 0):
                try:
                    self._client = MlflowClient(tracking_uri=uri)
                    self.experiment = self._experiment(experiment, root, uri)
                    break
                except Exception as error:
                    if not waited or not any(said in str(error) for said in BEING_MADE):
                        raise
                    time.sleep(waited)
            there = self._known(identity) if identity else []
            self._run = (
                there[0]
                if there
                else self._client.create_run(
                    self.experiment, run_name=name, tags={k: str(v) for k, v in tags.items()}
                )
            )
        except ModuleNotFoundError as error:
            raise BenchError(
                f"MLflow store {_without_key(uri)}: needs the package {error.name}; pip install {error.name}."
            ) from None
        except Exception as error:  # drivers of databases raise kinds of their own
            first = (str(error).splitlines() or [type(error).__name__])[0].replace(uri, _without_key(uri))[
                :200
            ]
            raise BenchError(
                f"MLflow store {_without_key(uri)} cannot be used ({first}). Check MLFLOW_TRACKING_URI."
            ) from None
        self.run_id: str = self._run.info.run_id
        if identity:
            self.identify(identity)

    def _known(self, identity: str) -> list[Any]:
        found = self._client.search_runs(
            [self.experiment], f"tags.identity = '{identity}'", order_by=["start_time DESC"], max_results=1
        )
        return list(found)

    def identify(self, identity: str) -> None:
        """Say which training this is the run of, so that its evaluations find it."""
        self.tags({"identity": identity})

    def tags(self, values: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        self._client.log_batch(self.run_id, tags=[RunTag(k, str(v)[:500]) for k, v in values.items()])

    def dataset(self, name: str, identity: str, about: Mapping[str, Any], context: str) -> None:
        """An input of the run. identity: hash of its content, of which MLflow keeps 36 characters."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        entity = Dataset(name, identity[:36], "card", json.dumps({"card": name}), profile=json.dumps(about))
        self._client.log_inputs(
            self.run_id, [DatasetInput(entity, [InputTag("mlflow.data.context", context)])]
        )

    def model(self, name: str, files: Sequence[Path], inputs: Mapping[str, Shape], output: Shape) -> None:
        """The trained model as a logged model of the run: its files and an MLmodel with the signature.

        inputs, output: name → shape of float32 tensors, -1 for any number. The weights are safetensors, which
        `benchmark.training.finished.load_method` reads; no code and no pickle travels with them.
        """
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model, ModelSignature
        from mlflow.types import Schema, TensorSpec

        kind = np.dtype(np.float32)
        signature = ModelSignature(
            Schema([TensorSpec(kind, shape, own) for own, shape in inputs.items()]),
            Schema([TensorSpec(kind, output)]),
        )
        made = self._client.create_logged_model(self.experiment, name, self.run_id)
        flavour = {"data": files[0].name, "loader": "benchmark.training.finished.load_method"}
        described = Model(
            run_id=self.run_id, model_id=made.model_id, flavors={"safetensors": flavour}, signature=signature
        )
        with tempfile.TemporaryDirectory() as folder:
            for path in files:
                shutil.copyfile(path, Path(folder) / path.name)
            described.save(str(Path(folder) / "MLmodel"))
            self._client.log_model_artifacts(made.model_id, folder)
        self._client.finalize_logged_model(made.model_id, "READY")
        self._client.log_outputs(self.run_id, [LoggedModelOutput(made.model_id, 0)])

    def _experiment(self, name: str, root: Path, uri: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found is None:
            location = (root / "mlartifacts").as_uri() if uri.startswith("sqlite") else None
            try:
                return self._client.create_experiment(name, artifact_location=location)
            except MlflowException:
                # Another process created it between the look and the attempt.
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        return str(found.experiment_id)

    def parameters(self, values: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        flat = [Param(key, str(value)[:500]) for key, value in flatten(values)]
        for start in range(0, len(flat), 100):
            self._client.log_batch(self.run_id, params=flat[start : start + 100])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        batch = [Metric(k, float(v), now, step) for k, v in values.items() if math.isfinite(v)]
        if batch:
            self._client.log_batch(self.run_id, metrics=batch)

    def file(self, path: Path, folder: str | None = None) -> None:
        self._client.log_artifact(self.run_id, str(path), folder)

    def retire(self, tag: str, value: str, kept: Collection[str]) -> None:
        """Delete the experiment's runs with this tag but for those kept (run ids)."""
        for run in self._client.search_runs([self.experiment], f"tags.{tag} = '{value}'"):
            if run.info.run_id not in kept:
                self._client.delete_run(run.info.run_id)

    def close(self, status: str = "FINISHED") -> None:
        self._client.set_terminated(self.run_id, status)


def flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested mappings → dotted keys."""
    rows: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            rows.extend(flatten(value, f"{name}."))
        else:
            rows.append((name, value))
    return rows
