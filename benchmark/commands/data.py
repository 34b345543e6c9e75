"""`bench data`: check a data root, build a synthetic twin, read files into a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.commands.common import JsonOption, emit, watched

if TYPE_CHECKING:
    from benchmark.core.tables import Origin
    from benchmark.data.check_report import CheckReport, ClassCounts

app = typer.Typer(
    no_args_is_help=True,
    help="Check a data root, build a synthetic twin, or read files into a manifest.",
    epilog="bench data check padchest --data-root ~/PadChest · bench data twin padchest --sheet sheet.png · "
    "bench data prepare chestxray14 --data-root ~/NIH",
)

Dataset = Annotated[str, typer.Argument(help="Name of a dataset card; see `bench ls datasets`.")]
DataRoot = Annotated[
    Path | None,
    typer.Option(help="Folder of the official files. Without it, the project's twin, if it was built."),
]


@app.command(
    epilog="bench data check padchest --data-root ~/PadChest · bench data check openi --skip-images · "
    "bench data check ms_cxr --data-root ~/MS-CXR --against mimic_cxr --against-root ~/MIMIC --json"
)
def check(
    name: Dataset,
    data_root: DataRoot = None,
    against: Annotated[
        str | None, typer.Option(help="A training dataset that must not hold this one's patients.")
    ] = None,
    against_root: Annotated[
        Path | None, typer.Option(help="Folder of that dataset's files; without it, its twin.")
    ] = None,
    alike: Annotated[
        bool,
        typer.Option(
            "--alike", help="With --against: also find images that look alike, though their files differ."
        ),
    ] = False,
    skip_images: Annotated[bool, typer.Option(help="Read the tables only; open no image.")] = False,
    listing: Annotated[
        Path | None,
        typer.Option(
            help="Names of the image files below the root, one a line as `find . -type f` prints them: the "
            "tables are held against it, and no image is looked for or opened."
        ),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; by default one per core.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Compare files with the card: counts, images, labels, patients. Exit 1 where something is off."""
    from benchmark.core.errors import ParamsError
    from benchmark.data.check import check_dataset
    from benchmark.data.check_images import Against
    from benchmark.prompts.lexicon import load_lexicon

    if against_root is not None and against is None:
        raise ParamsError("--against-root needs --against NAME: which dataset is in that folder?")
    if alike and (against is None or skip_images or listing is not None):
        raise ParamsError("--alike needs --against NAME, and opens the images of both sets.")
    root, origin = _source(name, data_root)
    other = Against(against, *_source(against, against_root)) if against else None
    with watched(f"open {name}") as report_progress:
        report = check_dataset(
            name,
            root,
            origin,
            against=other,
            images=not skip_images,
            alike=alike,
            lexicon=load_lexicon().concepts,
            workers=workers,
            on_progress=report_progress,
            listing=listing,
        )
    emit(report.to_json(), _text(report), as_json)
    return 0 if report.ok else 1


@app.command(
    epilog="bench data twin padchest · bench data twin rsna_pneumonia --images 200 --out /tmp/rsna · "
    "bench data twin padchest --sheet sheet.png"
)
def twin(
    name: Dataset,
    out: Annotated[Path | None, typer.Option(help="Folder to write; by default data/twins/NAME.")] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="How many; by default as params.yaml says.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=64, help="Side in pixels; by default as params.yaml.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="By default the seed of params.yaml.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; by default one per core.")] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(help="Draw every finding of the card beside a normal into this PNG or JPEG; no twin."),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Generate the synthetic twin of a dataset in its official layout. Same seed, same bytes."""
    if sheet is not None:
        emit(*_sheet(name, sheet, size or 192, seed or 0), as_json)
        return 0
    from dataclasses import asdict

    from benchmark.core.tables import TWIN_NOTICE
    from benchmark.data.cards import load_card
    from benchmark.data.contents import cores
    from benchmark.stages.entry import context
    from benchmark.stages.prepare import build_twin_of

    load_card(name)
    project, params = context()
    twins = params.twins
    kind, side = ("volumes", "side") if load_card(name).modality == "ct" else ("images", "size")
    changed = {
        kind: {**getattr(twins, kind), **({name: images} if images else {})},
        side: size or getattr(twins, side),
        "seed": twins.seed if seed is None else seed,
    }
    roots = {dataset: root for dataset, root in params.data.roots.items() if dataset != name}
    params = params.model_copy(
        update={
            "twins": twins.model_copy(update=changed),
            "data": params.data.model_copy(update={"roots": roots}),
        }
    )
    summary = build_twin_of(project, params, name, out, workers or cores())
    text = (
        f"{name}: {summary.images:,} images of {summary.patients:,} patients in "
        f"{project.relative(summary.root)} ({summary.seconds:.0f} s)  {TWIN_NOTICE}"
    )
    emit(asdict(summary), text, as_json)
    return 0


@app.command(
    epilog="bench data prepare padchest · bench data prepare chestxray14 --data-root ~/NIH · "
    "bench data prepare openi --data-root ~/OpenI --out /tmp/openi --json"
)
def prepare(
    name: Dataset,
    data_root: DataRoot = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for manifest.parquet; by default data/prepared/NAME.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Read official files, or a twin, into manifest.parquet (and regions.parquet)."""
    from benchmark.core.tables import TWIN_NOTICE
    from benchmark.data.cards import load_card
    from benchmark.data.dataset import read_dataset, remarks
    from benchmark.grid.layout import Project, source_name

    root, origin = _source(name, data_root)
    manifest = read_dataset(name, root, origin)
    folder = out or Project.find().prepared(source_name(name, origin))
    manifest.save(folder)
    dropped = sum(item.count for item in manifest.info.dropped)
    notice = TWIN_NOTICE if origin == "twin" else "official files"
    lines = [f"{name}: {len(manifest):,} images, {dropped:,} left out, in {folder}  ({notice})"]
    lines += [f"  {remark}" for remark in remarks(manifest, load_card(name))]
    lines += [f"  noticed   {d.what}: {d.count:,}" for d in manifest.info.seen]
    value = {"dataset": name, "origin": origin, "folder": str(folder), "images": len(manifest)}
    emit({**value, "info": manifest.info.as_json()}, "\n".join(lines), as_json)
    return 0


def _source(name: str, root: Path | None) -> tuple[Path, Origin]:
    """The folder to read, and whether it is a twin: a twin has its truth beside it."""
    from benchmark.core.errors import DataError
    from benchmark.data.cards import load_card
    from benchmark.grid.layout import Project
    from benchmark.twins.build import truth_path

    load_card(name)
    if root is None:
        root = Project.find().twin(name)
        if not root.is_dir():
            raise DataError(f"{name}: no twin yet. Run `bench data twin {name}`, or give --data-root.")
    return root, "twin" if truth_path(root.absolute()).exists() else "official"


def _sheet(name: str, path: Path, size: int, seed: int) -> tuple[dict[str, Any], str]:
    from benchmark.data.cards import load_card
    from benchmark.prompts.lexicon import load_lexicon
    from benchmark.twins.catalogue import catalogue
    from benchmark.twins.contact_sheet import contact_sheet, write_sheet
    from benchmark.twins.ct import contact_sheet as volumes
    from benchmark.twins.ct.catalogue import catalogue as volume_catalogue

    lexicon = load_lexicon()
    card = load_card(name)
    ids = {i for concepts in card.concepts.values() for i in concepts}
    wanted = frozenset().union(*(lexicon.descendants(i) for i in ids))
    of_volumes = card.modality == "ct"
    known = volume_catalogue() if of_volumes else catalogue()
    drawn = [c.id for c in known.values() if c.draw and c.id in wanted]
    if of_volumes:
        picture = volumes.contact_sheet(drawn, side=size, columns=6, seed=seed)
    else:
        picture = contact_sheet(drawn, size=size, columns=6, seed=seed, dataset=name)
    write_sheet(path, picture)
    value = {"sheet": str(path), "concepts": drawn}
    return (
        value,
        f"{path}: {len(drawn)} findings beside a normal, {picture.shape[1]}x{picture.shape[0]} pixels",
    )


def _text(report: CheckReport) -> str:
    from benchmark.core.tables import TWIN_NOTICE

    notice = TWIN_NOTICE if report.origin == "twin" else "official files"
    lines = [f"{report.dataset}  {report.root}  ({notice})", ""]
    for where, numbers in report.counts.items():
        shown = [
            f"{quantity} {found:,}" + (f" of {wanted:,}" if wanted is not None else "")
            for quantity, (found, wanted) in numbers.items()
            if found or wanted
        ]
        lines.append(f"{where:<10} {', '.join(shown)}")
    for name, about in report.protocols.items():
        if about.reason:
            lines.append(f"protocol   {name}: not here")
            continue
        official = f" of {about.expected:,}" if about.expected else ""
        steps = ", ".join(f"{rule} {count:,}" for rule, count in about.selection.items())
        why = f" ({steps})" if len(about.selection) > 1 else ""
        lines.append(f"protocol   {name}: {about.images:,}{official} images, {about.classes} classes{why}")
    if report.images:
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in list(report.images.kinds.items())[:4])
        lines.append(f"images     {report.images.opened:,} opened: {kinds}")
    if report.overlap:
        shared = ", ".join(f"{count} {what}" for what, count in report.overlap.numbers().items())
        lines.append(f"against    training part of {report.overlap.against}: {shared} in common")
    lines += ["", *_label_table(report.labels)]
    for title, remarks in (("note", report.notes), ("PROBLEM", report.problems)):
        lines += ["", *(f"{title:<8} {remark}" for remark in remarks)] if remarks else []
    lines += ["", "nothing is off" if report.ok else f"{len(report.problems)} problem(s)"]
    return "\n".join(lines)


def _label_table(rows: list[ClassCounts]) -> list[str]:
    """Classes with their states, the most frequent first."""
    width = max([len(row.name) for row in rows], default=5)
    columns = ("positive", "negative", "uncertain", "missing", "patients")
    head = f"{'class':<{width}}  " + "  ".join(f"{c:>9}" for c in columns) + "  group"
    out = [head]
    for row in sorted(rows, key=lambda row: -row.positive):
        official = row.official_group
        group = row.group + (f" (official: {official})" if official not in (None, row.group) else "")
        numbers = "  ".join(f"{getattr(row, c):>9,}" for c in columns)
        out.append(f"{row.name:<{width}}  {numbers}  {group}")
    return out
