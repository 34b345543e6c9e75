"""The search is seeded and stratified, has one budget, and chooses by held-out sentences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.metrics import roc_auc_score
from training_cases import IMAGE_DIM, TEXT_DIM, make_data

from benchmark.core.errors import BenchError, MetricUndefined
from benchmark.core.settings import TrainConfig, set_fields
from benchmark.training.data import TrainingData
from benchmark.training.loop import seeded_method
from benchmark.training.tuning import EQUAL, SPACE, Range, Trial, Tuning, draws, tune
from benchmark.training.validation import HeldOut, match, truth
from methods.base import configure

QUICK = TrainConfig(epochs=4, batch_size=16, learning_rate=1e-7)


@pytest.fixture(scope="module")
def many() -> TrainingData:
    """Enough held-out images for every concept to be true of five."""
    return make_data(240)


def test_every_part_of_every_range_is_tried_once() -> None:
    found = draws(SPACE, 0, 13)
    assert found[0] == {}
    assert len(found) == 13
    for name in ("training.weight_decay", "options.normalise_inputs"):
        counts = {v: sum(trial[name] == v for trial in found[1:]) for v in SPACE[name].values}
        assert set(counts.values()) == {4}
    rates = np.sort(np.log10([trial["training.learning_rate"] for trial in found[1:]]))
    low, high = np.log10([SPACE["training.learning_rate"].low, SPACE["training.learning_rate"].high])
    part = (high - low) / 12
    assert all(low + i * part - 1e-3 <= r <= low + (i + 1) * part + 1e-3 for i, r in enumerate(rates))
    assert draws(SPACE, 0, 13) == found
    assert draws(SPACE, 1, 13) != found


def test_the_choice_is_the_best_trial_and_is_recorded(many: TrainingData, tmp_path: Path) -> None:
    space = {
        "training.learning_rate": Range(kind="choice", values=(1e-7, 5e-3)),
        "options.width": Range(kind="choice", values=(64, 128, 256)),
    }
    found = tune("clip", many, tmp_path / "runs", trials=3, space=space, training=QUICK)
    assert all(len(trial.repeats) == 2 for trial in found.trials)
    assert len({found.chosen.score, *found.chosen.repeats}) > 1  # further seeds train anew
    assert found.chosen.mean > max(trial.mean for trial in found.trials) - EQUAL
    assert found.values("training")["learning_rate"] == 5e-3
    content = yaml.safe_load(found.write(tmp_path).read_text())
    assert (tmp_path / "clip.yaml").is_file()
    assert len(content["trials"]) == 3
    assert content["training"] == found.values("training")
    assert "held-out" in content["criterion"]
    assert content["fixed"] == {f"training.{name}": value for name, value in set_fields(QUICK).items()}
    again = tune("clip", many, tmp_path / "runs", trials=3, space=space, training=QUICK)
    assert again == found


def test_of_equals_the_lowest_rate_is_chosen(many: TrainingData, tmp_path: Path, monkeypatch) -> None:
    space = {"training.learning_rate": Range(kind="choice", values=(1e-6, 2e-6))}
    found = tune("clip", many, tmp_path, trials=3, space=space, training=QUICK)  # rates that change nothing
    means = [trial.mean for trial in found.trials]
    assert max(means) - min(means) < EQUAL
    assert found.chosen.number == 0  # whose rate is that of QUICK, 1e-7
    monkeypatch.setattr("benchmark.training.tuning.EQUAL", 1e-12)
    best = tune("clip", many, tmp_path, trials=3, space=space, training=QUICK).chosen
    assert best.mean == max(means)


def test_what_evaluation_sets_say_is_recorded_and_never_chooses(tmp_path: Path) -> None:
    worse = Trial(0, {}, 0.6, 1.0, 1.0, repeats=(0.6, None))
    better = Trial(1, {"training.learning_rate": 1e-3}, 0.7, 1.0, 1.0, repeats=(0.7, 0.7))
    failed = Trial(2, {"training.learning_rate": 1e-2}, None, None, 0.0)
    plain = Tuning("clip", 0, {}, dict(SPACE), (worse, better, failed), better, 3, 10, 5)
    asked = []

    def against_the_choice(number: int, repeat: int) -> dict[str, float | None]:
        asked.append((number, repeat))
        return {"padchest": 0.9 - 0.1 * number, "openi": None}

    found = plain.sealed(against_the_choice).beside([0.65, 0.66], {"padchest": "twin"})
    assert asked == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]  # the diverged ones have no model to ask
    assert found.chosen.number == 1
    assert found.chosen.sealed == {"padchest": (0.8, 0.8, 0.8), "openi": (None, None, None)}
    assert found.trials[0].sealed["padchest"] == (0.9, 0.9, None)
    content = yaml.safe_load(found.write(tmp_path).read_text())
    assert content["training"] == {"learning_rate": 1e-3}
    assert content["trials"][0]["sealed"] == {"padchest": [0.9, 0.9, None], "openi": [None, None, None]}
    assert content["trials"][2]["sealed"] == {}
    assert content["in_use"] == [0.65, 0.66]
    assert content["origins"] == {"padchest": "twin"}


def test_diverged_trials_are_marked(many: TrainingData, tmp_path: Path) -> None:
    space = {"training.learning_rate": Range(kind="choice", values=(1e38,))}
    options = configure("clip", {"similarity": "dot"})
    training = TrainConfig(epochs=1, batch_size=16, optimiser="sgd", clip_norm=None)
    found = tune("clip", many, tmp_path, trials=2, space=space, options=options, training=training)
    assert [trial.score is None for trial in found.trials] == [False, True]
    with pytest.raises(BenchError, match="all 1 tuning trials diverged"):
        tune(
            "clip",
            many,
            tmp_path / "x",
            trials=1,
            options=options,
            training=training.model_copy(update={"learning_rate": 1e38}),
        )


def test_truth_follows_the_reports() -> None:
    data = make_data()
    rows = np.unique(np.concatenate([data.sentences(n) for n in data.val]))
    labels, groups = truth(data, rows)
    for v, example in enumerate(data.val):
        for t, row in enumerate(rows):
            same = bool((data.image_findings[example] == data.text_findings[row]).all())
            assert labels[v, t] == int(same)
    assert len(set(groups)) == len({tuple(data.text_findings[row]) for row in rows})


def test_denials_of_unmentioned_findings_are_left_out() -> None:
    data = make_data()
    image = np.zeros_like(data.image_findings)
    image[data.val[0], 0], image[data.val[1], 0] = 1, -1
    text = -np.abs(data.text_findings)
    changed = type(data)(**{**data.__dict__, "image_findings": image, "text_findings": text})
    rows = np.array([0])  # "no finding 0"
    labels, _ = truth(
        type(data)(**{**changed.__dict__, "text_offsets": np.zeros_like(data.text_offsets)}), rows
    )
    assert labels[0, 0] == 0
    assert labels[1, 0] == 1
    assert set(labels[2:, 0]) == {-1}


def test_the_score_is_the_mean_auroc_over_groups() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(60, 3)).round(1)
    labels = rng.integers(-1, 2, (60, 3)).astype(np.int8)
    each = []
    for column in range(3):
        kept = labels[:, column] >= 0
        each.append(roc_auc_score(labels[kept, column], scores[kept, column]))
    found = match(scores, labels, np.array([0, 0, 1]))
    assert found.auroc == pytest.approx(((each[0] + each[1]) / 2 + each[2]) / 2)
    assert (found.groups, found.sentences) == (2, 3)
    with pytest.raises(MetricUndefined, match="no held-out sentence"):
        match(scores, np.ones_like(labels), np.array([0, 0, 1]))


def test_untrained_methods_score_near_chance(data: TrainingData) -> None:
    method = seeded_method("clip", {"width": 8}, IMAGE_DIM, TEXT_DIM, 0)
    assert 0.1 < HeldOut(data, least=1).match(method).auroc < 0.9
