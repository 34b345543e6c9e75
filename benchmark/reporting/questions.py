"""Tables of reports/understanding/: negation by training text, flips with the wording, rates of groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmark.core.tasks import task_named
from benchmark.encoders import exposure
from benchmark.grid.declared import declared
from benchmark.reporting import columns as common
from benchmark.reporting.effects import seed_mean
from benchmark.reporting.evidence import CellInfo, Evidence
from benchmark.reporting.numbers import interval_text, missing
from benchmark.reporting.rows import MetricRow
from benchmark.reporting.seen import trained_exposure
from benchmark.reporting.table import Measured, Row, Table, change, count, estimate, words
from benchmark.reporting.tables.claims import claims_table
from benchmark.reporting.verdicts import judge

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.grid.params import Cell, Params
    from benchmark.reporting.claims import Claim
    from benchmark.stages.questions import Answers

NEGATION = {
    "auroc_present": "AUROC, present",
    "auroc_absent": "AUROC, absent",
    "auroc_contrast": "AUROC, contrast",
    "present_over_denied": "Stated over denied, present",
    "denied_over_present": "Denied over stated, absent",
    "choice_true": "Choice: true",
    "choice_negated": "Choice: negated",
    "choice_omitted": "Choice: omitted",
}
FLIPS = {
    "flips_by_wording": "By wording",
    "flips_by_wording_refitted": "By wording, refitted",
    "flips_by_any_wording": "By any wording",
    "flips_by_image": "By image",
    "calls_lost_by_wording": "Calls lost by wording",
    "calls_lost_by_image": "Calls lost by image",
}
RATES = {
    "fnr": "FNR",
    "fpr": "FPR",
    "underdiagnosis": "Underdiagnosis",
    "overdiagnosis": "Overdiagnosis",
}
NAMED = 5
UNDERSTANDING = "understanding"
COMMAND = "bench stage understanding"


def question_tables(found: Answers, params: Params) -> list[Table]:
    """Those whose task has rows."""
    makers: dict[str, Callable[[Answers, pd.DataFrame, Params], Table]] = {
        "negation": negation,
        "paraphrase": paraphrase,
        "underdiagnosis": underdiagnosis,
    }
    parts = {task: found.rows[found.rows["task"] == task] for task in makers}
    return [makers[task](found, rows, params) for task, rows in parts.items() if len(rows)]


def negation(found: Answers, rows: pd.DataFrame, params: Params) -> Table:
    """One row a cell and dataset: method, training text and whether denials were trained on."""
    shown: list[Row] = []
    level = params.statistics.level
    for cell, dataset, own in _each(found, rows):
        macro = own[(own["class"] == "macro") & (own["stratum"] == "all")]
        by_class = own[(own["metric"] == "auroc_absent") & (own["class"] != "macro")]
        wrong = _polarity_errors(by_class, level)
        shown.append(
            {
                **_head(params, cell, dataset, own),
                "texts": cell.texts.name,
                "denials": "dropped" if cell.texts.negations == "drop" else "trained on",
                **{m: _measured(macro[macro["metric"] == m], level, m) for m in NEGATION},
                "errors": len(wrong),
                "classes": int(by_class["class"].nunique()),
                "named": ", ".join(wrong[:NAMED]) + (", …" if len(wrong) > NAMED else ""),
            }
        )
    names = [estimate(m, title, f"{m}_") for m, title in NEGATION.items()]
    notes = [
        'AUROC, absent: of absence by "There is no X"; a method that reads over "no" has 1 minus the AUROC '
        "of presence. Contrast: of presence by the prompt minus its denial. Stated over denied: share of "
        "images with a finding whose prompt scores above its denial; denied over stated: of images without.",
        "Choice: which of three reports of an image scores highest, the true one, the same with one finding "
        "denied, or without a word of it (CXR-Align's design); 1/3 by chance.",
        "Polarity errors: classes whose AUROC of absence lies below 0.5 with its whole interval, which "
        f"{(1 - level) / 2:.1%} of classes do by chance.",
    ]
    if found.untrained:
        notes.append(f"Not trained with the settings of params.yaml here: {', '.join(found.untrained)}.")
    return Table(
        name="negation",
        title=task_named("negation").title,
        columns=(
            common.METHOD, words("cell"), words("texts", "Training text"), words("denials", "Denials"),
            common.DATASET, common.SEEN, count("seeds", "Seeds"), *names, count("errors", "Polarity errors"),
            count("classes", "of"), words("named", "Worst"), common.ORIGIN,
        ),
        rows=tuple(shown),
        notes=(*notes, exposure.READING),
        synthetic=_synthetic(rows),
        command=COMMAND,
    )  # fmt: skip


def paraphrase(found: Answers, rows: pd.DataFrame, params: Params) -> Table:
    """One row a cell and dataset."""
    shown: list[Row] = []
    level = params.statistics.level
    for cell, dataset, own in _each(found, rows):
        macro = own[own["class"] == "macro"]
        values = {m: _measured(macro[macro["metric"] == m], level, m) for m in FLIPS}
        shown.append({**_head(params, cell, dataset, own), "prompts": str(own["prompts"].iloc[0]), **values})
    names = [estimate(m, title, f"{m}_") for m, title in FLIPS.items()]
    return Table(
        name="paraphrase",
        title=task_named("paraphrase").title,
        columns=(
            common.METHOD, words("cell"), common.DATASET, common.SEEN, words("prompts", "Wordings"),
            count("seeds", "Seeds"), *names, common.ORIGIN,
        ),
        rows=tuple(shown),
        notes=(
            "Share of decisions of image and class that differ from that of the house prompt, at its "
            "threshold, which has the specificity of statistics.specificity on held-out images. By "
            "wording: mean over the paraphrases; refitted: each at its own threshold of that specificity; "
            "by any: at least one differs. By image: the control, the same prompt with the image of another "
            "patient.",
            "Calls lost: of the house prompt's positive calls. What the wording does to the AUROC stands in "
            "reports/tables/prompt_sensitivity.md.",
            exposure.READING,
        ),
        synthetic=_synthetic(rows),
        command=COMMAND,
    )  # fmt: skip


def underdiagnosis(found: Answers, rows: pd.DataFrame, params: Params) -> Table:
    """One row a cell, dataset, rate and group: its levels and the gap between the best and the worst."""
    shown: list[Row] = []
    level = params.statistics.level
    for cell, dataset, own in _each(found, rows):
        for metric, title in RATES.items():
            macro = own[own["class"].isin(["macro", "any"])]
            gaps = macro[macro["metric"] == f"{metric}_gap"]
            every = macro[(macro["metric"] == metric) & (macro["stratum"] == "all")]
            for group in dict.fromkeys(gaps["stratum"]):
                part = gaps[gaps["stratum"] == group]
                levels = macro[
                    (macro["metric"] == metric) & macro["stratum"].str.startswith(f"{group}=", na=False)
                ]
                shown.append(
                    {
                        **_head(params, cell, dataset, own),
                        "rate": title,
                        "group": group,
                        "whole": _measured(every, level, metric),
                        "levels": _levels(levels, level, metric),
                        "gap": _measured(part, level, f"{metric}_gap"),
                        "note": str(part["note"].iloc[0] or ""),
                    }
                )
    return Table(
        name="underdiagnosis",
        title=task_named("underdiagnosis").title,
        columns=(
            common.METHOD, words("cell"), common.DATASET, common.SEEN, count("seeds", "Seeds"),
            words("rate", "Rate"), words("group", "Group"), estimate("whole", "All images", "all_"),
            words("levels", "Levels"), change("gap", "Gap best − worst"),
            words("note", "Levels of the gap (first seed)"), common.ORIGIN,
        ),
        rows=tuple(shown),
        notes=(
            "One threshold a class for everybody, of the specificity of statistics.specificity on "
            "held-out images. FNR, FPR: mean over classes that have enough positives (negatives) in every "
            "level. Underdiagnosis: share of images with a finding on which nothing is called; "
            "overdiagnosis: share of images without any finding on which something is.",
            "The gap's interval is Bonferroni over the pairs of levels, because the best and the worst are "
            "picked on the same data; several groups are looked at, and no correction joins them.",
            exposure.READING,
        ),
        synthetic=_synthetic(rows),
        command=COMMAND,
    )  # fmt: skip


def _each(found: Answers, rows: pd.DataFrame) -> list[tuple[Cell, str, pd.DataFrame]]:
    """Cells with rows, by dataset and then as params.yaml has them."""
    parts = dict(list(rows.groupby(["run_id", "dataset"], sort=False)))
    datasets = dict.fromkeys(rows["dataset"])
    return [(c, str(d), parts[c.name, d]) for d in datasets for c in found.cells if (c.name, d) in parts]


def _head(params: Params, cell: Cell, dataset: str, rows: pd.DataFrame) -> Row:
    title = declared(cell.method).title
    return {
        "method": title if cell.variant == "main" else cell.label or cell.name,
        "cell": cell.name,
        "dataset": dataset,
        "seen": exposure.level(trained_exposure(params, cell), dataset),
        "seeds": int(rows["seed"].nunique()),
        "origin": str(rows["origin"].iloc[0]),
    }


def _measured(rows: pd.DataFrame, level: float, metric: str) -> Measured | None:
    """Mean over seeds; None without rows or where every seed is undefined."""
    mean = _mean(rows, level, metric)
    return None if mean is None else Measured(mean["value"], mean["low"], mean["high"])


def _mean(rows: pd.DataFrame, level: float, metric: str) -> MetricRow | None:
    known = rows[rows["value"].notna()]
    if known.empty:
        return None
    mean = seed_mean(known.to_dict("records"), level, share=not metric.endswith("_gap"))
    if metric.endswith("_gap") and not missing(mean["low"]):
        mean["low"], mean["high"] = max(mean["low"], 0.0), min(mean["high"], 1.0)
    return mean


def _levels(rows: pd.DataFrame, level: float, metric: str) -> str:
    said = []
    for stratum in dict.fromkeys(rows["stratum"]):
        mean = _mean(rows[rows["stratum"] == stratum], level, metric)
        if mean is not None:
            text = interval_text(mean["value"], mean["low"], mean["high"])
            said.append(f"{str(stratum).partition('=')[2]}: {text}")
    return "; ".join(said)


def _polarity_errors(rows: pd.DataFrame, level: float) -> list[str]:
    """Classes whose mean over seeds lies below 0.5 with its interval, worst first."""
    means = {str(name): _mean(own, level, "auroc_absent") for name, own in rows.groupby("class", sort=False)}
    wrong = {n: m["value"] for n, m in means.items() if m and not missing(m["high"]) and m["high"] < 0.5}
    return sorted(wrong, key=wrong.__getitem__)


def _synthetic(rows: pd.DataFrame) -> bool:
    return bool((rows["origin"] == "twin").any())


def verdicts(
    found: Answers, claims: Sequence[Claim], params: Params, family: str = UNDERSTANDING,
    command: str = COMMAND,
) -> Table:  # fmt: skip
    """The claims of one family, held against these rows as `bench verify` would."""
    import pandas as pd

    frame = found.rows.assign(name=found.rows["run_id"])
    origins = dict(zip(frame["dataset"], frame["origin"], strict=True))
    cells = {
        c.name: CellInfo(c.name, c.method, declared(c.method).title, c.variant, c.table, c.label)
        for c in found.cells
    }
    train = params.data.train
    evidence = Evidence(
        part="all",
        metrics=frame,
        comparisons=pd.DataFrame(),
        ranks=pd.DataFrame(),
        cells=cells,
        seeds=frame,
        runs=pd.DataFrame(),
        sets={str(d): {"dataset": d, "origin": o} for d, o in origins.items()},
        trained_on={train: "official" if train in params.data.roots else "twin"},
        task_plan={task: own.datasets for task, own in params.tasks.items()},
        recipe=params.recipe,
        level=params.statistics.level,
        exposure={c.name: trained_exposure(params, c) for c in found.cells},
    )
    own = [claim for claim in claims if claim.family == family]
    table = claims_table(judge(own, evidence, lambda *_: None), evidence.level)
    return replace(table, notes=(*table.notes, exposure.READING), command=command)


def section(tables: Sequence[Table]) -> list[str]:
    """Lines of understanding.md that lead to these tables."""
    return [f"- [{table.title}]({table.name}.md)" for table in tables]
