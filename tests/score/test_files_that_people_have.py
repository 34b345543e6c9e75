"""Tables as they are published and exported: each kind is joined right, or refused in one line."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from tests.score.scoring import auroc, counts, refused, run, score, write


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


@pytest.mark.parametrize("kind", [str, "S", "i8", ">u4"])
@pytest.mark.parametrize(
    "keys", [("ids", "patient_id"), ("image_ids", "patients"), ("Image_ID", "patient_ids")]
)
def test_names_of_rows_in_arrays_count_whatever_their_type(pair, capsys, kind, keys) -> None:
    folder, scores, labels = pair
    numbers = np.arange(40) + 100
    frames = [frame.assign(image_id=numbers) for frame in (scores, labels)]
    plain = auroc(score(capsys, *write(folder, frames[0].assign(patient_id=numbers // 4), frames[1])))
    rows = {keys[0]: numbers.astype(kind), keys[1]: (numbers // 4).astype(kind)}
    np.savez(
        folder / "a.npz", x=scores.iloc[:, 1:].to_numpy(), classes=np.array(scores.columns[1:], "S"), **rows
    )
    found = auroc(score(capsys, folder / "a.npz", "--labels", folder / "t.csv"))
    assert found == plain | {"method": "a"}
    assert found["n_patients"] == 10


@pytest.mark.parametrize("key", ["ids", "patient_id", "classes"])
@pytest.mark.parametrize("wrong", ["short", "long", "flat", "floats"])
def test_names_in_arrays_that_do_not_fit_are_never_left_out(pair, capsys, key, wrong) -> None:
    folder, scores, labels = pair
    write(folder, scores, labels)
    names = np.array(["Consolidation", "Effusion"] if key == "classes" else scores.image_id, dtype=str)
    change = {
        "short": names[:-1],
        "long": np.append(names, "more"),
        "flat": names[:, None],
        "floats": np.arange(len(names)) / 2,
    }
    np.savez(folder / "a.npz", x=scores.iloc[:, 1:].to_numpy(), **{key: change[wrong]})
    options = ["--rows", "by-order", "--columns", "positional"]
    assert f"array '{key}'" in refused(capsys, folder / "a.npz", "--labels", folder / "t.csv", *options)


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


@pytest.mark.parametrize("separator", [";", "|", "\t"])
def test_other_separators(pair, capsys, separator) -> None:
    folder, scores, labels = pair
    plain = auroc(score(capsys, *write(folder, scores, labels)))
    scores.to_csv(folder / "s.csv", sep=separator, index=False)
    assert auroc(score(capsys, folder / "s.csv", "--labels", folder / "t.csv")) == plain
    scores.to_csv(folder / "s.csv", sep=";", decimal=",", index=False)
    assert "write decimals with a point" in refused(capsys, folder / "s.csv", "--labels", folder / "t.csv")


@pytest.mark.parametrize("name", ["macro", "micro", "weighted"])
def test_a_class_called_as_an_average_is_refused(pair, capsys, name) -> None:
    """Its row was left out of the table, and the average stood for it."""
    folder, scores, labels = pair
    files = write(folder, *(frame.rename(columns={"Effusion": name}) for frame in (scores, labels)))
    assert f"class '{name}' has the name of an average" in refused(capsys, *files)
