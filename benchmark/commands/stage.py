"""`bench stage`: the pipeline's stages one by one, as dvc.yaml calls them."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Run one stage of the pipeline (what `dvc repro` calls).")

Dataset = Annotated[str, typer.Argument(help="Name of a dataset card; see `bench ls datasets`.")]
CellName = Annotated[str, typer.Argument(help="A method's main cell (carzero) or a cell of params.yaml.")]
Seeds = Annotated[str | None, typer.Option("--seeds", help="Comma-separated; default: seeds of params.yaml.")]


def _seeds(text: str | None) -> list[int]:
    from benchmark.grid.request import parse_seeds
    from benchmark.stages.entry import context

    return list(context()[1].seeds if text is None else parse_seeds(text))


@app.command()
def profile(name: Annotated[str, typer.Argument(help="A key of `profiles` in params.yaml.")]) -> None:
    """Write a profile's values into params.yaml."""
    from benchmark.grid.layout import Project
    from benchmark.grid.profiles import write_profile

    typer.echo(write_profile(Project.find(), name))


@app.command()
def twin(dataset: Dataset) -> None:
    """Generate the synthetic twin of a dataset in its official layout."""
    from benchmark.stages.entry import context
    from benchmark.stages.prepare import make_twin

    typer.echo(make_twin(*context(), dataset))


@app.command()
def prepare(dataset: Dataset) -> None:
    """Read official files (or the twin) into data/prepared/<dataset>/manifest.parquet."""
    from benchmark.stages.entry import prepare_stage

    typer.echo(prepare_stage(dataset))


@app.command()
def texts() -> None:
    """Align the training reports by rule."""
    from benchmark.stages.entry import texts_stage

    typer.echo(texts_stage())


@app.command()
def features() -> None:
    """Encode images and texts once, for every method to share."""
    from benchmark.stages.entry import features_stage

    typer.echo(features_stage())


@app.command()
def train(cell: CellName, seeds: Seeds = None) -> None:
    """Train one cell of the table."""
    from benchmark.stages.entry import train_stage

    typer.echo(train_stage(cell, _seeds(seeds)))


@app.command()
def evaluate(cell: CellName, seeds: Seeds = None) -> None:
    """Evaluate one trained cell on every evaluation set."""
    from benchmark.stages.entry import evaluate_stage

    typer.echo(evaluate_stage(cell, _seeds(seeds)))


@app.command()
def cell(name: CellName) -> None:
    """Train and evaluate one ablation cell with every seed."""
    from benchmark.stages.entry import cell_stage

    typer.echo(cell_stage(name))


@app.command()
def cells(
    table: Annotated[str, typer.Argument(help="An ablation table: a value of `table` under cells; or main.")],
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Processes; default: one a core.")] = None,
) -> None:
    """Train and evaluate the main cells, or those of one ablation table, with every seed, side by side."""
    from benchmark.stages.entry import cells_stage

    typer.echo(cells_stage(table, jobs))


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
def code() -> None:
    """Write a hash of the installed code and plug-ins, which a project outside the checkout depends on."""
    from benchmark.grid.layout import Project
    from benchmark.stages.code import write_code_index

    typer.echo(write_code_index(Project.find()))
