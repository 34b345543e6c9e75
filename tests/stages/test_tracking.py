"""MLflow for real: a local SQLite store, and a server on the loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from benchmark.core.errors import BenchError
from benchmark.grid.layout import Project
from benchmark.grid.params import main_cell
from benchmark.grid.params_file import load_params
from benchmark.stages.tracking import EXPERIMENT, METHODS_EXPERIMENT, Tracker

pytestmark = pytest.mark.filterwarnings("ignore")


def write_one(root) -> str:
    (root / "table.md").write_text("| a |")
    tracker = Tracker(root, "clip-main/0", {"dataset": "padchest"})
    tracker.parameters({"training": {"lr": 0.1}, "method": "clip"})
    for step in range(3):
        tracker.metrics({"loss": 3.0 - step, "undefined": float("nan")}, step)
    tracker.file(root / "table.md", "tables")
    tracker.close()
    return tracker.run_id


def check(uri: str, run_id: str) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    run = client.get_run(run_id)
    assert client.get_experiment(run.info.experiment_id).name == EXPERIMENT
    assert run.data.params == {"training.lr": "0.1", "method": "clip"}
    assert [m.value for m in client.get_metric_history(run_id, "loss")] == [3.0, 2.0, 1.0]
    assert "undefined" not in run.data.metrics
    assert [a.path for a in client.list_artifacts(run_id, "tables")] == ["tables/table.md"]
    assert run.info.status == "FINISHED"


def test_local_store(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    check(f"sqlite:///{tmp_path / 'mlflow.db'}", write_one(tmp_path))


@pytest.mark.slow
def test_server_on_the_loopback(tmp_path, monkeypatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}", "--workers", "1"]
    command += ["--artifacts-destination", str(tmp_path / "store")]
    server = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    uri = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{uri}/health", timeout=1).close()
                break
            except OSError:
                assert server.poll() is None, "the server stopped"
                time.sleep(0.5)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        check(uri, write_one(tmp_path))
    finally:
        os.killpg(server.pid, 15)
        server.wait(timeout=30)


def test_unreachable_store_is_one_line(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(BenchError, match=r"MLflow store http://127\.0\.0\.1:9 cannot be used"):
        Tracker(tmp_path, "x", {})


@pytest.mark.slow
def test_a_run_holds_metrics_sets_model_and_classes(fresh_copy, bench) -> None:
    """What a person sorts by, and where it came from, stand on the run of the training, once."""
    import mlflow
    from mlflow.tracking import MlflowClient

    call = ("run", "--method", "all", "--dataset", "chestxray14", "--seeds", "0", "--json")
    code, out, err = bench(fresh_copy, *call)
    assert code == 0, err
    printed = {
        f"{m['method']}-{m['variant']}": m
        for m in json.loads(out)["metrics"]
        if (m["class"], m["stratum"], m["metric"]) == ("macro", "all", "auroc")
    }
    client = MlflowClient(tracking_uri=f"sqlite:///{fresh_copy / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    best, *others = client.search_runs([experiment], order_by=["metrics.`chestxray14/auroc` DESC"])
    assert {run.data.tags["cell"] for run in (best, *others)} == set(printed)
    assert best.data.tags["cell"] == max(printed, key=lambda cell: printed[cell]["value"])
    own, row = best.data.metrics, printed[best.data.tags["cell"]]
    for limit, name in (("value", "auroc"), ("low", "auroc/low"), ("high", "auroc/high")):
        assert own[f"chestxray14/{name}"] == pytest.approx(row[limit])
    assert "chestxray14/auroc/tail" in own
    assert best.data.tags["origin"] == "twin"
    inputs = {i.tags[0].value: i.dataset for i in best.inputs.dataset_inputs}
    assert inputs["evaluation"].name == "chestxray14"
    assert inputs["training"].name == "mimic_cxr"
    (model,) = client.search_logged_models([experiment], f"source_run_id = '{best.info.run_id}'")
    assert model.status == "READY"
    folder = Path(model.artifact_location.removeprefix("file://"))
    signature = mlflow.models.Model.load(str(folder)).signature
    assert [spec.name for spec in signature.inputs] == ["image_pooled", "image_local", "text_pooled"]
    assert not list(folder.glob("*.p*kl*"))
    assert [a.path for a in client.list_artifacts(best.info.run_id, "roc")] == ["roc/chestxray14.png"]
    assert [a.path for a in client.list_artifacts(best.info.run_id, "classes")] == ["classes/chestxray14.csv"]
    code, _, _ = bench(fresh_copy, *call)
    assert code == 0
    again = client.search_runs([experiment])
    assert len(again) == 1 + len(others)
    assert len(client.get_metric_history(best.info.run_id, "chestxray14/auroc")) == 1


def test_the_best_auroc_is_the_headline(tmp_path, monkeypatch) -> None:
    """Means over seeds stand in an experiment of their own: one lucky seed leads no search there, and a new
    summary takes the place of the last one."""
    import pandas as pd
    from mlflow.tracking import MlflowClient

    from benchmark.stages.summarise import Summary
    from benchmark.stages.tracked_summary import record_summary

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    none = pd.DataFrame()
    params = load_params(Path(__file__).parents[2] / "params.yaml")
    cells = [main_cell(params, name) for name in ("clip", "carzero")]

    style = cells[0].prompts.style

    def summarised(values: dict[str, float]) -> Summary:
        place = {"dataset": "padchest", "origin": "twin", "class": "macro", "metric": "auroc"}
        rows = [
            {**place, "run_id": f"{m}-main", "prompts": prompts, "stratum": stratum, "value": value + more,
             "low": value - 0.1, "high": value + 0.1}
            for m, value in values.items()
            for prompts, stratum, more in (("other", "all", 0.2), (style, "all", 0.0), (style, "tail", -0.1))
        ]  # fmt: skip
        return Summary(pd.DataFrame(rows), none, none, none, none)

    record_summary(Project(tmp_path), "main", summarised({"clip": 0.6}), cells)
    assert not (tmp_path / "mlflow.db").exists()
    Tracker(tmp_path, "clip-main/seed-0", {}).close()
    for values in (
        {"clip": 0.8, "carzero": 0.7},
        {"clip": 0.6, "carzero": 0.7},
        {"clip": 0.6, "carzero": 0.7},
    ):
        record_summary(Project(tmp_path), "main", summarised(values), cells)
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(METHODS_EXPERIMENT).experiment_id
    found = client.search_runs([experiment], order_by=["metrics.`padchest/auroc` DESC"])
    assert [run.info.run_name for run in found] == ["carzero-main", "clip-main"]
    assert found[0].data.metrics == pytest.approx(
        {
            "padchest/auroc": 0.7, "padchest/auroc/low": 0.6, "padchest/auroc/high": 0.8,
            "padchest/auroc/tail": 0.6, "padchest/auroc/tail/low": 0.6, "padchest/auroc/tail/high": 0.8,
        }
    )  # fmt: skip
    assert found[0].data.tags["origin"] == "twin"
