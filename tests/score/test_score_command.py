from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from benchmark.core.tables import METRIC_COLUMNS, Predictions, ScoresRecord, read_table
from benchmark.evaluation.evaluate import evaluate
from benchmark.evaluation.evaluation_data import subgroups_of
from benchmark.evaluation.statistics.reach import WITHHELD
from benchmark.score.joining import age_bands
from tests.score.scoring import auroc, run, score

CLASSES = ["atelectasis", "effusion", "mass"]


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    n = 240
    ids = [f"{i:05d}" for i in range(n)]
    labels = pd.DataFrame((rng.random((n, 3)) < [0.3, 0.15, 0.06]).astype(int), columns=CLASSES)
    scores = pd.DataFrame(rng.standard_normal((n, 3)) + labels.to_numpy(), columns=CLASSES)
    labels.insert(0, "image_id", ids)
    labels.insert(1, "patient_id", [f"p{i // 2}" for i in range(n)])
    labels.insert(2, "sex", np.where(np.arange(n) % 3 == 0, "F", "M"))
    labels.insert(3, "age", rng.integers(10, 95, n))
    scores.insert(0, "image_id", ids)
    scores.to_csv(tmp_path / "scores.csv", index=False)
    labels.to_csv(tmp_path / "labels.csv", index=False)
    return tmp_path, scores, labels


def test_joins_by_id_and_name_and_gives_unrounded_numbers(files, capsys):
    folder, scores, labels = files
    expected = roc_auc_score(labels[CLASSES], scores[CLASSES], average="macro")
    plain = score(capsys, folder / "scores.csv", "--labels", folder / "labels.csv")
    assert auroc(plain)["value"] == pytest.approx(expected, abs=1e-12)
    assert auroc(plain)["n_patients"] == 120
    shuffled = scores.sample(frac=1, random_state=1)[["image_id", *reversed(CLASSES)]]
    shuffled.to_parquet(folder / "other.parquet")
    assert auroc(score(capsys, folder / "other.parquet", "--labels", folder / "labels.csv")) == {
        **auroc(plain),
        "method": "other",
    }


def test_shares_the_code_path_of_the_pipeline(files, capsys):
    folder, scores, labels = files
    direct = evaluate(
        scores[CLASSES].to_numpy(), labels[CLASSES].to_numpy(), labels.patient_id.to_numpy(), CLASSES
    )
    found = pd.DataFrame(score(capsys, folder / "scores.csv", "--labels", folder / "labels.csv")["metrics"])
    assert list(found.columns) == list(METRIC_COLUMNS)
    for column in ("value", "low", "high"):
        assert np.allclose(found[column].astype(float), direct[column], equal_nan=True)


def test_long_files_with_their_own_labels(files, capsys):
    folder, scores, labels = files
    long = scores.melt("image_id", var_name="class", value_name="score")
    truth = labels.melt(["image_id", "patient_id"], CLASSES, var_name="class", value_name="label")
    long.merge(truth).sample(frac=1, random_state=0).to_csv(folder / "long.csv", index=False)
    wide = auroc(score(capsys, folder / "scores.csv", "--labels", folder / "labels.csv"))
    found = auroc(score(capsys, folder / "long.csv"))
    assert (found["value"], found["low"], found["high"]) == pytest.approx(
        (wide["value"], wide["low"], wide["high"])
    )
    assert found["n_patients"] == 120


def test_reads_the_suites_own_predictions(files, capsys):
    folder, scores, labels = files
    frame = scores.copy()
    frame.insert(1, "patient_id", labels.patient_id)
    Predictions(tuple(CLASSES), frame, ScoresRecord(method="clip")).save(folder / "predictions.parquet")
    result = score(capsys, folder / "predictions.parquet", "--labels", folder / "labels.csv")
    assert result["counts"]["predictions"]["classes scored"] == 3


def test_patients_from_a_file_a_column_or_nowhere(files, capsys):
    folder, _, labels = files
    bare = labels.drop(columns="patient_id")
    bare.assign(case=labels.patient_id).to_csv(folder / "bare.csv", index=False)
    labels[["image_id", "patient_id"]].to_csv(folder / "patients.csv", index=False)
    base = [folder / "scores.csv", "--labels"]
    full = auroc(score(capsys, *base, folder / "labels.csv"))
    by_file = score(capsys, *base, folder / "labels.csv", "--patients", folder / "patients.csv")
    assert auroc(by_file) == full
    alone = auroc(score(capsys, *base, folder / "labels.csv", "--patients", "none"))
    assert alone["note"].startswith("image-level")
    assert alone["n_patients"] is None
    code, _, err = run(capsys, *base, folder / "labels.csv", "--patients", "nobody")
    assert code == 2
    assert "--patients nobody" in err


def test_second_file_gives_a_paired_comparison(files, capsys):
    folder, scores, _ = files
    worse = scores.copy()
    worse[CLASSES] += 3 * np.random.default_rng(1).standard_normal((len(worse), 3))
    worse.to_csv(folder / "worse.csv", index=False)
    result = score(capsys, folder / "scores.csv", folder / "worse.csv", "--labels", folder / "labels.csv")
    row = next(r for r in result["comparisons"] if r["class"] == "macro" and r["stratum"] == "all")
    assert row["delta"] > 0
    assert row["p"] < 0.05
    assert row["p_holm"] >= row["p"]
    assert row["mde"] > 0
    assert [r["method"] for r in result["ranks"]][:2] == ["scores", "worse"]
    code, out, _ = run(capsys, folder / "scores.csv", folder / "worse.csv", "--labels", folder / "labels.csv")
    assert code == 0
    assert "scores - worse" in out


def test_an_effect_that_cannot_be_found_is_withheld_with_the_reason(tmp_path, capsys):
    rng = np.random.default_rng(3)
    ids = [f"i{n}" for n in range(60)]
    labels = np.zeros((60, 4), dtype=int)
    labels[np.arange(4), np.arange(4)] = 1
    for name, values in (("labels", labels), ("one", rng.random((60, 4))), ("two", rng.random((60, 4)))):
        pd.DataFrame(values, columns=list("wxyz"), index=pd.Index(ids, name="image_id")).to_csv(
            tmp_path / f"{name}.csv"
        )
    asked = (tmp_path / "one.csv", tmp_path / "two.csv", "--labels", tmp_path / "labels.csv")
    result = score(capsys, *asked, "--patients", "none")
    row = next(r for r in result["comparisons"] if (r["class"], r["stratum"]) == ("macro", "all"))
    assert (row["mde"], row["mde_undefined"], row["undefined"]) == (None, WITHHELD, "")
    code, out, _ = run(capsys, *asked, "--patients", "none")
    assert code == 0
    assert WITHHELD in out


def test_subgroups_deciles_thresholds_and_output(files, capsys):
    folder, _, _ = files
    target = folder / "rows.parquet"
    result = score(
        capsys, folder / "scores.csv", "--labels", folder / "labels.csv", "--subgroup", "sex", "--subgroup",
        "age", "--deciles", "--thresholded", "--output", target,
    )  # fmt: skip
    strata = {r["stratum"] for r in result["metrics"]}
    assert {"sex=F", "sex=M", "sex", "age=40-59", "age", "decile-01"} <= strata
    assert {"f1_max_test_set", "top_1", "ece"} <= {r["metric"] for r in result["metrics"]}
    saved, _ = read_table(target)
    assert len(saved) == len(result["metrics"])
    code, _, err = run(capsys, folder / "scores.csv", "--labels", folder / "labels.csv", "--subgroup", "site")
    assert code == 2
    assert "no subgroup column 'site'" in err


def test_positional_columns_only_on_request_and_with_the_mapping(files, capsys):
    folder, scores, _ = files
    scores.rename(columns={c: f"There is {c}." for c in CLASSES}).to_csv(folder / "p.csv", index=False)
    base = [folder / "p.csv", "--labels", folder / "labels.csv"]
    code, _, err = run(capsys, *base)
    assert code == 2
    assert "unknown class 'There is atelectasis.'" in err
    code, out, _ = run(capsys, *base, "--columns", "positional")
    assert code == 0
    assert "There is mass.         →  mass" in out


def edit(frame, row, column, value):
    changed = frame.astype({column: object}) if column in CLASSES else frame.copy()
    changed.loc[row, column] = value
    return changed


BAD = {
    "missing rows": (lambda s, t: (s.iloc[5:], t), "no scores for 5 of 240 images", []),
    "ids of a spreadsheet": (
        lambda s, t: (
            s.assign(image_id=s.image_id.mask(s.index < 40, s.image_id.astype(int).astype(str))),
            t,
        ),
        "the first '00000'; 40 would meet but for leading zeros or a decimal point: write the ids alike",
        [],
    ),
    "extra rows": (lambda s, t: (s, t.iloc[5:]), "5 images have no labels", []),
    "duplicate ids": (lambda s, t: (pd.concat([s, s.iloc[[3]]]), t), "row 242 repeats image_id '00003'", []),
    "nan": (
        lambda s, t: (edit(s, 2, "mass", np.nan), t),
        "image '00002', class 'mass': the score is nan",
        [],
    ),
    "inf": (lambda s, t: (edit(s, 2, "mass", np.inf), t), "the score is inf (1 such)", []),
    "text": (lambda s, t: (edit(s, 2, "mass", "high"), t), "row 4, column 'mass' holds 'high'", []),
    "label 2": (lambda s, t: (s, edit(t, 7, "mass", 2)), "image '00007', class 'mass': label 2", []),
    "no overlap": (
        lambda s, t: (s.assign(image_id="x" + s.image_id), t),
        "no image in common with",
        [],
    ),
    "unknown class": (
        lambda s, t: (s.rename(columns={"effusion": "effusions"}), t),
        "unknown class 'effusions'. Did you mean 'effusion'?",
        [],
    ),
    "missing class": (
        lambda s, t: (s.drop(columns="mass"), t),
        "no column for 1 of 3 classes, the first",
        [],
    ),
    "no id": (lambda s, t: (s.rename(columns={"image_id": "name"}), t), "name it with --id COLUMN", []),
    "wrong id": (lambda s, t: (s, t), "no id column 'imgid'", ["--id", "imgid"]),
    "positional count": (
        lambda s, t: (s.drop(columns="mass"), t),
        "2 score columns for 3 classes",
        ["--columns", "positional"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_2(files, capsys, case):
    folder, scores, labels = files
    change, message, options = BAD[case]
    changed_scores, changed_labels = change(scores, labels)
    changed_scores.to_csv(folder / "s.csv", index=False)
    changed_labels.to_csv(folder / "t.csv", index=False)
    code, out, err = run(capsys, folder / "s.csv", "--labels", folder / "t.csv", *options)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert message in err


def test_two_files_without_a_common_image_are_one_line_that_names_both(files, capsys):
    folder, scores, labels = files
    scores.iloc[:100].to_csv(folder / "a.csv", index=False)
    scores.iloc[100:].to_csv(folder / "b.csv", index=False)
    labels.to_csv(folder / "t.csv", index=False)
    own = (folder / "a.csv", folder / "b.csv", "--labels", folder / "t.csv", "--rows", "common")
    code, out, err = run(capsys, *own)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{folder / 'a.csv'}, {folder / 'b.csv'}: no image in common" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv", "--labels", "x.csv"], "nowhere.csv: no such file"),
        (["scores.csv"], "no labels: give --labels FILE"),
        (["scores.csv", "--dataset", "padchest"], "needs --data-root"),
        (["scores.csv", "./scores.csv", "--labels", "labels.csv"], "scores.csv: given twice"),
        (["scores.csv", "--labels", "labels.csv", "--dataset", "padchest"], "choose one source"),
        (
            ["scores.csv", "--labels", "labels.csv", "--protocol", "carzero"],
            "--protocol carzero: goes with --dataset",
        ),
        (["scores.csv", "--labels", "labels.csv", "--data-root", "."], "--data-root .: goes with --dataset"),
        (
            ["scores.csv", "--dataset", "padchest", "--data-root", ".", "--uncertain", "positive"],
            "--uncertain positive: goes with --labels",
        ),
        (
            ["scores.csv", "--dataset", "padchest", "--data-root", ".", "--blank", "negative"],
            "--blank negative: goes with --labels",
        ),
        (["scores.csv", "--labels", "labels.csv", "--output", "rows.txt"], "must end in .csv or .parquet"),
    ],
)
def test_missing_files_and_options(files, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(files[0])
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_policies_count_what_they_leave_out(files, capsys):
    folder, scores, labels = files
    changed = (
        edit(edit(scores, 2, "mass", np.nan), 3, "effusion", np.inf).iloc[:-4].drop(columns="atelectasis")
    )
    changed.assign(other=0.5).to_csv(folder / "s.csv", index=False)
    truth = edit(edit(labels, 9, "mass", -1), 10, "mass", None)
    truth.to_csv(folder / "t.csv", index=False)
    result = score(
        capsys, folder / "s.csv", "--labels", folder / "t.csv", "--rows", "common", "--classes", "common",
        "--bad-scores", "ignore",
    )  # fmt: skip
    counts = result["counts"]["s"]
    assert counts["images without scores"] == 4
    assert counts["classes without scores"] == 1
    assert counts["classes without labels"] == 1
    assert counts["bad scores left out"] == 2
    assert counts["uncertain labels"] == 1
    assert counts["empty labels"] == 1
    mass = next(r for r in result["metrics"] if r["class"] == "mass")
    assert mass["n_ignored"] == 3
    assert mass["n_pos"] + mass["n_neg"] == 233


def test_ages_are_in_the_bands_of_the_suites_own_subgroups():
    """Values of `bench score` and of the tables of subgroups are set beside each other."""
    ages = np.array(
        ["0", "39.9", "40", "059Y", "60", "74", "75", "155", "006M", "", None, "old"], dtype=object
    )
    found = list(age_bands(ages))
    assert found == ["<40", "<40", "40-59", "40-59", "60-74", "60-74", "75+", "75+", "<40", "", "", ""]
    years = [0, 39.9, 40, 59, 60, 74, 75, 155, 0.5, np.nan, np.nan, np.nan]
    frame = pd.DataFrame({"age": years, "sex": "", "view": "", "site": ""})
    assert found == list(subgroups_of(frame)["age"])
    assert list(age_bands(ages[-3:])) == [""] * 3


@pytest.mark.parametrize("name", ["age", "Age", "Patient Age", "patient_age"])
def test_every_column_of_ages_is_in_bands_which_are_said(files, capsys, name):
    folder, _, labels = files
    labels.rename(columns={"age": name}).to_csv(folder / "labels.csv", index=False)
    asked = (folder / "scores.csv", "--labels", folder / "labels.csv", "--subgroup", name)
    result = score(capsys, *asked)
    bands = ["<40", "40-59", "60-74", "75+"]
    strata = {r["stratum"] for r in result["metrics"] if r["stratum"].startswith(f"{name}=")}
    assert strata
    assert strata <= {f"{name}={band}" for band in bands}
    assert result["age_bands"] == bands
    assert "bands of age in years: <40, 40-59, 60-74, 75+" in run(capsys, *asked)[1]


@pytest.mark.parametrize("given", [("--draws", "500"), ("--seed", "0")])
def test_options_of_the_bootstrap_are_refused_where_nothing_is_drawn(files, capsys, given):
    folder, _, _ = files
    asked = (folder / "scores.csv", "--labels", folder / "labels.csv", *given)
    code, out, err = run(capsys, *asked)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{' '.join(given)}: nothing is drawn for analytic intervals" in err
    for more in (("--interval", "percentile"), ("--thresholded",)):
        assert run(capsys, *asked, *more)[0] == 0


def test_official_files_of_a_dataset(shared, tmp_path, capsys):
    from benchmark.score.joining import dataset_truth

    root = shared / "data" / "nih1000"
    truth = dataset_truth("chestxray14", root, None)
    rng = np.random.default_rng(0)
    scores = pd.DataFrame(rng.standard_normal(truth.labels.shape), columns=list(truth.classes))
    scores.insert(0, "image_id", truth.ids)
    scores.to_csv(tmp_path / "scores.csv", index=False)
    result = score(capsys, tmp_path / "scores.csv", "--dataset", "chestxray14", "--data-root", root)
    assert result["counts"]["scores"]["images scored"] == len(truth.ids)
    assert auroc(result)["dataset"] == "chestxray14"


@pytest.mark.parametrize("name", ["scores.csv", "labels.csv", "patients.csv"])
def test_rows_are_never_written_over_what_they_are_made_of(files, capsys, name):
    folder, _, labels = files
    labels[["image_id"]].assign(patient_id="p").to_csv(folder / "patients.csv", index=False)
    before = (folder / name).read_bytes()
    (folder / "link.csv").hardlink_to(folder / name)
    given = (folder / "scores.csv", "--labels", folder / "labels.csv", "--patients", folder / "patients.csv")
    for output in (folder / name, folder / "link.csv"):
        code, out, err = run(capsys, *given, "--output", output)
        assert (code, out) == (2, "")
        assert f"--output {output}: is read by this command" in err
    assert (folder / name).read_bytes() == before
