"""reports/understanding/: tables and figures of what methods make of one changed finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.core.files import atomic_path, write_csv, write_text
from benchmark.core.tables import TWIN_NOTICE, read_table
from benchmark.encoders.exposure import READING
from benchmark.encoders.exposure import level as exposure_level
from benchmark.grid.declared import declared
from benchmark.grid.params import main_cell
from benchmark.reporting.effects import seed_mean
from benchmark.reporting.figures.style import new_figure
from benchmark.reporting.numbers import percent
from benchmark.reporting.questions import question_tables, section, verdicts
from benchmark.reporting.seen import trained_exposure
from benchmark.reporting.table import save
from benchmark.twins.counterfactual import SITE

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.grid.params import Params
    from benchmark.reporting.claims import Claim
    from benchmark.stages.questions import Answers

SHARES = {
    "causal_auroc": "Causal AUROC",
    "score_rises": "Score rises when added",
    "score_falls_when_removed": "Score falls when removed",
    "denial_auroc": "Causal AUROC of absence, denied",
    "contrast_auroc": "Causal AUROC, prompt minus denial",
    "denial_falls": "Denial falls when added",
    "specificity": "Specificity",
    "own_prompt_first": "Own prompt rises most",
    "right_side_preferred": "Right side",
    "graver_scores_higher": "Graver scores higher",
    "severity_monotone": "Severity monotone",
    "finding_beats_companion": "Finding beats companion",
}
CHANGES = ("change_by_finding", "change_by_companion", "change_by_finding_beside_companion")
CONFUSIONS = 10

INTRODUCTION = """Each patient of a twin was drawn again with exactly one finding changed; pose, exposure,
noise and all other findings stay (`benchmark/twins/counterfactual.py`). Intervals: {level} over patients,
with the spread of seeds.

- *Causal AUROC*: images with a finding against the same patients' without it, asked with its prompt.
- *Denied*: asked with "There is no ...", which should rank absence. A method that reads over "no" has here
  1 minus its causal AUROC, and its denial rises when the finding is added.
- *Specificity*: how often the finding's own prompt rises more than the prompt of an unrelated finding; 0.5
  is chance, 1 a matrix whose diagonal alone rises. *Own prompt rises most*: share of findings for which it,
  or the prompt of a kind of it or of what it is a kind of, rises most of all in the mean over patients.
- *Right side*: "on the right" beats "on the left" for the finding on the right, and the reverse.
- *Graver scores higher*: over neighbouring severities of one lesion. *Monotone*: over all its severities.
- *Finding beats companion*: the finding without its device against the device without it, same patient.
"""


def write_understanding(
    found: Mapping[str, Sequence[Path]],
    asked: Answers,
    claims: Sequence[Claim],
    folder: Path,
    params: Params,
) -> str:
    """understanding.md, findings.csv (a row a method, metric and class) and specificity-<method>.png; and the
    tables of the tasks and of the claims that they settle.

    found: cell → folders of its seeds with rows.parquet and specificity.npz.
    """
    import pandas as pd

    from benchmark.stages.understanding import related_to

    level = params.statistics.level
    folder.mkdir(parents=True, exist_ok=True)
    frame = pd.concat([read_table(seed / "rows.parquet")[0] for own in found.values() for seed in own])
    seen = {
        str(cell): exposure_level(trained_exposure(params, main_cell(params, str(method))), SITE)
        for cell, method in frame[["run_id", "method"]].drop_duplicates().itertuples(index=False)
    }
    means = _means(frame, level)
    means["seen"] = means["cell"].map(seen)
    write_csv(folder / "findings.csv", means.assign(evidence=TWIN_NOTICE), "%.4f")
    tables = [*question_tables(asked, params), verdicts(asked, claims, params)]
    for table in tables:
        save(table, folder)
    lines = [
        f"**{TWIN_NOTICE}.** {INTRODUCTION.format(level=percent(level))}",
        *_main_table(means),
        "",
        *section(tables),
        "",
    ]
    lines += [*_companions(means), "", f"{READING} The set at hand is {SITE}, which is drawn here.", ""]
    for cell, own in found.items():
        arrays = [np.load(seed / "specificity.npz") for seed in own]
        names = [str(n) for n in arrays[0]["findings"]]
        prompts = [str(n) for n in arrays[0]["prompts"]]
        changes = np.mean([a["changes"] for a in arrays], axis=0)
        title = declared(str(frame.loc[frame["run_id"] == cell, "method"].iloc[0])).title
        draw_matrix(changes, names, prompts, title, folder / f"specificity-{cell}.png")
        worst = confusions(changes, names, prompts, related_to(prompts))
        lines += [
            f"## {title}",
            "",
            f"![Change of every prompt when a finding is added, {title}](specificity-{cell}.png)",
            "",
            "Prompts that rise more than the finding's own, in deviations of each prompt; "
            f"seen by the weights: {seen[cell]}.",
            "",
            "| added | rises | own prompt | other prompt |",
            "|---|---|---:|---:|",
            *[f"| {a} | {b} | {own_:.2f} | {other:.2f} |" for a, b, other, own_ in worst],
            "",
            polarity_errors(means[(means["cell"] == cell) & (means["metric"] == "denial_auroc")], level),
            "",
        ]
    write_text(folder / "understanding.md", "\n".join(lines))
    count = means[(means["metric"] == "causal_auroc") & (means["class"] != "macro")]["class"].nunique()
    return f"{len(found)} methods, {count} findings, {folder}"


def confusions(
    changes: np.ndarray,
    findings: Sequence[str],
    prompts: Sequence[str],
    related: Mapping[str, frozenset[str]],
) -> list[tuple[str, str, float, float]]:
    """The worst unrelated prompt of each finding, where it rises more than the finding's own, worst first:
    (finding, prompt, its change, the own one)."""
    out = []
    for i, finding in enumerate(findings):
        own = float(changes[i, prompts.index(finding)])
        apart = np.array([name not in related[finding] for name in prompts])
        j = int(np.where(apart, changes[i], -np.inf).argmax())
        if changes[i, j] > own:
            out.append((finding, prompts[j], float(changes[i, j]), own))
    return sorted(out, key=lambda item: item[3] - item[2])[:CONFUSIONS]


def polarity_errors(denied: pd.DataFrame, level: float) -> str:
    """Which findings a method ranks by "There is no ..." as if it were there: their AUROC of absence lies
    below 0.5 with its whole interval. denied: rows of `_means`, one a finding."""
    own = denied[denied["class"] != "macro"]
    wrong = own[own["high"] < 0.5].sort_values("value", kind="stable")
    said = (
        f'Polarity errors, where "There is no ..." ranks the finding instead of its absence: {len(wrong)} of '
        f"{len(own)} findings; {(1 - level) / 2:.1%} are expected by chance."
    )
    if wrong.empty:
        return said
    names = zip(wrong["class"][:CONFUSIONS], wrong["value"][:CONFUSIONS], strict=True)
    return f"{said} Worst: " + ", ".join(f"{name} ({value:.2f})" for name, value in names) + "."


def draw_matrix(
    changes: np.ndarray, findings: Sequence[str], prompts: Sequence[str], title: str, path: Path
) -> None:
    """Every finding asked with every finding's prompt, in the order of the catalogue, so that the matrices of
    all methods show the same: rows added, columns asked."""
    part = changes[:, [prompts.index(name) for name in findings]]
    figure, axis = new_figure(14.5, 14.0)
    reach = float(np.quantile(np.abs(part), 0.99))
    image = axis.imshow(part, cmap="RdBu_r", vmin=-reach, vmax=reach)
    axis.set_xticks(range(len(findings)), findings, rotation=90, fontsize=4)
    axis.set_yticks(range(len(findings)), findings, fontsize=4)
    axis.grid(False)
    axis.set(xlabel="prompt asked", ylabel="finding added", title=f"{title}: change of score, {TWIN_NOTICE}")
    figure.colorbar(image, ax=axis, shrink=0.5, label="deviations of the prompt")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _means(frame: pd.DataFrame, level: float) -> pd.DataFrame:
    """One row a cell, metric and class: mean over seeds with its interval."""
    import pandas as pd

    rows = []
    for (cell, metric, name), part in frame.groupby(["run_id", "metric", "class"], sort=False):
        mean = seed_mean(part.to_dict("records"), level, share=metric in SHARES)
        rows.append(
            {
                "cell": cell,
                "method": part["method"].iloc[0],
                "metric": metric,
                "class": name,
                "value": mean["value"],
                "low": mean["low"],
                "high": mean["high"],
                "patients": part["n_patients"].iloc[0],
                "seeds": len(part),
            }
        )
    return pd.DataFrame(rows)


def _main_table(means: pd.DataFrame) -> list[str]:
    whole = means[means["class"].isin(["macro"])].set_index(["cell", "metric"])
    cells = list(dict.fromkeys(means["cell"]))
    titles = [declared(str(means.loc[means["cell"] == c, "method"].iloc[0])).title for c in cells]
    lines = ["| | " + " | ".join(titles) + " |", "|---|" + "---:|" * len(cells)]
    for metric, title in {**SHARES, "score_change": "Change of score, deviations"}.items():
        shown = [_text(whole.loc[(cell, metric)]) if (cell, metric) in whole.index else "" for cell in cells]
        lines.append(f"| {title} | " + " | ".join(shown) + " |")
    seen = means.drop_duplicates("cell").set_index("cell")["seen"]
    return [*lines, "| Seen | " + " | ".join(seen[cells]) + " |"]


def _companions(means: pd.DataFrame) -> list[str]:
    """A row a method and pair: what the finding's prompt does for finding, companion and both."""
    lines = [
        "Shortcuts: change of the finding's prompt, in deviations, when the finding is added, when its "
        "companion is added instead, and when the finding is added beside the companion.",
        "",
        "| method | finding / companion | seen | finding | companion alone | finding beside companion |",
        "|---|---|---|---:|---:|---:|",
    ]
    part = means[means["metric"].isin(CHANGES) & (means["class"] != "macro")]
    for (_, name), own in part.groupby(["cell", "class"], sort=False):
        by = own.set_index("metric")
        title = declared(str(own["method"].iloc[0])).title
        changes = [_text(by.loc[m].squeeze()) for m in CHANGES]
        lines.append("| " + " | ".join([title, str(name), own["seen"].iloc[0], *changes]) + " |")
    return lines


def _text(row: Any) -> str:
    value, low, high = (
        float(row[k]) if row[k] is not None else float("nan") for k in ("value", "low", "high")
    )
    return f"{value:.2f}" if low != low else f"{value:.2f} [{low:.2f}, {high:.2f}]"
