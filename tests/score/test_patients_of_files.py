"""Whose image a row is: columns and files of patients, and patients that are unknown."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.score.scoring import auroc, counts, refused, score, write


def test_patient_columns_of_the_shared_cases(cases, capsys) -> None:
    folder = cases / "patients-column"
    for scores, labels, column in (("p_mrn", "l_mrn", "mrn"), ("pe", "le", "patient_id")):
        paths = folder / f"{scores}.csv", folder / f"{labels}.csv"
        found = auroc(score(capsys, paths[0], "--labels", paths[1], "--patients", column))
        assert found["n_patients"] == pd.read_csv(paths[1])[column].nunique()


def test_patient_column_of_a_long_file(pair, capsys) -> None:
    folder, scores, labels = pair
    long = scores.melt("image_id", var_name="class", value_name="score").merge(
        labels.melt("image_id", var_name="class", value_name="label")
    )
    long["mrn"] = long.image_id.str[1:].astype(int) // 4
    long.to_csv(folder / "long.csv", index=False)
    assert auroc(score(capsys, folder / "long.csv", "--patients", "mrn"))["n_patients"] == 10
    long.loc[3, "mrn"] = 99
    long.to_csv(folder / "long.csv", index=False)
    assert "has the patients" in refused(capsys, folder / "long.csv", "--patients", "mrn")


def test_a_wrong_patient_column_suggests_the_nearest(pair, capsys) -> None:
    folder, scores, labels = pair
    arguments = write(folder, scores, labels.assign(patient_id="x"))
    assert "Did you mean 'patient_id'?" in refused(capsys, *arguments, "--patients", "patients_id")


UNKNOWN = ["", "None", "none", "<NA>", "nan", "NaN", "NA", "null", "N/A"]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("token", UNKNOWN)
def test_unknown_patients_are_clusters_of_their_own(pair, capsys, token, ending) -> None:
    folder, scores, labels = pair
    labels["patient_id"] = [token if i < 20 else f"p{i // 2}" for i in range(40)]
    arguments = write(folder, scores, labels)
    if ending == "parquet":
        labels.to_parquet(folder / "t.parquet")
        arguments[2] = folder / "t.parquet"
    result = score(capsys, *arguments)
    assert auroc(result)["n_patients"] == 20 + 10
    assert counts(result)["images of unknown patients"] == 20


def test_unknown_patients_of_the_shared_case(cases, capsys, tmp_path) -> None:
    folder = cases / "unknown-patients"
    result = score(capsys, folder / "p.csv", "--labels", folder / "l.csv")
    assert auroc(result)["n_patients"] == 30
    pd.read_csv(folder / "l.csv", keep_default_na=False).to_parquet(tmp_path / "l.parquet")
    same = score(capsys, folder / "p.csv", "--labels", tmp_path / "l.parquet")
    assert auroc(same) == auroc(result)
    assert counts(same) == counts(result)


def test_patients_file_with_unknown_and_without_images(pair, capsys) -> None:
    folder, scores, labels = pair
    patients = labels[["image_id"]].assign(patient_id=["None"] * 4 + [f"p{i // 4}" for i in range(4, 40)])
    patients.to_csv(folder / "p.csv", index=False)
    arguments = [*write(folder, scores, labels), "--patients", folder / "p.csv"]
    assert auroc(score(capsys, *arguments))["n_patients"] == 4 + 9
    patients.iloc[1:].to_csv(folder / "p.csv", index=False)
    assert "no patient for 1 images, the first 'i000'" in refused(capsys, *arguments)


def test_files_that_tell_patients_apart_otherwise_are_refused(pair, capsys) -> None:
    """Whichever file came first decided the intervals, without a word."""
    folder, scores, labels = pair
    twos = [f"p{i // 2}" for i in range(40)]
    arguments = write(
        folder, scores.assign(patient_id=[f"q{i // 4}" for i in range(40)]), labels.assign(patient_id=twos)
    )
    line = refused(capsys, *arguments)
    assert "s.csv: image 'i0" in line
    assert "t.csv" in line
    assert "--patients" in line
    labels.assign(patient_id="").to_csv(folder / "t.csv", index=False)
    scores.assign(patient_id=twos).to_csv(folder / "o.csv", index=False)
    for first, second in (("s", "o"), ("o", "s")):
        given = (folder / f"{first}.csv", folder / f"{second}.csv", *arguments[1:])
        assert "into other patients" in refused(capsys, *given)
    assert auroc(score(capsys, *given, "--patients", "none"))["n_patients"] is None
    assert auroc(score(capsys, folder / "o.csv", *arguments[1:]))["n_patients"] == 20


def test_other_names_of_the_same_patients_and_unknown_ones_are_no_contradiction(pair, capsys) -> None:
    folder, scores, labels = pair
    ours = [f"p{i // 2}" for i in range(40)]
    theirs = ["" if i == 3 else f"MRN {i // 2}" for i in range(40)]
    arguments = write(folder, scores.assign(subject_id=theirs), labels.assign(patient_id=ours))
    assert auroc(score(capsys, *arguments))["n_patients"] == 20


FORMS = [("12", "12.0"), ("0012", "12"), (" 12", "12"), ("12", "12."), ("p1 ", "p1"), ("007.0", "7")]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("forms", FORMS)
def test_one_patient_in_two_forms_is_refused(pair, capsys, forms, ending) -> None:
    """Counted as two, the images of one patient pass for independent."""
    folder, scores, labels = pair
    labels["patient_id"] = [*forms, *(f"q{i // 2}" for i in range(2, 40))]
    arguments = write(folder, scores, labels)
    patients = folder / f"patients.{ending}"
    getattr(labels[["image_id", "patient_id"]], f"to_{ending}")(patients, index=False)
    if ending == "parquet":
        labels.to_parquet(folder / "t.parquet")
        arguments[2] = folder / "t.parquet"
    line = refused(capsys, *arguments)
    assert f"patient '{forms[0]}' of image '{labels.image_id[0]}' and '{forms[1]}' of image" in line
    assert auroc(score(capsys, *arguments, "--patients", "none"))["n_patients"] is None
    plain = write(folder, scores, labels.drop(columns="patient_id"))
    line = refused(capsys, *plain, "--patients", patients)
    assert f"patient '{forms[0]}' of row {1 + (ending == 'csv')} and '{forms[1]}' of row" in line
    in_scores = write(folder, scores.assign(patient_id=labels.patient_id), labels.drop(columns="patient_id"))
    assert "in two forms" in refused(capsys, *in_scores)


@pytest.mark.parametrize(
    "forms", [("0012", "0013"), ("12.0", "13.0"), ("1.5", "15"), ("12", "120"), ("a1", "a01")]
)
def test_one_form_throughout_is_no_mixture(pair, capsys, forms) -> None:
    folder, scores, labels = pair
    labels["patient_id"] = [forms[i % 2] for i in range(40)]
    assert auroc(score(capsys, *write(folder, scores, labels)))["n_patients"] == 2
