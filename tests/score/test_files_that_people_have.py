"""Tables as they are published and exported: each kind is joined right, or refused in one line."""

from __future__ import annotations

import csv
import gzip
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from benchmark.cli import main


@pytest.fixture
def cases(shared):
    folder = shared / "cases"
    if not folder.is_dir():
        pytest.skip("the shared cases are not here")
    return folder


def run(capsys, *arguments) -> tuple[int, str, str]:
    code = main(["score", *map(str, arguments)])
    out = capsys.readouterr()
    return code, out.out, out.err


def score(capsys, *arguments) -> dict:
    code, out, err = run(capsys, *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def refused(capsys, *arguments) -> str:
    code, out, err = run(capsys, *arguments)
    assert code == 2, err
    assert out == ""
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


def auroc(result: dict, name: str = "macro") -> dict:
    rows = result["metrics"]
    return next(r for r in rows if (r["class"], r["stratum"], r["metric"]) == (name, "all", "auroc"))


def counts(result: dict) -> dict:
    return next(iter(result["counts"].values()))


@pytest.fixture
def pair(tmp_path):
    """Scores and labels of two classes for 40 images, as frames, in a folder."""
    rng = np.random.default_rng(3)
    labels = pd.DataFrame((rng.random((40, 2)) < 0.4).astype(int), columns=["Consolidation", "Effusion"])
    scores = pd.DataFrame(rng.standard_normal((40, 2)) + labels.to_numpy(), columns=labels.columns)
    for frame in (labels, scores):
        frame.insert(0, "image_id", [f"i{i:03d}" for i in range(40)])
    return tmp_path, scores, labels


def write(folder, scores, labels) -> list:
    scores.to_csv(folder / "s.csv", index=False)
    labels.to_csv(folder / "t.csv", index=False)
    return [folder / "s.csv", "--labels", folder / "t.csv"]


# ---- patients


@pytest.mark.parametrize("column", ["mrn", "patient_id", "Subject_ID", "case number", "7"])
@pytest.mark.parametrize("where", ["labels", "predictions", "both"])
@pytest.mark.parametrize("kind", ["text", "number"])
def test_any_column_can_be_the_patients(pair, capsys, column, where, kind) -> None:
    folder, scores, labels = pair
    patients = [f"p{i // 4}" if kind == "text" else i // 4 for i in range(40)]
    if where != "predictions":
        labels[column] = patients
    if where != "labels":
        scores[column] = patients
    result = score(capsys, *write(folder, scores, labels), "--patients", column)
    assert auroc(result)["n_patients"] == 10
    assert "image-level" not in auroc(result)["note"]


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


# ---- columns


def test_positional_columns_are_refused_where_the_names_say_otherwise(cases, capsys) -> None:
    folder = cases / "positional"
    arguments = [folder / "preds.csv", "--labels", folder / "labels.csv", "--columns"]
    assert "its name says 'Effusion'" in refused(capsys, *arguments, "positional")
    scores, labels = pd.read_csv(folder / "preds.csv"), pd.read_csv(folder / "labels.csv")
    result = score(capsys, *arguments, "affix")
    for name in ("Effusion", "Consolidation"):
        expected = roc_auc_score(labels[name], scores[f"prob_{name}"])
        assert auroc(result, name)["value"] == pytest.approx(expected, abs=1e-12)
    assert {"file": "preds", "column": "prob_Effusion", "class": "Effusion"} in result["columns"]


@pytest.mark.parametrize(
    ("columns", "fits"),
    [
        (["Effusion", "Consolidation"], False),
        (["effusion", "consolidation"], False),
        (["p.effusion", "p.consolidation"], False),
        (["Effusions", "x"], False),
        (["x", "Consolidaton"], False),
        (["Consolidation", "Effusion"], True),
        (["There is consolidation.", "There is effusion."], True),
        (["0", "1"], True),
        (["logit_a", "logit_b"], True),
    ],
)
def test_positional_reads_the_names(pair, capsys, columns, fits) -> None:
    folder, scores, labels = pair
    scores.columns = ["image_id", *columns]
    arguments = [*write(folder, scores, labels), "--columns", "positional"]
    if fits:
        score(capsys, *arguments)
    else:
        assert "its name says" in refused(capsys, *arguments)


@pytest.mark.parametrize(
    ("prefix", "suffix"), [("prob_", ""), ("", "_score"), ("model.", "/p"), ("Effusion ", "")]
)
def test_a_shared_affix_maps_by_name(pair, capsys, prefix, suffix) -> None:
    folder, scores, labels = pair
    plain = auroc(score(capsys, *write(folder, scores, labels)))["value"]
    scores = scores[["image_id", "Effusion", "Consolidation"]]
    scores.columns = ["image_id", f"{prefix}Effusion{suffix}", f"{prefix}Consolidation{suffix}"]
    arguments = write(folder, scores, labels)
    refused(capsys, *arguments)
    assert auroc(score(capsys, *arguments, "--columns", "affix"))["value"] == plain
    scores.columns = ["image_id", "a_Effusion", "b_Consolidation"]
    assert "no prefix or suffix" in refused(capsys, *write(folder, scores, labels), "--columns", "affix")


# ---- files without rows, without ids, of other packages


@pytest.mark.parametrize("which", [0, 2])
@pytest.mark.parametrize("layout", ["wide", "long"])
@pytest.mark.parametrize("ending", ["csv", "parquet", "csv.gz"])
def test_files_without_rows(pair, capsys, which, layout, ending) -> None:
    folder, scores, labels = pair
    arguments = write(folder, scores, labels)
    frame = (scores, labels)[which // 2].iloc[:0]
    if layout == "long":
        frame = frame.melt("image_id", var_name="class", value_name=("score", "label")[which // 2])
    path = folder / f"empty.{ending}"
    if ending == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    arguments[which] = path
    assert f"{path}: no rows below the header" in refused(capsys, *arguments)
    if which == 0:
        assert "no rows" in refused(capsys, folder / "s.csv", path, *arguments[1:])


def test_header_only_file_of_the_shared_cases(cases, capsys) -> None:
    folder = cases / "header-only"
    assert "no rows" in refused(capsys, folder / "p0.csv", "--labels", folder / "l.csv")


def test_rows_by_order_are_paired_only_when_asked_and_said(cases, capsys, tmp_path) -> None:
    folder = cases / "row-order"
    truth = pd.read_csv(folder / "labels.csv")
    one = truth[["VolumeName", "Pneumonia"]]
    one.to_csv(tmp_path / "one.csv", index=False)
    base = [folder / "INSPECT.csv", "--labels", tmp_path / "one.csv", "--columns", "positional"]
    assert "--rows by-order" in refused(capsys, *base)
    result = score(capsys, *base, "--rows", "by-order")
    expected = roc_auc_score(one.Pneumonia, pd.read_csv(folder / "INSPECT.csv")["0"])
    assert auroc(result)["value"] == pytest.approx(expected, abs=1e-12)
    assert result["rows_by_order"] is True
    code, out, _ = run(capsys, *base, "--rows", "by-order")
    assert code == 0
    assert "rows paired by order" in out
    one.iloc[1:].to_csv(tmp_path / "one.csv", index=False)
    assert "60 rows against 59" in refused(capsys, *base, "--rows", "by-order")


def test_rows_by_order_never_override_ids_that_disagree(pair, capsys) -> None:
    folder, scores, labels = pair
    same = [*write(folder, scores, labels), "--rows", "by-order"]
    assert auroc(score(capsys, *same)) == auroc(score(capsys, *same[:-2]))
    changed = [*write(folder, scores.iloc[::-1], labels), "--rows", "by-order"]
    assert "image 1 is 'i039', but 'i000'" in refused(capsys, *changed)
    assert "needs --labels" in refused(
        capsys, folder / "s.csv", "--dataset", "padchest", "--data-root", folder, "--rows", "by-order"
    )


def test_arrays_of_the_shared_case(cases, capsys) -> None:
    folder = cases / "row-order"
    truth = pd.read_csv(folder / "labels.csv")
    base = [folder / "predicted_weights.npz", "--labels", folder / "labels.csv", "--rows", "by-order"]
    assert "--columns positional" in refused(capsys, *base)
    values = np.load(folder / "predicted_weights.npz")["data"]
    result = score(capsys, *base, "--columns", "positional")
    for j, name in enumerate(truth.columns[1:]):
        expected = roc_auc_score(truth[name], values[:, j])
        assert auroc(result, name)["value"] == pytest.approx(expected, abs=1e-12)


def test_arrays_with_ids_and_names_join_by_them(pair, capsys) -> None:
    folder, scores, labels = pair
    plain = auroc(score(capsys, *write(folder, scores, labels)))["value"]
    mixed = scores.sample(frac=1, random_state=0)
    names = ["Effusion", "Consolidation"]
    np.savez(
        folder / "a.npz", scores=mixed[names].to_numpy(), ids=mixed.image_id.to_numpy(str), classes=names
    )
    found = auroc(score(capsys, folder / "a.npz", "--labels", folder / "t.csv"))
    assert found["value"] == plain
    np.save(folder / "a.npy", scores[["Consolidation", "Effusion"]].to_numpy())
    options = ["--rows", "by-order", "--columns", "positional"]
    assert auroc(score(capsys, folder / "a.npy", "--labels", folder / "t.csv", *options))["value"] == plain


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", ">f8", np.longdouble, ">i4", "<i2", "u1", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_every_type_and_byte_order(pair, capsys, dtype, order) -> None:
    folder, scores, labels = pair
    values = np.clip(scores[["Consolidation", "Effusion"]].to_numpy() * 40 + 100, 0, 250).round()
    whole = np.asarray(values, dtype=dtype, order=order)
    write(folder, scores, labels)
    np.save(folder / "a.npy", whole)
    result = score(
        capsys,
        folder / "a.npy",
        "--labels",
        folder / "t.csv",
        "--rows",
        "by-order",
        "--columns",
        "positional",
    )
    for j, name in enumerate(("Consolidation", "Effusion")):
        expected = roc_auc_score(labels[name], whole[:, j].astype(float))
        assert auroc(result, name)["value"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "cells",
    [
        [["Effusion"], ["Consolidation", "Effusion"]],
        np.array(["Effusion", "Consolidation|Effusion"]),
        ["['Effusion']", "['Consolidation', 'Effusion']"],
    ],
)
def test_lists_of_labels_in_parquet_are_those_of_a_csv(pair, capsys, cells) -> None:
    folder, scores, labels = pair
    arguments = write(folder, scores, labels)
    truth = labels.assign(Effusion=1, Consolidation=[0, 1] * 20)
    truth.loc[0, ["Effusion", "Consolidation"]] = 0
    truth.to_csv(folder / "t.csv", index=False)
    plain = auroc(score(capsys, *arguments), "Consolidation")["value"]
    listed = [*cells] * 20
    listed[0] = [] if isinstance(cells[0], list) else "No Finding"
    pq.write_table(pa.table({"image_id": labels.image_id, "Labels": listed}), folder / "l.parquet")
    found = score(capsys, folder / "s.csv", "--labels", folder / "l.parquet")
    assert auroc(found, "Consolidation")["value"] == plain


@pytest.mark.parametrize("kind", ["objects", "two", "none", "cut", "text"])
def test_arrays_that_cannot_be_scores(pair, capsys, kind) -> None:
    folder, scores, labels = pair
    path = folder / "a.npz"
    write(folder, scores, labels)
    made = {
        "objects": {"a": np.array([{"x": 1}], dtype=object)},
        "two": {"a": np.zeros((40, 2)), "b": np.zeros((40, 2))},
        "none": {"a": np.zeros(40)},
        "cut": {"a": np.zeros((40, 2))},
        "text": {"a": np.full((40, 2), "x")},
    }[kind]
    np.savez(path, **made)
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-30])
    assert str(path) in refused(capsys, path, "--labels", folder / "t.csv", "--rows", "by-order")


def test_an_id_column_for_each_file(cases, capsys, pair) -> None:
    folder = cases / "row-order"
    result = score(capsys, folder / "named_vn.csv", "--labels", folder / "labels.csv")
    assert counts(result)["images scored"] == 60
    place, scores, labels = pair
    plain = auroc(score(capsys, *write(place, scores, labels)))
    other = write(
        place, scores.rename(columns={"image_id": "ours"}), labels.rename(columns={"image_id": "x"})
    )
    assert "--id" in refused(capsys, *other)
    assert auroc(score(capsys, *other, "--id", "ours", "--id", "x")) == plain
    assert "no id column 'y'" in refused(capsys, *other, "--id", "ours", "--id", "y")
    assert "--id was given 3 times for 2 files" in refused(capsys, *other, *["--id", "x"] * 3)


# ---- official label files


def test_chexpert_labels_with_their_own_columns(cases, capsys) -> None:
    folder = cases / "label-files"
    truth, scores = pd.read_csv(folder / "valid.csv"), pd.read_csv(folder / "p.csv")
    arguments = [folder / "p.csv", "--labels", folder / "valid.csv"]
    result = score(capsys, *arguments, "--subgroup", "AP/PA", "--subgroup", "Frontal/Lateral")
    for name in ("Cardiomegaly", "Edema"):
        known = truth[name].isin([0, 1])
        expected = roc_auc_score(truth[name][known], scores[name][known])
        assert auroc(result, name)["value"] == pytest.approx(expected, abs=1e-12)
    assert result["columns_without_labels"] == ["Frontal/Lateral", "AP/PA"]
    assert "AP/PA=AP" in {r["stratum"] for r in result["metrics"]}
    _, out, _ = run(capsys, *arguments)
    assert "no class (for --subgroup): Frontal/Lateral, AP/PA" in out
    hint = refused(
        capsys, folder / "study.csv", "--labels", folder / "valid.csv", "--id", "Study", "--id", "Path"
    )
    assert "studies" in hint


def test_the_table_of_nih(shared, capsys, tmp_path) -> None:
    table = next((shared / "data" / "nih1000").rglob("Data_Entry_2017*.csv"))
    truth = pd.read_csv(table)
    lists = truth["Finding Labels"].str.split("|")
    names = ["Effusion", "Infiltration", "Atelectasis"]
    rng = np.random.default_rng(0)
    labels = np.array([[n in row for n in names] for row in lists])
    scores = pd.DataFrame(rng.standard_normal(labels.shape) + labels, columns=names)
    scores.insert(0, "Image Index", truth["Image Index"])
    scores.to_csv(tmp_path / "s.csv", index=False)
    arguments = [tmp_path / "s.csv", "--labels", table, "--classes", "common"]
    result = score(capsys, *arguments, "--subgroup", "Patient Gender")
    for j, name in enumerate(names):
        expected = roc_auc_score(labels[:, j], scores[name])
        assert auroc(result, name)["value"] == pytest.approx(expected, abs=1e-12)
    assert auroc(result)["n_patients"] == truth["Patient ID"].nunique()
    typo = scores.rename(columns={"Effusion": "Efusion"})
    typo.to_csv(tmp_path / "s.csv", index=False)
    assert "Did you mean 'Effusion'?" in refused(capsys, *arguments[:-2])


def test_label_columns_that_hold_words_are_named_not_dropped(pair, capsys) -> None:
    folder, scores, labels = pair
    words = labels.assign(Effusion=labels.Effusion.map({1: "yes", 0: "no"}))
    for options in ([], ["--classes", "common"]):
        assert "row 2, column 'Effusion' holds 'yes', not a number" in refused(
            capsys, *write(folder, scores, words), *options
        )
    assert "label 2" in refused(capsys, *write(folder, scores, labels.replace({"Effusion": {1: 2}})))
    numbers = labels.assign(**{"Follow-up": range(40), "Notes": None})
    assert score(capsys, *write(folder, scores, numbers))["columns_without_labels"] == ["Follow-up", "Notes"]


# ---- text files of other programs, damaged files


@pytest.mark.parametrize("separator", [";", "|", "\t"])
def test_other_separators(pair, capsys, separator) -> None:
    folder, scores, labels = pair
    plain = auroc(score(capsys, *write(folder, scores, labels)))
    scores.to_csv(folder / "s.csv", sep=separator, index=False)
    assert auroc(score(capsys, folder / "s.csv", "--labels", folder / "t.csv")) == plain
    scores.to_csv(folder / "s.csv", sep=";", decimal=",", index=False)
    assert "write decimals with a point" in refused(capsys, folder / "s.csv", "--labels", folder / "t.csv")


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (lambda i: "images/train/" + i + ".png", "but for folders and file endings"),
        (lambda i: i.upper(), "but for letter case"),
        (lambda i: i + ".png", "but for file endings"),
        (lambda i: "q" + i, "with --id"),
    ],
)
def test_ids_that_do_not_meet_say_why(pair, capsys, change, hint) -> None:
    folder, scores, labels = pair
    scores["image_id"] = scores.image_id.map(change)
    assert hint in refused(capsys, *write(folder, scores, labels))


def test_whole_numbers_that_floats_would_round(cases, pair, capsys) -> None:
    folder = cases / "score-files"
    arguments = [folder / "bigint.csv", "--labels", folder / "labels.csv"]
    assert "row 2, column 'c0' holds 9007199254740993" in refused(capsys, *arguments)
    place, scores, labels = pair
    for value in (2**53 + 1, -(2**53) - 1, 2**63, 10**25):
        changed = scores.assign(Effusion=[value, *[0] * 39])
        assert f"holds {value}" in refused(
            capsys, *write(place, changed.astype({"Effusion": object}), labels)
        )
    pq.write_table(
        pa.table({"image_id": scores.image_id, "Effusion": pa.array([2**63 + 1, *[0] * 39], pa.uint64()),
                  "Consolidation": scores.Consolidation}), place / "s.parquet"
    )  # fmt: skip
    assert "of 2^53 or more" in refused(capsys, place / "s.parquet", "--labels", place / "t.csv")
    score(capsys, *write(place, scores.assign(Effusion=scores.Effusion * 1e30), labels))
    score(capsys, *write(place, scores.assign(Effusion=[2**53 - 1, *range(39)]), labels))


@pytest.mark.parametrize("cell", ["1_000", "0x1", "1 2", "yes"])
def test_text_that_only_python_calls_a_number(pair, capsys, cell) -> None:
    folder, scores, labels = pair
    changed = scores.astype({"Effusion": object})
    changed.loc[4, "Effusion"] = cell
    assert "row 6, column 'Effusion'" in refused(capsys, *write(folder, changed, labels))


@pytest.mark.parametrize("length", [3, 5, 9, 12, 20, 40])
def test_cut_gzip_is_a_damaged_file_and_no_interrupt(pair, capsys, length) -> None:
    folder, scores, labels = pair
    write(folder, scores, labels)
    path = folder / "s.csv.gz"
    path.write_bytes(gzip.compress((folder / "s.csv").read_bytes())[:length])
    err = refused(capsys, path, "--labels", folder / "t.csv")
    assert str(path) in err
    assert "Interrupted" not in err


def test_damaged_files_of_the_shared_cases(cases, capsys) -> None:
    folder = cases / "score-files"
    for name in ("badmeta.parquet", "bigint.csv", "cut4.csv.gz"):
        assert name in refused(capsys, folder / name, "--labels", folder / "labels.csv")


def test_every_change_of_a_file_is_scored_or_refused(pair, capsys) -> None:
    folder, scores, labels = pair
    write(folder, scores, labels)
    scores.to_parquet(folder / "s.parquet")
    np.savez_compressed(folder / "s.npz", a=scores[["Consolidation", "Effusion"]].to_numpy())
    (folder / "s.csv.gz").write_bytes(gzip.compress((folder / "s.csv").read_bytes()))
    rng = np.random.default_rng(0)
    for name in ("s.csv", "s.parquet", "s.npz", "s.csv.gz"):
        whole = (folder / name).read_bytes()
        path = folder / f"changed-{name}"
        for _ in range(40):
            data = bytearray(whole)
            for place in rng.integers(0, len(data), int(rng.integers(1, 6))):
                data[place] = int(rng.integers(256))
            path.write_bytes(data[: int(rng.integers(1, len(data) + 1))])
            code, _, err = run(capsys, path, "--labels", folder / "t.csv", "--draws", "100")
            assert code in (0, 2), err
            assert "unexpected" not in err
            assert err.count("\n") == (code == 2)


# ---- options


@pytest.mark.parametrize(
    "options", [["--seed", "-1"], ["--draws", "1000000000"], ["--level", "nan"], ["--seed", "9" * 30]]
)
def test_numbers_out_of_range(pair, capsys, options) -> None:
    folder, scores, labels = pair
    code, _, err = run(capsys, *write(folder, scores, labels), *options)
    assert code == 2
    assert options[0] in err


def test_output_that_cannot_be_written(pair, capsys) -> None:
    folder, scores, labels = pair
    arguments = write(folder, scores, labels)
    (folder / "out.csv").mkdir()
    assert "is a folder" in refused(capsys, *arguments, "--output", folder / "out.csv")
    (folder / "file").write_text("x")
    assert "cannot be written" in refused(capsys, *arguments, "--output", folder / "file" / "rows.csv")
    shutil.rmtree(folder / "out.csv")
    score(capsys, *arguments, "--output", folder / "out.csv")
    assert len(pd.read_csv(folder / "out.csv"))


def test_scoring_loads_no_deep_learning(pair) -> None:
    """`bench score` starts without torch, transformers and scikit-learn; only the bootstrap needs torch."""
    folder, scores, labels = pair
    arguments = [str(a) for a in ("score", *write(folder, scores, labels))]
    code = (
        "import sys; from benchmark.cli import main; code = main(sys.argv[1:]);"
        "print([m for m in ('torch', 'transformers', 'sklearn', 'timm') if m in sys.modules], code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[] 0"


HOSTILE = (
    "=1+1",
    "+cmd|'/c calc'!A1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "＝1",
    "<script>alert(1)</script>",
    "\x1b[2Jx",
)


def test_names_of_a_file_are_neither_formulas_nor_orders_to_a_terminal(pair, capsys) -> None:
    folder, scores, labels = pair
    text = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n]")
    labels["group"] = [HOSTILE[i % 2] for i in range(40)]
    for name in HOSTILE:
        renamed = {"Effusion": name}
        arguments = write(folder, scores.rename(columns=renamed), labels.rename(columns=renamed))
        arguments += ["--subgroup", "group", "--output", folder / "rows.csv"]
        result = score(capsys, *arguments)
        with open(folder / "rows.csv", newline="", encoding="utf-8") as handle:
            head, *rows = csv.reader(handle)
        numbers = {head.index(column) for column in ("value", "low", "high", "n_pos", "n_neg")}
        for row in rows:
            for place, cell in enumerate(row):
                assert place in numbers or not text.match(cell), cell
        values = pd.read_csv(folder / "rows.csv")["value"].dropna().tolist()
        wanted = [r["value"] for r in result["metrics"] if r["value"] is not None]
        assert values == pytest.approx(wanted, abs=1e-15)
        arguments[-1] = folder / "rows.parquet"
        code, out, err = run(capsys, *arguments)
        assert code == 0, err
        assert name.strip() in set(pd.read_parquet(folder / "rows.parquet")["class"].str.strip())
        assert not set(out + err) & set("\x1b\x07\x08")
    assert "\x1b" not in refused(capsys, folder / "\x1b[2Jnone.csv", "--labels", folder / "t.csv")


def test_lists_of_the_shared_case_are_scored_as_scikit_learn_does(cases, capsys, monkeypatch) -> None:
    folder = cases / "list-labels"
    monkeypatch.setenv("CXR_ALIGNBENCH_DATASETS", str(folder / "cards"))
    result = score(capsys, folder / "p.csv", "--dataset", "ward7", "--data-root", folder / "ward")
    assert auroc(result, "Cardiomegaly")["value"] == pytest.approx(0.895, abs=1e-12)
    assert auroc(result, "Pleural Effusion")["value"] == pytest.approx(0.910, abs=1e-12)
