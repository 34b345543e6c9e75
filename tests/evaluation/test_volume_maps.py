"""Maps of three dimensions in the voxels of a volume, and against a drawn lesion."""

from __future__ import annotations

import zipfile

import numpy as np
import pandas as pd
import pytest

from benchmark.core.tables import write_table
from benchmark.data.volume_grid import Volume
from benchmark.data.volume_steps import VolumeSteps, apply_steps
from benchmark.evaluation.grounding import UNSEEN
from benchmark.evaluation.tasks.volume_grounding import hits
from benchmark.evaluation.volume_maps import (
    Drawn,
    drawn_lesion,
    fullest_voxel,
    highest_voxel,
    measured_volume,
    sample,
    token_places,
)
from benchmark.twins.build import truth_path
from benchmark.twins.ct.build import masks_path
from benchmark.twins.ct.space import Space


@pytest.mark.parametrize("grid", ["corner", "centre"])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(
    ("count", "old", "want"), [(40, 2.0, 16), (41, 2.0, 33), (37, 7.5, 50), (30, 1.0, 61)]
)
def test_places_undo_the_preprocessing(grid, axis, count, old, want):
    """A volume whose values are places along one axis comes back as those places."""
    shape, spacing, wide = [9, 9, 9], [3.0, 3.0, 3.0], [9, 9, 9]
    shape[axis], spacing[axis], wide[axis] = count, old, want
    line = np.arange(count) * 20
    hu = np.broadcast_to(line.reshape([-1 if a == axis else 1 for a in range(3)]), shape).astype(np.int16)
    volume = Volume(np.ascontiguousarray(hu), tuple(spacing))
    steps = VolumeSteps(spacing=(3.0, 3.0, 3.0), shape=tuple(wide), grid=grid, low=-1000, high=2000)
    read = np.moveaxis(apply_steps(volume, steps), axis, 0)[:, 4, 4]
    # One token a row of what the encoder reads, so that a place is a row.
    places = token_places(volume, steps, tuple(wide))[axis]
    seen = np.flatnonzero(~np.isnan(places))
    inner = [v for v in seen if 1 <= places[v] <= want - 2 and 3.0 < v * old < (count - 1) * old - 3.0]
    assert inner
    found = np.interp(places[inner], np.arange(want), read)
    np.testing.assert_allclose(found, line[inner], atol=1.0)
    assert len(seen) * old == pytest.approx(min(count * old, want * 3.0), abs=3.0 + old)


def test_a_map_has_no_value_where_the_encoder_saw_nothing():
    volume = Volume(np.zeros((20, 10, 10), np.int16), (1.0, 1.0, 1.0))
    steps = VolumeSteps(spacing=(1.0, 1.0, 1.0), shape=(10, 10, 10))
    tokens = np.arange(8.0).reshape(2, 2, 2)
    places = token_places(volume, steps, (2, 2, 2))
    values = sample(tokens, places)
    assert (values[:5] == UNSEEN).all()
    assert (values[15:] == UNSEEN).all()
    assert values[5, 0, 0] == 0.0
    assert values[14, 9, 9] == 7.0
    # Halfway between the first and the second token of every axis lies the mean of all.
    middle = [np.array([0.5])] * 3
    assert sample(tokens, middle).item() == tokens.mean()


def test_the_highest_voxel_lies_in_the_highest_token():
    volume = Volume(np.zeros((30, 24, 24), np.int16), (2.0, 1.0, 1.0))
    steps = VolumeSteps(spacing=(4.0, 2.0, 2.0), shape=(12, 12, 12))
    places = token_places(volume, steps, (3, 3, 4))
    tokens = np.zeros((3, 3, 4))
    tokens[2, 0, 3] = tokens[2, 2, 3] = 1.0
    at = highest_voxel(tokens, places)
    assert tuple(int(np.floor(p[v] + 0.5)) for p, v in zip(places, at, strict=True)) == (2, 0, 3)


def test_the_planes_of_a_lesion_are_those_that_hold_most_of_it():
    mask = np.zeros((5, 6, 7), bool)
    mask[3, 2, 1:5] = True
    mask[0, 2, 4] = True
    assert fullest_voxel(mask) == (3, 2, 4)


def test_a_lesion_is_found_and_measured_as_the_task_counts_it(tmp_path):
    space = Space.of(32)
    mask = np.zeros(space.shape, bool)
    mask[4:8, 10:20, 12:20] = True
    root = tmp_path / "twin"
    with zipfile.ZipFile(masks_path(root), "w") as archive:
        archive.writestr("1/0", np.packbits(mask).tobytes())
    frame = pd.DataFrame([("a", "image", "nodule", "1/0")], columns=["image_id", "source", "concept", "mask"])
    write_table(truth_path(root), frame, {"spec": {"side": 32}})
    volume = Volume(np.zeros(space.shape, np.int16), space.voxel)
    steps = VolumeSteps(spacing=(14.0, 12.0, 12.0), shape=(24, 30, 30))
    lesion = drawn_lesion(root, "a", {"nodule"}, volume, steps, (4, 3, 3))
    assert lesion is not None
    np.testing.assert_array_equal(lesion.voxels, mask)
    assert drawn_lesion(root, "a", {"effusion"}, volume, steps, (4, 3, 3)) is None

    import torch

    places = token_places(volume, steps, (4, 3, 3))
    for tokens in (lesion.touched.astype(float), 1.0 - lesion.touched):
        found = measured_volume(tokens, places, lesion, attention=False)
        assert found.hit == bool(hits(torch.tensor(tokens)[None], lesion.touched[None])[0])
        assert found.chance == lesion.touched.mean()
    assert measured_volume(lesion.touched.astype(float), places, lesion, False).cnr > 0
    assert measured_volume(1.0 - lesion.touched, places, lesion, False).cnr < 0


def test_a_map_that_is_the_lesion_overlaps_it_wholly():
    volume = Volume(np.zeros((6, 6, 6), np.int16), (1.0, 1.0, 1.0))
    steps = VolumeSteps(spacing=(1.0, 1.0, 1.0), shape=(6, 6, 6))
    mask = np.zeros((6, 6, 6), bool)
    mask[2:4, 1:3, 4] = True
    places = token_places(volume, steps, (6, 6, 6))
    found = measured_volume(mask.astype(float), places, Drawn(mask, mask), attention=True)
    assert (found.iou, found.dice, found.iou_fixed, found.hit) == (1.0, 1.0, 1.0, True)
