"""An interaction that was found is used again as long as all that it rests on has the same content."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict

import pytest
from evidence_case import with_statistics

from benchmark.core.tables import read_table, write_table
from benchmark.grid.layout import Project
from benchmark.grid.params_file import load_params
from benchmark.reporting import interactions
from benchmark.reporting.gather import Gathered

ASKED = ("carzero-main", "clip-main", "chestxray14", "medium", "head")
PREPARED = "data/prepared/chestxray14/manifest.parquet"


@pytest.fixture
def place(project, tmp_path) -> Project:
    """A project of its own, whose files may be changed, and where no interaction is kept."""
    shutil.copytree(project, tmp_path / "own", ignore=shutil.ignore_patterns("interactions*"))
    return Project(tmp_path / "own")


@pytest.fixture
def found(monkeypatch) -> list[str]:
    """The names of strata of every contrast that was computed."""
    asked: list[str] = []
    compute = interactions.contrasts_of

    def counted(own, stratum, against):
        asked.append(stratum)
        return compute(own, stratum, against)

    monkeypatch.setattr(interactions, "contrasts_of", counted)
    return asked


def said(place: Project) -> str:
    """The effect as a new process finds it, with every digit."""
    gathered = Gathered(place, load_params(place.params), "all")
    return json.dumps(
        asdict(interactions.interaction(gathered, *ASKED)), default=lambda values: values.tolist()
    )


def test_the_same_is_found_once_and_is_the_same_to_the_bit(place, found):
    first = said(place)
    assert found == ["medium"] * 2
    assert said(place) == first
    assert found == ["medium"] * 2


def test_other_labels_settings_or_code_are_found_again(place, found, monkeypatch):
    said(place)
    with_statistics(place.root, "{level: 0.9}")
    assert said(place)
    assert len(found) == 4
    frame, meta = read_table(place.root / PREPARED)
    write_table(place.root / PREPARED, frame, meta)
    assert said(place)
    assert len(found) == 4  # the same content
    write_table(place.root / PREPARED, frame.assign(site="other"), meta)
    assert said(place)
    assert len(found) == 6
    monkeypatch.setattr(interactions, "code_digest", lambda: "other")
    assert said(place)
    assert len(found) == 8


def test_what_was_kept_and_cannot_be_read_is_found_again(place, found):
    first = said(place)
    for path in (place.cache / "interactions").glob("*.json"):
        path.write_text("{", encoding="utf-8")
    assert said(place) == first
    assert len(found) == 4
