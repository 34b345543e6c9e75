"""A store that cannot be used is one line, without the key that its address may hold; one that can lies in
the project, whatever its folder is called and wherever it was copied from."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest
from mlflow.store.tracking.dbmodels.models import SqlDataset
from sqlalchemy import event
from sqlalchemy.orm import Session

from benchmark.core.errors import BenchError
from benchmark.grid.layout import Project
from benchmark.reporting.provenance import mlflow_runs
from benchmark.stages.tracking import Tracker, store_is_there, tracking_uri


@pytest.fixture
def own_store(monkeypatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("postgresql+nodriver://me:secret@db/x", "cannot be used"),
        ("postgresql://me:secret@127.0.0.1:1/x", "MLflow store postgresql://127.0.0.1:1/x"),
        ("mssql+pymssql://me:secret@127.0.0.1:1/x", "needs the package pymssql"),
        ("nonsense://x", "cannot be used"),
    ],
)
def test_a_store_that_cannot_be_used(tmp_path, monkeypatch, uri, said) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(BenchError, match=said) as caught:
        Tracker(tmp_path, "run", {})
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_store_of_the_project_is_named_without_a_variable_that_is_not_set(
    tmp_path, own_store
) -> None:
    (tmp_path / "mlflow.db").write_text("no database")
    with pytest.raises(BenchError, match=r"mlflow.db cannot be used .* move mlflow.db away"):
        Tracker(tmp_path, "run", {})


@pytest.mark.parametrize("name", ["a%20b", "e?f", "%41"])
def test_a_folder_that_mlflow_would_read_as_another_is_refused(tmp_path, own_store, name) -> None:
    home = tmp_path / name
    home.mkdir()
    with pytest.raises(BenchError, match="Rename the folder"):
        Tracker(home, "run", {})
    assert list(tmp_path.rglob("*")) == [home]


@pytest.mark.parametrize("name", ["100%", "c#d", "g h é"])
def test_the_store_lies_in_the_folder_of_the_project_whatever_its_name(tmp_path, own_store, name) -> None:
    home = tmp_path / name
    home.mkdir()
    assert not store_is_there(tracking_uri(home))
    tracker = write_one(home)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert store_is_there(tracking_uri(home))
    assert {path.name for path in home.iterdir()} >= {"mlflow.db", "mlartifacts"}
    assert mlflow_runs(Project(home)) == {"run": tracker.run_id}


def test_files_of_a_copied_project_go_to_the_copy(tmp_path, own_store) -> None:
    first, copy = tmp_path / "first", tmp_path / "copy"
    first.mkdir()
    write_one(first)
    before = sorted(first.rglob("*"))
    shutil.copytree(first, copy)
    there = len(sorted((copy / "mlartifacts").rglob("*.csv")))
    one, two = write_one(copy), write_one(copy)
    assert sorted(first.rglob("*")) == before
    assert len(sorted((copy / "mlartifacts").rglob("*.csv"))) == there + 2
    assert one.experiment == two.experiment


def test_a_store_that_is_lost_in_the_middle_is_one_line_too(tmp_path, own_store) -> None:
    """Of every call: a store that was locked for a moment was told as a fault of the method that trained."""

    class Lost:
        def __getattr__(self, name: str) -> None:
            raise RuntimeError("(sqlite3.OperationalError) database is locked\n[SQL: SELECT 1]")

    tracker = write_one(tmp_path)
    tracker._client = Lost()
    path = tmp_path / "classes.csv"
    calls = [
        partial(tracker.tags, {"a": "b"}), partial(tracker.identify, "a"), partial(tracker.close),
        partial(tracker.dataset, "padchest", "a", {}, "training"), partial(tracker.file, path),
        partial(tracker.parameters, {"a": 1}), partial(tracker.metrics, {"a": 1.0}),
        partial(tracker.retire, "a", "b", ()), partial(tracker.model, "a", [path], {"a": (-1,)}, (-1,)),
    ]  # fmt: skip
    public = {name for name in vars(Tracker) if not name.startswith("_")} - {"unusable"}
    assert {call.func.__name__ for call in calls} == public
    for call in calls:
        with pytest.raises(BenchError, match="database is locked") as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_set_that_another_process_enters_in_the_same_moment(tmp_path, own_store) -> None:
    """MLflow looks for a set, then writes it: of two trainings at once one ended with an error."""
    first, second = Tracker(tmp_path, "first", {}), Tracker(tmp_path, "second", {})
    entered = []

    def between(session: Session, *_: object) -> None:
        if not entered and any(isinstance(row, SqlDataset) for row in session.new):
            entered.append(True)
            second.dataset("padchest", "a" * 64, {"images": 2}, "training")

    event.listen(Session, "before_flush", between)
    try:
        first.dataset("padchest", "a" * 64, {"images": 2}, "training")
    finally:
        event.remove(Session, "before_flush", between)
    assert entered
    held = [t._client.get_run(t.run_id).inputs.dataset_inputs for t in (first, second)]
    assert [[(own.dataset.name, own.tags[0].value) for own in inputs] for inputs in held] == [
        [("padchest", "training")]
    ] * 2


def write_one(home: Path) -> Tracker:
    """A finished run with a file."""
    tracker = Tracker(home, "run", {})
    (home / "classes.csv").write_text("a\n1\n")
    tracker.file(home / "classes.csv")
    tracker.close()
    return tracker
