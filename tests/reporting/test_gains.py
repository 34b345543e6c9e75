"""Gains by size of lesions and by prompts that training has seen, where both are known."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmark.core.tables import write_table
from benchmark.data.cards import load_card
from benchmark.evaluation.statistics.seeds import summarise
from benchmark.grid.layout import Project
from benchmark.grid.params_file import load_params
from benchmark.prompts.class_prompts import class_prompts
from benchmark.reporting import gains as module
from benchmark.reporting.gains import areas_of, gains, rank_correlation, verbatim
from benchmark.reporting.gather import Gathered
from benchmark.reporting.joint import panels_of
from benchmark.reporting.tables.gains import gains_table


@pytest.fixture
def gathered(project):
    return Gathered(Project(project), load_params(project / "params.yaml"), "all")


def test_correlation_and_limits_are_those_of_bonett_and_wright():
    rng = np.random.default_rng(0)
    x = rng.normal(size=40)
    y = 0.5 * x + rng.normal(size=40)
    rho, low, high = rank_correlation(x, y)
    assert rho == pytest.approx(stats.spearmanr(x, y).statistic)
    half = 1.959964 * np.sqrt((1 + rho**2 / 2) / 37)
    assert (np.arctanh(low), np.arctanh(high)) == pytest.approx(
        (np.arctanh(rho) - half, np.arctanh(rho) + half)
    )
    covered = 0
    for _ in range(400):
        one = rng.normal(size=25)
        found = rank_correlation(one, rng.normal(size=25))
        covered += found[1] <= 0 <= found[2]
    assert 0.92 <= covered / 400 <= 0.98
    assert rank_correlation(x[:3], y[:3]) is None
    assert rank_correlation(x, np.ones(40)) is None


def test_boxes_are_those_of_a_class_and_of_what_lies_below_it(tmp_path):
    path = tmp_path / "x.truth.parquet"
    rows = [("image", "pneumothorax", "present", 10, 20), ("image", "pneumothorax", "present", 10, 40),
            ("image", "hydropneumothorax", "present", 10, 60), ("image", "nodule", "present", None, None),
            ("sentence", "nodule", "present", 5, 5)]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["source", "concept", "presence", "w", "h"])
    write_table(path, frame, {"spec": {"size": 100}})
    found = areas_of(path, load_card("chestxray14"), ("Pneumothorax", "Nodule"))
    assert found == {"Pneumothorax": pytest.approx(0.04)}


def test_a_prompt_is_verbatim_where_a_training_text_is_the_same_sentence(gathered):
    card = load_card("chestxray14")
    prompts = class_prompts(card, None, "template", template="There is {}")
    text = prompts.texts[prompts.class_of_text.index(2)]
    wanted = {module.plain(f"  {text.upper()}. ")}
    assert verbatim(gathered, card, prompts.classes, wanted) == (prompts.classes[2],)


def test_gains_of_the_two_kinds_are_those_of_their_classes(gathered, monkeypatch):
    """The simulated CARZero gains the same everywhere, so that neither kind nor size should matter."""
    scores = gathered.scores("clip-main", "chestxray14")
    monkeypatch.setattr(module, "training_sentences", lambda _: {"x"})
    monkeypatch.setattr(module, "verbatim", lambda _, card, classes, texts: classes[:5])
    monkeypatch.setattr(
        module, "box_areas", lambda _, card, classes: {c: 0.1 + k for k, c in enumerate(classes)}
    )
    own, alone = sorted(gains(gathered), key=lambda g: g.dataset != "chestxray14")
    assert (alone.dataset, alone.verbatim[0], alone.others, alone.apart) == ("chexpert", 5, None, None)
    assert (own.name, own.sized) == ("carzero-main", len(scores.classes))
    assert own.verbatim[0] == 5
    change = [
        summarise(panels_of(gathered.scores(name, "chestxray14"))).mean[: len(scores.classes)]
        for name in ("carzero-main", "clip-main")
    ]
    by_class = change[0] - change[1]
    assert own.verbatim[1].value == pytest.approx(by_class[:5].mean(), abs=1e-6)
    assert own.others[1].value == pytest.approx(by_class[5:].mean(), abs=1e-6)
    assert own.apart.value == pytest.approx(own.verbatim[1].value - own.others[1].value, abs=1e-6)
    assert own.apart.low < own.apart.value < own.apart.high
    (row,) = gains_table([own], gathered.evidence).rows
    assert row["gain"] == "CARZero − CLIP"
    assert row["verbatim_classes"] == 5
    lone = gains_table([replace(own, verbatim=None, apart=None, by_size=None)], gathered.evidence)
    assert lone.rows[0]["verbatim"] is None


def test_a_method_that_params_no_longer_name_has_none(project, tmp_path):
    """Its results are there, and the summary counts them."""
    shutil.copytree(project, tmp_path / "project")
    params = tmp_path / "project" / "params.yaml"
    text = params.read_text().replace("methods: [clip, carzero]", "methods: [clip]")
    params.write_text(
        text.replace("prompt_ablation: {methods: [carzero]", "prompt_ablation: {methods: [clip]")
    )
    rest = Gathered(Project(tmp_path / "project"), load_params(params), "all")
    assert rest.scores("clip-main", "chestxray14") is not None
    assert rest.scores("carzero-main", "chestxray14") is None
    assert gains(rest) == []


def test_volumes_have_none(gathered):
    assert gains(replace(gathered, part="ct")) == []
