"""Errors, atomic files, hashing, registry and tables."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from benchmark.core.errors import BenchError, DataError, UnknownName, closest
from benchmark.core.files import atomic_path, read_json, read_yaml, write_json, write_text
from benchmark.core.hashing import derive_seed, hash_array, hash_file, hash_strings, hash_value
from benchmark.core.tables import (
    META_COLUMNS,
    METRIC_COLUMNS,
    Manifest,
    Predictions,
    ReadingRecord,
    ScoresRecord,
    metric_frame,
    read_table,
)


def test_closest_ignores_case_and_separators() -> None:
    assert closest("pleural-effusion", ["Pleural Effusion", "Edema"]) == "Pleural Effusion"
    assert closest("zzz", ["Edema"]) is None


def test_unknown_name_suggests() -> None:
    assert "Did you mean 'carzero'?" in str(UnknownName("method", "carzer", ["carzero", "clip"]))


def test_atomic_write_keeps_the_old_file_on_failure(tmp_path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError, match="stop"), atomic_path(target) as path:
        path.write_text("half")
        raise RuntimeError("stop")
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_equal_values_are_equal_bytes(tmp_path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": [1, 2]})
    write_json(tmp_path / "b.json", {"a": [1, 2], "b": 1})
    assert hash_file(tmp_path / "a.json") == hash_file(tmp_path / "b.json")
    assert read_json(tmp_path / "a.json") == {"a": [1, 2], "b": 1}


@pytest.mark.parametrize(
    ("reader", "name", "text"), [(read_json, "x.json", "{1"), (read_yaml, "x.yaml", "a: [1")]
)
def test_malformed_text_names_file_and_line(reader, name, text, tmp_path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BenchError, match=rf"{name}:\d+: not valid"):
        reader(tmp_path / name)
    with pytest.raises(BenchError, match="no such file"):
        reader(tmp_path / "missing")


def test_hashes_separate_what_differs() -> None:
    assert hash_strings(["ab", "c"]) != hash_strings(["a", "bc"])
    assert hash_value({"a": 1, "b": 2}) == hash_value({"b": 2, "a": 1})
    assert hash_array(np.zeros((2, 3))) != hash_array(np.zeros((3, 2)))
    assert hash_array(np.zeros(3, np.float32)) != hash_array(np.zeros(3, np.float64))
    assert derive_seed(0, "order") != derive_seed(0, "init") != derive_seed(1, "init")


def manifest(root) -> Manifest:
    meta = {c: ["x", "y"] for c in META_COLUMNS}
    frame = pd.DataFrame({**meta, "Edema": pd.array([1, None], dtype="Int8")})
    return Manifest("set", "twin", root, ("Edema",), frame, info=ReadingRecord(labels_met=3))


def test_manifest_round_trip_keeps_the_four_states(tmp_path) -> None:
    first = manifest(tmp_path)
    first.save(tmp_path)
    again = Manifest.load(tmp_path)
    pd.testing.assert_frame_equal(again.frame, first.frame)
    assert (again.dataset, again.origin, again.classes, again.info) == (
        "set",
        "twin",
        ("Edema",),
        ReadingRecord(labels_met=3),
    )
    before = hash_file(tmp_path / "manifest.parquet")
    again.save(tmp_path)
    assert hash_file(tmp_path / "manifest.parquet") == before


def test_predictions_round_trip(tmp_path) -> None:
    frame = pd.DataFrame({"image_id": ["a"], "patient_id": ["p"], "Edema": [0.5]})
    Predictions(("Edema",), frame, ScoresRecord(method="clip")).save(tmp_path / "p.parquet")
    again = Predictions.load(tmp_path / "p.parquet")
    assert again.classes == ("Edema",)
    assert again.info == ScoresRecord(method="clip")
    assert json.loads(pq.read_schema(tmp_path / "p.parquet").metadata[b"cxr_alignbench"]) == {
        "classes": ["Edema"],
        "info": {"method": "clip"},
    }
    table = pq.read_table(tmp_path / "p.parquet")
    wrong = json.dumps({"classes": ["Edema"], "info": {"versions": ["2"]}})
    pq.write_table(table.replace_schema_metadata({"cxr_alignbench": wrong}), tmp_path / "p.parquet")
    with pytest.raises(DataError, match=r"p\.parquet: .*versions"):
        Predictions.load(tmp_path / "p.parquet")


def test_metric_rows_have_one_schema() -> None:
    assert tuple(metric_frame([{"metric": "auroc", "value": 0.5}]).columns) == METRIC_COLUMNS
    with pytest.raises(KeyError, match="not metric columns"):
        metric_frame([{"auroc": 0.5}])


def test_unreadable_parquet_is_one_line(tmp_path) -> None:
    (tmp_path / "x.parquet").write_text("no")
    with pytest.raises(BenchError, match="not a readable Parquet"):
        read_table(tmp_path / "x.parquet")
