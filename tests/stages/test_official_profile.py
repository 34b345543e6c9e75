"""The `official` profile: what it resolves to, what a missing root says, and one small cell on real files."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
import torch

from benchmark.core.errors import DataError
from benchmark.grid.layout import Project
from benchmark.grid.modality import on_volumes
from benchmark.grid.params import ablation_cell, encoders_of, main_cell
from benchmark.grid.params_file import load_params
from benchmark.grid.parts import OF_ENCODERS
from benchmark.stages.own_encoders import told
from benchmark.stages.prepare import source_of
from benchmark.training.augment import augmentation_of
from benchmark.training.live import PixelStore, SentenceStore
from benchmark.training.loop import seeded_method
from methods.base import METHODS, configure
from tests.training.test_trained_encoders import reads

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


TRAINED = {
    "clip": ("full", "full", "none"), "medclip": ("full", "full", "official"),
    "gloria": ("full", "full", "official"), "carzero": ("full", "full", "official"),
    "radzero": ("none", "full", "none"), "brgsa": ("full", "full", "official"),
}  # fmt: skip
"""Method → what its paper trains of the image and the text encoder, and whether it augments images."""


@pytest.fixture(scope="module")
def official(root):
    return load_params(root / "params.yaml", "official")


def test_each_method_trains_the_encoders_that_its_paper_trains(official) -> None:
    params = official
    assert set(params.methods) == set(TRAINED)
    for name in params.methods:
        cell = main_cell(params, name)
        how = encoders_of(params, cell).train
        assert (how.image, how.text, how.augment) == TRAINED[name]
        assert how.layer_decay == 1
        assert cell.training.encoder_learning_rate is None, "the papers have one rate for all weights"
        said = told(params, cell)
        assert said.startswith(f"{name}-main trains ")
        assert ("vit-b16 (full)" in said) == (how.image == "full")
        assert METHODS.get(name).recipe("official").source in said
        assert f"learning rate {cell.training.learning_rate:g} in every layer" in said
        assert (how.augment == "official") == ("images augmented" in said)
    shuffled = encoders_of(params, ablation_cell(params, "clip-shuffled")).train
    assert (shuffled.image, shuffled.text) == ("full", "full"), "as its main cell, but for what it changes"
    for name, own in params.cells.items():
        if own.table in OF_ENCODERS:
            cell = ablation_cell(params, name)
            assert cell.encoders == own.encoders, "which encoder trains is said by the cell itself"
            assert cell.training.encoder_chunk is None
    volumes = on_volumes(params)
    for name in volumes.methods:
        assert told(volumes, main_cell(volumes, name)) == "", "encoders of volumes stay frozen"


def test_stages_that_read_frozen_features_refuse_the_profile_and_writing_it_says_why(home, bench) -> None:
    code, out, _ = bench(home, "stage", "profile", "official")
    assert code == 0
    assert len(out.splitlines()) == 1 + len(TRAINED)
    assert "radzero-main trains bioclinicalbert (full), learning rate 0.0001 in every layer" in out
    for stage in ("transfer", "understanding", "gallery"):
        code, _, err = bench(home, "stage", stage)
        assert code == 2
        assert f"bench stage {stage} reads features of frozen encoders, but clip-main trains" in err


@pytest.mark.parametrize("name", sorted(TRAINED))
def test_the_smallest_training_of_the_profile(official, tmp_path, name: str) -> None:
    """Encoders of a few weights under the published settings of each method move as they are told to."""
    cell = main_cell(official, name)
    how = encoders_of(official, cell).train
    augment = augmentation_of(name) if how.augment == "official" else None
    of = reads(*(None if kind == "none" else kind for kind in (how.image, how.text)), augment=augment)
    small = {"width": 12, "project": "always", "bank_size": 32} | (
        {"heads": 1, "layers": 1} if name == "carzero" else {}
    )
    kinds = set(type(cell.options).model_fields)
    options = {**cell.options.model_dump(), **{k: v for k, v in small.items() if k in kinds}}
    training = cell.training.model_copy(
        update={"epochs": 1, "batch_size": 10, "batch_schedule": (), "encoder_chunk": 4, "warmup_steps": 0}
    )
    method = seeded_method(name, options, of.live.images.width, of.live.text.width, 0)
    stores = {"image": of.live.images, "text": of.live.text}
    live = {k: s.encoder for k, s in stores.items() if isinstance(s, PixelStore | SentenceStore)}
    before = {k: [p.detach().clone() for p in e.parameters()] for k, e in live.items()}
    result = of.train(method, of.live, training, tmp_path / "run", 0)
    assert result.run["fine_tuned"] == sorted(before)
    assert math.isfinite(result.val_loss)
    for kind, encoder in live.items():
        now = list(encoder.parameters())
        assert any(not torch.equal(a, b) for a, b in zip(now, before[kind], strict=True))
        assert {p.dtype for p in now} == {torch.float32}, "mixed precision keeps the weights in float32"


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
