"""`bench stage`: the pipeline's stages one by one, as dvc.yaml calls them."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Run one stage of the pipeline (what `dvc repro` calls).")

Dataset = Annotated[str, typer.Argument(help="Name of a dataset card; see `bench ls datasets`.")]
CellName = Annotated[str, typer.Argument(help="A method's main cell (carzero) or a cell of params.yaml.")]
Seeds = Annotated[str | None, typer.Option("--seeds", help="Comma-separated; default: those of params.yaml.")]


@app.command()
def profile(name: Annotated[str, typer.Argument(help="A key of `profiles` in params.yaml.")]) -> None:
    """Write a profile's values into params.yaml."""
    from benchmark.grid.layout import Project
    from benchmark.grid.profiles import write_profile

    typer.echo(write_profile(Project.find(), name))


@app.command()
def prepare(dataset: Dataset) -> None:
    """Generate the twin of a dataset where it has no official files, and read it into its manifest."""
    from benchmark.stages.entry import prepare_stage

    typer.echo(prepare_stage(dataset))


@app.command()
def features() -> None:
    """Align the training reports by rule, and encode images and texts once, for every method to share."""
    from benchmark.stages.entry import features_stage

    typer.echo(features_stage())


@app.command()
def cell(name: CellName, seeds: Seeds = None) -> None:
    """Train and evaluate one cell of the tables, or reuse what is done."""
    from benchmark.grid.request import parse_seeds
    from benchmark.stages.entry import cell_stage

    typer.echo(cell_stage(name, parse_seeds(seeds) if seeds else None))


@app.command()
def cells(
    group: Annotated[str, typer.Argument(help="main, ablations, or a `table` of cells in params.yaml.")],
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Processes; default: one a core.")] = None,
) -> None:
    """Train and evaluate a group of cells with every seed, side by side."""
    from benchmark.stages.entry import cells_stage

    typer.echo(cells_stage(group, jobs))


@app.command()
def tune(method: Annotated[str, typer.Argument(help="A method; see `bench ls methods`.")]) -> None:
    """Stratified search for one method in the space that all share; writes reports/tuning/<method>.yaml."""
    from benchmark.stages.entry import tune_stage

    typer.echo(tune_stage(method))


@app.command()
def summarise(part: Annotated[str, typer.Argument(help="main, or all with the ablation cells.")]) -> None:
    """Means over seeds, paired comparisons and ranks of what was evaluated."""
    from benchmark.core.errors import ParamsError
    from benchmark.stages.entry import summarise_stage

    if part not in ("main", "all"):
        raise ParamsError(f"bench stage summarise {part}: expected main or all.")
    typer.echo(summarise_stage(part))


@app.command()
def difficulty() -> None:
    """Compare zero-shot results with a supervised probe of the same features; reports/difficulty/."""
    from benchmark.stages.difficulty import write_difficulty
    from benchmark.stages.entry import session

    now = session()
    typer.echo(
        write_difficulty(
            now, now.project.reports / "tables" / "per_class.csv", now.project.reports / "difficulty"
        )
    )


@app.command()
def understanding() -> None:
    """Draw patients again with one finding changed and ask every trained method; then negation, paraphrase
    and error rates of groups; reports/understanding/."""
    from benchmark.reporting.claims import load_claims
    from benchmark.reporting.outputs import CLAIMS, source_file
    from benchmark.reporting.understanding import write_understanding
    from benchmark.stages.entry import session
    from benchmark.stages.questions import answers
    from benchmark.stages.understanding import understanding as made

    now = session()
    folder = now.project.reports / "understanding"
    claims = load_claims(source_file(now.project, CLAIMS))
    typer.echo(write_understanding(made(now), answers(now), claims, folder, now.params))


@app.command()
def gallery() -> None:
    """Choose maps of the main methods by rule and draw them over their images; reports/gallery/."""
    from benchmark.core.errors import BenchError
    from benchmark.reporting.gallery import write_gallery
    from benchmark.stages.entry import session
    from benchmark.stages.gallery import gallery as choose

    now = session()
    found = choose(now)
    if not found:
        raise BenchError("no main method has maps; there is nothing to show.")
    synthetic = now.manifest(found[0].dataset).origin == "twin"
    typer.echo(write_gallery(found, now.project.reports / "gallery", synthetic))


@app.command()
def code() -> None:
    """Write a hash of the installed code and plug-ins, which a project outside the checkout depends on."""
    from benchmark.grid.layout import Project
    from benchmark.stages.code import write_code_index

    typer.echo(write_code_index(Project.find()))
