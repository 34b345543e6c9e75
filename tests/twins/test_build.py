"""Same seed, same bytes; complete or absent; the truth lies beside the tree."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from benchmark.core.errors import BenchError, DataError, UnknownName
from benchmark.core.hashing import hash_array, hash_file
from benchmark.core.tables import read_table
from benchmark.twins.build import DEFAULT_IMAGES, WRITERS, TwinSpec, build_twin, generate, truth_path
from benchmark.twins.sites import SITES

SMALL = TwinSpec(images=14, size=64)


def fingerprint(study) -> tuple:
    return (
        study.number,
        study.patient,
        study.findings,
        study.sentences,
        tuple(sorted(study.sections.items())),
        tuple(
            (i.number, i.view, hash_array(i.pixels), tuple(r.box for r in i.regions)) for i in study.images
        ),
    )


def tree(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): hash_file(p) for p in sorted(root.rglob("*")) if p.is_file()}


def test_same_seed_same_studies_for_any_number_of_workers():
    alone = [fingerprint(s) for s in generate("padchest", TwinSpec(images=24, size=64), 7, workers=1)]
    together = [fingerprint(s) for s in generate("padchest", TwinSpec(images=24, size=64), 7, workers=2)]
    assert alone == together
    other = [fingerprint(s) for s in generate("padchest", TwinSpec(images=24, size=64), 8, workers=1)]
    assert alone != other


def test_a_study_does_not_depend_on_how_many_follow():
    few = [fingerprint(s) for s in generate("mimic_cxr", TwinSpec(images=10, size=64), 7, 1)]
    many = [fingerprint(s) for s in generate("mimic_cxr", TwinSpec(images=20, size=64), 7, 1)]
    assert few[:-1] == many[: len(few) - 1]


def test_numbers_are_unique_and_images_exact():
    studies = list(generate("mimic_cxr", TwinSpec(images=33, size=64), 1, 1))
    images = [i.number for s in studies for i in s.images]
    assert images == list(range(33))
    assert [s.number for s in studies] == list(range(len(studies)))


def test_same_seed_same_bytes_on_disk(tmp_path):
    a = build_twin("padchest", tmp_path / "a", SMALL, seed=5, workers=1)
    b = build_twin("padchest", tmp_path / "b", SMALL, seed=5, workers=2)
    assert tree(a.root) == tree(b.root)
    assert hash_file(a.truth) == hash_file(b.truth)
    assert a.images == 14
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_truth_holds_what_is_drawn_and_what_is_said(tmp_path):
    summary = build_twin("mimic_cxr", tmp_path / "twin", TwinSpec(images=20, size=64), seed=2, workers=1)
    frame, meta = read_table(truth_path(summary.root))
    assert meta["seed"] == 2
    assert set(frame["source"]) == {"image", "sentence"}
    drawn = frame[frame["source"] == "image"]
    assert set(drawn["concept"]) == set(summary.findings)
    assert drawn["image_id"].notna().all()
    boxed = drawn.dropna(subset=["x"])
    assert len(boxed)
    assert ((boxed["x"] + boxed["w"]) <= 64).all()
    said = frame[frame["source"] == "sentence"]
    assert said["text"].str.len().min() > 3
    assert set(said["presence"].dropna()) <= {"present", "absent", "uncertain"}


def test_existing_twin_is_replaced_and_other_folders_are_not(tmp_path):
    root = tmp_path / "twin"
    build_twin("padchest", root, SMALL, seed=1, workers=1)
    before = tree(root)
    build_twin("padchest", root, SMALL, seed=2, workers=1)
    assert tree(root) != before
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("keep")
    with pytest.raises(DataError, match="no twin"):
        build_twin("padchest", mine, SMALL, seed=1, workers=1)
    assert (mine / "notes.txt").read_text() == "keep"


def test_a_failing_writer_leaves_nothing(tmp_path, monkeypatch):
    def broken(root, studies, card, rng):
        (root / "half.csv").write_text("x")
        next(iter(studies))
        raise RuntimeError("disk")

    monkeypatch.setattr(WRITERS, "get", lambda name: broken)
    with pytest.raises(RuntimeError):
        build_twin("padchest", tmp_path / "twin", SMALL, seed=1, workers=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("change", range(5))
def test_a_build_that_ends_at_any_rename_is_built_again(tmp_path, monkeypatch, change):
    """Neither a first build nor a second one leaves a tree without its own truth."""
    root, renames, replace = tmp_path / "t", iter(range(99)), os.replace
    if change > 2:
        build_twin("openi", root, TwinSpec(images=6, size=64), seed=1, workers=1)

    def full(source, target):
        if next(renames) == change % 3:
            raise OSError(28, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises((OSError, BenchError)):
            build_twin("openi", root, TwinSpec(images=6, size=64), seed=2, workers=1)
    whole = build_twin("openi", tmp_path / "whole", TwinSpec(images=6, size=64), seed=2, workers=1)
    again = build_twin("openi", root, TwinSpec(images=6, size=64), seed=2, workers=1)
    assert again.truth.read_bytes() == whole.truth.read_bytes()
    assert {p.name for p in tmp_path.iterdir()} == {"t", "t.truth.parquet", "whole", "whole.truth.parquet"}


def test_bad_input_is_named(tmp_path):
    with pytest.raises(UnknownName, match="padchest"):
        build_twin("padchst", tmp_path / "x", SMALL)
    with pytest.raises(BenchError, match="override"):
        next(generate("padchest", TwinSpec(images=4, size=64, site={"healty": 0.5}), 1, 1))


def test_overrides_change_the_site():
    spec = TwinSpec(images=30, size=64, site={"healthy": 1.0})
    assert all(f == () for f in (s.findings for s in generate("padchest", spec, 1, 1)))


def test_every_site_has_a_default_size_and_a_writer():
    assert set(DEFAULT_IMAGES) == set(SITES)
    assert all(callable(WRITERS.get(name)) for name in SITES)
    assert np.all(np.array(list(DEFAULT_IMAGES.values())) >= 400)
