"""The checklist says what lies on disk and nothing else, and its page maps exactly its items."""

from __future__ import annotations

import json
import re
import shutil

import pandas as pd
import pytest
from evidence_case import with_statistics

from benchmark.cli import main
from benchmark.core.tables import read_table
from benchmark.data.cards import load_card
from benchmark.reporting.checklist import ITEMS


def filled(capsys) -> dict[str, list[str]]:
    assert main(["report", "checklist", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    return {a["key"]: a["known"] for a in value["answers"]}


@pytest.fixture
def copied(project, tmp_path, monkeypatch):
    """A copy whose files may be changed."""
    home = tmp_path / "copy"
    shutil.copytree(project, home)
    monkeypatch.setenv("CXR_ALIGNBENCH_HOME", str(home))
    return home


def change_runs(home, **values) -> None:
    for path in home.glob("runs/*/seed-*/run.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("key", "values", "said"),
    [
        ("hardware", {"device": "Abacus 9"}, "devices: Abacus 9"),
        ("hardware", {"seconds": 77.0}, "seconds a training: 77"),
        ("hardware", {"peak_memory_bytes": 5 * 2**30}, "peak memory: 5.0 GiB"),
        ("versions", {"versions": {"torch": "9.9"}}, "torch 9.9"),
        ("versions", {"commit": "e" * 40}, f"commit: {'e' * 40}"),
        ("weights", {"model_sha256": "c" * 64}, f"clip-main, seed 0: sha256 {'c' * 64}"),
        ("training", {"training": {"epochs": 41}}, "clip-main: epochs 41"),
        ("partitions", {"train_images": 4321}, "training images: 4,321"),
        ("partitions", {"val_images": 765}, "validation images: 765"),
        ("architecture", {"parameters_trained": 99}, "CLIP, prompts template, 99 parameters trained"),
    ],
)
def test_what_it_says_of_trainings_is_what_run_json_says(copied, capsys, key, values, said):
    assert said not in "\n".join(filled(capsys)[key])
    change_runs(copied, **values)
    params = copied / "params.yaml"
    epochs = values.get("training", {"epochs": 3})["epochs"]
    params.write_text(params.read_text().replace("epochs: 3", f"epochs: {epochs}"))
    assert said in "\n".join(filled(capsys)[key])


def test_seeds_are_those_with_results(copied, capsys):
    known = filled(capsys)["seeds"]
    assert "clip-main: 3 seeds [0, 1, 2]" in known
    values = []
    for seed in range(3):
        frame, _ = read_table(copied / f"results/clip-main/seed-{seed}/chexpert/metrics.parquet")
        own = frame[(frame["class"] == "macro") & (frame.stratum == "all") & (frame.metric == "auroc")]
        values.append(own.value.iloc[0])
    spread = pd.Series(values).std()
    assert f"clip-main, chexpert: standard deviation of macro AUROC over seeds {spread:.3f}" in known


def test_sets_positives_and_performance_are_those_of_the_summary(inside, capsys):
    known = filled(capsys)
    frame = pd.read_parquet(inside / "results" / "summary" / "all" / "metrics.parquet")
    for dataset in ("chestxray14", "chexpert"):
        _, meta = read_table(inside / "results" / "clip-main" / "seed-0" / dataset / "metrics.parquet")
        about = meta["evaluation"]
        card = load_card(dataset)
        assert any(
            line.startswith(f"{dataset}: {about['patients']:,} patients, {about['images']:,} images")
            for line in known["eligibility"]
        )
        assert any(f"protocol {about['protocol']}" in line for line in known["reference standard"])
        assert any(card.licence in line and card.version in line for line in known["data sources"])
        assert [line for line in known["known faults"] if line.startswith(dataset)] == [
            f"{dataset}: {i.issue} ({i.action})" for i in card.known_issues
        ]
        assert any(f"one {card.cluster_unit}" in x for x in known["dependence"] if x.startswith(dataset))
        own = frame[(frame.run_id == "clip-main") & (frame.dataset == dataset) & (frame.metric == "auroc")]
        own = own[own.stratum == "all"]
        single = own[~own["class"].isin(["macro", "weighted", "micro"])]
        (line,) = [x for x in known["positives"] if x.startswith(f"{dataset}: ") and "positive labels" in x]
        assert f"{single.n_pos.sum():,} positive labels" in line
        assert f"{single.n_pos.min():,} to {single.n_pos.max():,}" in line
        macro = own[own["class"] == "macro"].iloc[0]
        (line,) = [x for x in known["performance"] if x.startswith(f"{dataset}, clip-main")]
        assert f"{macro.value:.3f}" in line
        assert f"{macro.low:.3f}" in line


def test_statistics_and_claims_are_those_of_the_project(copied, capsys):
    known = filled(capsys)
    frame = pd.read_parquet(copied / "results" / "summary" / "all" / "comparisons.parquet")
    own = frame[(frame.metric == "auroc") & (frame.family == "macro")]
    undefined = int((own.undefined != "").sum())
    said = f"comparisons of family 'macro': {int(own.p.notna().sum())} tested, {undefined} undefined"
    assert said in known["statistics"]
    assert main(["verify", "--json"]) in (0, 1)
    judged = json.loads(capsys.readouterr().out)["claims"]
    on_radiographs = [j for j in judged if j["family"] != "volumes"]
    assert known["claims"] == [f"{j['claim']}: {j['verdict']}" for j in on_radiographs]
    assert "intervals: 95%, analytic" in known["statistics"]
    with_statistics(copied, "{level: 0.9, thresholded: true}")
    known = filled(capsys)
    assert "intervals: 90%, analytic" in known["statistics"]
    assert known["thresholds"] == ["decision metrics on thresholds of the validation split: on"]


def test_every_item_that_is_filled_is_filled_here(inside, capsys):
    """So that no field goes untested because the case has nothing for it."""
    known = filled(capsys)
    assert {i.key for i in ITEMS if i.fill} == {k for k, facts in known.items() if facts}


def test_text_leaves_a_field_for_what_only_the_author_knows(inside, capsys):
    assert main(["report", "checklist"]) == 0
    text = capsys.readouterr().out
    assert "SYNTHETIC TWIN" in text
    assert text.count("- [ ] ") == sum(bool(i.yours) for i in ITEMS)
    assert all(i.fill or i.yours for i in ITEMS)


def test_the_page_maps_every_item_and_no_other(root):
    page = (root / "docs" / "reporting.md").read_text(encoding="utf-8")
    table = page.split("<!-- items -->")[1].split("<!-- /items -->")[0]
    rows = re.findall(r"^\| ([^|]+) \|", table, re.M)[1:]
    assert rows == [i.key for i in ITEMS]


def test_without_results_it_is_one_line(tmp_path, monkeypatch, capsys, project):
    shutil.copy(project / "params.yaml", tmp_path / "params.yaml")
    monkeypatch.setenv("CXR_ALIGNBENCH_HOME", str(tmp_path))
    assert main(["report", "checklist"]) == 2
    error = capsys.readouterr().err
    assert "nothing was summarised" in error
    assert error.count("\n") == 1
