"""`bench stage`: the pipeline's stages one by one, as dvc.yaml calls them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands.common import JsonOption, emit

if TYPE_CHECKING:
    from benchmark.grid.params import Params

app = typer.Typer(no_args_is_help=True, help="Run one stage of the pipeline (what `dvc repro` calls).")

Dataset = Annotated[str, typer.Argument(help="Name of a dataset card; see `bench ls datasets`.")]
CellName = Annotated[
    str, typer.Argument(help="A method's main cell (carzero, carzero-ct) or a cell of params.yaml.")
]
Seeds = Annotated[str | None, typer.Option("--seeds", help="Comma-separated; default: those of params.yaml.")]


@app.command()
def profile(
    name: Annotated[str, typer.Argument(help="A key of `profiles` in params.yaml.")],
    as_json: JsonOption = False,
) -> None:
    """Write a profile's values into params.yaml, and say which encoders each method then trains."""
    from benchmark.grid.layout import Project
    from benchmark.grid.params import main_cell
    from benchmark.grid.params_file import load_params
    from benchmark.grid.profiles import write_profile
    from benchmark.stages.own_encoders import told

    project = Project.find()
    said = write_profile(project, name)
    params = load_params(project.params)
    lines = [told(params, main_cell(params, method)) for method in params.methods]
    _say("\n".join([said, *filter(None, lines)]), as_json)


@app.command()
def prepare(dataset: Dataset, as_json: JsonOption = False) -> None:
    """Generate the twin of a dataset where it has no official files, and read it into its manifest."""
    from benchmark.stages.entry import prepare_stage

    _say(prepare_stage(dataset), as_json)


@app.command()
def features(
    cluster: Annotated[
        str | None, typer.Option(help="ray: encode the images on the nodes of a Ray cluster.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="HOST:PORT of its head; default: RAY_ADDRESS, or this machine's cluster."),
    ] = None,
    gpus: Annotated[int, typer.Option(min=0, help="GPUs of each encoder there.")] = 0,
    cpus: Annotated[int, typer.Option(min=1, help="Processor cores of each.")] = 4,
    memory_gb: Annotated[int, typer.Option(min=1, help="Main memory of each, in GB.")] = 16,
    as_json: JsonOption = False,
) -> None:
    """Align the training reports by rule, and encode images and texts once, for every method to share."""
    from benchmark.core.errors import ParamsError
    from benchmark.stages.entry import features_on_ray, features_stage

    if cluster is None:
        if address is not None:
            raise ParamsError("--address goes with --cluster ray.")
        _say(features_stage(), as_json)
        return
    if cluster != "ray":
        raise ParamsError(f"--cluster {cluster}: expected ray.")
    from benchmark.stages.cluster import Resources

    _say(features_on_ray(Resources(gpus=gpus, cpus=cpus, memory_gb=memory_gb), address), as_json)


@app.command()
def cell(name: CellName, seeds: Seeds = None, as_json: JsonOption = False) -> None:
    """Train and evaluate one cell of the tables, or reuse what is done."""
    from benchmark.grid.request import parse_seeds
    from benchmark.stages.entry import cell_stage

    _say(cell_stage(name, parse_seeds(seeds) if seeds else None), as_json)


@app.command()
def cells(
    group: Annotated[str, typer.Argument(help="main, ablations, ct, attribution, or a `table` of cells.")],
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Processes; default: one a core.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Train and evaluate a group of cells with every seed, side by side."""
    from benchmark.stages.entry import cells_stage

    _say(cells_stage(group, jobs), as_json)


@app.command()
def tune(
    method: Annotated[str, typer.Argument(help="A method; see `bench ls methods`.")],
    as_json: JsonOption = False,
) -> None:
    """Stratified search for one method in the space that all share; writes reports/tuning/<method>.yaml."""
    from benchmark.stages.search import tune_stage

    _say(tune_stage(method), as_json)


@app.command()
def summarise(
    part: Annotated[str, typer.Argument(help="main, all with the ablation cells, ct or encoders.")],
    as_json: JsonOption = False,
) -> None:
    """Means over seeds, paired comparisons and ranks of what was evaluated."""
    from benchmark.core.errors import ParamsError
    from benchmark.grid.parts import PARTS
    from benchmark.stages.entry import summarise_stage

    if part not in PARTS:
        raise ParamsError(f"bench stage summarise {part}: expected {', '.join(PARTS)}.")
    _say(summarise_stage(part), as_json)


@app.command()
def ct(
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Processes; default: one a core.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Everything on CT volumes: twins, features, main and ablation cells, tables and the picture of the
    modality gap in reports/ct/. What is done is reused."""
    from benchmark.reporting.figures.gap import write_gap
    from benchmark.reporting.outputs import PartReport, write_tables
    from benchmark.stages.entry import cells_stage, session, summarise_stage
    from benchmark.stages.gap import projections

    said = [cells_stage("ct", jobs), summarise_stage("ct")]
    now = session("ct")
    report = PartReport(now.project, "ct")
    files = write_tables(report)
    files += write_gap(projections(now), now.project.reports / "ct", report.gathered.evidence.synthetic())
    said += [now.project.relative(f) for f in files if f.suffix in (".md", ".png")]
    _say("\n".join(said), as_json)


@app.command()
def encoders(
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Processes; default: one a core.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Cells with encoders of their own, frozen and trained, beside the main cells of their methods: train,
    evaluate and write reports/encoders/. What is done is reused."""
    from benchmark.grid.parts import ENCODERS, OF_ENCODERS
    from benchmark.reporting.outputs import PartReport, write_tables
    from benchmark.stages.entry import cells_stage, context, summarise_stage

    said = [cells_stage(table, jobs) for table in OF_ENCODERS]
    said.append(summarise_stage(ENCODERS))
    project, _ = context()
    said += [project.relative(f) for f in write_tables(PartReport(project, ENCODERS)) if f.suffix == ".md"]
    _say("\n".join(said), as_json)


@app.command()
def robustness(
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--setting",
            help="Repeatable; a key of robustness.settings. Default: all without a record that holds.",
        ),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Train nothing; write the tables of what is there.")
    ] = False,
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Processes; default: one a core.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Does the ranking survive? Every method under other encoders, widths and training sets, beside the main
    cells; reports/robustness/. What is done is reused; what was not run is named. What a setting came to is
    recorded in reports/robustness/settings/; a record holds on any machine while what it rests on does."""
    from benchmark.reporting.outputs import unrecorded, write_robustness
    from benchmark.stages.entry import session
    from benchmark.stages.robustness import carry_out_settings, default_alone

    now = session()
    default = default_alone(now)
    wanted = [] if report else settings or unrecorded(now.project, default)
    said = carry_out_settings(now.project, now.params, wanted, jobs, now.say)
    said += [now.project.relative(f) for f in write_robustness(now, default) if f.suffix in (".md", ".png")]
    _say("\n".join(said), as_json)


@app.command()
def difficulty(as_json: JsonOption = False) -> None:
    """Compare zero-shot results with a supervised probe of the same features; reports/difficulty/."""
    from benchmark.reporting.difficulty import write_difficulty
    from benchmark.stages.entry import session

    now = session()
    tables, folder = now.project.reports / "tables", now.project.reports / "difficulty"
    _say(write_difficulty(now, tables / "per_class.csv", folder), as_json)


@app.command()
def understanding(as_json: JsonOption = False) -> None:
    """Draw patients again with one finding changed and ask every trained method; then negation, paraphrase
    and error rates of groups; reports/understanding/."""
    from benchmark.reporting.claims import CLAIMS, load_claims, source_file
    from benchmark.reporting.understanding import write_understanding
    from benchmark.stages.entry import session
    from benchmark.stages.questions import answers
    from benchmark.stages.understanding import understanding as made

    now = session()
    _refuse_trained(now.params, "understanding")
    folder = now.project.reports / "understanding"
    claims = load_claims(source_file(now.project, CLAIMS))
    _say(write_understanding(made(now), answers(now), claims, folder, now.params), as_json)


@app.command()
def transfer(
    datasets: Annotated[
        list[str] | None, typer.Option("--dataset", help="Repeatable; default: chestxray14.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Hold every trained main method beside a linear probe and fine-tuning with 1, 10 and 100% of the labels;
    reports/transfer/."""
    from benchmark.grid.asked import check_asked
    from benchmark.reporting.claims import CLAIMS, load_claims, source_file
    from benchmark.reporting.transfer import write_transfer
    from benchmark.stages.entry import session
    from benchmark.stages.transfer import transferred

    for name in datasets or ():
        check_asked(dataset=name)
    now = session()
    _refuse_trained(now.params, "transfer")
    claims = load_claims(source_file(now.project, CLAIMS))
    found = transferred(now, datasets or ["chestxray14"])
    _say(write_transfer(found, claims, now.project.reports / "transfer", now.params), as_json)


@app.command()
def gallery(as_json: JsonOption = False) -> None:
    """Choose maps of the main methods, and example images of every class, by rule; reports/gallery/."""
    from benchmark.core.errors import BenchError
    from benchmark.reporting.examples import write_examples
    from benchmark.reporting.gallery import write_gallery
    from benchmark.stages.entry import session
    from benchmark.stages.examples import example_images
    from benchmark.stages.gallery import gallery as choose

    now = session()
    _refuse_trained(now.params, "gallery")
    found = choose(now)
    if not found:
        raise BenchError("no main method has maps; there is nothing to show.")
    synthetic = now.manifest(found[0].dataset).origin == "twin"
    folder = now.project.reports / "gallery"
    said = [write_gallery(found, folder, synthetic, now.params), write_examples(example_images(now), folder)]
    _say("\n".join(said), as_json)


@app.command()
def code(as_json: JsonOption = False) -> None:
    """Write a hash of the installed code and plug-ins, which a project outside the checkout depends on."""
    from benchmark.grid.layout import Project
    from benchmark.stages.code import write_code_index

    _say(write_code_index(Project.find()), as_json)


def _refuse_trained(params: Params, stage: str) -> None:
    """Raises ParamsError where a main cell trains its encoders: this stage reads features of frozen ones."""
    from benchmark.core.errors import ParamsError
    from benchmark.grid.params import main_cell
    from benchmark.stages.own_encoders import told

    for method in params.methods:
        if said := told(params, main_cell(params, method)):
            raise ParamsError(f"bench stage {stage} reads features of frozen encoders, but {said}")


def _say(done: str, as_json: bool) -> None:
    emit({"done": done}, done, as_json)
