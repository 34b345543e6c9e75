"""A counterfactual image differs from its patient's own only by what the changed finding does."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from benchmark.twins.counterfactual import counterfactual_plan, draw, draw_scene, drawn_alone
from benchmark.twins.render import render
from benchmark.twins.sites import site

SIZE = 96
SHARP = ("nodule", "pacemaker", "calcified granuloma")
ONE_SIDED = ("consolidation", "pleural effusion", "pneumothorax")
PAINTED = (*SHARP, *ONE_SIDED)
NO_SCATTER = site("padchest").model_copy(
    update={"style": site("padchest").style.model_copy(update={"scatter": 0.0, "sharpen": 0.0, "blur": 0.0})}
)


@pytest.fixture(scope="module")
def plan():
    return counterfactual_plan(PAINTED, 4, 0)


def _stored(image):
    """The bytes of an 8-bit file."""
    return (image.pixels * 255).round().astype(np.uint8)


def _two(plan, scene):
    visit = plan.visits[scene.patient]
    scenes = (scene, plan.scenes[scene.patient])
    return tuple(render(visit, 0, s.findings, NO_SCATTER, SIZE, 0) for s in scenes)


@pytest.mark.parametrize("kind", ["added", "moved", "graded", "companion"])
def test_every_pixel_outside_the_changed_regions_is_equal(plan, kind):
    """Scatter and the unsharp mask, which spread light by physics and by display, are switched off."""
    compared = 0
    for scene in (s for s in plan.scenes if s.kind == kind):
        changed = scene.companion or scene.changed.concept
        if kind != "companion" and changed not in SHARP:
            continue
        ours, base = _two(plan, scene)
        mask = np.zeros((SIZE, SIZE), np.uint8)
        for region in (r for r in ours.regions if r.concept == changed):
            mask |= region.mask.astype(np.uint8)
        outside = cv2.dilate(mask, np.ones((15, 15), np.uint8)) == 0
        np.testing.assert_array_equal(_stored(ours)[outside], _stored(base)[outside])
        assert (ours.pixels != base.pixels).any()
        compared += 1
    assert compared


def test_what_fills_one_lung_leaves_the_other_half_as_it_was(plan):
    compared = 0
    for scene in (s for s in plan.scenes if s.kind in ("added", "moved", "graded")):
        if scene.changed.concept not in ONE_SIDED or scene.changed.side not in ("left", "right"):
            continue
        ours, base = _two(plan, scene)
        far = slice(SIZE * 5 // 8, None) if scene.changed.side == "right" else slice(0, SIZE * 3 // 8)
        np.testing.assert_array_equal(_stored(ours)[:, far], _stored(base)[:, far])
        compared += 1
    assert compared


def test_the_plan_changes_one_finding_of_a_scene(plan):
    for scene in plan.scenes:
        base = set(plan.scenes[scene.patient].findings)
        new, gone = set(scene.findings) - base, base - set(scene.findings)
        want = {"base": (0, 0), "removed": (0, 1), "both": (2, 0)}.get(scene.kind, (1, 0))
        assert (len(new), len(gone)) == want


def test_sides_alternate_and_are_exchanged(plan):
    added = {(s.patient, s.changed.concept): s.changed.side for s in plan.scenes if s.kind == "added"}
    moved = {(s.patient, s.changed.concept): s.changed.side for s in plan.scenes if s.kind == "moved"}
    assert moved
    assert all({added[key], side} == {"left", "right"} for key, side in moved.items())
    assert {side for (_, name), side in added.items() if name == "pleural effusion"} == {"left", "right"}


def test_workers_and_repetition_change_nothing(plan):
    some = plan.scenes[:3]
    once = list(draw(plan, 64, workers=1))
    for number, scene in enumerate(some):
        np.testing.assert_array_equal(once[number], draw_scene(plan, scene, 64))


def test_enough_findings_are_drawn():
    assert len(drawn_alone()) >= 60
