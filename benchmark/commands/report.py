"""`bench report`: tables, figures, the page, and what changed since they were committed."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from benchmark.commands.common import JsonOption, emit

EPILOG = "bench report tables --part main · bench report site · bench report changes"

app = typer.Typer(
    invoke_without_command=True,
    help="Tables, figures and the page, from results on disk; nothing is trained or downloaded.",
    epilog=EPILOG,
)


class Part(StrEnum):
    main = "main"
    all = "all"
    ct = "ct"
    encoders = "encoders"


PartOption = Annotated[
    Part,
    typer.Option(
        "--part",
        help="main cells, all with the ablation cells, ct: on CT volumes, encoders: cells with their own.",
    ),
]
Latest = Annotated[
    Part | None, typer.Option("--part", help="main or all; default: all where it was summarised.")
]


@app.callback()
def report(
    context: typer.Context,
    where: Annotated[bool, typer.Option("--where", help="Say where tables, figures and page lie.")] = False,
) -> None:
    if context.invoked_subcommand is not None:
        return
    from benchmark.grid.layout import Project
    from benchmark.reporting.outputs import where as places

    if not where:
        typer.echo(context.get_help())
        raise typer.Exit
    typer.echo("\n".join(places(Project.find())))


@app.command()
def tables(part: PartOption = Part.main, as_json: JsonOption = False) -> None:
    """Write reports/tables/ (main), reports/grid/ (all), reports/ct/ or reports/encoders/."""
    from benchmark.grid.layout import Project
    from benchmark.reporting.outputs import PartReport, write_tables

    project = Project.find()
    paths = [project.relative(path) for path in write_tables(PartReport(project, part.value))]
    emit({"part": part.value, "files": paths}, "\n".join(p for p in paths if p.endswith(".md")), as_json)


@app.command()
def figures(part: Latest = None, as_json: JsonOption = False) -> None:
    """Write reports/figures/ as SVG, PDF and PNG."""
    from benchmark.grid.layout import Project
    from benchmark.reporting.outputs import PartReport, write_figures

    project = Project.find()
    paths = [
        project.relative(path) for path in write_figures(PartReport(project, part.value if part else None))
    ]
    emit({"files": paths}, "\n".join(p for p in paths if p.endswith(".png")), as_json)


@app.command()
def site(part: Latest = None, as_json: JsonOption = False) -> None:
    """Write reports/site/index.html: verdicts, tables, figures and cells in one file that loads nothing."""
    from benchmark.grid.layout import Project
    from benchmark.reporting.answers import Ahead
    from benchmark.reporting.outputs import PartReport
    from benchmark.reporting.site.content import write_site

    project = Project.find()
    ahead, report = Ahead(project), PartReport(project, part.value if part else None)
    page = project.relative(write_site(report))
    ahead.keep(report)
    emit({"page": page}, page, as_json)


@app.command(
    epilog="bench stage cells attribution · bench stage summarise all · bench report attribution --json"
)
def attribution(as_json: JsonOption = False) -> None:
    """Write reports/attribution/: what each ingredient of a method is worth, as a table and a figure."""
    from benchmark.grid.layout import Project
    from benchmark.reporting.outputs import write_attribution

    project = Project.find()
    paths = [project.relative(path) for path in write_attribution(project)]
    emit({"files": paths}, "\n".join(p for p in paths if p.endswith((".md", ".png"))), as_json)


@app.command(epilog="bench stage cells size · bench stage summarise all · bench report ablations size labels")
def ablations(
    tables: Annotated[
        list[str] | None,
        typer.Argument(help="Each a `table` of cells in params.yaml; default: all that have results."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write reports/ablations/: single tables of ablation cells with their figures, without the grid."""
    from benchmark.grid.layout import Project
    from benchmark.reporting.outputs import write_ablations

    project = Project.find()
    paths = [project.relative(path) for path in write_ablations(project, tables or ())]
    emit({"files": paths}, "\n".join(p for p in paths if p.endswith((".md", ".png"))), as_json)


@app.command(epilog="bench stage tune clip · bench report search")
def search(as_json: JsonOption = False) -> None:
    """Write reports/tuning/search.*: what the search of each method found, and how well its criterion tracks
    the evaluation sets."""
    from benchmark.grid.layout import Project
    from benchmark.reporting.outputs import write_search

    project = Project.find()
    paths = [project.relative(path) for path in write_search(project)]
    emit({"files": paths}, "\n".join(p for p in paths if p.endswith((".md", ".png"))), as_json)


@app.command("all")
def everything(part: Latest = None, as_json: JsonOption = False) -> None:
    """Write tables, figures and the page from one reading of the results."""
    from benchmark.grid.layout import Project
    from benchmark.reporting.answers import Ahead
    from benchmark.reporting.outputs import PartReport, write_figures, write_tables
    from benchmark.reporting.site.content import write_site

    project = Project.find()
    ahead, report = Ahead(project), PartReport(project, part.value if part else None)
    files = [*write_tables(report), *write_figures(report), write_site(report)]
    ahead.keep(report)
    paths = [project.relative(path) for path in files]
    shown = [p for p in paths if p.endswith((".md", ".png", ".html"))]
    emit({"part": report.gathered.part, "files": paths}, "\n".join(shown), as_json)


@app.command(
    epilog="bench report checklist · bench report checklist > checklist.md · bench report checklist --json"
)
def checklist(as_json: JsonOption = False) -> None:
    """Fill in a reporting checklist (CLAIM, TRIPOD+AI, STARD-AI, Metrics Reloaded) from the results on disk.

    Markdown with an empty field wherever only the author knows; docs/reporting.md maps it to the standards.
    """
    from benchmark.grid.layout import Project
    from benchmark.reporting.checklist import checklist as fill
    from benchmark.reporting.checklist import checklist_text

    found = fill(Project.find())
    emit(found.as_json(), checklist_text(found), as_json)


@app.command()
def changes(
    part: Annotated[
        Part | None, typer.Option("--part", help="main or all; default: both, where they are made.")
    ] = None,
    since: Annotated[str, typer.Option("--since", help="The commit to compare with.")] = "HEAD",
    until: Annotated[
        str | None, typer.Option("--until", help="The commit whose tables are compared; default: on disk.")
    ] = None,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Every letter, rank and verdict that changed, for a changelog.")
    ] = False,
    inform: Annotated[
        bool, typer.Option("--inform", help="Exit 0 whatever changed, and where nothing is committed.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Hold tables and dvc.lock against the committed ones: conclusions first, then values, then the rest.

    Ends with one sentence: byte-equal; same conclusions, and by how much values differ at most; or
    conclusions differ, and which. Exit 1 in the last case.
    """
    from benchmark.core.errors import BenchError
    from benchmark.grid.layout import Project
    from benchmark.reporting.outputs import changes as compare

    try:
        found = compare(Project.find(), None if part is None else part.value, since, until)
    except BenchError as error:
        if not inform:
            raise
        emit({"compared": False, "reason": str(error)}, f"nothing was compared: {error}", as_json)
        return 0
    emit(found.as_json(), found.markdown if as_markdown else found.text, as_json)
    return 1 if found.differs and not inform else 0
