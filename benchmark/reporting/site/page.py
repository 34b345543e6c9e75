"""Evidence, verdicts, tables and figures → one self-contained HTML file."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.reporting.evidence import Evidence
from benchmark.reporting.figures.style import Drawing, svg_text, webp_bytes
from benchmark.reporting.gallery import Picture
from benchmark.reporting.numbers import missing, percent
from benchmark.reporting.published import Published
from benchmark.reporting.site.explore import answers, packed, plotly
from benchmark.reporting.site.volumes import Volumes
from benchmark.reporting.site.words import GLOSSARY, bibtex, slug, term_of, with_terms, would_change
from benchmark.reporting.table import Table, comma_separated, is_best
from benchmark.reporting.verdicts import Judgement

HERE = Path(__file__).parent
LARGEST_SVG = 80_000
"""Bytes; a figure of more is a picture in the page, which has to stay below six megabytes. Its vector form is
in reports/figures/."""
PLAIN_CLASSES = ("macro", "micro", "weighted")


@dataclass(frozen=True)
class CellPage:
    """One cell's drill-down. facts: parameter → value; seeds: one mapping a training; reproduce: command."""

    name: str
    title: str
    label: str
    facts: Mapping[str, str]
    seeds: Sequence[Mapping[str, str]]
    reproduce: str


def render(
    evidence: Evidence,
    tables: Sequence[Table],
    drawings: Sequence[Drawing],
    judgements: Sequence[Judgement],
    cells: Sequence[CellPage],
    prompts: Mapping[str, Mapping[str, str]],
    published: Published,
    explored: Mapping[str, Any],
    *,
    version: str,
    pictures: Sequence[Picture] = (),
    volumes: Volumes | None = None,
) -> str:
    """The page. prompts: dataset → class → the text that it was scored with. explored: as `explore.explorer`
    makes it. pictures: figures that are files already. volumes: what there is of chest CT."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["slug"] = slug
    environment.filters["percent"] = percent
    environment.filters["terms"] = with_terms
    return environment.get_template("template.html").render(
        css=(HERE / "style.css").read_text(encoding="utf-8"),
        script=(HERE / "script.js").read_text(encoding="utf-8"),
        synthetic=evidence.synthetic(),
        evidence=evidence,
        judgements=judgements,
        verdicts=_verdicts(judgements),
        scale=_scale(judgements),
        tables=[_table(table) for table in tables],
        answers=answers(evidence),
        would_change=would_change,
        explored=_packed(explored),
        csvs=_packed({table.name: comma_separated(table) for table in tables}),
        explorer_script=(HERE / "explore.js").read_text(encoding="utf-8"),
        plotly=plotly(),
        glossary={
            term: said.format(level=percent(evidence.level), power=percent(evidence.power))
            for term, said in GLOSSARY.items()
        },
        term_of=term_of,
        bibtex=bibtex(version, evidence),
        figures=[
            *[_figure(drawing) for drawing in drawings],
            *[{"drawing": p, "source": p.source, "id": f"figure-{slug(p.name)}"} for p in pictures],
        ],
        cells=cells,
        volumes=volumes,
        filters=_filters(evidence, tables),
        published=published,
        data=_packed(_per_class(evidence, prompts)),
        version=version,
    )


def _verdicts(judgements: Sequence[Judgement]) -> list[dict[str, Any]]:
    """Claims by their verdict, those that are settled against first."""
    order = ("contradicted", "supported", "inconclusive", "undefined", "not run")
    verdicts = dict.fromkeys((order.index(j.answer), j.answer, j.verdict) for j in judgements)
    return [
        {"answer": answer, "verdict": verdict, "claims": [j for j in judgements if j.verdict == verdict]}
        for _, answer, verdict in sorted(verdicts)
    ]


def _scale(judgements: Sequence[Judgement]) -> float:
    """Half width of the little interval plots, so that they all share one scale."""
    ends = [abs(v) for j in judgements for v in (j.effect, j.low, j.high) if v is not None]
    return max([*ends, 0.05])


def _table(table: Table) -> dict[str, Any]:
    rows = []
    for row in table.rows:
        cells = [
            {
                "text": column.text(row.get(column.key)),
                "right": not column.left,
                "best": is_best(row.get(column.key)),
                "notes": table.numbers(row, column),
            }
            for column in table.shown_columns
        ]
        keys = {k: str(row[k]) for k in ("dataset", "method", "stratum") if row.get(k)}
        rows.append({"cells": cells, "keys": keys})
    return {"table": table, "rows": rows, "id": f"table-{slug(table.name)}"}


def _figure(drawing: Drawing) -> dict[str, Any]:
    kind, data = "svg+xml", svg_text(drawing).encode()
    if len(data) > LARGEST_SVG:
        kind, data = "webp", webp_bytes(drawing)
    return {
        "drawing": drawing,
        "source": f"data:image/{kind};base64,{base64.b64encode(data).decode()}",
        "id": f"figure-{slug(drawing.name)}",
    }


def _filters(evidence: Evidence, tables: Sequence[Table]) -> dict[str, list[str]]:
    found: dict[str, dict[str, None]] = {
        "dataset": dict.fromkeys(evidence.datasets),
        "method": {},
        "stratum": {},
    }
    for table in tables:
        for row in table.rows:
            for key in ("method", "stratum"):
                if row.get(key):
                    found[key][str(row[key])] = None
    return {key: list(values) for key, values in found.items()}


def _per_class(evidence: Evidence, prompts: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """cell → dataset → [class, value, low, high, positives, negatives, training studies, note]."""
    frame = evidence.metrics
    own = frame[
        (frame["metric"] == "auroc")
        & (frame["stratum"] == "all")
        & ~frame["class"].isin(list(PLAIN_CLASSES))
        & frame["name"].isin(list(evidence.cells))
    ]
    cells: dict[str, dict[str, list[Any]]] = {}
    for row in own.to_dict("records"):
        named = evidence.frequency.get(row["dataset"], {}).get(row["class"])
        numbers = [None if missing(row[k]) else round(float(row[k]), 4) for k in ("value", "low", "high")]
        counts = [None if missing(row[k]) else int(row[k]) for k in ("n_pos", "n_neg")]
        note = "" if missing(row["note"]) else row["note"]
        cells.setdefault(row["name"], {}).setdefault(row["dataset"], []).append(
            [row["class"], *numbers, *counts, named, note]
        )
    return {"cells": cells, "prompts": {d: dict(p) for d, p in prompts.items()}}


def _packed(value: Any) -> str:
    """JSON that stands packed inside a script element, which no name in it can end."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return packed(text.encode())
