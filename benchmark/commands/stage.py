"""`bench stage`: the pipeline's stages one by one, as dvc.yaml calls them."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Run one stage of the pipeline (what `dvc repro` calls).")

Dataset = Annotated[str, typer.Argument(help="Name of a dataset card; see `bench ls datasets`.")]
Cell = Annotated[str, typer.Argument(help="A method's main cell (carzero) or a cell of params.yaml.")]


@app.command()
def profile(name: Annotated[str, typer.Argument(help="A key of `profiles` in params.yaml.")]) -> None:
    """Write a profile's values into params.yaml."""
    from benchmark.pipeline.profiles import write_profile
    from benchmark.pipeline.project import Project

    typer.echo(write_profile(Project.find(), name))


@app.command()
def twin(dataset: Dataset) -> None:
    """Generate the synthetic twin of a dataset in its official layout."""
    from benchmark.pipeline.prepare import make_twin
    from benchmark.pipeline.stages import context

    typer.echo(make_twin(*context(), dataset))


@app.command()
def prepare(dataset: Dataset) -> None:
    """Read official files (or the twin) into data/prepared/<dataset>/manifest.parquet."""
    from benchmark.pipeline.prepare import prepare_dataset
    from benchmark.pipeline.stages import context

    typer.echo(prepare_dataset(*context(), dataset).message)
