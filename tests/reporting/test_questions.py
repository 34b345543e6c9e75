"""Tables of negation, paraphrase and underdiagnosis from rows of known values; and which trainings count."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from benchmark.core.files import write_json
from benchmark.core.tables import METRIC_COLUMNS
from benchmark.grid.layout import Project
from benchmark.grid.params import ablation_cell, main_cell
from benchmark.grid.params_file import load_params
from benchmark.reporting.claims import load_claims
from benchmark.reporting.questions import question_tables, section, verdicts
from benchmark.reporting.table import markdown
from benchmark.stages.questions import Answers, answers, trained


@pytest.fixture(scope="module")
def params(root):
    return load_params(root / "params.yaml")


def rows(task, *values):
    """(metric, class, stratum, value, low, high) of two seeds."""
    frame = pd.DataFrame(
        [
            {"run_id": "clip-main", "method": "clip", "dataset": "chestxray14", "origin": "twin",
             "task": task, "seed": seed, "prompts": "13 templates", "metric": m, "class": c, "stratum": s,
             "value": v, "low": low, "high": high, "note": "best M, worst F, 2 levels"}
            for seed in (0, 1)
            for m, c, s, v, low, high in values
        ]
    )  # fmt: skip
    return frame.reindex(columns=list(METRIC_COLUMNS))


def tables_of(params, *frames):
    found = Answers((main_cell(params, "clip"),), pd.concat(frames), ("clip-raw-report",))
    return {table.name: table for table in question_tables(found, params)}


def test_polarity_errors_and_untrained_cells_are_named(params):
    own = tables_of(
        params,
        rows(
            "negation",
            ("auroc_absent", "macro", "all", 0.4, 0.3, 0.5),
            ("auroc_absent", "macro", "tail", 0.9, 0.8, 0.95),
            ("auroc_absent", "a", "all", 0.3, 0.2, 0.42),
            ("auroc_absent", "b", "all", 0.45, 0.3, 0.6),
            ("auroc_absent", "c", "all", 0.2, 0.1, 0.3),
        ),
    )
    (row,) = own["negation"].rows
    assert (row["errors"], row["classes"], row["named"]) == (2, 3, "c, a")
    assert row["auroc_absent"].value == pytest.approx(0.4)
    assert (row["texts"], row["denials"], row["seeds"]) == ("aligned sentence", "trained on", 2)
    text = markdown(own["negation"])
    assert "clip-raw-report" in text
    assert "SYNTHETIC TWIN" in text
    assert section(list(own.values())) == [f"- [{own['negation'].title}](negation.md)"]


def test_every_group_has_its_levels_and_gap(params):
    own = tables_of(
        params,
        rows(
            "underdiagnosis",
            ("fnr", "macro", "all", 0.3, 0.2, 0.4),
            ("fnr", "macro", "sex=F", 0.4, 0.3, 0.5),
            ("fnr", "macro", "sex=M", 0.2, 0.1, 0.3),
            ("fnr_gap", "macro", "sex", 0.2, 0.0, 0.4),
            ("fnr", "macro", "sex & view=F & PA", 0.5, 0.3, 0.7),
            ("fnr_gap", "macro", "sex & view", float("nan"), float("nan"), float("nan")),
        ),
        rows("paraphrase", ("flips_by_wording", "macro", "all", 0.1, 0.08, 0.12)),
    )
    first, second = own["underdiagnosis"].rows
    assert (first["rate"], first["group"], first["gap"].value) == ("FNR", "sex", pytest.approx(0.2))
    assert first["levels"].startswith("F: 0.400")
    assert "M: 0.200" in first["levels"]
    assert second["levels"].startswith("F & PA: 0.500")
    assert second["gap"] is None
    (flips,) = own["paraphrase"].rows
    assert flips["flips_by_wording"].value == pytest.approx(0.1)
    assert flips["flips_by_image"] is None


def test_claims_that_rest_on_the_tasks_are_judged_or_not_run(params, root):
    cells = [main_cell(params, "clip"), ablation_cell(params, "clip-aligned-sentence-without-negations")]
    frame = rows("negation", ("auroc_absent", "macro", "all", 0.7, 0.65, 0.75))
    worse = frame.assign(run_id=cells[1].name, value=0.3, low=0.25, high=0.35)
    found = Answers(tuple(cells), pd.concat([frame, worse]), ())
    table = verdicts(found, load_claims(root / "reports" / "claims.yaml"), params)
    said = {row["cell"]: row["verdict"] for row in table.rows}
    assert said.pop("denials-in-training-teach-absence") == "supported on synthetic twins"
    assert set(said.values()) == {"not run"}


def test_a_training_of_other_settings_does_not_count(params, tmp_path):
    project = Project(tmp_path)
    session = SimpleNamespace(project=project)
    cell = ablation_cell(params, "clip-raw-report")
    assert not trained(session, cell, 0)
    folder = project.run(cell.name, 0)
    write_json(folder / "run.json", {})
    recorded = cell.model_dump(mode="json")
    del recorded["texts"]["pairs"]
    write_json(folder / "source.json", {"cell": recorded})
    assert trained(session, cell, 0), "an older record, without a setting that is at its default"
    longer = cell.model_copy(update={"training": cell.training.model_copy(update={"epochs": 20})})
    assert not trained(session, longer, 0)
    assert trained(session, cell.model_copy(update={"tasks": ()}), 0)


def test_where_nothing_is_trained_every_cell_is_named(params, tmp_path) -> None:
    found = answers(SimpleNamespace(project=Project(tmp_path), params=params, say=pytest.fail))
    assert "clip-main" in found.untrained
    assert set(found.untrained) == {cell.name for cell in found.cells}
    assert found.rows.empty
    assert list(found.rows) == list(METRIC_COLUMNS)
