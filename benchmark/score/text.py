"""What `bench score` prints and writes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import BenchError
from benchmark.core.files import write_csv
from benchmark.core.tables import write_table
from benchmark.evaluation.statistics.metrics import METRICS, RANK_METRICS

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.score.files import ScoreResult

SHOWN = {name: METRICS[name].title for name in RANK_METRICS}


def as_object(result: ScoreResult) -> dict[str, Any]:
    """Every number unrounded; null where undefined."""
    value: dict[str, Any] = {
        "labels": result.source,
        "counts": result.counts,
        "rows_by_order": result.by_order,
        "columns_without_labels": list(result.aside),
        "metrics": _records(result.metrics),
    }
    if result.bands:
        value["age_bands"] = list(result.bands)
    if result.mapping:
        value["columns"] = [
            {"file": name, "column": a, "class": b}
            for name, pairs in result.mapping.items()
            for a, b in pairs
        ]
    if result.comparisons is not None and result.ranks is not None:
        value["comparisons"] = _records(result.comparisons)
        value["ranks"] = _records(result.ranks)
    return value


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): _plain(v) for k, v in row.items()} for row in frame.to_dict("records")]


def _plain(value: Any) -> Any:
    import pandas as pd

    if value is None or value is pd.NA:
        return None
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_text(result: ScoreResult) -> str:
    lines = [f"labels: {result.source}"]
    for name, counts in result.counts.items():
        lines.append(f"{name}: " + ", ".join(f"{v:,} {k}" for k, v in counts.items() if v))
    if result.aside:
        lines.append(f"columns of the labels that are no class (for --subgroup): {', '.join(result.aside)}")
    if result.bands:
        lines.append(f"bands of age in years: {', '.join(result.bands)}")
    if result.by_order:
        lines.append("rows paired by order: no image id was compared")
    for name, pairs in result.mapping.items():
        lines += ["", f"columns of {name}:", *_grid([[a, "→", b] for a, b in pairs])]
    for method, frame in result.metrics.groupby("method", sort=False):
        lines += ["", str(method), *_metric_lines(frame)]
    if result.comparisons is not None:
        lines += ["", *_comparison_lines(result.comparisons)]
    return "\n".join(lines)


def _metric_lines(frame: pd.DataFrame) -> list[str]:
    rows = [["class", "stratum", "positives", *SHOWN.values(), "note"]]
    main = frame[frame.metric.isin(list(SHOWN))]
    averages = main[main["class"].isin(["macro", "weighted", "micro"])]
    classes = main[~main["class"].isin(["macro", "weighted", "micro"])]
    for part in (averages, classes):
        for (name, stratum), cells in part.groupby(["class", "stratum"], sort=False):
            by = {r["metric"]: r for r in cells.to_dict("records")}
            first = by["auroc"]
            values = [_value(by[m]) for m in SHOWN]
            rows.append([str(name), str(stratum), f"{first['n_pos']:,}", *values, str(first["note"])])
    lines = _grid(rows)
    extra = frame[~frame.metric.isin(list(SHOWN))]
    if len(extra):
        table = [["class", "stratum", "metric", "value", "note"]]
        for r in extra.to_dict("records"):
            table.append([str(r["class"]), str(r["stratum"]), str(r["metric"]), _value(r), str(r["note"])])
        lines += ["", *_grid(table)]
    return lines


def _comparison_lines(frame: pd.DataFrame) -> list[str]:
    rows = [["A - B", "class", "stratum", "metric", "difference", "p", "Holm", "BH", "detectable", "note"]]
    for r in frame.to_dict("records"):
        rows.append(
            [
                f"{r['method_a']} - {r['method_b']}",
                str(r["class"]),
                str(r["stratum"]),
                str(r["metric"]),
                _value({"value": r["delta"], "low": r["low"], "high": r["high"]}),
                *(_number(r[k], "{:.4f}") for k in ("p", "p_holm", "p_bh", "mde")),
                "; ".join(text for text in (str(r["note"]), str(r["mde_undefined"])) if text),
            ]
        )
    return _grid(rows)


def _value(row: dict[Any, Any]) -> str:
    value = _number(row["value"], "{:.4f}")
    if value == "-":
        return value
    return f"{value} [{_number(row['low'], '{:.3f}')}, {_number(row['high'], '{:.3f}')}]"


def _number(value: Any, form: str) -> str:
    return "-" if value is None or value != value else form.format(value)


def _grid(rows: Iterable[list[str]]) -> list[str]:
    table = list(rows)
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in table]


def check_output(path: Path) -> None:
    """Raises BenchError where rows cannot be written under that name."""
    if path.suffix not in (".csv", ".parquet"):
        raise BenchError(f"--output {path}: the name must end in .csv or .parquet.")
    if path.is_dir():
        raise BenchError(f"--output {path}: is a folder; give the name of a file.")


def write_rows(frame: pd.DataFrame, path: Path) -> None:
    """Metric rows as CSV or Parquet, atomically."""
    check_output(path)
    if path.suffix == ".parquet":
        write_table(path, frame, {})
    else:
        write_csv(path, frame)
