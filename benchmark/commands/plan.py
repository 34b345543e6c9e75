"""`bench plan`: how many patients, positives and seeds tell two methods apart."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.common import JsonOption, emit

EPILOG = (
    "bench plan --prevalence 0.1,0.02,0.004 --difference 0.03 --seed-sd 0.005 · "
    "bench plan ours.parquet theirs.csv --labels labels.csv --difference 0.02 --family 1 · "
    "bench plan carzero clip --dataset padchest --stratum tail --difference 0.05 --figure power.png"
)


def command(
    difference: Annotated[float, typer.Option(help="AUROC of A minus that of B that is to be found.")],
    first: Annotated[
        str | None, typer.Argument(metavar="[A]", help="A prediction file, or a cell with results.")
    ] = None,
    second: Annotated[str | None, typer.Argument(metavar="[B]", help="Another, on the same images.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Labels of the two files, as for `bench score`.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Evaluation set of the two cells.")] = None,
    prevalence: Annotated[
        str | None,
        typer.Option(
            help="Plan from assumptions: shares of patients with each class (0.1,0.02), or a CSV file with "
            "class, prevalence and, if known, auroc and stratum."
        ),
    ] = None,
    auroc: Annotated[
        float, typer.Option(min=0.01, max=0.99, help="Assumed AUROC of the method that is less good.")
    ] = 0.8,
    class_name: Annotated[
        str | None, typer.Option("--class", help="One class; default: the macro mean.")
    ] = None,
    stratum: Annotated[str | None, typer.Option(help="Macro mean of a stratum: tail, head, …")] = None,
    images: Annotated[int, typer.Option(min=1, max=1000, help="Assumed images a patient.")] = 1,
    correlation: Annotated[
        float, typer.Option(min=0, max=1, help="Assumed correlation of the two methods' scores of an image.")
    ] = 0.7,
    training_correlation: Annotated[
        float, typer.Option(min=0, max=1, help="The same of two trainings of one method.")
    ] = 0.9,
    patient_correlation: Annotated[
        float, typer.Option(min=0, max=1, help="The same of two images of a patient.")
    ] = 0.5,
    class_correlation: Annotated[float, typer.Option(min=0, max=1, help="The same of two classes.")] = 0.3,
    seed_sd: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=0.5,
            help="Standard deviation of AUROC between seeds. Default: as the cells' seeds show.",
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Seeds a method: 3, or 2,3,5,10 (default where trainings differ).")
    ] = None,
    patients: Annotated[
        int | None, typer.Option(min=2, max=10_000_000, help="Say the power with that many patients instead.")
    ] = None,
    family: Annotated[
        int | None,
        typer.Option(min=1, help="Tests corrected together. Default: those of the project's tables, else 1."),
    ] = None,
    level: Annotated[
        float, typer.Option(min=0.51, max=0.999, help="1 minus the error rate of the whole family.")
    ] = 0.95,
    power: Annotated[float, typer.Option(min=0.1, max=0.99, help="Wanted probability to find it.")] = 0.8,
    figure: Annotated[
        Path | None, typer.Option(help="Also draw power against patients (.png, .svg, .pdf).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the assumed samples.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Say how many patients, positives and seeds it takes to separate A from B by an AUROC difference.

    The variance is that of the tables' tests, taken from a result or from assumed prevalences.
    """
    from benchmark.reporting.plan import check_figure, plan, plan_text, write_figure
    from benchmark.reporting.plan_sources import PlanRequest

    if figure is not None:
        check_figure(figure)
    found = plan(
        PlanRequest(
            difference=difference,
            first=first,
            second=second,
            labels=labels,
            dataset=dataset,
            prevalence=prevalence,
            auroc=auroc,
            cls=class_name,
            stratum=stratum,
            images=images,
            between=correlation,
            within=training_correlation,
            icc=patient_correlation,
            classes=class_correlation,
            seed_sd=seed_sd,
            seeds=_numbers(seeds),
            patients=patients,
            family=family,
            level=level,
            power=power,
            seed=seed,
        )
    )
    if figure is not None:
        write_figure(found, figure)
    emit(found.as_json(), plan_text(found), as_json)


def _numbers(text: str | None) -> tuple[int, ...] | None:
    from benchmark.core.errors import BenchError

    if text is None:
        return None
    parts = text.split(",")
    if not all(p.strip().isdecimal() and 1 <= int(p) <= 1000 for p in parts):
        raise BenchError(f"--seeds {text}: expected numbers of seeds from 1 to 1000, such as 3 or 2,3,5.")
    return tuple(int(p) for p in parts)
