"""References: what they read, and that no patient is on both sides of a fit."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from benchmark.core.features import ImageFeatures
from benchmark.encoders.store import FeatureStore
from benchmark.evaluation.references.base import REFERENCES, Images, crossed, enough, mean_auroc
from benchmark.evaluation.references.linear import LinearReference, fitted
from benchmark.evaluation.references.metadata import Metadata
from benchmark.evaluation.references.thumbnail import Thumbnail, histogram, tiles
from benchmark.grid.layout import Project
from benchmark.stages import references

COUNT, PATIENTS = 160, 80


@pytest.fixture(scope="module")
def images() -> Images:
    """Images of which one patch, the grey value and the age each show a class, and 160 of 80 patients."""
    rng = np.random.default_rng(0)
    local = torch.tensor(rng.normal(size=(COUNT, 4, 6)), dtype=torch.float32)
    shown = rng.random(COUNT) < 0.4
    local[shown, 2, 3] += 4
    store = FeatureStore.of(ImageFeatures(local.mean(1), local, (2, 2)))
    age = rng.uniform(20, 90, COUNT)
    frame = pd.DataFrame({"age": age, "sex": "F", "view": rng.choice(["PA", "AP"], COUNT)})
    frame.attrs["shown"] = shown
    pixels = rng.integers(0, 60, (COUNT, 17, 17), dtype=np.uint8)
    pixels[age > 55] += 100
    patients = np.repeat([f"p{n}" for n in range(PATIENTS)], 2).astype(object)
    return Images(frame, store, np.arange(COUNT), lambda rows: pixels[rows], patients)


@pytest.fixture(scope="module")
def labels(images) -> np.ndarray:
    """Old age, and the patch."""
    old = images.frame["age"].to_numpy() > 55
    return np.stack([old, images.frame.attrs["shown"]], axis=1).astype(np.int8)


@pytest.mark.parametrize("name", REFERENCES.names())
def test_every_reference_scores_images_that_it_was_not_fitted_on(images, labels, name):
    kind = REFERENCES.get(name)
    fit, rest = np.arange(120), np.arange(120, COUNT)
    scores = kind().fit(images.take(fit), labels[fit], 0)(images.take(rest))
    assert scores.shape == (40, 2)
    assert np.isfinite(scores).all()
    again = kind().fit(images.take(fit), labels[fit], 0)(images.take(rest))
    np.testing.assert_array_equal(again, scores)
    assert kind.kind in ("floor", "ceiling")
    assert kind.title
    assert kind.reads


@pytest.mark.parametrize(
    ("name", "column"), [("thumbnail", 0), ("metadata", 0), ("pooled", 1), ("patches", 1)]
)
def test_a_reference_finds_what_it_reads_and_nothing_else(images, labels, name, column):
    own = crossed(REFERENCES.get(name)(), images, labels, 0)
    assert mean_auroc(labels[:, [column]], own[:, [column]]) > 0.85
    if name in ("metadata", "thumbnail"):
        assert mean_auroc(labels[:, [1]], own[:, [1]]) < 0.7


class Names(LinearReference):
    """Knows each image by its patient alone: it can score only where the patient was fitted."""

    name = title = reads = "names"
    kind = "floor"

    def inputs(self, images):
        return (images.patients[:, None] == np.array([f"p{n}" for n in range(PATIENTS)])).astype(float)


def test_no_patient_is_on_both_sides_of_a_fold(images):
    of_patient = (np.repeat(np.arange(PATIENTS), 2) % 2)[:, None].astype(np.int8)
    seen = Names().fit(images, of_patient, 0)(images)
    assert mean_auroc(of_patient, seen) == 1.0
    apart = crossed(Names(), images, of_patient, 0)
    assert mean_auroc(of_patient, apart) == pytest.approx(0.5, abs=0.1)


def test_pooled_folds_without_information_stay_at_chance(images):
    """With an intercept, folds that hold more of a rare class are fitted on fewer of it and score lower."""
    rare = np.zeros((COUNT, 1), dtype=np.int8)
    rare[::20] = 1
    blank = replace(images, frame=images.frame.assign(age=np.nan, view=["PA"] * 80 + ["AP"] * 80))
    assert mean_auroc(rare, crossed(Metadata(), blank, rare, 0)) == pytest.approx(0.5, abs=0.15)


def test_labels_that_are_not_known_are_left_out(images, labels):
    gaps = labels.copy()
    gaps[:80, 0] = -1
    x = Metadata().inputs(images)
    apart, joint = fitted(x[80:], labels[80:, :1], 1.0)(x), fitted(x, gaps, 1.0)(x)
    np.testing.assert_allclose(joint[:, :1], apart)
    assert not fitted(x, np.full_like(labels, -1), 1.0)(x).any()


def test_a_missing_age_is_not_that_of_the_youngest(images, labels):
    """Fitted where every age is known, an image without one scored as a newborn, below all others."""
    frame = pd.DataFrame({"age": [25.0, 85.0, np.nan], "sex": "F", "view": "PA"})
    few = Images(frame, images.features, np.arange(3), images.pixels, np.array(["a", "b", "c"], dtype=object))
    young, old, unknown = Metadata().fit(images, labels, 0)(few)[:, 0]
    assert young < unknown < old


def test_metadata_applies_where_it_tells_images_apart(images):
    plain = replace(images, frame=images.frame.assign(age=np.nan, view="frontal"))
    assert not Metadata().applies(plain)
    assert Metadata().applies(images)
    assert Metadata().shared(images, images)
    assert not Metadata().shared(plain, images)


def test_metadata_of_views_that_training_images_lack_are_not_fitted_on_them(images):
    """Frontal images of training tell a lateral from nothing: every image of the set had one score, and the
    floor stood at 0.5."""
    views = np.where(np.arange(COUNT) % 5 == 0, "L", "frontal")
    beside_laterals = replace(images, frame=images.frame.assign(age=np.nan, view=views))
    assert Metadata().applies(beside_laterals)
    assert not Metadata().shared(images, beside_laterals)
    all_three = images.frame.assign(view=np.where(views == "L", "L", images.frame["view"]))
    assert Metadata().shared(images, replace(images, frame=all_three))


def test_thumbnails_are_means_of_tiles_that_cover_the_image():
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (3, 16, 16), dtype=np.uint8)
    expected = pixels.reshape(3, 8, 2, 8, 2).mean(axis=(2, 4)).reshape(3, 64)
    np.testing.assert_allclose(tiles(pixels), expected)
    assert tiles(np.full((1, 19, 19), 7, np.uint8)) == pytest.approx(np.full((1, 64), 7.0))
    shares = histogram(pixels)
    assert shares.shape == (3, 32)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    assert Thumbnail.kind == "floor"


def test_few_patients_cannot_be_parted(images):
    assert enough(images)
    assert not enough(replace(images, patients=np.repeat([f"p{n}" for n in range(8)], 20).astype(object)))


def test_a_reference_is_fitted_again_where_what_it_reads_of_the_training_images_changed(
    images, labels, tmp_path
):
    """Ages are no part of the features by which training images are known."""
    cls, dataset = "Emphysema", "padchest"
    names = [f"image {n}" for n in range(COUNT)]
    info = SimpleNamespace(protocol="carzero", as_json=dict)
    chosen = SimpleNamespace(
        labels=labels[:, :1], classes=(cls,), info=info, patients=images.patients,
        frame=pd.DataFrame({"image_id": names}),
    )  # fmt: skip
    at = SimpleNamespace(
        chosen=chosen, card=SimpleNamespace(concepts={cls: ("emphysema",)}), images=images.features,
        identity="the same", manifest=SimpleNamespace(dataset=dataset),
    )  # fmt: skip
    drawn = [frozenset(["emphysema"] if old else []) for old, _ in labels]
    said: list[str] = []
    session = SimpleNamespace(
        project=Project(tmp_path), writing=lambda *_: nullcontext(), say=said.append, encoders=None
    )

    def scores(training: Images) -> np.ndarray:
        found = references._group(
            session, Metadata(), {dataset: at}, {dataset: images}, references.Training(training, drawn)
        )
        return pd.read_parquet(found[dataset][0].path)[cls].to_numpy()

    before = scores(images)
    np.testing.assert_array_equal(scores(images), before)
    turned = images.frame.assign(age=110 - images.frame["age"])
    assert not np.allclose(scores(replace(images, frame=turned)), before)
    assert [line.rpartition(": ")[2] for line in said] == ["made", "reused", "made"]
