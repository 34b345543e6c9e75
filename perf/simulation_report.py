"""Simulation results → docs/statistics/simulations.json, figures, and the tables of docs/statistics.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd

from benchmark.core.errors import BenchError
from benchmark.core.files import atomic_path, write_json, write_text

RESULTS = "statistics/simulations.json"
Parts = dict[str, dict[str, Any]]
"""Name of a part, which begins with its kind → the key it was made under, and its rows."""
NOMINAL, ACCEPTED = 0.95, (0.93, 0.97)
PROMISE = 0.05
"""By how much the share of found differences may miss the predicted power, at the estimate."""


def rows_of(parts: Parts, kind: str) -> list[dict[str, Any]]:
    """The rows of all parts of a kind, in their order."""
    return [row for name, part in parts.items() if name.split()[0] == kind for row in part["rows"]]


def write_report(parts: Parts, docs: Path) -> None:
    """Raises BenchError where statistics.md lacks a marker `<!-- name -->` … `<!-- /name -->`."""
    coverage = pd.DataFrame(rows_of(parts, "coverage"))
    page = docs / "statistics.md"
    text = page.read_text(encoding="utf-8")
    for name, table in report_tables(parts).items():
        text = fill(text, name, table, page)
    write_json(docs / RESULTS, parts)
    folder = docs / "statistics"
    coverage_figure(coverage[coverage.metric == "auroc"], folder / "coverage.png")
    size, power = (pd.DataFrame(rows_of(parts, kind)) for kind in ("size", "power"))
    comparison_figure(size, power, folder / "tests.png")
    write_text(page, text)


def report_tables(parts: Parts) -> dict[str, str]:
    """Marker → Markdown table."""
    coverage = pd.DataFrame(rows_of(parts, "coverage"))
    auroc = coverage[coverage.metric == "auroc"]
    size = pd.DataFrame(rows_of(parts, "size"))
    return {
        "coverage": coverage_table(auroc),
        "shapes": shape_table(auroc[auroc.method == "moderated"]),
        "precision": coverage_table(coverage[coverage.metric == "average_precision"]),
        "macro": macro_table(pd.DataFrame(rows_of(parts, "macro"))),
        "decisions": decision_table(pd.DataFrame(rows_of(parts, "decisions"))),
        "means": design_table(size, _covered),
        "size": design_table(size, _rejected),
        "classes": class_table(size),
        "one-seed": one_seed_table(size),
        "power": power_table(rows_of(parts, "power")),
    }


def fill(text: str, name: str, table: str, page: Path) -> str:
    start, stop = f"<!-- {name} -->", f"<!-- /{name} -->"
    if start not in text or stop not in text:
        raise BenchError(f"{page}: no marker {start} … {stop}; restore it from the repository.")
    before, rest = text.split(start, 1)
    return f"{before}{start}\n{table}\n{stop}{rest.split(stop, 1)[1]}"


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def coverage_table(frame: pd.DataFrame) -> str:
    """Mean coverage over shapes and AUROCs [smallest, largest], and mean width of the first method."""
    methods = list(dict.fromkeys(frame.method))
    rows = []
    for (per_patient, positives), part in frame.groupby(["per_patient", "positives"], sort=False):
        row = [str(per_patient), str(positives)]
        for method in methods:
            seen = part[part.method == method].covered
            mark = "" if ACCEPTED[0] <= seen.mean() <= ACCEPTED[1] else " ✗"
            row.append(f"{seen.mean():.3f} [{seen.min():.3f}, {seen.max():.3f}]{mark}")
        row.append(f"{part[part.method == methods[0]].width.mean():.3f}")
        rows.append(row)
    return markdown(["images a patient", "positives", *methods, f"width ({methods[0]})"], rows)


def shape_table(frame: pd.DataFrame) -> str:
    """Coverage of one method for each shape, averaged over AUROCs."""
    wide = frame.pivot_table(
        index=["per_patient", "positives"], columns="shape", values="covered", sort=False
    )
    rows = [
        [str(a), str(b), *(f"{v:.3f}" for v in row)]
        for (a, b), row in zip(wide.index, wide.to_numpy(), strict=True)
    ]
    return markdown(["images a patient", "positives", *wide.columns], rows)


def _records(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    return frame.to_dict("records")


def macro_table(frame: pd.DataFrame) -> str:
    rows = [
        [r["group"], str(r["per_patient"]), f"{r['covered']:.3f}", f"{r['width']:.3f}"]
        for r in _records(frame)
    ]
    return markdown(["macro mean of", "images a patient", "coverage", "width"], rows)


def decision_table(frame: pd.DataFrame) -> str:
    """Mean coverage over thresholds [smallest] of each metric; marked as few where most data sets are."""
    metrics = list(dict.fromkeys(frame.metric))
    rows = []
    for (of, per_patient), part in frame.groupby(["of", "per_patient"], sort=False):
        few = FEW if part.marked.mean() > 0.5 else ""
        own = [part[part.metric == metric].covered for metric in metrics]
        rows.append(
            [
                f"{str(of).removesuffix(' positives')}{few}",
                str(per_patient),
                *(f"{c.mean():.3f} [{c.min():.3f}]" for c in own),
            ]
        )
    return markdown(["positives", "images a patient", *(m.replace("_", " ") for m in metrics)], rows)


FEW = "†"
AVERAGES = ("all", "tail", "never-named", "weighted", "tail - head")
DESIGN = ["counts", "seeds", "spread", "per_patient", "correlated", "crowd", "uneven"]


def _few(row: dict[Any, Any]) -> str:
    """The mark of a row of which most replicates carry the note of few positive patients."""
    return FEW if row["marked"] > 0.5 else ""


def _rejected(row: dict[Any, Any]) -> str:
    if not row["experiments"]:
        return "undefined"
    out = row["rejected_5"] > 0.065 or row["rejected_1"] > 0.017
    low = row["rejected_5"] < 0.035 and not _few(row)
    mark = " ✗" if out else " ↓" if low else ""
    return f"{100 * row['rejected_5']:.1f} ({100 * row['rejected_1']:.1f}){_few(row)}{mark}"


def _covered(row: dict[Any, Any]) -> str:
    if row["covered"] is None or row["covered"] != row["covered"]:
        return "–"
    if row["covered"] == 0:
        return f"no interval{_few(row)}"
    out = not ACCEPTED[0] <= row["covered"] <= ACCEPTED[1]
    return f"{row['covered']:.3f}{_few(row)}" + (" ✗" if out and not _few(row) else "")


def _design(row: dict[Any, Any]) -> list[str]:
    kind = "correlated" if row["correlated"] else "independent"
    extra = ", rare findings in a tenth of the patients" if row["crowd"] < 0.3 else ""
    extra += ", only one method varies" if row["uneven"] else ""
    return [row["counts"] + extra, str(row["seeds"]), f"{row['spread']:g}", str(row["per_patient"]), kind]


HEAD = ["positives", "seeds", "spread", "images a patient", "methods"]


def design_table(frame: pd.DataFrame, show: Callable[[dict[Any, Any]], str]) -> str:
    """One row a design, one column an average."""
    rows = []
    for _, part in frame.groupby(DESIGN, sort=False):
        own = {r["average"]: r for r in _records(part)}
        cells = [show(own[a]) if a in own else "–" for a in AVERAGES]
        rows.append([*_design(_records(part)[0]), *cells])
    return markdown([*HEAD, *AVERAGES], rows)


def class_table(frame: pd.DataFrame) -> str:
    """Single classes by their positive patients, over all designs."""
    rows = []
    single = frame[frame.average.str.startswith("classes of")]
    groups = [(str(name), part) for name, part in single.groupby("average")]
    for name, part in sorted(groups, key=lambda group: int(group[0].split()[2])):
        total = part.experiments.sum()
        shares = [(part[c] * part.experiments).sum() / total for c in ("rejected_5", "rejected_1")]
        worst = part[part.experiments >= 1000].rejected_5.max()
        rows.append([name, f"{total:,}", *(f"{100 * s:.1f}%" for s in shares), f"{100 * worst:.1f}%"])
    return markdown(["", "tests", "p < 0.05", "p < 0.01", "p < 0.05, worst design"], rows)


def one_seed_table(frame: pd.DataFrame) -> str:
    """Designs of one seed whose trainings differ: called different as trained models, and as methods."""
    own = frame[(frame.seeds == 1) & (frame.spread > 0) & (frame.average == "all")]
    rows = [
        [*_design(r), f"{100 * r['rejected_5']:.1f}%", f"{100 * r['as_methods']:.1f}%"] for r in _records(own)
    ]
    return markdown([*HEAD, "as these two models", "as methods"], rows)


def power_table(rows: list[dict[str, Any]]) -> str:
    """Where nothing is promised, what was predicted of the smaller difference stands in brackets."""
    shown = [
        [
            *_design(r),
            r["average"],
            f"{r['true_difference']:.3f}",
            f"{r['mde']:.3f}" if r["promised"] else "withheld",
            *(_promise(r, r[k]) for k in ("predicted", "corrected")),
            f"{100 * r['found']:.1f}%{_few(r)}" + ("" if keeps_promise(r) else " ✗"),
            f"{100 * r['withheld']:.0f}%",
        ]
        for r in rows
    ]
    end = ["mean", "planted", "MDE (median)", "predicted", "corrected", "found", "studies without"]
    return markdown([*HEAD, *end], shown)


def _promise(row: dict[str, Any], power: float) -> str:
    return f"{100 * power:.1f}%" if row["promised"] else f"({100 * power:.1f}%)"


def keeps_promise(row: dict[str, Any]) -> bool:
    """Whether a planted difference is found as often as predicted, within PROMISE; true of what promises
    nothing."""
    return not row["promised"] or bool(abs(row["found"] - row["predicted"]) <= PROMISE)


def coverage_figure(frame: pd.DataFrame, path: Path) -> None:
    """Coverage against positives; one panel for each number of images a patient."""
    counts = list(dict.fromkeys(frame.per_patient))
    figure, axes = plt.subplots(1, len(counts), figsize=(9, 3.6), sharey=True, layout="constrained")
    for axis, per_patient in zip(axes, counts, strict=True):
        part = frame[frame.per_patient == per_patient]
        axis.axhspan(*ACCEPTED, color="0.9", zorder=0)
        axis.axhline(NOMINAL, color="0.6", linewidth=0.8, zorder=0)
        for method in dict.fromkeys(part.method):
            own = part[part.method == method].groupby("positives").covered
            mean = own.mean()
            line = axis.plot(mean.index, mean, marker="o", markersize=4, label=method)[0]
            if method == "moderated":
                axis.fill_between(mean.index, own.min(), own.max(), alpha=0.15, color=line.get_color())
        axis.set_xscale("log")
        axis.set_xticks(sorted(set(part.positives)), [str(n) for n in sorted(set(part.positives))])
        axis.minorticks_off()
        axis.set_xlabel("positives")
        axis.set_title(f"{per_patient} image{'s' if per_patient > 1 else ''} a patient", fontsize=10)
    axes[0].set_ylabel("coverage of the 95% interval")
    axes[0].set_ylim(0.6, 1.0)
    axes[-1].legend(fontsize=8, loc="lower right")
    _save(figure, path)


def comparison_figure(size: pd.DataFrame, power: pd.DataFrame, path: Path) -> None:
    """Equal methods called different, by the mean that is tested; found against predicted power."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    axes[0].axhspan(3.5, 6.5, color="0.9")
    for place, average in enumerate(AVERAGES):
        own = size[(size.average == average) & (size.experiments > 0)]
        for few, marker in ((False, "o"), (True, "x")):
            part = own[(own.marked > 0.5) == few]
            label = "few positive patients" if few else "else"
            axes[0].plot([place] * len(part), 100 * part.rejected_5, marker, color="C0", alpha=0.6,
                         label=label if place == 0 else None)  # fmt: skip
    axes[0].set_xticks(range(len(AVERAGES)), AVERAGES, fontsize=8)
    axes[0].set_ylabel("equal methods, p < 0.05 (%)")
    axes[0].set_ylim(bottom=0)
    axes[0].legend(fontsize=8)
    axes[1].plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    for promised, marker, label in ((True, "o", "promised"), (False, "x", "MDE out of reach")):
        part = power[power.promised == promised]
        axes[1].plot(part.predicted, part.found, marker, color="C0", label=label)
    axes[1].legend(fontsize=8)
    axes[1].set_xlabel("predicted power")
    axes[1].set_ylabel("planted difference found")
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, metadata={"Software": None})
    plt.close(figure)
