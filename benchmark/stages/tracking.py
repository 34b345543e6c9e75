"""MLflow: one run a trained cell, in a local SQLite store or wherever MLFLOW_TRACKING_URI points."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.core.errors import BenchError

EXPERIMENT = "cxr-alignbench"


def tracking_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or the SQLite store of the project."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"


def _without_key(uri: str) -> str:
    """The address without user and password."""
    return re.sub(r"//[^/@]*@", "//", uri)


class Tracker:
    """A thin writer of one MLflow run. Only numbers, parameters and files named by the caller are sent;
    report text is never among them."""

    def __init__(self, root: Path, name: str, tags: Mapping[str, str]) -> None:
        """Starts the run. Raises BenchError, naming the store, where it cannot be reached."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("DO_NOT_TRACK", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        import logging

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        from mlflow.tracking import MlflowClient

        uri = tracking_uri(root)
        try:
            self._client = MlflowClient(tracking_uri=uri)
            self._run = self._client.create_run(
                self._experiment(root, uri), run_name=name, tags={k: str(v) for k, v in tags.items()}
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

    def _experiment(self, root: Path, uri: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            location = (root / "mlartifacts").as_uri() if uri.startswith("sqlite") else None
            try:
                return self._client.create_experiment(EXPERIMENT, artifact_location=location)
            except MlflowException:
                # Another process created it between the look and the attempt.
                found = self._client.get_experiment_by_name(EXPERIMENT)
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
