"""Every field of params.yaml changes the key of what it acts on and of nothing upstream, or stands on a short
list of fields that change time and memory, choose what is made, or are words."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import benchmark.stages.train as train_stage
from benchmark.core import states
from benchmark.core.errors import DataError, ParamsError
from benchmark.core.settings import FINE_TUNING, TIME_AND_MEMORY, MethodConfig
from benchmark.core.tables import Manifest, read_table, write_table
from benchmark.data.dataset import read_dataset
from benchmark.encoders.cards import ENCODERS
from benchmark.grid.layout import Project
from benchmark.grid.modality import for_datasets
from benchmark.grid.params import cell_named, main_cell
from benchmark.grid.params_file import load_params
from benchmark.grid.robust_cells import BEFORE, params_of
from benchmark.prompts.training_texts import training_findings
from benchmark.stages.evaluate import evaluation
from benchmark.stages.features import image_store
from benchmark.stages.own_encoders import Sessions
from benchmark.stages.pool import ABLATIONS, MAIN, jobs_of
from benchmark.stages.prepare import manifest_key, prepare_dataset, source_of, twin_key
from benchmark.stages.run import Session
from benchmark.stages.run_record import WeightsRecord
from benchmark.stages.texts import texts_key
from benchmark.stages.train import run_key, untrained
from benchmark.stages.trained_encoders import encoders_key
from benchmark.training.augment import OFFICIAL, Augmentation
from benchmark.training.loop import training_key
from methods.base import METHODS, configure
from tests.stages.key_fields import (
    ACTS_ON,
    ALSO,
    CHOOSES,
    EVALUATE,
    FIELDS,
    FOLLOWS,
    TINY,
    TRAIN,
    VALUES,
    VOLUMES,
    WORDS,
    another,
    full,
)

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def project(root: Path, tmp_path_factory) -> Iterator[Project]:
    home = tmp_path_factory.mktemp("keys")
    params = yaml.safe_load((root / "params.yaml").read_text())
    params |= {"methods": ["clip", "medclip"], "seeds": [0], "profiles": {}}
    params["data"] = {"train": TRAIN, "evaluate": [EVALUATE], "validation": 0.3}
    params["twins"] = {"seed": 0, "size": 64, "images": {TRAIN: 60, EVALUATE: 30}}
    params["encoders"] |= {"image": "images", "text": "texts"}
    params["tasks"] = {"retrieval": {"datasets": [TRAIN], "pairs": 4}}
    params["cells"] = {"own": {"method": "clip", "table": "features", "label": "own"}}
    params["ct"]["cells"] = {"volumes": params["cells"]["own"]}
    params["ct"]["tasks"] = params["tasks"]
    between = {"none": "clip-main", "one": "own", "two": "own", "one + two": "own"}
    params["attribution"] = {"some": {"label": "some", "factors": ["one", "two"], "cells": between}}
    params["robustness"] = {"settings": {"some": {"label": "some", "width": 64, "train_images": 40}}}
    prompts = {"methods": ["clip"], "datasets": [EVALUATE], "prompts": [{"style": "name"}]}
    params["prompt_ablation"] = prompts
    params["method"]["clip"].pop("training")  # it would stand before `training`
    (home / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        for name, encoder in TINY.items():
            patch.setitem(ENCODERS._registered, name, [encoder])
        patch.setitem(OFFICIAL, "clip", Augmentation("test", flip=0.5))
        patch.setattr("benchmark.data.decoded.cores", lambda: 1)  # others start for longer than this decodes
        found = Project(home)
        now = Session(found, load_params(found.params), _silent)
        now.texts("findings+impression")
        table = found.texts(TRAIN, "findings+impression") / "aligned.parquet"
        (home / "one.parquet").write_bytes(table.read_bytes())
        frame, meta = read_table(table)
        write_table(home / "two.parquet", frame[frame["presence"] == "present"], meta)
        yield found


def _silent(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def keys_of(project: Project):
    """`--set` items → key of everything that is made, without training: the key of a training stands for its
    weights. Equal data, encoders and texts are read once."""
    shared: dict[str, Session] = {}

    @lru_cache
    def keys(*sets: str) -> dict[str, str]:
        params = load_params(project.params, sets=sets)
        upstream = params.model_dump_json(include={"numerics", "data", "twins", "encoders", "texts"})
        known = shared.setdefault(upstream, Session(project, params, _silent))
        now = dataclasses.replace(known, params=params)
        train, made = params.data.train, {}
        for dataset in (TRAIN, EVALUATE):
            made[f"twin {dataset}"] = twin_key(params, dataset).digest
            now.manifest(dataset)
            made[f"manifest {dataset}"] = manifest_key(project, source_of(project, params, dataset)).digest
        made[f"twin {VOLUMES}"] = twin_key(params, VOLUMES).digest
        made["texts"] = texts_key(now.manifest(train), params.texts.rule).digest
        for dataset in (TRAIN, EVALUATE):
            made[f"images {dataset}"] = image_store(project, params, now.manifest(dataset)).key
        sessions = Sessions(now)
        for name in ("clip-main", "own"):
            cell = cell_named(params, name)
            session = sessions.of(cell)
            data = session.inputs(cell)
            if name == "clip-main":
                made["training images"], made["text features"] = data.images.key, data.text.key
            method = untrained(cell, 0, data)
            trains = session.params.encoders.train.trains
            key = encoders_key(session, cell, 0) if trains else training_key(method, data, cell.training, 0)
            assert trains or run_key(project, cell, 0, data) == key
            made[name] = key.digest
            options = method.config.model_dump(mode="json")
            run = WeightsRecord(model_sha256=made[name], options=options, device="cpu", commit=None)
            wanted = evaluation(session, "classification", cell, 0, EVALUATE, run)
            made[f"{name} on {EVALUATE}"] = wanted.key.digest
            if name == "clip-main":
                wanted = evaluation(now, "retrieval", cell, 0, TRAIN, run)
                made[f"retrieval on {TRAIN}"] = wanted.key.digest
        return made

    return keys


def chosen(project: Project, *sets: str) -> str:
    """Which cells, sets and seeds are made, how they are shown, and what is searched."""
    params = load_params(project.params, sets=sets)
    cells = [main_cell(params, m) for m in params.methods] + [cell_named(params, c) for c in params.cells]
    jobs = [dataclasses.astuple(job) for group in (MAIN, ABLATIONS) for job in jobs_of(params, group)]
    shown = [cell.model_dump(mode="json", exclude={"training"}) for cell in cells]
    tasks = {name: own.datasets for name, own in params.tasks.items()}
    between = {name: own.model_dump() for name, own in params.attribution.items()}
    settings = [params_of(params, f"{BEFORE}{name}") for name in params.robustness.settings]
    robust = [own.model_dump(mode="json", include={"cells", "data"}) for own in settings]
    return json.dumps([shown, jobs, tasks, between, params.tuning.model_dump(), robust], sort_keys=True)


def run_on(project: Project, dataset: str, *sets: str) -> dict[str, Any]:
    """The settings of a run on radiographs or on volumes, of which every key is made."""
    params = for_datasets(load_params(project.params, sets=sets), [dataset])
    return params.model_dump(mode="json", exclude={"ct"})


def acts_on(field: str) -> set[str]:
    parts = field.split(".")
    names = [".".join(parts[:k]) for k in range(len(parts), 0, -1)]
    return next((ACTS_ON[name] for name in names if name in ACTS_ON), set())


def downstream(names: set[str]) -> set[str]:
    found = set(names)
    while more := set().union(*(FOLLOWS.get(name, set()) for name in found)) - found:
        found |= more
    return found


def value(project: Project, field: str) -> Any:
    shorter = [field, re.sub(r"^ct\.", "", field), re.sub(r"^(ct\.)?(method|cells)\.", "", field)]
    own = next((VALUES[name] for name in shorter if name in VALUES), None)
    if own is not None:
        return own
    now: Any = load_params(project.params, sets=ALSO.get(field, [])).model_dump(mode="json")
    for key in full(field).split("."):
        now = now[key]
    return another(FIELDS[field], now)


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_changes_what_it_acts_on_and_nothing_upstream(project: Project, keys_of, field: str) -> None:
    also = ALSO.get(field, [])
    item = f"{full(field)}={json.dumps(value(project, field))}"
    name = field.rpartition(".")[2]
    if "training" in field and name in FINE_TUNING:
        with pytest.raises(ParamsError, match="acts on encoders that are fine-tuned"):
            load_params(project.params, sets=[item])
        return
    if field == "method.method":
        with pytest.raises(ParamsError):
            load_params(project.params, sets=["method.clip.method=medclip"])
        return
    if name == "labels":
        with pytest.raises(ParamsError, match="acts on MedCLIP's targets; clip compares no labels"):
            load_params(project.params, sets=[item])
        return
    if field.startswith("ct."):
        one, other = (run_on(project, EVALUATE, *sets) for sets in (also, [*also, item]))
        assert one == other, "it acts on a run on volumes alone"
        one, other = (run_on(project, VOLUMES, *sets) for sets in (also, [*also, item]))
        assert one != other
        return
    before, after = keys_of(*also), keys_of(*also, item)
    changed = {made for made in before if before[made] != after[made]}
    if field in WORDS or ("training" in field and name in TIME_AND_MEMORY):
        assert changed == set()
    elif field in CHOOSES:
        assert changed == set()
        assert chosen(project, *also) != chosen(project, *also, item)
    else:
        wanted = acts_on(field)
        assert wanted, f"say in ACTS_ON what {field} acts on"
        assert wanted <= changed, f"not made again: {sorted(wanted - changed)}"
        assert changed <= downstream(wanted), f"upstream: {sorted(changed - downstream(wanted))}"


@pytest.mark.parametrize("name", FINE_TUNING)
def test_a_setting_of_fine_tuning_acts_where_encoders_train(project: Project, keys_of, name: str) -> None:
    trains = "cells.own.encoders.train.image=full"
    other = another(FIELDS[f"training.{name}"], None)
    before, after = keys_of(trains), keys_of(trains, f"cells.own.training.{name}={other}")
    changed = {made for made in before if before[made] != after[made]}
    assert changed == {"own", f"own on {EVALUATE}"}


def test_the_labels_of_medclip_act_on_its_training_and_on_no_other(project: Project) -> None:
    def data(*sets: str) -> tuple[str, str, tuple[str, ...]]:
        params = load_params(project.params, sets=sets)
        now = Session(project, params, _silent)
        own = now.inputs(main_cell(params, "medclip"))
        return now.inputs(main_cell(params, "clip")).key, own.key, own.concepts

    before, after = data(), data("method.medclip.labels=chexpert14")
    assert before[0] == before[1] == after[0], "equal data, as long as the labels are"
    assert after[1] != before[1]
    assert len(after[2]) == 14


@pytest.mark.parametrize("name", METHODS.names())
def test_every_option_of_every_method_changes_its_training(project: Project, name: str) -> None:
    params = load_params(project.params)
    data = Session(project, params, _silent).inputs(main_cell(params, "clip"))
    cell = main_cell(params, name)

    def key(options: MethodConfig) -> str:
        own = cell.model_copy(update={"options": options})
        found = training_key(untrained(own, 0, data), data, own.training, 0)
        assert [run_key(project, own, 0, data) for _ in range(2)] == [found] * 2, "made, then kept"
        return found.digest

    seen = {key(cell.options)}
    fields = type(cell.options).model_fields
    for field, about in fields.items():
        now = cell.options.model_dump()
        double = field == "width" or field.endswith(("heads", "feedforward"))  # one divides the other
        other = 2 * (now[field] or 1) if double else another(about.annotation, now[field])
        seen.add(key(configure(name, {**now, field: other})))
    assert len(seen) == len(fields) + 1


def test_the_key_of_a_training_is_kept_while_what_it_rests_on_is_the_same(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = load_params(project.params)
    data = Session(project, params, _silent).inputs(main_cell(params, "clip"))
    cell, drawn = main_cell(params, "clip"), []
    plain = train_stage.untrained
    monkeypatch.setattr(train_stage, "untrained", lambda *given: drawn.append(given) or plain(*given))

    def drawn_for(seed: int) -> int:
        before = len(drawn)
        assert run_key(project, cell, seed, data) == training_key(
            plain(cell, seed, data), data, cell.training, seed
        )
        return len(drawn) - before

    assert [drawn_for(7), drawn_for(7), drawn_for(8)] == [1, 0, 1]
    monkeypatch.setattr(train_stage, "source", lambda *_: "other code")
    assert [drawn_for(7), drawn_for(7)] == [1, 0]
    monkeypatch.setattr(train_stage, "machine", lambda: ["another"])
    assert [drawn_for(7), drawn_for(7)] == [1, 0]
    monkeypatch.setattr(train_stage, "installed", lambda: states.State("other packages", 0))
    assert [drawn_for(7), drawn_for(7)] == [1, 0]
    monkeypatch.setattr(type(data), "key", property(lambda _: "other data"))
    assert [drawn_for(7), drawn_for(7)] == [1, 0]


def test_what_training_texts_say_is_that_of_the_texts(project: Project) -> None:
    texts = [["There is pleural effusion", "There is no nodule"], [], ["There is pleural effusion"]]
    for own in (texts, [*texts, ["There is pneumothorax"], ["There is pneumothorax"]]):
        made = training_findings(own, at_least=2)
        for _ in range(2):
            found = train_stage._findings(project, own)
            assert (found.concepts, found.sentences) == (made.concepts, made.sentences)
            np.testing.assert_array_equal(found.text, made.text)
            np.testing.assert_array_equal(found.images, made.images)
            assert (found.text.dtype, found.images.dtype) == (made.text.dtype, made.images.dtype)


def test_what_lies_in_a_folder_is_looked_at_again_where_a_file_changed(project: Project) -> None:
    params = load_params(project.params)
    Session(project, params, _silent).manifest(EVALUATE)
    at = source_of(project, params, EVALUATE)
    before = manifest_key(project, at)
    assert manifest_key(project, at) == before
    added = at.root / "added.csv"
    try:
        added.write_text("a")
        first = manifest_key(project, at)
        added.write_text("b, longer")
        second = manifest_key(project, at)
    finally:
        added.unlink()
    assert len({before.digest, first.digest, second.digest}) == 3
    assert manifest_key(project, at) == before


def test_a_table_of_equal_size_under_its_old_time_is_another_table(project: Project) -> None:
    """As `cp -p` and `rsync -t` leave one whose labels were corrected."""
    params = load_params(project.params)
    Session(project, params, _silent).manifest(EVALUATE)
    at = source_of(project, params, EVALUATE)
    table = at.root / "labels.csv"
    try:
        keys = []
        for text in ("image,Mass,1", "image,Mass,0"):
            table.write_text(text)
            os.utime(table, (1e9, 1e9))
            keys.append(manifest_key(project, at).digest)
    finally:
        table.unlink()
    assert len(set(keys)) == 2


@pytest.mark.parametrize("put_back", [False, True])
def test_a_table_that_changes_while_it_is_read_leaves_no_manifest(
    project: Project, monkeypatch: pytest.MonkeyPatch, put_back: bool
) -> None:
    """Put back afterwards, it would find the manifest of the other table under its own key."""
    params = load_params(project.params)
    at = source_of(project, params, EVALUATE)
    made = prepare_dataset(project, params, EVALUATE)
    table = next(path for path in sorted(at.root.rglob("*.csv")) if path.is_file())
    kept = table.read_bytes()

    def edited(*asked: Any) -> Manifest:
        table.write_bytes(kept + b"\n")
        found = read_dataset(*asked)
        if put_back:
            table.write_bytes(kept)
        return found

    (made.folder / "made.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr("benchmark.data.dataset.read_dataset", edited)
        with pytest.raises(DataError, match=f"changed while {EVALUATE} was read. Run again"):
            prepare_dataset(project, params, EVALUATE)
    table.write_bytes(kept)
    assert not (made.folder / "made.json").exists()
    assert len(prepare_dataset(project, params, EVALUATE).load()) == len(made.load())
