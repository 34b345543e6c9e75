"""Whether a ranking survives a setting: signs of pairs, τ and its limits, and the tables that show them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmark.cli import main
from benchmark.core.errors import DataError
from benchmark.grid.layout import Project
from benchmark.grid.params_file import load_params
from benchmark.reporting.figures.robustness import robustness
from benchmark.reporting.robustness import ONE_SEED, standings
from benchmark.reporting.robustness_records import joined, keep, record_file, recorded
from benchmark.reporting.tables.robustness import agreement, ranks, robustness_tables, swaps
from benchmark.stages.robustness import Ranked, Study
from benchmark.stages.run import Session

METHODS = ("clip", "carzero", "radzero")


@pytest.fixture(scope="module")
def study():
    """Skill of the methods: far apart by default; under width-32 two of them change places."""
    rng = np.random.default_rng(0)
    labels = (rng.random((500, 2)) < 0.3).astype(np.int8)
    patients = np.array([f"p{i}" for i in range(500)])
    shared = rng.normal(size=labels.shape)

    def scores(skills, seeds):
        return {
            (method, "padchest"): np.stack(
                [labels * skill + shared + 0.3 * rng.normal(size=labels.shape) for _ in range(seeds)]
            )
            for method, skill in zip(METHODS, skills, strict=True)
        }

    params = load_params(Path(__file__).resolve().parents[2] / "params.yaml")
    params = params.model_copy(update={"methods": METHODS})
    chosen = SimpleNamespace(labels=labels, patients=patients, classes=("a", "b"))
    at = SimpleNamespace(
        chosen=chosen, manifest=SimpleNamespace(origin="twin"), identity="images", content=lambda need: need
    )
    ranked = (
        Ranked("", scores((0.5, 1.5, 3.0), 3), (("clip", 0), ("radzero", 2)), ("c0ffee0123456",)),
        Ranked("lite2", scores((0.5, 1.5, 3.0), 1), (("carzero", 0),), ("c0ffee0123456",)),
        Ranked("width-32", scores((0.5, 3.0, 1.5), 1), (), ("badcafe012345",)),
    )
    return Study(params, {"padchest": at}, ranked, {"width-128": "clip-width-128 seed 0 is not trained"})


def test_pairs_keep_or_change_places_and_tau_follows_with_its_limits(study):
    found = {own.setting: own for own in standings(study)}
    assert list(found) == ["", ONE_SEED, "lite2", "width-32"]
    assert [found[""].rank(m, "padchest") for m in METHODS] == [3, 2, 1]
    assert found["lite2"].count().tau() == (1.0, 1.0, 1.0)
    assert found[ONE_SEED].count().tau()[0] == 1.0
    turned = found["width-32"].count()
    assert (turned.agree, turned.pairs) == (2, 3)
    assert turned.tau() == pytest.approx((1 / 3, 1 / 3, 1 / 3)), "every sign is separable"
    (swap,) = [p for p in found["width-32"].pairs if p.swapped]
    assert (swap.methods, swap.separable) == (("carzero", "radzero"), True)


def test_signs_that_are_not_separable_leave_tau_open(study):
    """Scores without skill, whose order is chance."""
    rng = np.random.default_rng(1)
    chance = {key: rng.normal(size=(1, *own.shape[1:])) for key, own in study.ranked[0].scores.items()}
    noisy = replace(study, ranked=(study.ranked[0], Ranked("lite2", chance, (), ())))
    count = standings(noisy)[-1].count()
    assert (count.least, count.most) == (0, 3)
    assert count.tau()[1:] == (-1.0, 1.0)


@pytest.mark.parametrize("value", [float("nan"), 0.0])
def test_a_pair_without_a_sign_is_not_counted_as_one_that_agrees(study, value):
    own = standings(study)[-1]
    pairs = tuple(replace(p, here=replace(p.here, value=value), separable=False) for p in own.pairs)
    count = replace(own, pairs=pairs).count()
    assert (count.agree, count.disagree, count.least, count.most) == (0, 0, 0, len(pairs))
    assert count.tau() == (0, -1, 1)


def test_a_method_without_auroc_has_no_rank(study):
    found = standings(study)
    values = {**found[0].values, ("clip", "padchest"): (float("nan"),) * 3}
    own = replace(found[0], values=values)
    assert [own.rank(m, "padchest") for m in METHODS] == [None, 2, 1]
    (row,) = ranks(study, [own]).rows
    assert row["clip"] is None


def test_tables_and_figure_hold_every_setting_and_name_those_that_were_not_run(study):
    found = standings(study)
    of_ranks = ranks(study, found)
    assert [row["setting"] for row in of_ranks.rows] == ["default", ONE_SEED, "lite2", "width-32"]
    assert of_ranks.rows[3]["carzero"][1] == 1
    assert [row["rising"] for row in of_ranks.rows] == ["CLIP, RadZero", "CLIP", "CARZero", ""]
    assert [row["swapped"] for row in agreement(study, found).rows][-1] == "CARZero/RadZero (padchest)"
    (pair,) = [row for row in swaps(study, found).rows if row["swapped"]]
    assert (pair["a"], pair["b"], pair["surely"], pair["where"]) == ("carzero", "radzero", 1, "width 32")
    for table in robustness_tables(study, found):
        assert table.synthetic
        assert table.commit == "c0ffee0123, badcafe012"
        assert all(row["seen"] == "zero-shot" for row in table.rows)
        assert any("width 128 (width-128): clip-width-128 seed 0 is not trained" in n for n in table.notes)
    drawing = robustness(study, found)
    assert len(drawing.figure.axes[0].lines) == 3
    assert len(drawing.figure.axes[0].texts) == 3, "τ of every column but the default's"


@pytest.fixture
def command(study, tmp_path, monkeypatch):
    """`bench stage robustness` over the study's scores: settings that were read, settings that were trained,
    and how it ended. default: what reading the default comes to."""
    read, trained = [], []

    def call(default=study.ranked[0]):
        there = {"": default, **{own.setting: own for own in study.ranked[1:]}}

        def ranked(session, setting, *_):
            read.append(setting)
            return there.get(setting, "clip is not trained")

        monkeypatch.setattr("benchmark.stages.robustness._ranked", ranked)
        code = main(["stage", "robustness"])
        return code, read, trained

    one_set = study.params.robustness.model_copy(update={"evaluate": ("padchest",)})
    params = study.params.model_copy(update={"robustness": one_set})
    now = Session(Project(tmp_path), params, lambda line: None)
    monkeypatch.setattr("benchmark.stages.entry.session", lambda: now)
    monkeypatch.setattr(Session, "evaluation_data", lambda self, dataset: study.sets["padchest"])
    carry_out = lambda _, params, group, *rest: trained.append(group) or group  # noqa: E731
    monkeypatch.setattr("benchmark.stages.robustness.carry_out_cells", carry_out)
    return call


def test_the_scores_of_the_default_are_read_once(study, command):
    code, read, trained = command()
    assert code == 0
    assert read == ["", *study.params.robustness.settings]
    assert trained == [f"robustness/{setting}" for setting in study.params.robustness.settings]


def test_without_the_default_nothing_is_trained(command, capsys):
    code, _, trained = command("clip-main seed 0 is not trained")
    assert (code, trained) == (2, [])
    assert "clip-main seed 0 is not trained. Run `bench stage cells main`." in capsys.readouterr().err


def elsewhere(study, *settings):
    """The study on a machine that has results of these settings alone."""
    ranked = tuple(own for own in study.ranked if own.setting in ("", *settings))
    others = [own.setting for own in study.ranked if own.setting not in ("", *settings)]
    return replace(study, ranked=ranked, lacking={**study.lacking, **dict.fromkeys(others, "is not trained")})


def test_settings_that_were_trained_elsewhere_stand_in_the_tables_to_the_last_digit(study, tmp_path):
    keep(elsewhere(study, "lite2"), standings(elsewhere(study, "lite2")), tmp_path)
    here = elsewhere(study, "width-32")
    whole, found = joined(here, standings(here), tmp_path)
    assert [own.setting for own in found] == ["", ONE_SEED, "lite2", "width-32"]
    assert whole.lacking == study.lacking
    for made, again in zip(
        robustness_tables(study, standings(study)), robustness_tables(whole, found), strict=True
    ):
        assert [list(row.items()) for row in again.records()] == [list(row.items()) for row in made.records()]
        assert again.commit == made.commit


def _noisier(study):
    first = study.ranked[0]
    scores = {key: own + 1e-6 for key, own in first.scores.items()}
    return replace(study, ranked=(replace(first, scores=scores), *study.ranked[1:]))


def _retuned(study):
    method = study.params.method
    clip = method["clip"]
    faster = clip.model_copy(update={"training": clip.training.model_copy(update={"learning_rate": 0.01})})
    return replace(study, params=study.params.model_copy(update={"method": {**method, "clip": faster}}))


def _relabelled(study):
    at = study.sets["padchest"]
    return replace(
        study, sets={"padchest": SimpleNamespace(**{**vars(at), "content": lambda need: "others"})}
    )


@pytest.mark.parametrize(
    ("change", "part"), [(_noisier, "default"), (_retuned, "cells"), (_relabelled, "sets")]
)
def test_a_record_of_anything_else_does_not_stand_in_for_a_setting(study, tmp_path, change, part):
    keep(elsewhere(study, "lite2"), standings(elsewhere(study, "lite2")), tmp_path)
    here = change(elsewhere(study))
    held, refused = recorded(here, tmp_path)
    assert held == {}
    assert refused == {"lite2": f"its record is of other {part}"}
    whole, found = joined(here, standings(here), tmp_path)
    assert [own.setting for own in found] == ["", ONE_SEED]
    assert whole.lacking["lite2"] == refused["lite2"]


def test_what_is_no_record_is_refused_in_one_line(study, tmp_path):
    path = record_file(tmp_path, "lite2")
    path.parent.mkdir()
    path.write_text('{"key": 1}\n')
    with pytest.raises(DataError, match=r"lite2\.json: not the record of a setting"):
        recorded(elsewhere(study), tmp_path)
