from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.grid.layout import Project
from benchmark.reporting.gather import gather
from benchmark.reporting.published import load_published
from benchmark.reporting.tables.zero_shot import overview, unequal, zero_shot

PUBLISHED = Path(__file__).resolve().parents[2] / "reports" / "published.yaml"


@pytest.mark.parametrize("fact", ["sentences_seen", "images_seen"])
def test_methods_that_trained_on_another_budget_are_named(project, fact):
    """A method of more epochs got letters beside the others without a word."""
    evidence = gather(Project(project)).evidence
    assert unequal(evidence) == []
    runs = evidence.runs.copy()
    runs.loc[runs["cell"] == "clip-main", fact] *= 3
    more = replace(evidence, runs=runs)
    other, own = (int(runs.loc[runs["cell"] == name, fact].mean()) for name in ("carzero-main", "clip-main"))
    (note,) = unequal(more)
    assert note.startswith(f"NOT AT EQUAL BUDGET: {fact.replace('_', ' ')} in training: ")
    assert f"CARZero {other:,}" in note
    assert f"CLIP {own:,}" in note
    assert all(note in table.notes for table in (overview(more), zero_shot(more, load_published(PUBLISHED))))
