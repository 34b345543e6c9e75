"""Stores past one machine, for real: MLflow in PostgreSQL, and what DVC tracks in an S3-compatible store.

pytest -m stores      needs Debian's postgresql and the packages psycopg2-binary, moto[server] and dvc-s3
"""

from __future__ import annotations

import getpass
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from benchmark.core.hashing import hash_file
from benchmark.stages.tracking import EXPERIMENT, Tracker

pytestmark = [pytest.mark.stores, pytest.mark.timeout(1800), pytest.mark.filterwarnings("ignore")]

WRITERS = 20
STEPS = 25


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.fixture
def postgres():
    """The address of an empty database of a server on the loopback, in a folder of its own."""
    pytest.importorskip("psycopg2")
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not installed:
        pytest.skip("PostgreSQL is not installed; apt-get install postgresql")
    other = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
    name = "postgres" if other else getpass.getuser()  # PostgreSQL refuses to run as root
    with tempfile.TemporaryDirectory() as folder:
        if other:
            shutil.chown(folder, name, name)
        data, port = f"{folder}/data", free_port()

        def call(program: str, *words: str) -> None:
            with Path(folder, f"{program}.log").open("w+b") as log:
                done = subprocess.run(
                    [installed[-1] / program, *words], cwd=folder, stdout=log, stderr=log, **other
                )
                log.seek(0)
                assert done.returncode == 0, log.read().decode()

        call("initdb", "--pgdata", data, "--auth", "trust", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
        call("pg_ctl", "start", "--wait", "--pgdata", data, "--log", f"{folder}/log", "--options", options)
        try:
            call("createdb", "--host", "127.0.0.1", "--port", str(port), "mlflow")
            yield f"postgresql+psycopg2://{name}@127.0.0.1:{port}/mlflow"
        finally:
            call("pg_ctl", "stop", "--wait", "--pgdata", data, "--mode", "immediate")


def write(root: Path, number: int, together) -> None:
    together.wait()
    tracker = Tracker(root, f"cell-{number}", {"cell": str(number)}, identity=f"training-{number}")
    tracker.parameters({f"p{index}": number + index for index in range(150)})
    for step in range(STEPS):
        tracker.metrics({"loss": number + 1 / (step + 1), "auroc": step / STEPS}, step)
    tracker.file(root / "table.md", "tables")
    tracker.close()


def test_twenty_processes_write_at_once_and_nothing_is_lost(postgres, tmp_path, monkeypatch) -> None:
    """The database is empty and has no tables: they meet at the making of these and of the experiment too."""
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", postgres)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.md").write_text("| a |")
    context = multiprocessing.get_context("fork")
    together = context.Barrier(WRITERS)
    writers = [context.Process(target=write, args=(tmp_path, n, together)) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(300)
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    client = MlflowClient(tracking_uri=postgres)
    (experiment,) = [e for e in client.search_experiments() if e.name == EXPERIMENT]
    runs = client.search_runs([experiment.experiment_id], max_results=100)
    assert sorted(int(run.data.tags["cell"]) for run in runs) == list(range(WRITERS))
    for run in runs:
        number = int(run.data.tags["cell"])
        assert run.info.status == "FINISHED"
        assert run.data.params == {f"p{index}": str(number + index) for index in range(150)}
        for name, expected in (("loss", lambda s: number + 1 / (s + 1)), ("auroc", lambda s: s / STEPS)):  # noqa: B023
            history = client.get_metric_history(run.info.run_id, name)
            assert [(m.step, m.value) for m in history] == [(s, expected(s)) for s in range(STEPS)]
        assert [a.path for a in client.list_artifacts(run.info.run_id, "tables")] == ["tables/table.md"]


@pytest.fixture
def bucket(monkeypatch):
    """The address of a server that speaks S3, with the empty bucket `bench`."""
    pytest.importorskip("moto")
    pytest.importorskip("dvc_s3")
    import boto3
    from moto.server import ThreadedMotoServer

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=free_port(), verbose=False)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        boto3.client("s3", endpoint_url=address).create_bucket(Bucket="bench")
        yield address
    finally:
        server.stop()


def test_what_one_clone_pushes_another_pulls(bucket, root, fresh_copy, tmp_path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, module in (("bench", "benchmark"), ("dvc", "dvc")):
        (tools / name).write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n')
        (tools / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}

    def run(home: Path, *words: str) -> str:
        done = subprocess.run(words, cwd=home, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    first, second, stage = fresh_copy, tmp_path / "second", "twin@chestxray14"
    for name in ("benchmark", "datasets"):
        (first / name).symlink_to(root / name)
    shutil.copy(root / "dvc.yaml", first)
    (first / ".gitignore").write_text("/data/[^i]*\n/.cache\n/benchmark\n/datasets\n")
    run(first, "git", "init", "--quiet")
    run(first, "dvc", "init", "--quiet")
    run(first, "dvc", "repro", "--single-item", stage)
    run(first, "dvc", "remote", "add", "--default", "shared", "s3://bench/project")
    run(first, "dvc", "remote", "modify", "shared", "endpointurl", bucket)
    assert "1 file pushed" in run(first, "dvc", "push", stage)
    run(first, "git", "add", "--all")
    run(first, "git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "a")
    run(tmp_path, "git", "clone", "--quiet", str(first), str(second))
    index = "data/index/chestxray14.json"
    assert not (second / index).exists()
    run(second, "dvc", "pull", stage)
    assert hash_file(second / index) == hash_file(first / index)
