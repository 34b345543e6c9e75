"""The decomposition of the training text: eight cells that differ in unit, negations and wording."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import evidence_case
import numpy as np
import pytest

from benchmark.grid.layout import Project
from benchmark.grid.params_file import load_params
from benchmark.reporting.factors import FACTORS, UNNAMED, contrasts, designs, family_size
from benchmark.reporting.figures import factors as figures
from benchmark.reporting.figures.results import prompt_sensitivity
from benchmark.reporting.gather import Gathered
from benchmark.reporting.outputs import write_ablations
from benchmark.reporting.published import Published
from benchmark.reporting.tables import Material, all_tables
from benchmark.reporting.tables.prompt_sensitivity import sensitivity

CELLS = {
    ("report", "kept", "raw"): ("carzero-raw-report", "prompt_alignment", "wording: raw, unit: report", -0.5),
    ("report", "kept", "raw, unnamed"): (
        "carzero-rr-unnamed",
        "text_factors",
        "wording: raw, unit: report, bare_names: drop",
        -0.9,
    ),
    ("sentence", "kept", "raw"): ("carzero-raw-sentence", "prompt_alignment", "wording: raw", 0.8),
    ("report", "dropped", "raw"): (
        "carzero-rr-drop",
        "text_factors",
        "wording: raw, unit: report, negations: drop",
        0.9,
    ),
    ("sentence", "dropped", "raw"): (
        "carzero-rs-drop",
        "text_factors",
        "wording: raw, negations: drop",
        1.0,
    ),
    ("report", "kept", "aligned"): ("carzero-ar", "text_factors", "unit: report", 0.0),
    ("report", "dropped", "aligned"): (
        "carzero-ar-drop",
        "text_factors",
        "unit: report, negations: drop",
        1.1,
    ),
    ("sentence", "dropped", "aligned"): ("carzero-as-drop", "text_factors", "negations: drop", 1.3),
}
EFFECT_ROWS = 3 + 4 + 3


@pytest.fixture(scope="module")
def gathered(tmp_path_factory):
    root = tmp_path_factory.mktemp("factors")
    cells = "".join(
        f"  {name}: {{method: carzero, table: {table}, label: x, texts: {{{texts}}}}}\n"
        for name, table, texts, _ in CELLS.values()
    )
    strength = {"clip-main": 0.4, "carzero-main": 1.2, **{c[0]: c[3] for c in CELLS.values()}}
    for name in [n for n in strength if n.startswith("carzero")]:
        strength[f"{name} · pos-neg-there-is"] = 1.2
    strength |= {"clip-main · template-a": 0.2, "clip-main · template-b": 0.7, "clip-main · name": 2.0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evidence_case, "STRENGTH", strength)
        patch.setattr(evidence_case, "SEEDS", (0, 1))
        patch.setattr(evidence_case, "subgroups_of", lambda frame: {})
        before, _, after = evidence_case.PARAMS.partition("cells:\n")
        patch.setattr(
            evidence_case, "PARAMS", f"{before}cells:\n{cells}statistics:{after.partition('statistics:')[2]}"
        )
        evidence_case.build(root, images=160)
    return Gathered(Project(root), load_params(root / "params.yaml"), "all")


def test_every_combination_is_found(gathered):
    (method, cells) = next(iter(designs(gathered.evidence).items()))
    assert method == "carzero"
    every = [x for x in cells if x[2] != UNNAMED]
    assert every == list(product(*FACTORS.values()))
    assert len(cells) == len(every) + 1
    assert cells["sentence", "kept", "aligned"] == "carzero-main"
    assert {x: n for x, n in cells.items() if x in CELLS} == {x: c[0] for x, c in CELLS.items()}


def test_weights_are_those_of_a_factorial():
    every = list(product(*FACTORS.values()))
    found = {(c.name, c.kind): c.weights for c in contrasts(every)}
    assert len(found) == EFFECT_ROWS
    for weights in found.values():
        assert sum(weights.values()) == 0
        assert sum(abs(w) for w in weights.values()) in (2, 4)
    value = {
        x: 10.0 * (x[0] == "sentence") + 2.0 * (x[1] == "dropped") - 5.0 * (x[2] == "aligned") for x in every
    }
    value = {x: v + 3.0 * (x[0] == "report" and x[1] == "dropped") for x, v in value.items()}
    effect = {key: sum(w * value[x] for x, w in weights.items()) for key, weights in found.items()}
    assert effect["unit", "average"] == 8.5
    assert effect["negations", "average"] == 3.5
    assert effect["negations", "alone"] == 5.0
    assert effect["wording", "average"] == effect["wording", "alone"] == -5.0
    assert effect["unit × negations", "interaction"] == -3.0
    assert effect["unit × wording", "interaction"] == effect["negations × wording", "interaction"] == 0
    assert effect["all three", "alone"] == 7.0


def test_missing_combinations_leave_the_averages_of_the_others():
    there = [x for x in product(*FACTORS.values()) if x[0] == "sentence" or x[2] == "raw"]
    found = {(c.name, c.kind): c for c in contrasts(there)}
    assert {key: c.over for key, c in found.items()} == {
        ("unit", "average"): 2,
        ("unit", "alone"): 1,
        ("negations", "average"): 3,
        ("negations", "alone"): 1,
        ("wording", "average"): 2,
        ("all three", "alone"): 1,
        ("unit × negations", "interaction"): 1,
        ("negations × wording", "interaction"): 1,
    }
    for c in found.values():
        assert sum(c.weights.values()) == pytest.approx(0)
    assert found["negations", "average"].weights["report", "dropped", "raw"] == pytest.approx(1 / 3)


def test_a_whole_report_with_nothing_to_compare():
    there = [("report", "kept", "raw"), ("sentence", "kept", "raw"), ("sentence", "dropped", "aligned")]
    assert [(c.name, c.kind) for c in contrasts(there)] == [
        ("unit", "average"), ("unit", "alone"), ("all three", "alone"),
    ]  # fmt: skip


def test_effects_are_the_differences_of_the_means(gathered):
    evidence = gathered.traced
    cells = designs(evidence)["carzero"]
    found = {(e.dataset, e.scoring, e.name, e.kind): e for e in evidence.factor_effects}
    assert len(found) == len(evidence.datasets) * 2 * (EFFECT_ROWS + 1)
    bare = found["chestxray14", "positive", "bare names, report", "alone"]
    assert bare.high < 0
    value = {x: evidence.value(cell, "chestxray14")["value"] for x, cell in cells.items()}
    for c in contrasts(cells):
        own = found["chestxray14", "positive", c.name, c.kind]
        assert own.value == pytest.approx(sum(w * value[x] for x, w in c.weights.items()), abs=1e-6)
        assert own.low < own.value < own.high
    alone = found["chestxray14", "positive", "negations", "alone"]
    pair = evidence.pair("carzero-rr-drop", "carzero-raw-report", "chestxray14")
    np.testing.assert_allclose(
        [alone.value, alone.low, alone.high, alone.p],
        [pair[k] for k in ("delta", "low", "high", "p")],
        rtol=1e-4,
    )
    assert alone.value > 0.2
    assert abs(found["chestxray14", "positive-negative", "negations", "average"].value) < 0.05


def test_tables_show_both_scorings_and_where_chance_lies(gathered):
    tables = {
        t.name: t
        for t in all_tables(Material(gathered.traced, Published(sources={}, notes={}, images={}, rows=())))
    }
    table = tables["text_factors"]
    assert len(table.rows) == 2 * 9
    first = table.rows[0]
    assert (first["unit"], first["negations"], first["wording"], first["chance"]) == (
        "report",
        "kept",
        "raw",
        "below",
    )
    assert first["contrastive"].low is not None
    assert first["change"].value > 0
    assert {r["chance"] for r in table.rows} == {"below", "open", "above"}
    effects = tables["text_factor_effects"]
    assert len(effects.rows) == 2 * 2 * (EFFECT_ROWS + 1)
    assert any(r["factor"] == "negations: kept → dropped" and r["kind"] == "on average" for r in effects.rows)
    assert all(0 <= r["p_holm"] <= 1 and r["p_holm"] >= r["p"] for r in effects.rows)
    evidence = gathered.evidence
    gone = next(c.name for c in evidence.cells.values() if c.table == "text_factors")
    fewer = replace(evidence, metrics=evidence.metrics[evidence.metrics["name"] != gone])
    assert family_size(fewer) == family_size(evidence) >= len(effects.rows)
    assert f"the {family_size(evidence)} contrasts" in effects.family


def test_figures_name_methods_and_levels(gathered):
    evidence = gathered.traced
    combinations, effects = figures.text_factors(evidence), figures.text_factor_effects(evidence)
    labels = [t.get_text() for t in combinations.figure.axes[0].get_yticklabels()]
    assert labels[0] == "report · kept · raw"
    assert len(labels) == 9
    assert len(combinations.figure.axes) == len(evidence.datasets)
    names = [t.get_text() for t in effects.figure.axes[0].get_yticklabels()]
    assert names[:2] == ["unit: report → sentence", "negations: kept → dropped"]
    assert "CARZero, negations: +" in effects.alt


def test_sensitivity_spans_the_templates_and_nothing_else(gathered):
    evidence = gathered.evidence
    values = sorted(
        evidence.value(f"clip-main{end}", "chestxray14")["value"]
        for end in ("", " · template-a", " · template-b")
    )
    row = next(
        r for r in sensitivity(evidence).rows if (r["cell"], r["dataset"]) == ("clip-main", "chestxray14")
    )
    assert [row[k] for k in ("templates", "min", "median", "max")] == [3, *values]
    drawing = prompt_sensitivity(evidence)
    assert (
        f"CLIP on chestxray14, 3 templates: {values[0]:.3f} to {values[2]:.3f}, median {values[1]:.3f}"
        in drawing.alt
    )
    spans = [line.get_xdata() for line in drawing.figure.axes[0].lines if len(line.get_xdata()) == 2]
    assert any(np.allclose(span, [values[0], values[2]]) for span in spans)


def test_they_are_written_alone_without_the_grid(gathered):
    found = {path.name for path in write_ablations(gathered.project, ["text_factors"])}
    assert {
        "text_factors.md",
        "text_factor_effects.md",
        "text_factors.png",
        "text_factor_effects.png",
    } <= found
    text = (gathered.project.reports / "ablations" / "text_factor_effects.md").read_text(encoding="utf-8")
    assert "unit: report → sentence" in text
    assert not (gathered.project.reports / "grid").exists()


def test_nothing_without_factor_cells(project):
    evidence = Gathered(Project(project), load_params(project / "params.yaml"), "all").traced
    assert designs(evidence) == {}
    assert evidence.factor_effects == ()
    assert figures.text_factors(evidence) is None
    assert figures.text_factor_effects(evidence) is None
