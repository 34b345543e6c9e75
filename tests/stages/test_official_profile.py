"""The `official` profile: what it resolves to, what a missing root says, and one small cell on real files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmark.core.errors import DataError
from benchmark.grid.layout import Project
from benchmark.grid.params import ablation_cell, main_cell
from benchmark.grid.params_file import load_params
from benchmark.stages.prepare import source_of
from methods.base import METHODS, configure

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def home(root, tmp_path) -> Path:
    shutil.copy(root / "params.yaml", tmp_path)
    return tmp_path


def test_every_cell_has_the_published_settings_and_nothing_tuned(home) -> None:
    params, default = load_params(home / "params.yaml", "official"), load_params(home / "params.yaml")
    assert params.methods == default.methods
    assert set(params.cells) == set(default.cells)
    for name in params.methods:
        cell, kind = main_cell(params, name), METHODS.get(name)
        assert cell.options == configure(name, kind.settings("official"))
        recipe, config = kind.recipe("official"), cell.training
        assert (config.learning_rate, config.epochs, config.batch_size, config.optimiser) == (
            recipe.learning_rate,
            recipe.epochs,
            recipe.batch_size,
            recipe.optimiser,
        )
    carzero = main_cell(params, "carzero")
    assert carzero.options.model_dump().items() >= {"width": 768, "layers": 4}.items()
    assert carzero.training.learning_rate == 5e-5
    for name in params.cells:
        main = main_cell(params, params.cells[name].method)
        assert ablation_cell(params, name).training.source == main.training.source
    of_tasks = [dataset for settings in params.tasks.values() for dataset in settings.datasets]
    assert set(params.data.roots) >= {params.data.train, *params.data.evaluate, *of_tasks}


def test_a_root_that_is_not_set_is_one_line_that_names_it(home, bench, monkeypatch, tmp_path) -> None:
    for name in ("MIMIC_CXR_ROOT", "PADCHEST_ROOT"):
        monkeypatch.delenv(name, raising=False)
    before = sorted(home.rglob("*"))
    own = ("--set", "encoders.image=efficientnet-lite0", "--set", "encoders.text=minilm-l6")
    code, out, err = bench(
        home, "run", "--method", "clip", "--dataset", "padchest", "--profile", "official", *own
    )
    assert (code, out) == (2, "")
    line = err.strip().splitlines()[-1]
    assert "$MIMIC_CXR_ROOT is not set" in line
    assert "data.roots.mimic_cxr" in line
    assert sorted(home.rglob("*")) == before
    assert bench(home, "stage", "profile", "official")[0] == 0
    code, _, err = bench(home, "stage", "prepare", "padchest")
    assert code == 2
    assert "$PADCHEST_ROOT is not set" in err
    monkeypatch.setenv("PADCHEST_ROOT", str(tmp_path / "absent"))
    with pytest.raises(DataError, match="absent is not a folder"):
        source_of(Project(home), load_params(home / "params.yaml"), "padchest")


@pytest.mark.slow
def test_a_small_cell_of_the_profile_on_real_radiographs(home, bench, shared, monkeypatch) -> None:
    """Real files and the published recipe, with the small encoders and one epoch."""
    monkeypatch.setenv("CHESTXRAY14_ROOT", str(shared / "data" / "nih1000"))
    small = ("encoders.image=efficientnet-lite0", "encoders.text=minilm-l6", "training.epochs=1",
             "method.clip.options.width=32", "data.train=chestxray14")  # fmt: skip
    sets = [part for item in small for part in ("--set", item)]
    asked = ("--method", "clip", "--dataset", "chestxray14", "--profile", "official", "--seeds", "0")
    code, out, err = bench(home, "run", *asked, *sets)
    assert code == 0, err
    assert "OFFICIAL DATA" in out
    assert "SYNTHETIC" not in out
    assert "104 of the 22,433 images" in out
    assert "Trained on chestxray14 (official files), texts: labels" in out
