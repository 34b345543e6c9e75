from __future__ import annotations

import csv
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from evidence_case import FLOOR, shown

from benchmark.cli import main
from benchmark.core.errors import BenchError
from benchmark.encoders.exposure import READING
from benchmark.evaluation.statistics.reach import WITHHELD
from benchmark.grid.layout import Project
from benchmark.reporting.columns import on_planes
from benchmark.reporting.evidence import UNSTABLE
from benchmark.reporting.outputs import PartReport, write_tables
from benchmark.reporting.published import compare_published, load_published
from benchmark.reporting.seen import WITHOUT
from benchmark.reporting.table import (
    Table,
    comma_separated,
    is_best,
    latex,
    markdown,
)
from benchmark.reporting.tables.ablation import ablation
from benchmark.reporting.tables.rare_disease import rare_disease
from benchmark.reporting.tables.zero_shot import overview, zero_shot

PUBLISHED = Path(__file__).resolve().parents[2] / "reports" / "published.yaml"


@pytest.fixture(scope="module")
def report(project):
    return PartReport(Project(project), "all")


@pytest.fixture(scope="module")
def gathered(report):
    return report.gathered


@pytest.fixture(scope="module")
def tables(report):
    return {table.name: table for table in report.tables}


def test_every_table_of_the_evidence_is_made(tables):
    first = {"overview", "zero_shot", "features", "prompt_alignment"}
    assert set(tables) == first | {"rare_disease", "per_class", "cost", "subgroups", "claims"}
    for table in tables.values():
        assert table.synthetic
        assert "SYNTHETIC TWIN" in markdown(table)
        assert "SYNTHETIC TWIN" in latex(table)
        assert all(
            row["evidence"] == "SYNTHETIC TWIN" for row in csv.DictReader(comma_separated(table).splitlines())
        )
        keys = {c.key for c in table.columns}
        assert all(set(row) <= keys for row in table.rows), table.name


def test_values_are_those_of_the_summary(gathered, tables):
    frame = pd.concat([gathered.evidence.metrics, gathered.evidence.references.assign(prompts="template")])
    for raw in tables["zero_shot"].records():
        own = frame[
            (frame["run_id"] == raw["cell"])
            & (frame["prompts"] == "template")
            & (frame["dataset"] == raw["dataset"])
            & (frame["class"] == "macro")
            & (frame["stratum"] == raw["stratum"])
            & (frame["metric"] == "auroc")
        ]
        assert raw["value"] == own["value"].item()
        assert raw["positives"] == own["n_pos"].item()


def test_published_values_stand_beside_twins_but_are_never_compared_with_them(tables):
    rows = [raw for raw in tables["zero_shot"].records() if raw["published"] is not None]
    assert rows
    for raw in rows:
        assert raw["verdict"] == "not comparable (synthetic twin)"
        assert raw["difference"] is None


def test_doubts_of_published_values_are_footnotes(tables):
    table = tables["zero_shot"]
    (row,) = [r for r in shown(table) if r["method"] == "CARZero" and r["place"] == "chestxray14"]
    numbers = row["published"].partition("[")[2].rstrip("]").split(", ")
    texts = [note for note in table.all_notes if any(note.startswith(f"[{n}]") for n in numbers)]
    assert any("Two test sets of ChestX-ray14" in text for text in texts)
    assert any("Withheld: CheXzero" in note for note in table.all_notes)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "agrees"),
        ({"value": 0.9, "low": 0.88, "high": 0.92}, "above published"),
        ({"value": 0.7, "low": 0.68, "high": 0.72}, "below published"),
        ({"origin": "twin"}, "not comparable (synthetic twin)"),
        ({"variant": "main"}, "not comparable (shared encoders, not the published recipe)"),
        ({"images": 10}, "not comparable (10 images, published on 100)"),
    ],
)
def test_only_official_data_in_the_published_recipe_are_compared(change, expected):
    given = {
        "value": 0.8, "low": 0.78, "high": 0.82, "origin": "official", "variant": "official", "images": 100,
    } | change  # fmt: skip
    value, low, high = (given.pop(k) for k in ("value", "low", "high"))
    assert compare_published(value, low, high, 0.81, published_images=100, **given).text == expected


def test_best_is_marked_only_where_it_is_separable(tables, gathered):
    table = tables["overview"]
    assert {row["method"] for row, cells in best_cells(table) if cells} == {"CARZero"}
    pairs = gathered.evidence.comparisons
    blurred = pairs.assign(p=0.9)
    without = overview(replace(gathered.evidence, comparisons=blurred))
    assert not any(cells for _, cells in best_cells(without))


def best_cells(table: Table):
    return [
        (row, [c.key for c in table.columns if getattr(row.get(c.key), "best", False)]) for row in table.rows
    ]


def test_few_positive_patients_are_marked_on_means_as_on_classes(tables, gathered):
    beside = gathered.evidence.references
    frame = pd.concat([gathered.evidence.metrics, beside.assign(name=beside["run_id"])])
    means = frame[(frame["class"] == "macro") & (frame["metric"] == "auroc") & frame["value"].notna()]
    few = means[means["note"].fillna("").str.contains("few positive patients")]
    where = {(r.name, r.dataset, r.stratum) for r in few.itertuples(index=False)}
    assert {stratum for _, _, stratum in where} & {"tail", "medium"}
    seen = set()
    for row in tables["rare_disease"].rows:
        for stratum in ("all", "head", "medium", "tail"):
            cell = row.get(stratum)
            if cell is not None:
                marked = any("few positive patients" in note for note in cell.notes)
                assert marked == ((row["cell"], row["dataset"], stratum) in where)
                seen.add(marked)
    assert seen == {True, False}
    forms = markdown(tables["rare_disease"]), latex(tables["rare_disease"])
    assert all("few positive patients" in form for form in forms)
    classes = {r["few"] for r in tables["per_class"].records()}
    assert classes == {"few", ""}


def test_a_main_row_whose_seeds_differ_much_says_unstable(gathered):
    seeds = gathered.evidence.seeds.copy()
    own = (seeds["name"] == "clip-main") & (seeds["dataset"] == "chexpert") & (seeds["class"] == "macro")
    seeds.loc[own & (seeds["stratum"] == "all") & (seeds["metric"] == "auroc"), "value"] = [0.6, 0.7, 0.8]
    evidence = replace(gathered.evidence, seeds=seeds)
    row = next(r for r in overview(evidence).rows if r["cell"] == "clip-main")
    assert any(UNSTABLE in note for note in row["chexpert"].notes)
    before = next(r for r in overview(gathered.evidence).rows if r["cell"] == "clip-main")
    assert not any(UNSTABLE in note for note in before["chexpert"].notes)


def test_a_comparison_without_an_honest_test_is_never_bold_ranked_or_lettered(gathered):
    frame = gathered.evidence.comparisons.copy()
    frame[["p", "low", "high", "se", "df", "mde"]] = float("nan")
    frame["undefined"] = "test undefined: positives of 1 patients, fewer than 3"
    evidence = replace(gathered.evidence, comparisons=frame)
    glance = overview(evidence)
    assert not any(cells for _, cells in best_cells(glance))
    sets = [c.key for c in glance.shown_columns if c.key.startswith("che")]
    for row in shown(glance):
        reference = row["method"].startswith("floor")
        assert all(" – [" in row[key] or reference for key in sets)
    assert any("not ranked: test undefined" in note for note in glance.all_notes)
    one = ablation(evidence, "features")
    assert not any(cells for _, cells in best_cells(one))
    for row in one.records():
        assert (row["p"], row["p_holm"], row["mde"], row["rank"], row["group"]) == (None,) * 5
    changed = [row for row in shown(one) if row["row"] == "global only"]
    assert all("[" in row["difference"] for row in changed), "the reason is a footnote"
    assert {row["dataset"] for row in changed} == {"chestxray14", "chexpert", "average"}


def test_a_detectable_effect_beyond_what_is_left_to_one_is_withheld_with_the_reason(gathered, tables):
    frame = gathered.evidence.comparisons.assign(se=0.4, df=9.0, p=0.9)
    evidence = replace(gathered.evidence, comparisons=frame)
    cases = (
        (zero_shot(evidence, load_published(PUBLISHED)), "zero_shot", "mde"),
        (rare_disease(evidence), "rare_disease", "all mde"),
        (ablation(evidence, "features"), "features", "mde"),
    )
    for table, name, key in cases:
        rows = [r for r in table.records() if r[key] is not None or r[f"{key}_undefined"]]
        assert {(r[key], r[f"{key}_undefined"]) for r in rows} == {(None, WITHHELD)}, name
        assert any(r[key] is not None for r in tables[name].records())
        assert f",{WITHHELD}," in comma_separated(table)
        assert all((WITHHELD in form(table)) == (key == "mde") for form in (markdown, latex))


def test_the_family_of_a_table_is_what_params_yaml_plans(gathered):
    cells = gathered.evidence.cells
    more = replace(cells["carzero-global"], name="carzero-local")
    planned = replace(gathered.evidence, cells={**cells, "carzero-local": more})
    for one, size in ((gathered.evidence, 3), (planned, 6)):
        table = ablation(one, "features")
        assert f"the {size} differences" in table.family
        smallest = min((row["p"], row["p_holm"]) for row in table.records() if row["p"] is not None)
        assert smallest[1] == pytest.approx(min(1.0, size * smallest[0]))


def test_ablation_rows_are_paired_with_the_main_cell(gathered, tables):
    rows = [
        r
        for r in tables["features"].records()
        if r["cell"] == "carzero-global" and r["dataset"] == "chexpert"
    ]
    pair = gathered.evidence.pair("carzero-global", "carzero-main", "chexpert")
    assert rows[0]["difference"] == pair["delta"] == pytest.approx(pair["value_a"] - pair["value_b"])
    assert rows[0]["difference"] < 0
    assert rows[0]["p_holm"] >= rows[0]["p"]
    assert {row["row"] for row in shown(tables["features"])} == {"unchanged (features: both)", "global only"}


def test_other_prompts_are_rows_of_prompt_alignment_only(tables):
    assert any("bare class name" in row["row"] for row in tables["prompt_alignment"].rows)
    assert {raw["cell"] for raw in tables["zero_shot"].records()} == {"clip-main", "carzero-main", FLOOR}


def test_subgroups_show_levels_inside_zero_and_one(tables):
    values = [
        v
        for raw in tables["subgroups"].records()
        for k, v in raw.items()
        if k.endswith(" value") and v is not None
    ]
    assert values
    assert all(0 <= v <= 1 for v in values)


def test_a_table_is_one_file_in_its_folder(monkeypatch, tmp_path, report):
    from benchmark.reporting import tables as folder

    (tmp_path / "tiny_own.py").write_text(
        "from benchmark.reporting.table import Table, count\n"
        "PLACE = 5\n"
        "def tables(material):\n"
        "    sizes = ({'images': a['images']} for a in material.evidence.sets.values())\n"
        "    return [Table('tiny', 'Tiny', (count('images', 'Images'),), tuple(sizes))]\n"
    )
    monkeypatch.setattr(folder, "__path__", [*folder.__path__, str(tmp_path)])
    own = folder.all_tables(folder.Material(report.gathered.evidence, load_published(PUBLISHED)))
    names = [table.name for table in own]
    assert names.index("zero_shot") < names.index("tiny") < names.index("features")


@pytest.mark.parametrize("row", [{"cell": "b-main"}, {"cell": "-", "b-main": 0.5}, {"cell": "c-main"}])
def test_tables_of_radiographs_say_that_a_method_is_one_for_volumes(gathered, row):
    own = next(iter(gathered.evidence.cells.values()))
    cells = {"b-main": replace(own, method="brgsa"), "c-main": replace(own, method="clip")}
    notes = on_planes(replace(gathered.evidence, cells=cells), [row])
    assert bool(notes) == ("b-main" in (*row, row["cell"]))
    assert all("CT volumes" in note for note in notes)


def has_latex() -> bool:
    if shutil.which("pdflatex") is None or shutil.which("kpsewhich") is None:
        return False
    return subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True).returncode == 0


@pytest.mark.skipif(not has_latex(), reason="pdflatex with booktabs is not installed")
def test_latex_compiles(tables, tmp_path):
    body = "\n".join(latex(table) for table in tables.values())
    document = "\\documentclass{article}\n\\usepackage{booktabs,graphicx}\n\\begin{document}\n"
    (tmp_path / "paper.tex").write_text(document + body + "\\end{document}\n", encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000
    assert "Missing character" not in (tmp_path / "paper.log").read_text(errors="replace")


def test_same_results_make_the_same_bytes_and_stale_tables_go(inside):
    project = Project(inside)
    first = {p: p.read_bytes() for p in write_tables(PartReport(project, "all"))}
    claims = (project.reports / "grid" / "claims.md").read_text(encoding="utf-8")
    assert "| supported on synthetic twins |" in claims
    assert "| supported |" not in claims
    stale = project.reports / "grid" / "old.csv"
    stale.write_text("x", encoding="utf-8")
    second = {p: p.read_bytes() for p in write_tables(PartReport(project, "all"))}
    assert first == second
    assert not stale.exists()


def test_commands(inside, capsys):
    assert main(["report", "tables", "--part", "main", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert {"reports/tables/zero_shot.tex", "reports/tables/claims.csv"} <= set(value["files"])
    assert main(["report", "--where"]) == 0
    assert "reports/tables/" in capsys.readouterr().out


def test_without_results_one_line_says_what_to_run(tmp_path, project, monkeypatch, capsys):
    shutil.copy(project / "params.yaml", tmp_path)
    monkeypatch.setenv("CXR_ALIGNBENCH_HOME", str(tmp_path))
    assert main(["report", "tables"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "bench stage summarise main" in error


def test_published_file_is_checked(tmp_path, root):
    assert load_published(root / "reports" / "published.yaml").find("RadZero", "openi").setting == "official"
    path = tmp_path / "published.yaml"
    row = {"method": "A", "dataset": "b", "task": "c", "stratum": "all", "metric": "auroc_macro"}
    row |= {"value": 0.5, "setting": "official", "source": "nowhere"}
    path.write_text(yaml.safe_dump({"sources": {}, "notes": {}, "images": {}, "rows": [row]}))
    with pytest.raises(BenchError, match=r"published\.yaml:8: .*'nowhere'"):
        load_published(path)


def test_every_row_says_what_training_cost_and_whether_it_had_converged(tables):
    by_cell = {raw["cell"]: raw for raw in tables["cost"].records()}
    assert by_cell["carzero-main"]["converged"] is True
    assert by_cell["carzero-global"]["converged"] is False
    texts = {row["variant"]: row["convergence"] for row in shown(tables["cost"])}
    assert "not converged (+0.009)" in texts.values()
    (row,) = [r for r in shown(tables["overview"]) if r["method"] == "CARZero"]
    assert (row["parameters"], row["sentences_seen"], row["mflop"]) == ("1,000", "300", "2.50")
    assert row["convergence"] == "yes (+0.001)"


def test_references_stand_below_the_methods_in_no_ranking(tables):
    for name in ("overview", "zero_shot", "rare_disease"):
        records, people = tables[name].records(), shown(tables[name])
        own = [k for k, row in enumerate(records) if row["cell"] == FLOOR]
        assert own
        for k in own:
            assert people[k]["method"] == "floor: 8 × 8 thumbnail"
            assert not any(is_best(value) for value in tables[name].rows[k].values())
            assert not records[k].get("group")
            assert not any(getattr(value, "letters", "") for value in tables[name].rows[k].values())
        assert "floor: thumbnail: fitted on chestxray14 (chestxray14)" in tables[name].all_notes
    glance = tables["overview"]
    rows = {row["cell"]: row for row in glance.rows}
    level = "not separable from the floor (8 × 8 thumbnail)"
    assert level in rows["clip-main"]["chestxray14"].notes, "its scores are those of the floor"
    assert level not in rows["carzero-main"]["chestxray14"].notes


def test_a_model_stands_apart_with_what_it_has_seen(project, tmp_path):
    """Its row, the difference to CLIP paired over patients, and no place among rows of equal budget."""
    from evidence_case import write_scores

    from benchmark.core.files import write_json
    from benchmark.core.tables import Manifest
    from benchmark.data.cards import load_card
    from benchmark.data.dataset import evaluation_set

    work = tmp_path / "project"
    shutil.copytree(project, work)
    chosen = evaluation_set(
        Manifest.load(work / "data" / "prepared" / "chestxray14"), load_card("chestxray14"), None
    )
    scores = np.random.default_rng(3).normal(size=chosen.labels.shape) + 3.0 * (chosen.labels == 1)
    write_scores(work, "chestxray14", chosen, "tiny-model", 0, scores, {})
    seen = {"dataset": "chestxdet10", "split": "train", "what": ["images"], "source": "x"}
    write_json(work / "runs" / "tiny-model" / "seed-0" / "source.json",
               {"identity": "i", "trained_on": "as published", "seen": [seen]})  # fmt: skip
    own = PartReport(Project(work), "main")
    found = {table.name: table for table in own.tables}
    (row,) = found["models"].records()
    assert (row["method"], row["dataset"], row["seen"]) == ("tiny", "chestxray14", "seen images (train)")
    clip = own.gathered.evidence.value("clip-main", "chestxray14")["value"]
    assert row["to_clip"] == pytest.approx(row["value"] - clip, abs=1e-6)
    assert 0 < row["to_clip_low"] < row["to_clip"] < row["to_clip_high"]
    assert row["p_holm"] < 0.01
    others = {
        r["cell"]: r["seen"] for r in found["zero_shot"].records() if r["cell"] in ("clip-main", "tiny-model")
    }
    assert others == {"clip-main": "zero-shot"}
    for table in found.values():
        assert ("seen" in {c.key for c in table.columns}) == (table.name not in WITHOUT), table.name
        assert (READING in table.notes) == (table.name not in WITHOUT), "how it is read"
    glance = {r["cell"]: r["seen"] for r in found["overview"].records()}
    assert glance["clip-main"] == "zero-shot"
