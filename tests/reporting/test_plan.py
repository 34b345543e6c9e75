"""`bench plan`: from assumptions, two files, and two cells; and one line for what cannot be planned."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from benchmark.cli import main
from benchmark.evaluation.comparison import Run, compare, summarise_runs
from benchmark.evaluation.statistics import pilots
from benchmark.evaluation.statistics.reach import WITHHELD


def planned(capsys, *arguments: str) -> dict:
    assert main(["plan", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture(autouse=True)
def rough(monkeypatch):
    """What the command passes on is tested here; tests/evaluation/test_planning.py tests the plans."""
    monkeypatch.setattr(pilots, "SAMPLES", (30, 30))


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CXR_ALIGNBENCH_HOME", raising=False)
    rng = np.random.default_rng(0)
    n = 600
    y = (rng.random((n, 3)) < [0.2, 0.05, 0.0]).astype(int)
    base = rng.standard_normal((n, 3)) + y
    ids = [f"i{i}" for i in range(n)]
    patients = [f"p{i // 2}" for i in range(n)]
    names = ["Edema", "Mass", "Empty"]
    frame = pd.DataFrame(y, columns=names)
    frame.insert(0, "patient_id", patients)
    frame.insert(0, "image_id", ids)
    frame.to_csv("labels.csv", index=False)
    scores = {}
    for name, extra in (("ours", 0.3), ("theirs", 0.0)):
        scores[name] = base + 0.7 * rng.standard_normal((n, 3)) + extra * y
        own = pd.DataFrame(scores[name], columns=names)
        own.insert(0, "image_id", ids)
        own.to_csv(f"{name}.csv", index=False)
    return y, np.array(patients), names, scores


FILES = ("ours.csv", "theirs.csv", "--labels", "labels.csv")


def test_two_files_plan_with_the_standard_error_of_their_comparison(files, capsys):
    y, patients, names, scores = files
    runs = [Run(name, 0, own) for name, own in scores.items()]
    table = compare(summarise_runs(runs, y, patients, names))
    row = table[(table["class"] == "macro") & (table.stratum == "all") & (table.metric == "auroc")].iloc[0]
    value = planned(capsys, *FILES, "--difference", "0.05", "--patients", "300")
    (found,) = value["rows"]
    assert value["family"] == 1
    from benchmark.evaluation.statistics.paired import predicted_power

    known = predicted_power(0.05, row.se, row.df, 0.95)
    assert known - 0.03 < found["power"] < known  # less, as the variance itself is an estimate
    assert found["detectable"] == pytest.approx(row.mde, rel=0.1)
    assert found["detectable"] > row.mde
    assert found["images"] == 600
    assert found["positive_patients"] == row_patients(y, patients)
    one = planned(capsys, *FILES, "--difference", "0.05", "--class", "Edema")
    assert one["rows"][0]["power"] == pytest.approx(0.8, abs=0.01)


def test_a_plan_withholds_an_effect_that_cannot_be(capsys):
    options = ("--prevalence", "0.02", "--auroc", "0.85", "--difference", "0.1", "--family", "1")
    few = planned(capsys, *options, "--patients", "400")
    assert (few["rows"][0]["detectable"], few["rows"][0]["detectable_undefined"]) == (None, WITHHELD)
    assert main(["plan", *options, "--patients", "400"]) == 0
    assert WITHHELD in capsys.readouterr().out
    many = planned(capsys, *options, "--patients", "4000")
    assert many["rows"][0]["detectable"] < 0.15
    assert many["rows"][0]["detectable_undefined"] == ""


def row_patients(y: np.ndarray, patients: np.ndarray) -> int:
    return len(set(patients[y.any(axis=1)]))


def test_two_cells_plan_from_their_seeds(inside, capsys):
    value = planned(capsys, "carzero", "clip", "--dataset", "chexpert", "--difference", "0.05")
    assert [r["seeds"] for r in value["rows"]] == [2, 3, 5, 10]
    assert value["family"] == 1  # two methods, one pair
    assert "chexpert" in value["source"]
    assert "twin" in value["source"]
    needs = [r["patients"] for r in value["rows"] if r["patients"]]
    assert needs == sorted(needs, reverse=True)
    one = planned(
        capsys, "carzero", "clip", "--dataset", "chexpert", "--class", "Edema", "--difference", "0.05"
    )
    frame = pd.read_parquet(inside / "results" / "summary" / "main" / "comparisons.parquet")
    tests = frame[(frame.family == "class") & (frame.metric == "auroc") & frame.p.notna()]
    mains = ["carzero-main", "clip-main"]
    tests = tests[tests.method_a.isin(mains) & tests.method_b.isin(mains) & (tests.dataset == "chexpert")]
    assert one["family"] == len(tests)


def test_assumptions_from_a_file_by_class_and_stratum(files, capsys, tmp_path):
    (tmp_path / "p.csv").write_text(
        "class,prevalence,auroc,stratum\nA,0.3,0.75,head\nB,0.1,0.7,tail\nC,0.15,,tail\n"
    )
    options = ("--prevalence", "p.csv", "--difference", "0.19")
    tail = planned(capsys, *options, "--stratum", "tail")
    assert tail["target"] == "stratum tail, 2 classes"
    row = tail["rows"][0]
    assert row["rarest"] == pytest.approx(row["patients"] * 0.1)
    assert row["positive_pairs"] == pytest.approx(row["patients"] * 0.25)
    power = {c: planned(capsys, *options, "--class", c, "--patients", "60")["rows"][0]["power"] for c in "AB"}
    assert power["A"] > power["B"]


def test_figure_and_text(files, capsys, tmp_path):
    arguments = ["plan", "--prevalence", "0.2", "--difference", "0.1", "--seed-sd", "0.01", "--seeds", "2,4"]
    assert main([*arguments, "--figure", "power.png"]) == 0
    text = capsys.readouterr().out
    assert "class 1: an AUROC difference of 0.1, 80% power" in text
    assert (tmp_path / "power.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--prevalence", "0.1", "--difference", "0.3"], "impossible for class 1"),
        (["--prevalence", "0.1", "--difference", "0"], "between 0 and 1"),
        (["--prevalence", "0.1,0", "--difference", "0.1"], "prevalence 0 gives no positives"),
        (["--prevalence", "lost.csv", "--difference", "0.1"], "lost.csv: no such file"),
        (["--prevalence", "0.1", "--difference", "0.1", "--seeds", "3"], "give --seed-sd"),
        (["--prevalence", "0.1", "--difference", "0.1", "--seeds", "1", "--seed-sd", "0.01"], "2 or more"),
        (["--prevalence", "0.1", "--difference", "0.1", "--seeds", "no"], "expected numbers of seeds"),
        (["--prevalence", "0.1", "--difference", "0.1", "--class", "2"], "unknown class '2'"),
        (["--prevalence", "0.1", "--difference", "0.1", "--stratum", "tail"], "unknown stratum 'tail'"),
        (["--prevalence", "0.1", "--difference", "0.1", "--figure", "a.doc"], "expected a name that ends in"),
        (["--prevalence", "0.1", "--difference", "0.1", "--correlation", "0.95"], "cannot correlate less"),
        ([*FILES, "--difference", "0.05", "--class", "Empty"], "no positives"),
        ([*FILES, "--difference", "0.05", "--class", "Edmea"], "Did you mean 'Edema'?"),
        ([*FILES, "--difference", "0.05", "--seeds", "3"], "one seed here"),
        ([*FILES, "--difference", "0.9"], "impossible for macro mean"),
        (["ours.csv", "ours.csv", "--labels", "labels.csv", "--difference", "0.1"], "ours.csv: given twice"),
        ([*FILES, "--difference", "0.05", "--images", "5"], "--images is an assumption of --prevalence"),
        ([*FILES, "--difference", "0.05", "--auroc", "0.9"], "--auroc is an assumption of --prevalence"),
        (["--prevalence", "capital.csv", "--difference", "0.1"], "column 'AUROC' is none of a plan"),
        (["--prevalence", "latin.csv", "--difference", "0.1"], "latin.csv: not UTF-8 text"),
        (
            ["--prevalence", ",".join(["0.1"] * 300) + ",no", "--difference", "0.1"],
            "no such file; give a CSV",
        ),
        (["--prevalence", "long.csv", "--difference", "0.1"], "long.csv:2: has more cells than the header"),
        (["ours.csv", "--difference", "0.1"], "nothing to plan from"),
        (["a", "b", "--difference", "0.1"], "give --labels for files, or --dataset for cells"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_cannot_be_planned_is_one_line(files, tmp_path, capsys, arguments, says):
    (tmp_path / "capital.csv").write_text("class,prevalence,AUROC\nA,0.1,0.95\n")
    (tmp_path / "latin.csv").write_bytes(b"class,prevalence\n\xe9,0.1\n")
    (tmp_path / "long.csv").write_text("class,prevalence\nA,0,1\n")
    assert main(["plan", *arguments]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["carzeroo", "clip", "--dataset", "chexpert"], "Did you mean"),
        (["carzero", "clip", "--dataset", "chexprt"], "Did you mean 'chexpert'?"),
        (["carzero", "clip", "--dataset", "chexpert", "--stratum", "tial"], "unknown stratum"),
        (["carzero", "clip", "--dataset", "chexpert", "--seeds", "1"], "2 or more"),
        (["carzero", "carzero-main", "--dataset", "chexpert"], "carzero-main: given twice"),
        (["carzero", "clip", "--dataset", "chexpert", "--class-correlation", "0.1"], "is an assumption of"),
    ],
)
def test_unknown_cells_are_one_line(inside, capsys, arguments, says):
    assert main(["plan", *arguments, "--difference", "0.05"]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
