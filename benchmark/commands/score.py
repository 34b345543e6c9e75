"""`bench score`: metrics, intervals and comparisons of anyone's saved predictions, without any model."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.common import JsonOption, emit

EPILOG = (
    "bench score predictions.csv --labels labels.csv · "
    "bench score ours.parquet theirs.csv --labels labels.csv --rows common --json · "
    "bench score scores.csv --dataset padchest --data-root /data/padchest --columns positional"
)


class ClassMatch(StrEnum):
    strict = "strict"
    common = "common"


class Rows(StrEnum):
    strict = "strict"
    common = "common"
    by_order = "by-order"


class Columns(StrEnum):
    name = "name"
    affix = "affix"
    positional = "positional"


class Layout(StrEnum):
    auto = "auto"
    wide = "wide"
    long = "long"


class Uncertain(StrEnum):
    ignore = "ignore"
    positive = "positive"
    negative = "negative"


class Blank(StrEnum):
    ignore = "ignore"
    negative = "negative"


class Bad(StrEnum):
    error = "error"
    ignore = "ignore"


class IntervalKind(StrEnum):
    analytic = "analytic"
    percentile = "percentile"
    bca = "bca"


def command(
    predictions: Annotated[
        Path, typer.Argument(help="CSV, TSV, Parquet or .npz; wide or long.", metavar="PREDICTIONS")
    ],
    second: Annotated[
        Path | None, typer.Argument(help="Another file on the same images: paired comparison.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Labels: 1, 0, -1 or empty, one column a class.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Take labels from this dataset's official files.")
    ] = None,
    data_root: Annotated[Path | None, typer.Option(help="Folder of the official files.")] = None,
    protocol: Annotated[str | None, typer.Option(help="Evaluation protocol of the dataset's card.")] = None,
    columns: Annotated[
        Columns,
        typer.Option(
            help="Match score columns by class name, by name below an affix that all of them share "
            "(prob_…), or by position. The last two print the mapping."
        ),
    ] = Columns.name,
    layout: Annotated[Layout, typer.Option(help="One row an image, or an image and class.")] = Layout.auto,
    identifier: Annotated[
        list[str] | None,
        typer.Option(
            "--id", help="Column that names the image; once for all files, or once a file, labels last."
        ),
    ] = None,
    patients: Annotated[
        str | None,
        typer.Option(
            help="Patient column, or a file with image_id and patient_id, or `none` for image-level."
        ),
    ] = None,
    rows: Annotated[
        Rows,
        typer.Option(
            help="common: score the images that both sides have. by-order: files without ids, row by row."
        ),
    ] = Rows.strict,
    classes: Annotated[
        ClassMatch, typer.Option(help="common: score the classes that both sides have.")
    ] = ClassMatch.strict,
    bad_scores: Annotated[
        Bad, typer.Option(help="ignore: leave out NaN, infinite, missing scores.")
    ] = Bad.error,
    uncertain: Annotated[Uncertain, typer.Option(help="What a label -1 counts as.")] = Uncertain.ignore,
    blank: Annotated[Blank, typer.Option(help="What an empty label counts as.")] = Blank.ignore,
    subgroup: Annotated[
        list[str] | None,
        typer.Option(help="Label column whose levels are compared: sex, age (in bands), view, site."),
    ] = None,
    interval: Annotated[
        IntervalKind, typer.Option(help="Influence functions, or the patient bootstrap.")
    ] = IntervalKind.analytic,
    draws: Annotated[
        int | None, typer.Option(min=100, max=1_000_000, help="Bootstrap draws; 2000 where not given.")
    ] = None,
    level: Annotated[float, typer.Option(min=0.51, max=0.999, help="Coverage of the intervals.")] = 0.95,
    thresholded: Annotated[
        bool, typer.Option("--thresholded", help="Add F1, MCC, sensitivity, top-k and calibration error.")
    ] = False,
    deciles: Annotated[bool, typer.Option("--deciles", help="Add macro means by frequency decile.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="Also write the metric rows (.csv or .parquet).")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**63 - 1, help="Seed of the bootstrap; 0 where not given.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Score saved predictions: AUROC, average precision and trapezoidal AUPRC with intervals.

    Images join by id and classes by name; whatever does not fit is refused, or counted under a policy.
    """
    from benchmark.score.raw_table import check_file

    for path in (predictions, second, labels):
        if path is not None:
            check_file(path)
    from benchmark.core.not_read import check_not_read
    from benchmark.score.files import ScoreRequest, score_files
    from benchmark.score.text import as_object, as_text, check_output, write_rows

    if output is not None:
        check_output(output)
        read = (predictions, second, labels, None if patients is None else Path(patients))
        check_not_read("--output", [output], read)
    result = score_files(
        ScoreRequest(
            predictions=predictions,
            second=second,
            labels=labels,
            dataset=dataset,
            data_root=data_root,
            protocol=protocol,
            columns=columns.value,
            layout=layout.value,
            id_columns=tuple(identifier or ()),
            patients=patients,
            rows=rows.value,
            classes=classes.value,
            bad_scores=bad_scores.value,
            uncertain=uncertain.value,
            blank=blank.value,
            subgroups=tuple(subgroup or ()),
            interval=interval.value,
            draws=draws,
            level=level,
            thresholded=thresholded,
            deciles=deciles,
            seed=seed,
        )
    )
    if output is not None:
        write_rows(result.metrics, output)
    emit(as_object(result), as_text(result), as_json)
