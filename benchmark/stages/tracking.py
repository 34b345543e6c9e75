"""MLflow: one run a trained cell, in a local SQLite store or wherever MLFLOW_TRACKING_URI points."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import unquote

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
    return os.environ.get("MLFLOW_TRACKING_URI") or _own_uri(root)


def _own_uri(root: Path) -> str:
    return f"sqlite:///{root / 'mlflow.db'}"


def store_file(uri: str) -> Path | None:
    """The file of a SQLite store, as SQLAlchemy reads its address; None for any other."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(unquote(uri.removeprefix("sqlite:///").partition("?")[0]))


def store_is_there(uri: str) -> bool:
    """Whether the store exists, as far as its address tells: a file is looked for, a server is not asked."""
    path = store_file(uri)
    return path is None or path.is_file()


def _without_key(uri: str) -> str:
    """The address without user and password."""
    return re.sub(r"//[^/@]*@", "//", uri)


Call = TypeVar("Call", bound=Callable[..., Any])


def _told(call: Call) -> Call:
    """Raises BenchError in place of what a store raises, drivers of databases kinds of their own: one that is
    gone or locked in the middle of a training is no fault of the method that trains."""

    @wraps(call)
    def told(tracker: Tracker, *given: Any, **named: Any) -> Any:
        try:
            return call(tracker, *given, **named)
        except BenchError:
            raise
        except Exception as error:
            raise tracker.unusable(error) from None

    return cast(Call, told)


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

        import mlflow.tracking  # noqa: F401  (importing it sets a level)

        logging.getLogger("mlflow").setLevel(logging.CRITICAL)  # what it raises is told as a line
        self._uri = tracking_uri(root)
        self._own = self._uri == _own_uri(root)
        if self._own and store_file(self._uri) != root / "mlflow.db":
            raise BenchError(
                f"{root}: MLflow would put its store elsewhere, by % or ? in a folder's name. Rename the "
                "folder, or set MLFLOW_TRACKING_URI to a store."
            )
        self._run = self._begin(root, name, tags, identity, experiment)
        self.run_id: str = self._run.info.run_id
        if identity:
            self.identify(identity)

    @_told
    def _begin(
        self, root: Path, name: str, tags: Mapping[str, str], identity: str | None, experiment: str
    ) -> Any:
        from mlflow.tracking import MlflowClient

        for waited in (1, 2, 4, 8, 16, 0):
            try:
                self._client = MlflowClient(tracking_uri=self._uri)
                self.experiment = self._experiment(experiment, root)
                break
            except Exception as error:
                if not waited or not any(said in str(error) for said in BEING_MADE):
                    raise
                time.sleep(waited)
        if identity and (there := self._known(identity)):
            return there[0]
        named = {k: str(v) for k, v in tags.items()}
        return self._client.create_run(self.experiment, run_name=name, tags=named)

    def unusable(self, error: Exception) -> BenchError:
        """What the store raised, as a line."""
        at = _without_key(self._uri)
        if isinstance(error, ModuleNotFoundError):
            return BenchError(f"MLflow store {at}: needs the package {error.name}; pip install {error.name}.")
        first = (str(error).splitlines() or [type(error).__name__])[0].replace(self._uri, at)[:200]
        hint = "Check MLFLOW_TRACKING_URI, and run again."
        if self._own:
            hint = "Run again once no other program holds it, or move mlflow.db away, and a new one is made."
        return BenchError(f"MLflow store {at} cannot be used ({first}). {hint}")

    def _known(self, identity: str) -> list[Any]:
        found = self._client.search_runs(
            [self.experiment], f"tags.identity = '{identity}'", order_by=["start_time DESC"], max_results=1
        )
        return list(found)

    def identify(self, identity: str) -> None:
        """Say which training this is the run of, so that its evaluations find it."""
        self.tags({"identity": identity})

    @_told
    def tags(self, values: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        self._client.log_batch(self.run_id, tags=[RunTag(k, str(v)[:500]) for k, v in values.items()])

    @_told
    def dataset(self, name: str, identity: str, about: Mapping[str, Any], context: str) -> None:
        """An input of the run. identity: hash of its content, of which MLflow keeps 36 characters."""
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.exceptions import MlflowException

        entity = Dataset(name, identity[:36], "card", json.dumps({"card": name}), profile=json.dumps(about))
        inputs = [DatasetInput(entity, [InputTag("mlflow.data.context", context)])]
        try:
            self._client.log_inputs(self.run_id, inputs)
        except MlflowException as error:
            # Another process entered the set between MLflow's look for it and the attempt.
            if "unique" not in str(error).lower():
                raise
            self._client.log_inputs(self.run_id, inputs)

    @_told
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

    def _experiment(self, name: str, root: Path) -> str:
        """The experiment of this name, or, in the store of a project that was copied or moved, of this name
        and place: an experiment keeps where its files go, and those of a copy would go to the first one."""
        from mlflow.exceptions import MlflowException

        location = (root / "mlartifacts").as_uri() if self._uri.startswith("sqlite") else None
        found = self._client.get_experiment_by_name(name)
        if found is not None and self._own and found.artifact_location != location:
            name = f"{name} in {root}"
            found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return self._client.create_experiment(name, artifact_location=location)
            except MlflowException:
                # Another process created it between the look and the attempt.
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        return str(found.experiment_id)

    @_told
    def parameters(self, values: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        flat = [Param(key, str(value)[:500]) for key, value in flatten(values)]
        for start in range(0, len(flat), 100):
            self._client.log_batch(self.run_id, params=flat[start : start + 100])

    @_told
    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        batch = [Metric(k, float(v), now, step) for k, v in values.items() if math.isfinite(v)]
        if batch:
            self._client.log_batch(self.run_id, metrics=batch)

    @_told
    def file(self, path: Path, folder: str | None = None) -> None:
        self._client.log_artifact(self.run_id, str(path), folder)

    @_told
    def retire(self, tag: str, value: str, kept: Collection[str]) -> None:
        """Delete the experiment's runs with this tag but for those kept (run ids)."""
        for run in self._client.search_runs([self.experiment], f"tags.{tag} = '{value}'"):
            if run.info.run_id not in kept:
                self._client.delete_run(run.info.run_id)

    @_told
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
