"""`bench report checklist`: what reporting standards ask for, filled in as far as the results know it.

`docs/reporting.md` maps the same items to the standards; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from benchmark.core.settings import StatisticsConfig
from benchmark.core.tables import TWIN_NOTICE
from benchmark.data.cards import load_card
from benchmark.grid.layout import Project
from benchmark.reporting.gather import Gathered, gather
from benchmark.reporting.numbers import interval_text, missing
from benchmark.reporting.provenance import run_records
from benchmark.reporting.tables.zero_shot import place_title, places
from benchmark.reporting.verify import judge_all

Facts = list[str]


@dataclass(frozen=True)
class Item:
    """asks: what a standard wants said. fill: what the results say of it, None where they cannot know. yours:
    what the author must add, empty where nothing is missing."""

    key: str
    section: str
    asks: str
    yours: str
    fill: Callable[[Gathered], Facts] | None = None


@dataclass(frozen=True)
class ItemAnswer:
    """One item with what is known. yours: to be written by the author."""

    key: str
    section: str
    asks: str
    known: tuple[str, ...]
    yours: str


@dataclass(frozen=True)
class Checklist:
    notice: str
    part: str
    answers: tuple[ItemAnswer, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def checklist(project: Project) -> Checklist:
    """Raises BenchError where nothing was summarised."""
    gathered = gather(project)
    notice = (
        f"{TWIN_NOTICE}: made on synthetic images; nothing below is evidence about patients."
        if gathered.evidence.synthetic()
        else ""
    )
    answers = [
        ItemAnswer(i.key, i.section, i.asks, tuple(i.fill(gathered)) if i.fill else (), i.yours)
        for i in ITEMS
    ]
    return Checklist(notice, gathered.part, tuple(answers))


def checklist_text(found: Checklist) -> str:
    """Markdown, with an empty field wherever the author must write."""
    lines = ["# Reporting checklist", ""]
    if found.notice:
        lines += [f"**{found.notice}**", ""]
    lines += [
        f"Filled in from the summary of part '{found.part}'. `[ ]` is for you to write. What each item "
        "answers in CLAIM 2024, TRIPOD+AI, STARD-AI and Metrics Reloaded: docs/reporting.md.",
    ]
    for section in dict.fromkeys(a.section for a in found.answers):
        lines += ["", f"## {section}"]
        for answer in (a for a in found.answers if a.section == section):
            lines += ["", f"### {answer.key}", answer.asks, ""]
            lines += [f"- {fact}" for fact in answer.known]
            if not answer.known and not answer.yours:
                lines.append("- nothing of this is among the results")
            if answer.yours:
                lines.append(f"- [ ] {answer.yours}: ")
    return "\n".join(lines)


# What the results know -------------------------------------------------------------------------------------


def _data(g: Gathered) -> Facts:
    found = []
    for name, about in g.evidence.sets.items():
        card = load_card(about["dataset"])
        found.append(
            f"{name}: {card.title}, version {card.version}, {about['origin']} files; licence: "
            f"{card.licence}; {card.citation}"
        )
    return found


def _trained_on(g: Gathered) -> Facts:
    runs = g.evidence.runs
    found = [f"trained on {name}, {origin} files" for name, origin in g.evidence.trained_on.items()]
    if len(runs):
        for kind, column in (("training", "train_images"), ("validation", "val_images")):
            found.append(f"{kind} images: {_span(runs[column])}")
    return found


def _participants(g: Gathered) -> Facts:
    return [
        f"{name}: {a['patients']:,} patients, {a['images']:,} images, {a['classes']} classes"
        + (f" (the official set has {a['official_images']:,} images)" if a["official_images"] else "")
        for name, a in g.evidence.sets.items()
    ]


def _positives(g: Gathered) -> Facts:
    found = []
    names = set(g.evidence.mains[:1])
    metrics = g.evidence.metrics
    for name, about in g.evidence.sets.items():
        rows = metrics[
            metrics["name"].isin(names) & (metrics["dataset"] == name) & (metrics["metric"] == "auroc")
        ]
        single = rows[(rows["stratum"] == "all") & ~rows["class"].isin(["macro", "weighted", "micro"])]
        if not len(single):
            continue
        counts = single["n_pos"].astype(int)
        found.append(
            f"{name}: {int(counts.sum()):,} positive labels; a class has {int(counts.min()):,} to "
            f"{int(counts.max()):,}, median {counts.median():g}; "
            f"{int(single['n_ignored'].sum()):,} labels ignored"
        )
        if about["no_positives"]:
            found.append(f"{name}: without positives: {', '.join(map(str, about['no_positives']))}")
    return found


def _reference(g: Gathered) -> Facts:
    found = []
    for name, about in g.evidence.sets.items():
        policy = ", ".join(f"{k}: {v}" for k, v in about["labels"].items() if v is not None)
        found.append(f"{name}: protocol {about['protocol']}; {policy or 'no policy recorded'}")
        found += [f"{name}: {note}" for note in about["notes"]]
    return found


def _issues(g: Gathered) -> Facts:
    return [
        f"{name}: {issue.issue} ({issue.action})"
        for name, about in g.evidence.sets.items()
        for issue in load_card(about["dataset"]).known_issues
    ]


def _unit(g: Gathered) -> Facts:
    found = []
    for name, about in g.evidence.sets.items():
        card = load_card(about["dataset"])
        note = f" ({card.cluster_note})" if card.cluster_note else ""
        found.append(f"{name}: images of one {card.cluster_unit} count as dependent{note}")
    return found


def _subgroups(g: Gathered) -> Facts:
    metrics = g.evidence.metrics
    found = []
    for name in g.evidence.sets:
        strata = metrics[(metrics["dataset"] == name) & metrics["stratum"].str.contains("=", na=False)][
            "stratum"
        ]
        groups: dict[str, list[str]] = {}
        for stratum in dict.fromkeys(strata):
            group, _, level = str(stratum).partition("=")
            groups.setdefault(group, []).append(level)
        found += [f"{name}: by {group} ({', '.join(levels)})" for group, levels in groups.items()]
    return found


def _models(g: Gathered) -> Facts:
    evidence, runs = g.evidence, g.evidence.runs
    found = [f"encoders: {text}" for text in dict.fromkeys(str(a["encoder"]) for a in evidence.sets.values())]
    for name in evidence.mains:
        own = runs[runs["cell"] == name] if len(runs) else runs
        size = f", {_span(own['parameters_trained'])} parameters trained" if len(own) else ""
        found.append(f"{name}: {evidence.cells[name].title}, prompts {evidence.cells[name].prompts}{size}")
    return found


def _training(g: Gathered) -> Facts:
    found = [f"recipe: {g.evidence.recipe}"]
    for name in g.evidence.mains:
        settings = [run.training for _, run in run_records(g.project, name)]
        if settings:
            text = ", ".join(f"{k} {v}" for k, v in sorted(settings[0].items()))
            same = "" if all(s == settings[0] for s in settings) else " (seeds differ)"
            found.append(f"{name}: {text}{same}")
    return found


def _seeds(g: Gathered) -> Facts:
    found = [
        f"{name}: {_count(len(_seeds_of(g, name)), 'seed')} {_seeds_of(g, name)}" for name in g.evidence.mains
    ]
    own = g.evidence.seeds
    own = own[(own["class"] == "macro") & (own["stratum"] == "all") & (own["metric"] == "auroc")]
    for (name, dataset), rows in own[own["name"].isin(g.evidence.mains)].groupby(["name", "dataset"]):
        if len(rows) > 1:
            spread = rows["value"].std(ddof=1)
            found.append(f"{name}, {dataset}: standard deviation of macro AUROC over seeds {spread:.3f}")
    return found


def _seeds_of(g: Gathered, name: str) -> list[int]:
    own = g.evidence.seeds
    return sorted({int(s) for s in own[own["name"] == name]["seed"].dropna()})


def _hardware(g: Gathered) -> Facts:
    runs = g.evidence.runs
    if not len(runs):
        return []
    found = [f"devices: {', '.join(dict.fromkeys(map(str, runs['device'])))}"]
    found.append(f"seconds a training: {_span(runs['seconds'])}")
    found.append(f"peak memory: {runs['peak_memory_bytes'].max() / 2**30:.1f} GiB")
    return found


def _versions(g: Gathered) -> Facts:
    found: dict[str, set[str]] = {}
    commits: set[str] = set()
    for name in g.evidence.mains:
        for _, run in run_records(g.project, name):
            commits.add(run.code)
            for package, version in run.versions.items():
                found.setdefault(package, set()).add(version)
    facts = [f"commit: {', '.join(sorted(commits))}"] if commits else []
    return facts + [f"{package} {', '.join(sorted(own))}" for package, own in sorted(found.items())]


def _weights(g: Gathered) -> Facts:
    return [
        f"{name}, seed {seed}: sha256 {run.model_sha256}"
        for name in g.evidence.mains
        for seed, run in run_records(g.project, name)
    ]


def _metrics(g: Gathered) -> Facts:
    return [f"metrics in the summary: {', '.join(dict.fromkeys(map(str, g.evidence.metrics['metric'])))}"]


def _thresholds(g: Gathered) -> Facts:
    config: StatisticsConfig = g.config
    return [
        f"decision metrics on thresholds of the validation split: {'on' if config.thresholded else 'off'}"
    ]


def _statistics(g: Gathered) -> Facts:
    config, comparisons = g.config, g.evidence.comparisons
    found = [
        f"intervals: {config.level:.0%}, {config.interval}",
        f"power of the detectable effect: {config.power:.0%}",
    ]
    for family, rows in comparisons[comparisons["metric"] == "auroc"].groupby("family", sort=False):
        tested, undefined = int(rows["p"].notna().sum()), int((rows["undefined"] != "").sum())
        found.append(f"comparisons of family '{family}': {tested} tested, {undefined} undefined")
    few = comparisons[(comparisons["metric"] == "auroc") & comparisons["few"]]
    made = int((comparisons["metric"] == "auroc").sum())
    found.append(f"comparisons marked for few positive patients: {len(few):,} of {made:,}")
    return found


def _performance(g: Gathered) -> Facts:
    found = []
    for dataset, stratum in places(g.evidence):
        for name in g.evidence.mains:
            row = g.evidence.value(name, dataset, stratum)
            if row is not None:
                number = interval_text(row["value"], row["low"], row["high"])
                note = "" if missing(row["note"]) or not row["note"] else f" ({row['note']})"
                found.append(f"{place_title(dataset, stratum)}, {name}: macro AUROC {number}{note}")
    return found


def _claims(g: Gathered) -> Facts:
    return [f"{j.claim}: {j.verdict}" for j in judge_all(g.project, g)]


def _span(values: Any) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


AIMS, DATA, MODEL, EVALUATION, RESULTS, OPEN = (
    "Aims",
    "Data",
    "Models",
    "Evaluation",
    "Results",
    "Open science",
)

ITEMS: tuple[Item, ...] = (
    Item("intended use", AIMS, "Clinical question, intended user and place in care.", "Write all of it"),
    Item("design", AIMS, "Study design, and whether hypotheses were fixed beforehand.", "Write all of it"),
    Item(
        "data sources",
        DATA,
        "Source, version and licence of each data set.",
        "Dates and sites of collection",
        _data,
    ),
    Item(
        "eligibility", DATA, "Who was included, and how many at each step.", "A flow diagram", _participants
    ),
    Item(
        "reference standard",
        DATA,
        "How labels were made, and what uncertain and missing ones count as.",
        "Who labelled, how well they agree",
        _reference,
    ),
    Item(
        "known faults", DATA, "Faults of the data and what was done about them.", "Faults you found", _issues
    ),
    Item(
        "partitions",
        DATA,
        "Training and validation data, and that patients do not cross.",
        "Overlap of pretraining data with the test data",
        _trained_on,
    ),
    Item("positives", DATA, "Cases with and without each finding.", "", _positives),
    Item("sample size", DATA, "Why this many patients.", "The reason; `bench plan` gives numbers"),
    Item("demographics", DATA, "Age, sex, ethnicity and disease severity of the sample.", "A table of them"),
    Item("architecture", MODEL, "Encoders, alignment method, prompts and size.", "", _models),
    Item(
        "training",
        MODEL,
        "Settings of the training, and how they were chosen.",
        "Settings that were tried",
        _training,
    ),
    Item("seeds", MODEL, "Number of trainings and their spread.", "", _seeds),
    Item("hardware", MODEL, "Hardware, time and memory.", "", _hardware),
    Item(
        "metrics",
        EVALUATION,
        "Which metrics, and why they fit the clinical question.",
        "Why they fit",
        _metrics,
    ),
    Item(
        "thresholds",
        EVALUATION,
        "Decision thresholds and where they come from.",
        "A threshold of clinical meaning",
        _thresholds,
    ),
    Item("dependence", EVALUATION, "Which images are dependent, and how intervals allow for it.", "", _unit),
    Item(
        "statistics",
        EVALUATION,
        "Intervals, tests and their correction, comparisons without a test.",
        "",
        _statistics,
    ),
    Item("fairness", EVALUATION, "Performance in subgroups.", "Groups that the data do not name", _subgroups),
    Item("performance", RESULTS, "Performance with uncertainty.", "", _performance),
    Item("claims", RESULTS, "What the results say of what was claimed.", "", _claims),
    Item("failures", RESULTS, "Cases that go wrong, and why.", "Read and describe them"),
    Item("limits", RESULTS, "Limitations, generalisation, harms.", "Write all of it"),
    Item("versions", OPEN, "Code, commit and package versions.", "Where the code can be had", _versions),
    Item("weights", OPEN, "Identity of the trained models.", "Where the weights can be had", _weights),
    Item(
        "registration",
        OPEN,
        "Protocol, registration, ethics approval, patient involvement.",
        "Write all of it",
    ),
    Item("funding", OPEN, "Funding and conflicts of interest.", "Write all of it"),
)
