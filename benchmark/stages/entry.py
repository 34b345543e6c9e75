"""What dvc.yaml calls: each stage reads params.yaml, does its part and returns one line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmark.core.files import read_json, write_json
from benchmark.core.hashing import hash_file
from benchmark.core.reuse import record, reuse
from benchmark.grid.layout import Project, source_name
from benchmark.grid.modality import part_of
from benchmark.grid.params import FLOOR, Cell, Params, ablation_cell, cell_named, command_for, main_cell
from benchmark.grid.params_file import load_params
from benchmark.grid.parts import ENCODERS, OF_ENCODERS, VOLUMES
from benchmark.grid.robust_cells import params_of
from benchmark.stages.features import image_store, text_store
from benchmark.stages.own_encoders import Sessions, as_evaluated, check_encoders, found
from benchmark.stages.prepare import note_official, source_of
from benchmark.stages.run import Session
from benchmark.stages.summarise import FILES, Summary, contents, means_of, summarise, summary_key
from benchmark.stages.texts import texts_folder, texts_of
from benchmark.stages.tracked_summary import record_summary
from benchmark.stages.train import training_source

if TYPE_CHECKING:
    from benchmark.stages.cluster import Resources


def context() -> tuple[Project, Params]:
    """The project around the working folder and its validated parameters."""
    project = Project.find()
    return project, load_params(project.params)


def session(part: str = "", cell: str = "") -> Session:
    """part: `ct` for the settings of CT volumes, or the group of a setting of `robustness`. cell: in place of
    it, the cell whose settings are taken."""
    project, params = context()
    part = part_of(params, cell) if cell else part
    return Session(project, as_evaluated(params_of(params, part)), lambda line: print(line, file=sys.stderr))


def prepare_stage(dataset: str) -> str:
    """Make the twin of a dataset, where it has one, and read it. data/index/<dataset>.json says what was
    read; where that were official files, <dataset>-official.json says the same."""
    now = session()
    manifest = now.manifest(dataset)
    at = source_of(now.project, now.params, dataset)
    folder = now.project.prepared(at.name)
    index = now.project.root / "data" / "index"
    found = {
        "dataset": dataset,
        "origin": manifest.origin,
        "images": len(manifest),
        "patients": int(manifest.frame["patient_id"].nunique()),
        "sha256": {path.name: hash_file(path) for path in sorted(folder.glob("*.parquet"))},
    }
    write_json(index / f"{dataset}.json", found)
    official = index / f"{source_name(dataset, 'official')}.json"
    if manifest.origin == "official":
        note_official(now.project, dataset)
        write_json(official, found)
    else:
        official.unlink(missing_ok=True)
    return f"{dataset}: {len(manifest):,} images"


def features_stage() -> str:
    """Align the training reports, encode every image and training text once; data/features.json holds the
    content keys of both."""
    return _record_features(session())


def _record_features(now: Session) -> str:
    project, params = now.project, now.params
    train = now.manifest(params.data.train)
    now.texts(params.texts.rule)
    folder = texts_folder(project, params, params.data.train)
    keys = {f"{params.data.train} {path.name}": hash_file(path) for path in sorted(folder.glob("[an]*"))}
    source = training_source(params, train)
    keys[f"{params.data.train} (training)"] = image_store(project, params, source.manifest).key
    texts, used = texts_of(project, params, params.texts, source.manifest)
    keys[f"texts ({used.name})"] = text_store(project, params, [text for own in texts for text in own]).key
    sets = _encoded(params)
    for dataset in sets:
        keys[dataset] = image_store(project, params, now.manifest(dataset)).key
    write_json(project.root / "data" / "features.json", keys)
    return f"features of {len(sets) + 1} image sets and 1 set of texts are in the cache"


def _encoded(params: Params) -> tuple[str, ...]:
    """The sets that are evaluated or that tasks read."""
    of_tasks = [dataset for settings in params.tasks.values() for dataset in settings.datasets]
    return tuple(dict.fromkeys([*params.data.evaluate, *of_tasks]))


def features_on_ray(resources: Resources, address: str | None) -> str:
    """As `features_stage`, with the images encoded on the nodes of a Ray cluster.

    address: as in `ray_tasks.run_ray`.
    """
    from benchmark.stages.ray_cluster import connected
    from benchmark.stages.ray_features import encode_set
    from benchmark.stages.ray_stream import OnRay

    now = session()
    with connected(address) as ray:
        on = OnRay(ray, resources, now.project.root)
        chosen = training_source(now.params, now.manifest(now.params.data.train)).manifest
        sets = [chosen, *(now.manifest(dataset) for dataset in _encoded(now.params))]
        for manifest in sets:
            encode_set(on, now.project, now.params, manifest, now.say)
    return _record_features(now)


def cell_stage(name: str, seeds: Sequence[int] | None) -> str:
    """Train and evaluate one cell with these seeds, its own, or those of the grid; what is done is reused."""
    from benchmark.stages.pool import Job, carry_out_job, row_lines

    now = session(cell=name)
    cell = cell_named(now.params, name)
    check_encoders(now.params, [cell])
    seeds = seeds or cell.seeds or now.params.seeds
    sessions, done = Sessions(now), {}
    for seed in seeds:
        done[f"seed-{seed}"] = carry_out_job(sessions, cell, seed)
        for line in row_lines(now.params, Job(cell.name, seed), done, len(seeds)):
            now.say(line)
    return f"{cell.name}: {len(seeds)} seed(s) trained and evaluated"


def cells_stage(group: str, processes: int | None) -> str:
    """Train and evaluate the main cells (`main`), all ablation cells (`ablations`), those that `attribution`
    names, those of one table, or all cells on CT volumes (`ct`), one a core at a time."""
    from benchmark.stages.pool import carry_out_cells

    now = session(group)
    return carry_out_cells(now.project, now.params, group, processes, now.say)


def summarise_stage(part: str) -> str:
    """results/summary/<part>: means over seeds, comparisons and ranks of the main cells, of all, or of those
    on CT volumes, with the references beside them; or of those with encoders of their own.

    Only results that would be made now count; those of other settings, data or code are named and left out.
    """
    from benchmark.stages.references import reference_names, referred

    now = session(part)
    project, params = now.project, now.params
    cells = cells_of(params, part)
    sessions = Sessions(now)
    for cell in cells:
        for seed in cell.seeds or params.seeds:
            missing = found(sessions, cell, seed)
            if missing:
                now.say(f"{cell.name} seed {seed}: left out, not up to date: {', '.join(missing)}. "
                        f"`{command_for(params, cell)}` makes it.")  # fmt: skip
    datasets = dict.fromkeys(d for cell in cells for d in cell.evaluate)
    if part != ENCODERS:
        datasets = dict.fromkeys([*params.data.evaluate, *datasets])
    sets = [now.evaluation_data(dataset) for dataset in datasets]
    beside = {} if part == ENCODERS else referred(now, params.data.evaluate, reference_names())
    files = contents(project, now)
    folder = project.summary(part)
    tables = [folder / f"{name}.parquet" for name in FILES]
    means = [project.reports / "metrics.json"] if part == "main" else []

    sources, mark = project.sources(part), project.mark("summary", part)

    def rests_on() -> dict[str, str]:
        return files | {project.relative(path): hash_file(path) for path in tables}

    def make() -> None:
        summary = summarise(now, cells, params.seeds, sets, beside)
        sources.unlink(missing_ok=True)
        summary.save(folder)
        write_json(sources, rests_on())
        for path in means:
            write_json(path, means_of(summary.metrics, cells))

    key = summary_key(params, cells, files, sets, beside)
    made = [*tables, sources, *means]
    done = reuse(mark, key, made, make)
    if read_json(sources) != rests_on():  # by code that did not say which tables rest on these results
        write_json(sources, rests_on())
        record(mark, key, made)
    summary = Summary.load(folder)
    record_summary(project, part, summary, cells)
    return f"{len(summary.metrics):,} values and {len(summary.comparisons):,} comparisons, {done}"


def cells_of(params: Params, part: str) -> list[Cell]:
    """The cells of a part, main cells first; of ENCODERS those of the methods and sets of its other cells."""
    mains = [main_cell(params, m) for m in params.methods]
    if part != ENCODERS:
        wanted = [n for n, own in params.cells.items() if part in ("all", VOLUMES) or own.table == FLOOR]
        return mains + [ablation_cell(params, name) for name in wanted]
    cells = [ablation_cell(params, name) for name, own in params.cells.items() if own.table in OF_ENCODERS]
    sets = {dataset for cell in cells for dataset in cell.evaluate}
    methods = {cell.method for cell in cells}
    beside = [cell for cell in mains if cell.method in methods]
    own = [tuple(dataset for dataset in cell.evaluate if dataset in sets) for cell in beside]
    shared = (c.model_copy(update={"evaluate": e, "tasks": ()}) for c, e in zip(beside, own, strict=True))
    return [*shared, *cells]
