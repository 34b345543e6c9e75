"""Which images are trained on, and whose they are."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmark.core.tables import META_COLUMNS, Manifest
from benchmark.grid.params_file import load_params
from benchmark.stages.train import training_source


def manifest(patients: list[str | None], splits: list[str | None]) -> Manifest:
    frame = pd.DataFrame({name: pd.Series([None] * len(patients), dtype="string") for name in META_COLUMNS})
    for column, values in (
        ("image_id", [f"i{n}" for n in range(len(frame))]),
        ("patient_id", patients),
        ("split", splits),
    ):
        frame[column] = pd.Series(values, dtype="string")
    return Manifest("mimic_cxr", "twin", Path(), (), frame)


@pytest.mark.parametrize("unknown", [None, "nan", "None", ""])
def test_images_of_unknown_patients_are_not_one_patient(root: Path, unknown: str | None) -> None:
    """As one patient they would all be held out or none, or stand in both parts of the official split."""
    params = load_params(root / "params.yaml")
    data = manifest([unknown] * 200 + ["p1", "p1"], ["train"] * 100 + ["validate"] * 100 + ["train"] * 2)
    source = training_source(params, data)
    assert source.split is not None
    owners = source.manifest.frame["patient_id"]
    assert owners.dtype == "string"
    assert owners.nunique() == 201
    assert owners.tolist()[-2:] == ["p1", "p1"]
    assert set(owners[:100]).isdisjoint(owners[100:200])


def test_a_share_of_the_images_is_drawn_among_unknown_patients_too(root: Path) -> None:
    params = load_params(root / "params.yaml")
    params = params.model_copy(update={"data": params.data.model_copy(update={"train_images": 60})})
    data = manifest([None] * 120, ["train"] * 120)
    chosen = training_source(params, data).manifest.frame["image_id"].tolist()
    assert len(chosen) == 60
    assert chosen != [f"i{n}" for n in range(60)]  # not the first of one patient
    assert training_source(params, data).manifest.frame["image_id"].tolist() == chosen
