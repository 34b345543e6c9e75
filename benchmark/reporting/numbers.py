"""How numbers are written, in every table, figure and line that reporting prints."""

from __future__ import annotations

from typing import Any


def interval_text(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """`0.731 [0.702, 0.758]`; a dash where there is no value."""
    if missing(value):
        return "–"
    if missing(low) or missing(high):
        return f"{value:.3f}"
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def signed_text(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """`+0.012 [-0.003, +0.027]`."""
    if missing(value):
        return "–"
    if missing(low) or missing(high):
        return f"{value:+.3f}"
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def p_text(p: float | None) -> str:
    if missing(p):
        return "–"
    return "<0.001" if float(p) < 0.001 else f"{p:.3f}"  # type: ignore[arg-type]


def percent(share: float) -> str:
    """`95%`, with as many digits as the share has."""
    return f"{100 * share:.10g}%"


def count_text(value: Any) -> str:
    return "–" if missing(value) else f"{int(value):,}"


def missing(value: Any) -> bool:
    """None, NaN or pandas' NA."""
    return value is None or value != value or str(value) == "<NA>"


def known(value: Any) -> Any:
    """The value, or None where it is missing."""
    return None if missing(value) else value


def says_few(note: str) -> bool:
    """Whether a note is the mark of few positive patients."""
    return "few positive patients" in note
