"""Simulation results → docs/statistics/simulations.json, figures, and the tables of docs/statistics.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd

from benchmark.core.errors import BenchError
from benchmark.core.files import atomic_path, write_json, write_text

NOMINAL, ACCEPTED = 0.95, (0.93, 0.97)


def write_report(results: dict[str, Any], docs: Path) -> None:
    """Raises BenchError where statistics.md lacks a marker `<!-- name -->` … `<!-- /name -->`."""
    coverage = pd.DataFrame(results["coverage"])
    folder = docs / "statistics"
    page = docs / "statistics.md"
    text = page.read_text(encoding="utf-8")
    for name, table in report_tables(results).items():
        text = _fill(text, name, table, page)
    write_json(folder / "simulations.json", results)
    coverage_figure(coverage[coverage.metric == "auroc"], folder / "coverage.png")
    comparison_figure(pd.DataFrame(results["level"]), pd.DataFrame(results["power"]), folder / "tests.png")
    write_text(page, text)


def report_tables(results: dict[str, Any]) -> dict[str, str]:
    """Marker → Markdown table."""
    coverage = pd.DataFrame(results["coverage"])
    auroc = coverage[coverage.metric == "auroc"]
    return {
        "coverage": coverage_table(auroc),
        "shapes": shape_table(auroc[auroc.method == "moderated"]),
        "precision": coverage_table(coverage[coverage.metric == "average_precision"]),
        "macro": macro_table(pd.DataFrame(results["macro"])),
        "level": level_table(pd.DataFrame(results["level"])),
        "power": power_table(pd.DataFrame(results["power"])),
    }


def _fill(text: str, name: str, table: str, page: Path) -> str:
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


def level_table(frame: pd.DataFrame) -> str:
    rows = [
        [
            f"{r['seed_spread']:g}",
            str(r["per_patient"]),
            str(r["experiments"]),
            f"{100 * r['rejected']:.1f}%",
            f"{100 * r['rejected_without_seeds']:.1f}%",
        ]
        for r in _records(frame)
    ]
    head = ["spread of trainings", "images a patient", "experiments", "called different", "without seeds"]
    return markdown(head, rows)


def power_table(frame: pd.DataFrame) -> str:
    rows = [
        [
            f"{r['true_difference']:.4f}",
            f"{r['mde']:.4f}",
            f"{100 * r['predicted']:.1f}%",
            f"{100 * r['rejected']:.1f}%",
        ]
        for r in _records(frame)
    ]
    return markdown(["planted difference", "median detectable effect", "predicted power", "found"], rows)


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


def comparison_figure(level: pd.DataFrame, power: pd.DataFrame, path: Path) -> None:
    """False positives with and without seeds in the error; found against predicted power."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    ticks = [f"{r['seed_spread']:g}\n{r['per_patient']}" for r in _records(level)]
    place = range(len(level))
    axes[0].axhspan(0.035, 0.065, color="0.9")
    axes[0].plot(place, level.rejected_without_seeds, "s", label="patients only, one training")
    axes[0].plot(place, level.rejected, "o", label="patients and seeds")
    axes[0].set_xticks(list(place), ticks)
    axes[0].set_xlabel("spread of trainings, images a patient")
    axes[0].set_ylabel("same method called different")
    axes[0].set_ylim(bottom=0)
    axes[0].legend(fontsize=8)
    axes[1].plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    axes[1].plot(power.predicted, power.rejected, "o")
    axes[1].set_xlabel("predicted power")
    axes[1].set_ylabel("planted difference found")
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, metadata={"Software": None})
    plt.close(figure)
