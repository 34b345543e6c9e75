"""How one number came about: value, seeds, prompts, data, statistics, provenance, command."""

from __future__ import annotations

from typing import Any

from benchmark.core.errors import UnknownName
from benchmark.core.tables import TWIN_NOTICE, Predictions, read_table
from benchmark.grid.layout import Project, source_name
from benchmark.reporting.gather import Gathered, gather
from benchmark.reporting.numbers import count_text, interval_text, missing, p_text, signed_text
from benchmark.reporting.site.content import class_texts, mlflow_runs, reproduce, run_records, seed_facts
from benchmark.stages.evaluate import METRICS

INTERVAL = (
    "analytic: influence of every patient (DeLong components summed within patients), logit scale, "
    "t quantile; with several seeds the spread between trainings is added (Obuchowski-Rockette)"
)

COUNTS = ("n_pos", "n_neg", "n_ignored", "n_patients")


def explain(project: Project, name: str, dataset: str, cls: str | None = None) -> dict[str, Any]:
    """Everything behind the AUROC of one cell on one dataset: of one class, or the macro mean.

    Raises UnknownName for a cell, dataset or class without results.
    """
    gathered = gather(project)
    evidence = gathered.evidence
    present = [c for c in gathered.cells if c in set(evidence.metrics["run_id"])]
    cell_name = name if name in present else f"{name}-main"
    if cell_name not in present:
        raise UnknownName("cell", name, present, f"Cells with results: {', '.join(present)}.")
    if dataset not in evidence.sets:
        raise UnknownName("dataset", dataset, evidence.datasets, "See `bench ls datasets`.")
    texts = class_texts(gathered, dataset)
    if cls is not None and cls not in texts:
        raise UnknownName("class", cls, texts, f"It is none of the classes of {dataset}.")
    about = evidence.sets[dataset]
    column = cls or "macro"
    row = evidence.value(cell_name, dataset, cls=column) or {}
    cell = gathered.cells[cell_name]
    runs = mlflow_runs(project)
    value = {
        "cell": cell_name,
        "dataset": dataset,
        "class": column,
        "metric": "auroc",
        "notice": TWIN_NOTICE if evidence.synthetic([dataset]) else "OFFICIAL DATA",
        **_numbers(row, "value", "low", "high"),
        **{k: None if missing(row.get(k)) else int(row[k]) for k in COUNTS},
        "note": "" if missing(row.get("note")) else str(row.get("note", "")),
        "seeds": _seeds(gathered, cell_name, dataset, column),
        "interval": f"{gathered.config.level:.0%}, {INTERVAL}",
        "comparisons": _comparisons(gathered, cell_name, dataset, column),
        "strata": _strata(gathered, cell_name, dataset, cls),
        "training_studies": evidence.frequency.get(dataset, {}).get(cls) if cls else None,
        "prompt": texts[cls] if cls else f"{cell.prompts.style}: {cell.prompts.template}",
        "protocol": about["protocol"],
        "labels": about["labels"],
        "images": about["images"],
        "protocol_notes": about["notes"],
        "encoder": about["encoder"],
        "trained_on": {d: TWIN_NOTICE if o == "twin" else "official" for d, o in evidence.trained_on.items()},
        "texts": cell.texts.model_dump(),
        "trainings": [
            seed_facts(cell_name, seed, run, runs) for seed, run in run_records(project, cell_name)
        ],
        "predictions": _predictions(gathered, cell_name, dataset),
        "reproduce": reproduce(cell).replace("bench report site", f"bench explain {cell_name} {dataset}"),
    }
    return value


def explain_text(value: dict[str, Any]) -> str:
    """The same for people."""
    number = interval_text(value["value"], value["low"], value["high"])
    lines = [f"{value['cell']} on {value['dataset']}, {value['class']}: AUROC {number}  {value['notice']}"]

    def say(label: str, text: str) -> None:
        if text:
            lines.append(f"  {label:<12}{text}")

    say("note", value["note"])
    say(
        "seeds", ", ".join(f"{s['seed']}: {s['value']:.4f}" for s in value["seeds"] if s["value"] is not None)
    )
    say("interval", value["interval"])
    kinds = {"n_pos": "positives", "n_neg": "negatives", "n_ignored": "ignored"}
    counts = " · ".join(f"{count_text(value[k])} {title}" for k, title in kinds.items())
    say("labels", f"{counts} · {count_text(value['n_patients'])} patients · {value['images']:,} images")
    policy = ", ".join(f"{k} {v}" for k, v in value["labels"].items() if v is not None)
    say("protocol", f"{value['protocol']} ({policy})")
    say("strata", ", ".join(value["strata"]))
    if value["training_studies"] is not None:
        say("named", f"in {value['training_studies']:,} training studies")
    say("prompt", value["prompt"])
    say("encoders", value["encoder"])
    say("trained on", ", ".join(f"{d} ({o})" for d, o in value["trained_on"].items()))
    say("texts", "{wording} {unit}, {rule}".format(**value["texts"]))
    for other in value["comparisons"]:
        delta = signed_text(other["delta"], other["low"], other["high"])
        mde = "" if other["mde"] is None else f", MDE {other['mde']:.3f}"
        mde = f", {other['mde_undefined']}" if other["mde_undefined"] else mde
        say("against", f"{other['other']}: {delta}, p {p_text(other['p'])}{mde}")
    for run in value["trainings"]:
        facts = [f"{k} {v}" for k, v in run.items() if k != "seed"]
        say(f"seed {run['seed']}", ", ".join(facts))
    for made in value["predictions"]:
        hashes = ", ".join(f"{k.removesuffix('_hash')} {v}" for k, v in made.items() if k.endswith("_hash"))
        say("scores", f"seed {made['seed']}: {hashes}")
    say("reproduce", value["reproduce"])
    return "\n".join(lines)


def _seeds(gathered: Gathered, cell: str, dataset: str, column: str) -> list[dict[str, Any]]:
    """Value of every seed, from the metrics that its evaluation wrote."""
    place = source_name(dataset, gathered.origin(dataset))
    found = []
    for seed, _ in _result_folders(gathered, cell, place):
        frame, _ = read_table(gathered.project.results(cell, seed) / place / METRICS)
        own = frame[
            (frame["class"] == column)
            & (frame["stratum"] == "all")
            & (frame["metric"] == "auroc")
            & (frame["prompts"] == frame["prompts"].iloc[0])
        ]
        if len(own):
            row = own.iloc[0]
            found.append({"seed": seed, **_numbers(row, "value", "low", "high")})
    return found


def _result_folders(gathered: Gathered, cell: str, place: str) -> list[tuple[int, Any]]:
    found = [(seed, folder / place) for seed, folder in gathered.project.evaluations(cell)]
    return [(seed, folder) for seed, folder in found if gathered.counts(cell, folder / METRICS)]


def _predictions(gathered: Gathered, cell: str, dataset: str) -> list[dict[str, Any]]:
    found = []
    for seed, folder in _result_folders(gathered, cell, source_name(dataset, gathered.origin(dataset))):
        path = folder / "predictions.parquet"
        if path.is_file():
            info = Predictions.load(path).info
            hashes = {k: str(info.get(k, ""))[:16] for k in ("prompt_hash", "data_hash", "weights_hash")}
            found.append(
                {"seed": seed, **hashes, "precision": info.get("precision"), "device": info.get("device")}
            )
    return found


def _comparisons(gathered: Gathered, cell: str, dataset: str, column: str) -> list[dict[str, Any]]:
    """Every paired comparison of this number, best other first."""
    evidence = gathered.evidence
    found = []
    for other in dict.fromkeys(evidence.metrics["name"]):
        row = evidence.pair(cell, str(other), dataset, cls=column)
        if row is not None and not missing(row["delta"]):
            numbers = _numbers(row, "delta", "low", "high", "p", "mde")
            found.append({"other": other, **numbers, "mde_undefined": row["mde_undefined"]})
    return sorted(found, key=lambda r: r["delta"])


def _strata(gathered: Gathered, cell: str, dataset: str, cls: str | None) -> list[str]:
    """Groups that hold a class: frequency of positives here, subsets of the card, named in training."""
    from benchmark.evaluation.statistics.panel import resolve_strata

    own = gathered.scores(cell, dataset)
    if own is None or cls is None:
        return []
    groups = resolve_strata((own.labels == 1).sum(axis=0), list(own.classes), own.strata)
    place = own.classes.index(cls)
    return [name for name, members in groups.items() if place in members]


def _numbers(row: Any, *keys: str) -> dict[str, float | None]:
    return {k: None if missing(row.get(k)) else float(row[k]) for k in keys}
