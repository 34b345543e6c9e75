"""How one number came about: value, seeds, prompts, data, statistics, provenance, command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmark.core.errors import UnknownName
from benchmark.core.tables import TWIN_NOTICE, Predictions, read_table
from benchmark.grid.layout import Project, source_name
from benchmark.reporting.gather import Gathered, gather
from benchmark.reporting.numbers import count_text, interval_text, missing, p_text, signed_text
from benchmark.reporting.provenance import class_texts, mlflow_runs, reproduce, run_records, seed_facts
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
    stories = Stories(gathered)
    texts = stories.texts(dataset)
    if cls is not None and cls not in texts:
        raise UnknownName("class", cls, texts, f"It is none of the classes of {dataset}.")
    return stories.of(cell_name, dataset, cls)


class Stories:
    """The record behind every AUROC of gathered results: `bench explain` prints one of them, the page shows
    each."""

    def __init__(self, gathered: Gathered) -> None:
        self._gathered = gathered
        self._runs = mlflow_runs(gathered.project)
        self._texts: dict[str, dict[str, str]] = {}
        self._values: dict[tuple[str, str], list[tuple[int, dict[str, Any]]]] = {}
        self._shared: dict[tuple[str, str], dict[str, Any]] = {}
        self._groups: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {}

    def texts(self, dataset: str) -> dict[str, str]:
        """class → the texts that it is scored with."""
        if dataset not in self._texts:
            self._texts[dataset] = class_texts(self._gathered, dataset)
        return self._texts[dataset]

    def of(self, cell: str, dataset: str, cls: str | None = None) -> dict[str, Any]:
        """The record of one cell on one dataset: of one class, or the macro mean."""
        evidence = self._gathered.evidence
        column = cls or "macro"
        row: Mapping[str, Any] = evidence.value(cell, dataset, cls=column) or {}
        prompts = self._gathered.cells[cell].prompts
        shared = self._of_set(cell, dataset)
        return {
            "cell": cell,
            "dataset": dataset,
            "class": column,
            "metric": "auroc",
            "notice": shared["notice"],
            **_numbers(row, "value", "low", "high"),
            **{k: None if missing(row.get(k)) else int(row[k]) for k in COUNTS},
            "note": "" if missing(row.get("note")) else str(row.get("note", "")),
            "seeds": self._seeds(cell, dataset, column),
            "interval": f"{self._gathered.config.level:.0%}, {INTERVAL}",
            "comparisons": _comparisons(self._gathered, cell, dataset, column),
            "strata": [] if cls is None else self._strata(cell, dataset, cls),
            "training_studies": evidence.frequency.get(dataset, {}).get(cls) if cls else None,
            "prompt": self.texts(dataset)[cls] if cls else f"{prompts.style}: {prompts.template}",
            **{k: v for k, v in shared.items() if k != "notice"},
        }

    def _of_set(self, cell: str, dataset: str) -> dict[str, Any]:
        """What every class of a cell and dataset shares."""
        if (cell, dataset) not in self._shared:
            gathered, evidence = self._gathered, self._gathered.evidence
            about, own = evidence.sets[dataset], gathered.cells[cell]
            trained = {d: TWIN_NOTICE if o == "twin" else "official" for d, o in evidence.trained_on.items()}
            records = run_records(gathered.project, cell)
            self._shared[cell, dataset] = {
                "notice": TWIN_NOTICE if evidence.synthetic([dataset]) else "OFFICIAL DATA",
                "protocol": about["protocol"],
                "labels": about["labels"],
                "images": about["images"],
                "protocol_notes": about["notes"],
                "encoder": about["encoder"],
                "trained_on": trained,
                "texts": own.texts.model_dump(),
                "trainings": [seed_facts(cell, seed, run, self._runs) for seed, run in records],
                "predictions": _predictions(gathered, cell, dataset),
                "reproduce": reproduce(own).replace("bench report site", f"bench explain {cell} {dataset}"),
            }
        return self._shared[cell, dataset]

    def _seeds(self, cell: str, dataset: str, column: str) -> list[dict[str, Any]]:
        """Value of every seed, from the metrics that its evaluation wrote."""
        if (cell, dataset) not in self._values:
            self._values[cell, dataset] = list(_seed_rows(self._gathered, cell, dataset))
        return [
            {"seed": seed, **_numbers(rows[column], "value", "low", "high")}
            for seed, rows in self._values[cell, dataset]
            if column in rows
        ]

    def _strata(self, cell: str, dataset: str, cls: str) -> list[str]:
        """Groups that hold a class: frequency of positives here, subsets of the card, named in training."""
        if (cell, dataset) not in self._groups:
            self._groups[cell, dataset] = _groups(self._gathered, cell, dataset)
        return [name for name, members in self._groups[cell, dataset].items() if cls in members]


def explain_lines(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a record says, as (what, text), for people; what it does not have is left out."""
    kinds = {"n_pos": "positives", "n_neg": "negatives", "n_ignored": "ignored"}
    counts = " · ".join(f"{count_text(value[k])} {title}" for k, title in kinds.items())
    policy = ", ".join(f"{k} {v}" for k, v in value["labels"].items() if v is not None)
    seeds = (f"{s['seed']}: {s['value']:.4f}" for s in value["seeds"] if s["value"] is not None)
    named = value["training_studies"]
    lines = [
        ("AUROC", interval_text(value["value"], value["low"], value["high"]) + f"  {value['notice']}"),
        ("note", value["note"]),
        ("seeds", ", ".join(seeds)),
        ("interval", value["interval"]),
        ("labels", f"{counts} · {count_text(value['n_patients'])} patients · {value['images']:,} images"),
        ("protocol", f"{value['protocol']} ({policy})"),
        ("strata", ", ".join(value["strata"])),
        ("named", "" if named is None else f"in {named:,} training studies"),
        ("prompt", value["prompt"]),
        ("encoders", value["encoder"]),
        ("trained on", ", ".join(f"{d} ({o})" for d, o in value["trained_on"].items())),
        ("texts", "{wording} {unit}, {rule}".format(**value["texts"])),
    ]
    for other in value["comparisons"]:
        delta = signed_text(other["delta"], other["low"], other["high"])
        mde = "" if other["mde"] is None else f", MDE {other['mde']:.3f}"
        mde = f", {other['mde_undefined']}" if other["mde_undefined"] else mde
        lines.append(("against", f"{other['other']}: {delta}, p {p_text(other['p'])}{mde}"))
    for run in value["trainings"]:
        facts = [f"{k} {v}" for k, v in run.items() if k != "seed"]
        lines.append((f"seed {run['seed']}", ", ".join(facts)))
    for made in value["predictions"]:
        hashes = ", ".join(f"{k.removesuffix('_hash')} {v}" for k, v in made.items() if k.endswith("_hash"))
        lines.append(("scores", f"seed {made['seed']}: {hashes}"))
    lines.append(("reproduce", value["reproduce"]))
    return [(what, text) for what, text in lines if text]


def explain_text(value: Mapping[str, Any]) -> str:
    """The same as one text."""
    (_, number), *rest = explain_lines(value)
    lines = [f"{value['cell']} on {value['dataset']}, {value['class']}: AUROC {number}"]
    return "\n".join([*lines, *(f"  {what:<12}{text}" for what, text in rest)])


def _seed_rows(
    gathered: Gathered, cell: str, dataset: str
) -> Iterator[tuple[int, dict[str, dict[str, Any]]]]:
    """seed and class → metric row of the AUROC over all, under the cell's own prompts."""
    for seed, folder in _result_folders(gathered, cell, source_name(dataset, gathered.origin(dataset))):
        frame, _ = read_table(folder / METRICS)
        chosen = (frame["stratum"] == "all") & (frame["metric"] == "auroc")
        own = frame[chosen & (frame["prompts"] == frame["prompts"].iloc[0])]
        rows: dict[str, dict[str, Any]] = {}
        for row in own.to_dict("records"):
            rows.setdefault(str(row["class"]), {str(k): v for k, v in row.items()})
        yield seed, rows


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
    for other in evidence.names:
        row = evidence.pair(cell, other, dataset, cls=column)
        if row is not None and not missing(row["delta"]):
            numbers = _numbers(row, "delta", "low", "high", "p", "mde")
            found.append({"other": other, **numbers, "mde_undefined": row["mde_undefined"]})
    return sorted(found, key=lambda r: r["delta"])


def _groups(gathered: Gathered, cell: str, dataset: str) -> dict[str, tuple[str, ...]]:
    """Group → its classes, as the evaluation drew them; empty without predictions."""
    from benchmark.evaluation.statistics.panel import resolve_strata

    own = gathered.scores(cell, dataset)
    if own is None:
        return {}
    groups = resolve_strata((own.labels == 1).sum(axis=0), list(own.classes), own.strata)
    return {name: tuple(own.classes[k] for k in members) for name, members in groups.items()}


def _numbers(row: Any, *keys: str) -> dict[str, float | None]:
    return {k: None if missing(row.get(k)) else float(row[k]) for k in keys}
