"""Settings of the robustness study, and the cells that follow from them by rule."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from benchmark.core.errors import ParamsError
from benchmark.grid.params import ablation_cell, main_cell
from benchmark.grid.params_file import load_params
from benchmark.grid.robust_cells import BEFORE, params_of, under_setting
from benchmark.grid.robustness import FACTORS, SettingParams
from benchmark.stages.pool import Job, jobs_of

FILE = Path(__file__).resolve().parents[2] / "params.yaml"
PARAMS = load_params(FILE)
SETTINGS = PARAMS.robustness.settings


def test_every_factor_has_the_settings_that_the_study_declares():
    alone = [own.factors[0] for own in SETTINGS.values() if len(own.factors) == 1]
    counts = {title: alone.count(title) for title in FACTORS.values()}
    assert counts == {"image encoder": 3, "text encoder": 2, "width": 2, "training images": 1}
    assert sum(len(own.factors) > 1 for own in SETTINGS.values()) == 2, "two corners"


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_changes_every_method_alike_and_nothing_that_it_does_not_name(name):
    own, setting = params_of(PARAMS, f"{BEFORE}{name}"), SETTINGS[name]
    jobs = jobs_of(own, f"{BEFORE}{name}")
    assert jobs == [Job(f"{method}-{name}", 0) for method in PARAMS.methods]
    assert own.data.train_images == setting.train_images
    for method in PARAMS.methods:
        cell, main = ablation_cell(own, f"{method}-{name}"), main_cell(PARAMS, method)
        assert cell.training == main.training
        assert (cell.encoders.image, cell.encoders.text) == (setting.image, setting.text)
        changed = {"width", "heads"} if setting.width else set()
        fields = type(cell.options).model_fields.keys() - changed
        assert all(getattr(cell.options, f) == getattr(main.options, f) for f in fields)
        assert cell.options.width == (setting.width or main.options.width)
        assert cell.evaluate == PARAMS.robustness.evaluate
        if hasattr(cell.options, "heads"):
            assert cell.options.width / cell.options.heads == min(64, cell.options.width)


def test_a_cell_of_the_same_name_is_shared_or_refused():
    assert "carzero-width-128" in PARAMS.cells, "trained once, as the setting asks for the same"
    other = {**PARAMS.cells, "clip-width-32": PARAMS.cells["clip-mlp"]}
    clash = PARAMS.model_copy(update={"cells": other})
    with pytest.raises(ParamsError, match="cells.clip-width-32 is another cell"):
        under_setting(clash, "width-32")
    assert under_setting(clash, "width-128").cells.keys() == {f"{m}-width-128" for m in PARAMS.methods}


def test_what_changes_nothing_or_is_not_there_is_refused():
    with pytest.raises(ValidationError, match="changes nothing"):
        SettingParams(label="nothing")
    with pytest.raises(ParamsError, match="no setting 'width-3'.*Did you mean 'width-32'"):
        under_setting(PARAMS, "width-3")
    with pytest.raises(ParamsError, match=r"robustness.settings.lite2.image: unknown encoder 'lite9'"):
        load_params(FILE, sets=["robustness.settings.lite2.image=lite9"])
