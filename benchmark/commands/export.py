"""`bench export`: results as a bundle that travels, or in a format that others read."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.common import JsonOption, emit
from benchmark.core.errors import BenchError

EPILOG = (
    "bench export carzero-main --dataset padchest --site 'My lab' --out bundle · "
    "bench export scores.csv --dataset padchest --about about.yaml --site 'My lab' --out bundle · "
    "bench export padchest --as croissant --out padchest.json"
)


class Form(StrEnum):
    bundle = "bundle"
    every_eval_ever = "every-eval-ever"
    hugging_face = "hugging-face"
    croissant = "croissant"


def command(
    what: Annotated[
        list[str],
        typer.Argument(
            help="A cell with results; prediction files, one a seed; for --as every-eval-ever, hugging-face "
            "a bundle; for --as croissant a dataset.",
            metavar="WHAT…",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Where it goes: a new folder for a bundle, else a file.")],
    form: Annotated[Form, typer.Option("--as", help="What is written.")] = Form.bundle,
    dataset: Annotated[str | None, typer.Option(help="The evaluation set, for a bundle.")] = None,
    site: Annotated[str | None, typer.Option(help="Who vouches for the numbers, for a bundle.")] = None,
    about: Annotated[
        Path | None, typer.Option(help="YAML that says where prediction files come from (docs/exchange.md).")
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Folder of the official files, for labels of prediction files.")
    ] = None,
    hub: Annotated[
        str | None, typer.Option(help="OWNER/NAME of the benchmark's dataset on Hugging Face's hub.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a bundle (scores, metrics, run record, hashes; labels only where the licence allows it), or one
    of the formats of the field. No image and no report text is in any of them."""
    options: dict[str, object] = {"--hub": hub} if form is Form.bundle else {
        "--dataset": dataset, "--site": site, "--about": about, "--data-root": data_root,
        "--hub": None if form is Form.hugging_face else hub,
    }  # fmt: skip
    if ignored := next((option for option, value in options.items() if value is not None), None):
        kind = "--as hugging-face" if ignored == "--hub" else "--as bundle"
        raise BenchError(f"{ignored}: goes with {kind}, not with --as {form.value}. Leave it out.")
    if form is Form.bundle:
        value, text = _bundle(what, out, dataset, site, about, data_root)
    else:
        value, text = _format(form, what, out, hub)
    emit(value, text, as_json)


def _bundle(
    what: list[str],
    out: Path,
    dataset: str | None,
    site: str | None,
    about: Path | None,
    data_root: Path | None,
) -> tuple[dict[str, object], str]:
    from benchmark.exchange.export import export_cell, export_files
    from benchmark.exchange.recompute import headline
    from benchmark.grid.layout import Project

    if dataset is None or site is None:
        raise BenchError(f"--{'dataset' if dataset is None else 'site'}: a bundle needs it. See --help.")
    project = Project.find()
    if about is not None:
        bundle, remarks = export_files(project, [Path(w) for w in what], about, dataset, site, out, data_root)
    elif len(what) == 1 and not Path(what[0]).is_file():
        if data_root is not None:
            raise BenchError("--data-root: goes with prediction files; a cell has its labels. Leave it out.")
        bundle, remarks = export_cell(project, what[0], dataset, site, out)
    else:
        raise BenchError(f"{what[0]}: prediction files need --about FILE, which says where they come from.")
    record, found = bundle.record, headline(bundle.record, bundle.metrics())
    text = (
        f"{out}: {record.name} on {record.dataset} ({record.origin}), {len(record.seeds)} seeds, "
        f"{record.images:,} images, macro AUROC {found['value']:.4f} [{found['low']:.4f}, "
        f"{found['high']:.4f}]\nlabels {record.labels}"
    )
    value: dict[str, object] = {"bundle": str(out), "sha256": bundle.digest, "auroc_macro": found}
    return {**value, "remarks": list(remarks)}, "\n".join([text, *remarks])


def _format(form: Form, what: list[str], out: Path, hub: str | None) -> tuple[dict[str, object], str]:
    if len(what) != 1:
        raise BenchError(f"--as {form.value}: takes one thing, not {len(what)}. See --help.")
    note = ""
    if form is Form.croissant:
        from benchmark.data.cards import load_card
        from benchmark.exchange.formats.croissant import write_croissant

        write_croissant(load_card(what[0]), out)
    else:
        from benchmark.core.not_read import check_not_read
        from benchmark.exchange.bundle import read_bundle

        bundle = read_bundle(Path(what[0]))
        check_not_read("--out", [out], bundle.folder.iterdir())
        if form is Form.hugging_face:
            from benchmark.exchange.formats.hugging_face import write_eval_results

            if hub is None:
                raise BenchError("--as hugging-face: needs --hub OWNER/NAME, the benchmark's dataset there.")
            write_eval_results(bundle, hub, out)
        else:
            from benchmark.exchange.formats.every_eval_ever import write_every_eval_ever

            note = write_every_eval_ever(bundle, out)
    return {"file": str(out), "format": form.value, "note": note}, f"{out}\n{note}".rstrip()
