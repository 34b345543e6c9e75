"""Tasks on CT volumes: cells that a lesion touches, retrieval by CT-CLIP's rules, thresholds by BrgSA's."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmark.core.errors import DataError
from benchmark.core.tables import write_table
from benchmark.data.volume_grid import Volume
from benchmark.data.volume_steps import VolumeSteps, apply_steps
from benchmark.evaluation.tasks.brgsa_rules import DRAWS, draws, rule_rows, rule_values
from benchmark.evaluation.tasks.reconstructions import ScanScores, mean_of_scan
from benchmark.evaluation.tasks.volume_grounding import hits
from benchmark.evaluation.tasks.volume_retrieval import label_overlap, overlap_rows
from benchmark.evaluation.volume_masks import OUTSIDE, DrawnMasks, cells_of_voxels
from benchmark.official.metrics import row_bootstrap
from benchmark.stages.gap import on_a_plane
from benchmark.twins.build import truth_path
from benchmark.twins.ct.build import masks_path
from benchmark.twins.ct.space import Space

STEPS = VolumeSteps(spacing=(14.0, 12.0, 12.0), shape=(24, 30, 30))
GRID = (4, 3, 3)


@pytest.mark.parametrize("steps", [STEPS, VolumeSteps(spacing=(7.0, 6.0, 6.0), shape=(24, 30, 30))])
def test_cells_of_voxels_are_where_the_encoder_sees_them(steps):
    space = Space.of(32)
    place = cells_of_voxels(space.shape, space.voxel, steps, GRID)
    for axis in place:
        read = np.flatnonzero(axis != OUTSIDE)
        assert abs(read[0] - (len(axis) - 1 - read[-1])) <= 1, "what is not read lies at both ends alike"
    for at in ((2, 4, 30), (8, 17, 15), (17, 29, 3), (11, 9, 19)):
        hu = np.full(space.shape, -1000, np.int16)
        hu[at] = 1000
        seen = apply_steps(Volume(hu, space.voxel), steps)
        own = tuple(int(axis[i]) for axis, i in zip(place, at, strict=True))
        if seen.max() <= -1000:
            assert OUTSIDE in own
            continue
        found = np.unravel_index(seen.argmax(), seen.shape)
        assert own == tuple(i * c // n for i, c, n in zip(found, GRID, steps.shape, strict=True))


@pytest.fixture
def drawn(tmp_path: Path) -> DrawnMasks:
    """Two lesions of one class in one image, and one of another."""
    root = tmp_path / "twin"
    space = Space.of(32)
    masks = {}
    for name, at in {"1/0": (2, 2, 2), "1/1": (17, 29, 29), "1/2": (9, 16, 16)}.items():
        mask = np.zeros(space.shape, bool)
        mask[at] = True
        masks[name] = np.packbits(mask).tobytes()
    with zipfile.ZipFile(masks_path(root), "w") as archive:
        for name, packed in masks.items():
            archive.writestr(name, packed)
    rows = [
        ("a", "image", "nodule", "1/0"),
        ("a", "image", "granuloma", "1/1"),
        ("a", "image", "cyst", "1/2"),
        ("b", "image", "cyst", None),
        (None, "sentence", "cyst", None),
    ]
    frame = pd.DataFrame(rows, columns=["image_id", "source", "concept", "mask"])
    write_table(truth_path(root), frame, {"spec": {"side": 32}})
    return DrawnMasks(root)


def test_a_class_has_the_cells_of_all_its_lesions(drawn):
    classes = [("Nodule", frozenset(["nodule", "granuloma"])), ("Effusion", frozenset(["effusion"]))]
    ((image, name, cells),) = drawn.cells({"a": classes, "b": classes}, STEPS, GRID)
    assert (image, name, int(cells.sum())) == ("a", "Nodule", 2)
    assert cells[0, 0, 0]
    assert cells[3, 2, 2]
    assert drawn.content == drawn.content


def test_volumes_without_drawn_masks_are_said_in_one_line(tmp_path):
    with pytest.raises(DataError, match=r"Only twins of CT volumes have them\.$"):
        DrawnMasks(tmp_path / "official").content  # noqa: B018


def test_a_hit_is_a_highest_cell_that_the_lesion_touches():
    maps = torch.zeros(2, *GRID)
    maps[0, 3, 2, 1] = maps[1, 0, 0, 0] = 1
    inside = np.zeros((2, *GRID), bool)
    inside[:, 3, 2, 1] = True
    assert hits(maps, inside).tolist() == [1, 0]


def test_label_overlap_as_released_counts_the_query_and_smaller_k():
    labels = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], bool)
    assert label_overlap(labels)[0].tolist() == [1, 0.5, 0, 0]
    vectors = np.array([[1, 0.0], [0.9, 0.1], [1, 0.01], [0, 1]])
    rows = overlap_rows(vectors, labels, np.arange(4), 4, 0.95)
    value = {row.metric: row.value for row in rows}
    # 0 → 1 (1/2), 1 → 0 (1/2), 3 → 1 (1/2); the released rule finds the query itself first.
    assert value["label_overlap_at_1"] == pytest.approx(0.5)
    assert value["label_overlap_at_1_as_released"] == 1
    every = label_overlap(labels)[np.ix_([0, 1, 3], [0, 1, 3])].mean()
    assert value["label_overlap_at_5_as_released"] == pytest.approx((1 + every) / 2)


def test_a_volume_with_an_ignored_label_is_no_candidate_for_label_overlap():
    labels = np.array([[1, -1], [1, 0], [0, 1]], np.int8)
    rows = overlap_rows(np.array([[1, 0.0], [1, 0.0], [0, 1]]), labels, np.arange(3), 3, 0.95)
    own = next(r for r in rows if r.metric == "label_overlap_at_1")
    assert own.value == 0, "the second volume's nearest is unknown to share a label"
    assert "2 volumes with a label, 1 with an ignored label left out" in own.note


def test_volumes_of_the_querys_patient_are_no_candidates():
    labels = np.array([[1, 0], [1, 0], [0, 1]], bool)
    vectors = np.array([[1, 0.0], [1, 0.0], [0, 1]])
    rows = overlap_rows(vectors, labels, np.array([0, 0, 1]), 2, 0.95)
    assert {r.metric: r.value for r in rows}["label_overlap_at_1"] == 0


def test_a_query_without_a_candidate_is_no_query_that_found_nothing():
    """The volumes of the only patient with labels had an overlap of 0 with none."""
    labels, vectors = np.array([[1, 0], [1, 0], [0, 0]], bool), np.eye(3)
    rows = {r.metric: r for r in overlap_rows(vectors, labels, np.array([0, 0, 1]), 2, 0.95)}
    assert np.isnan(rows["label_overlap_at_1"].value)
    assert "0 volumes with a label, 2 without a candidate left out" in rows["label_overlap_at_1"].note
    assert rows["label_overlap_at_1_as_released"].value == 1


def test_intervals_by_brgsas_rule_leave_out_draws_that_say_nothing():
    """A third of the draws hold no volume of the one patient with positives, and took the interval of strict
    recall with them; and of two classes the precision at 2 stood under the name of that at 3."""
    rng = np.random.default_rng(0)
    labels, scores = np.zeros((30, 2), np.int8), rng.normal(size=(30, 2))
    labels[:2] = [[1, 0], [0, 1]]
    rows = rule_rows(scores, labels, np.repeat(np.arange(15), 2), "x", 0.95).set_index("metric")
    assert "precision_at_3" not in rows.index
    own = rows.loc["strict_recall_at_1"]
    assert own["low"] <= own["value"] <= own["high"]


def test_values_by_brgsas_rule_are_those_of_its_bootstrap():
    rng = np.random.default_rng(0)
    labels, scores = (rng.random((40, 3)) < 0.4).astype(int), rng.normal(size=(40, 3))
    cuts = np.array([0.1, -0.2, 0.4])
    own = rule_values(labels, scores, cuts)
    drawn = row_bootstrap(labels, scores, cuts, draws=3)
    for i, rows in enumerate(drawn.indices):
        again = rule_values(labels[rows], scores[rows], cuts)
        for ours, theirs in (("accuracy_brgsa", "acc"), ("weighted_f1_brgsa", "f1"),
                             ("precision_brgsa", "precision"), ("recall_brgsa", "recall")):  # fmt: skip
            assert again[ours] == pytest.approx(drawn.per_class[theirs][i].mean()), ours
        assert again["strict_recall_at_1"] == pytest.approx(drawn.overall["recall_at1"][i])
        assert again["precision_at_3"] == pytest.approx(drawn.overall["precision_at3"][i])
    assert own.keys() == again.keys()


def test_an_ignored_label_is_no_negative_for_brgsas_rules():
    """Images with an ignored label were counted as negative; they are left out, and the note says so."""
    rng = np.random.default_rng(1)
    labels, scores = (rng.random((90, 3)) < 0.4).astype(np.int8), rng.normal(size=(90, 3))
    patients = np.array([f"p{i // 2}" for i in range(90)])
    alone = rule_rows(scores[:80], labels[:80], patients[:80], "made_up", 0.95).set_index("metric")
    labels[80:, 1] = -1
    found = rule_rows(scores, labels, patients, "made_up", 0.95).set_index("metric")
    assert found.value.to_dict() == alone.value.to_dict()
    assert found.low.to_dict() == alone.low.to_dict()
    assert found.note.str.contains("10 images with an ignored label are left out").all()
    assert found.n_neg.eq(alone.n_neg).all()
    assert not found.note.str.contains("few positive").any()
    few = rule_rows(scores[:20], labels[:20], patients[:20], "made_up", 0.95)
    assert few.note.str.contains("few positive patients").all()
    labels[:, 2] = -1
    with pytest.raises(DataError, match="0 of 90; leave the task brgsa_rules out"):
        rule_rows(scores, labels, patients, "made_up", 0.95)


def test_a_draw_without_the_one_positive_of_a_class_does_not_lower_its_recall():
    """Every draw that has the positive finds it; those without it counted as a recall of 0."""
    labels, scores = np.zeros((60, 8), int), np.random.default_rng(3).normal(size=(60, 8))
    for j in range(8):
        labels[j, j], scores[j, j] = 1, 9.0
    frame = rule_rows(scores, labels, np.arange(60).astype(str), "made_up", 0.95).set_index("metric")
    assert frame.loc["recall_brgsa", ["value", "low"]].tolist() == [1, 1]


def test_intervals_draw_patients_with_all_their_rows():
    codes = np.array([0, 1, 0, 2])
    found = draws(codes, 3, np.random.default_rng(0))
    assert len(found) == DRAWS
    for rows in found[:50]:
        counts = np.bincount(rows, minlength=4)
        assert counts[0] == counts[2]
        assert counts[0] + counts[1] + counts[3] == 3


def test_the_plane_keeps_what_two_axes_hold():
    rng = np.random.default_rng(0)
    image, text = rng.normal(size=(30, 5)), rng.normal(size=(30, 5)) + np.array([3, 0, 0, 0, 0])
    left, right, shown = on_a_plane(image, text)
    again = on_a_plane(2 * image, 3 * text)
    np.testing.assert_allclose(left, again[0])
    both = np.concatenate([x / np.linalg.norm(x, axis=1, keepdims=True) for x in (image, text)])
    whole = both - both.mean(0)
    assert shown == pytest.approx((np.concatenate([left, right]) ** 2).sum() / (whole**2).sum())
    assert abs(left[:, 0].mean() - right[:, 0].mean()) > 0.5


def test_a_scan_of_several_reconstructions_is_the_mean_of_their_scores():
    """Scans b and a of one patient, b of three volumes whose first is not the first row, and c alone."""
    known = ScanScores(
        scores=np.array([[3.0, 0.0], [1.0, 8.0], [5.0, 1.0], [2.0, 2.0], [7.0, 7.0]]),
        labels=np.array([[1, 0], [0, 1], [1, 0], [1, 0], [0, 0]]),
        patients=np.array(["p", "p", "p", "p", "q"]),
        scans=np.array(["b", "a", "b", "b", "c"]),
    )
    first = np.array([False, True, True, False, True])
    found = mean_of_scan(known, first)
    assert found.scans.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(found.scores, [[1, 8], [10 / 3, 1], [7, 7]])
    assert found.labels.tolist() == [[0, 1], [1, 0], [0, 0]]
    assert found.patients.tolist() == ["p", "p", "q"]
