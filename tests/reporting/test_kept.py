"""An answer is kept as long as nothing that it rests on has changed, and not a moment longer."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.core import kept_value, states
from benchmark.core.errors import BenchError
from benchmark.core.files import write_text
from benchmark.core.states import state_of
from benchmark.grid.encoder_params import EncoderParams
from benchmark.grid.layout import Project
from benchmark.grid.request import Request, plan
from benchmark.reporting import rests_on
from benchmark.reporting.kept import Answer, Rests, answered
from benchmark.reporting.rests_on import on_results, on_run

ASKED = {"command": "verify", "claims": []}


def settle() -> None:
    """Wait until what was just written counts as settled."""
    time.sleep(states.SETTLED_NS / 1e9 + 0.02)


@pytest.fixture
def code(tmp_path, monkeypatch) -> Path:
    """A package in the place of this one, as the code that answers."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "module.py").write_text("a = 1\n")
    monkeypatch.setattr("benchmark.stages.code.packages", lambda: {"benchmark": folder})
    return folder


@pytest.fixture
def place(tmp_path, code) -> Project:
    """Files of every kind that an answer about results rests on."""
    home = tmp_path / "home"
    for name in (
        "params.yaml", "reports/claims.yaml", "reports/published.yaml", "reports/rounding.csv",
        "results/clip-main/seed-0/padchest/metrics.parquet", "runs/clip-main/seed-0/run.json",
        "data/prepared/padchest/manifest.parquet", "data/texts/mimic_cxr/findings/named.json", "mlflow.db",
        "cards/own.yaml",
    ):  # fmt: skip
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("encoders: {image: cards/own.yaml}\n" if name == "params.yaml" else "a: 1\n")
    settle()
    return Project(home)


def counted(project: Project, rests: Callable[[], Rests | None]) -> bool:
    """Whether the answer had to be found."""
    calls: list[int] = []

    def find() -> Answer:
        calls.append(1)
        return Answer({"b": [1.5, None], "a": "é"}, "text", 1, ("line",))

    assert answered(project, ASKED, rests, find) == find()
    return len(calls) > 1


def found_then_kept(project: Project, rests: Callable[[], Rests | None]) -> None:
    assert counted(project, rests)
    assert not counted(project, rests)


def test_an_answer_is_found_once_and_kept_as_it_is(place):
    rests = Rests((place.root / "results",), {})
    assert [counted(place, lambda: rests) for _ in range(3)] == [True, False, False]


def test_other_questions_and_values_have_answers_of_their_own(place):
    assert counted(place, lambda: Rests((), {"a": 1}))
    assert counted(place, lambda: Rests((), {"a": 2}))
    assert (
        answered(place, {"command": "explain"}, lambda: Rests((), {"a": 2}), lambda: Answer({}, "other")).text
        == "other"
    )


@pytest.mark.parametrize(
    "changed",
    [
        "params.yaml", "reports/claims.yaml", "reports/published.yaml", "reports/rounding.csv",
        "results/clip-main/seed-0/padchest/metrics.parquet", "runs/clip-main/seed-0/run.json",
        "data/prepared/padchest/manifest.parquet", "data/texts/mimic_cxr/findings/named.json", "mlflow.db",
        "cards/own.yaml", "../code/module.py",
    ],
)  # fmt: skip
def test_whatever_changes_below_an_answer_is_seen(place, monkeypatch, changed):
    """By one byte, with the size and the time that the file had."""
    monkeypatch.chdir(place.root)
    rests = partial(on_results, place, store=True)
    path = place.root / changed
    found_then_kept(place, rests)
    before = path.stat()
    path.write_text(path.read_text().replace("a", "b", 1))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    settle()
    assert path.stat().st_size == before.st_size
    found_then_kept(place, rests)
    path.unlink()
    settle()
    if changed != "params.yaml":
        assert counted(place, rests)


def test_a_new_result_a_variable_and_a_package_are_seen(place, monkeypatch, tmp_path):
    rests = partial(on_results, place)
    found_then_kept(place, rests)
    write_text(place.results("carzero-main", 0) / "padchest" / "metrics.parquet", "a")
    settle()
    found_then_kept(place, rests)
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.setenv("CXR_ALIGNBENCH_DATASETS", str(own))
    found_then_kept(place, rests)
    (own / "card.yaml").write_text("a")
    settle()
    found_then_kept(place, rests)
    (tmp_path / "site" / "package-2.0.dist-info").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    found_then_kept(place, rests)


def test_what_changes_meanwhile_or_a_moment_ago_is_not_kept(place, monkeypatch):
    path = place.root / "results" / "a.parquet"
    rests = partial(Rests, (path,), {})

    def meanwhile() -> Answer:
        path.write_text("b")
        return Answer({}, "")

    path.write_text("a")
    with monkeypatch.context() as patch:
        patch.setattr(states, "SETTLED_NS", 3_600_000_000_000)
        for _ in range(2):
            assert counted(place, rests), "it may change again within one tick"
    settle()
    answered(place, ASKED, rests, meanwhile)
    settle()
    found_then_kept(place, rests)


def test_no_answer_is_kept_where_that_cannot_be(place, monkeypatch):
    assert all(counted(place, lambda: None) for _ in range(2))
    rests = partial(Rests, (), {})
    found_then_kept(place, rests)
    next((place.cache / "answers").iterdir()).write_text("{")
    assert counted(place, rests)

    def refused(*_: object) -> None:
        raise BenchError("disk full")

    monkeypatch.setattr(kept_value, "write_text", refused)
    assert counted(place, lambda: Rests((), {"other": 1}))


def test_whatever_a_finished_run_rests_on_is_seen(place, root):
    """Files of the data, of trainings and results of its cells and of the floor, and of the references."""
    shutil.copy(root / "params.yaml", place.params)
    todo = plan(place, Request("carzero", "padchest"))
    found = on_run(place, todo, None)
    assert found is not None
    for name in (
        "data/twins/padchest/image.png", "data/twins/mimic_cxr/report.txt",
        "data/twins/mimic_cxr.truth.parquet", "data/prepared/padchest/manifest.parquet",
        "data/prepared/mimic_cxr/made.json", "data/texts/mimic_cxr/findings/named.json",
        "runs/carzero-main/seed-2/model.safetensors", "results/carzero-main/seed-0/padchest/metrics.parquet",
        "runs/clip-shuffled/seed-0/run.json", "results/clip-shuffled/seed-0/padchest/metrics.parquet",
        ".cache/references/0/padchest.parquet",
    ):  # fmt: skip
        before = state_of(found.files).digest
        write_text(place.root / name, name)
        assert state_of(found.files).digest != before, name
    before = state_of(found.files).digest
    write_text(place.root / "results/radzero-main/seed-0/padchest/metrics.parquet", "another cell")
    assert state_of(found.files).digest == before
    other = on_run(place, plan(place, Request("carzero", "padchest", seeds=(0,))), None)
    assert other is not None
    assert other.values != found.values
    own = EncoderParams(image="slices-lite0")
    changed = replace(todo, params=todo.params.model_copy(update={"encoders": own}))
    assert on_run(place, changed, None) is None, "a function may read any weights"


@pytest.mark.parametrize("where", ["texts", "cells.clip-shuffled.texts"])
def test_sentences_of_a_model_count_wherever_they_lie(place, root, tmp_path, monkeypatch, where):
    """In params.yaml and on the command line, of the main cells, of a run's cells and of the floor, from
    whatever folder the command runs."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(root / "params.yaml", place.params)
    sets = (f"{where}.wording=llm", f"{where}.llm_file=told.parquet")
    named = [on_run(place, plan(place, Request("clip", "padchest", sets=sets)), None)]
    write_text(place.params, "cells: {own: {texts: {wording: llm, llm_file: told.parquet}}}\n")
    named.append(on_results(place))
    before = [state_of(rests.files).digest for rests in named]
    write_text(place.root / "told.parquet", "other sentences")
    assert all(state_of(rests.files).digest != old for rests, old in zip(named, before, strict=True))


def test_linked_folders_are_looked_into_once(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("1")
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a")
    before = state_of([tmp_path / "a"]).digest
    (tmp_path / "a" / ".hidden").write_text("1")
    assert state_of([tmp_path / "a"]).digest == before
    (tmp_path / "a" / "file").write_text("12")
    assert state_of([tmp_path / "a"]).digest != before


def test_weights_that_a_card_names_count(tmp_path, monkeypatch, root):
    (shipped,) = rests_on._weights("efficientnet-lite0")
    assert shipped.is_file()
    card = (root / "benchmark" / "encoders" / "known" / "minilm-l6.yaml").read_text()
    lines = [line for line in card.splitlines() if not line.startswith(("name:", "weights:", "sha256:"))]
    (tmp_path / "own.yaml").write_text("\n".join([*lines, "name: own", "weights: path:own.safetensors"]))
    monkeypatch.setenv("CXR_ALIGNBENCH_ENCODERS", str(tmp_path))
    assert rests_on._weights("own") == [tmp_path / "own.safetensors"]
    (tmp_path / "own.safetensors").write_text("a")
    (tmp_path / "tokenizer.json").write_text("a")
    found = rests_on._weights("own")
    assert found is not None
    assert tmp_path / "tokenizer.json" in found, "the vocabulary lies beside a file of weights"


def test_verify_sees_a_changed_result_and_a_changed_claim(inside, capsys):
    """With the answer of a moment ago at hand."""
    path = next((inside / "results").glob("clip-main/seed-*/*/metrics.parquet"))
    whole = path.read_bytes()
    settle()
    assert main(["verify"]) == 0
    first = capsys.readouterr().out
    assert main(["verify"]) == 0
    assert capsys.readouterr().out == first
    try:
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert main(["verify"]) == 2
        assert "changed since it was summarised" in capsys.readouterr().err
    finally:
        path.write_bytes(whole)
    ledger = inside / "reports" / "claims.yaml"
    ledger.parent.mkdir(exist_ok=True)
    shipped = rests_on.source_file(Project(inside), "claims.yaml").read_text()
    try:
        write_text(ledger, shipped.replace("statement: ", "statement: In short, ", 1))
        main(["verify"])
        assert "In short, " in capsys.readouterr().out
    finally:
        ledger.unlink()
