"""What the page says: the results that were gathered, cell by cell, and what stands behind each number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark import __version__
from benchmark.core.files import write_text
from benchmark.grid.params import Cell
from benchmark.reporting import gallery, specificity
from benchmark.reporting.examples import read_examples
from benchmark.reporting.explain import Stories
from benchmark.reporting.gather import Gathered
from benchmark.reporting.joint import Scores
from benchmark.reporting.outputs import PartReport
from benchmark.reporting.provenance import mlflow_runs, reproduce, run_records, seed_facts
from benchmark.reporting.site.explore import explorer
from benchmark.reporting.site.page import CellPage, render
from benchmark.reporting.site.volumes import read_volumes
from benchmark.reporting.story import explain_lines
from benchmark.reporting.tables import claims
from benchmark.reporting.verify import published


def write_site(report: PartReport) -> Path:
    """reports/site/index.html, with the figures of the same results inside."""
    project, gathered = report.project, report.gathered
    evidence = gathered.evidence
    present = set(evidence.metrics["run_id"])
    runs = mlflow_runs(project)
    stories = report.stories
    text = render(
        evidence,
        [table for table in report.tables if table.name != claims.NAME],
        report.drawings,
        report.judgements,
        [cell_page(gathered, cell, runs) for name, cell in gathered.cells.items() if name in present],
        {dataset: stories.texts(dataset) for dataset in evidence.datasets},
        published(project),
        {
            **explorer(evidence, _scores(gathered)),
            "stories": {name: told(stories, name, evidence.datasets) for name in evidence.mains},
            "examples": read_examples(project.reports / "gallery", _weights(gathered)),
        },
        version=__version__,
        pictures=[p for p in (gallery.picture(project), specificity.picture(project)) if p is not None],
        volumes=read_volumes(project),
    )
    page = project.reports / "site" / "index.html"
    write_text(page, text)
    return page


def _scores(gathered: Gathered) -> dict[tuple[str, str], Scores]:
    """Saved scores of the main cells, where the predictions are here."""
    found = {}
    for name in gathered.evidence.mains:
        for dataset in gathered.evidence.datasets:
            scores = gathered.scores(name, dataset)
            if scores is not None:
                found[name, dataset] = scores
    return found


def _weights(gathered: Gathered) -> dict[str, dict[int, str]]:
    """Main cell → seed → hash of its weights."""
    return {
        name: {seed: run.model_sha256 for seed, run in run_records(gathered.project, name)}
        for name in gathered.evidence.mains
    }


def told(stories: Stories, cell: str, datasets: Sequence[str]) -> dict[str, dict[str, Any]]:
    """dataset → class → the lines of `bench explain CELL DATASET CLASS`, the class `macro` first. Of a class
    only the lines that `macro` does not have too; `shared` holds what it has besides."""
    found: dict[str, dict[str, Any]] = {}
    for dataset in datasets:
        whole = explain_lines(stories.of(cell, dataset))
        own = {c: explain_lines(stories.of(cell, dataset, c)) for c in stories.texts(dataset)}
        common = [line for line in whole if all(line in lines for lines in own.values())]
        found[dataset] = {
            "shared": common,
            "macro": [line for line in whole if line not in common],
            **{c: [line for line in lines if line not in common] for c, lines in own.items()},
        }
    return found


def cell_page(gathered: Gathered, cell: Cell, runs: dict[str, str]) -> CellPage:
    """One cell's drill-down; what the run recorded comes before what params.yaml says."""
    records = run_records(gathered.project, cell.name)
    first = records[0][1] if records else None
    options = {**cell.options.model_dump(mode="json"), **(first.options if first else {})}
    training = {**cell.training.model_dump(mode="json"), **(first.training if first else {})}
    training = {k: v for k, v in training.items() if v not in (None, [], {})}
    facts = {
        "image and text encoder": ", ".join(
            dict.fromkeys(a["encoder"] for a in gathered.evidence.sets.values())
        ),
        "training texts": f"{cell.texts.name}, {cell.texts.rule}"
        + (", without negations" if cell.texts.negations == "drop" else "")
        + (", without bare names in positives" if cell.texts.bare_names == "drop" else ""),
        "inference prompt": f"{cell.prompts.style}: {cell.prompts.template} ({cell.prompts.aggregation})",
        **{f"option {k}": _plain(v) for k, v in sorted(options.items())},
        **{f"training {k}": _plain(v) for k, v in sorted(training.items())},
        **{f"version {k}": str(v) for k, v in sorted(first.versions.items() if first else ())},
    }
    info = gathered.evidence.cells[cell.name]
    return CellPage(
        cell.name,
        info.title,
        info.row or cell.variant,
        facts,
        [seed_facts(cell.name, seed, run, runs) for seed, run in records],
        reproduce(gathered.project, cell),
    )


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
