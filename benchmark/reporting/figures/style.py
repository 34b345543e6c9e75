"""One look for every figure: colour-blind palette, a marker and a dash a method, the mark of twins inside."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.core.files import atomic_path
from benchmark.core.tables import TWIN_NOTICE
from benchmark.grid.asked import known_methods
from benchmark.grid.declared import declared

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""Of things that are no methods, which bring their own."""
FORMATS = ("svg", "pdf", "png")


@dataclass(frozen=True)
class Drawing:
    """A figure by name. caption: what it shows and how to read it; alt: the same for who cannot see it."""

    name: str
    title: str
    caption: str
    alt: str
    figure: Figure
    synthetic: bool
    dataset: str = ""


def new_figure(
    width: float, height: float, columns: int = 1, rows: int = 1, **options: Any
) -> tuple[Figure, Any]:
    """A figure and its axes, with the house style; independent of any global backend."""
    import matplotlib as mpl
    import seaborn as sns
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    sns.set_theme(
        context="paper",
        style="ticks",
        palette="colorblind",
        font="DejaVu Sans",
        rc={
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "#e4e6ea",
            "grid.linewidth": 0.7,
            "axes.edgecolor": "#5b6270",
            "text.color": "#1b1f27",
            "axes.labelcolor": "#1b1f27",
            "font.size": 9,
            "axes.titlesize": 9.5,
            "axes.titleweight": "bold",
            "axes.labelsize": 8.5,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "axes.titlelocation": "left",
            "legend.frameon": False,
            "figure.dpi": 120,
            "svg.fonttype": "path",
            "svg.hashsalt": "cxr-alignbench",
            "pdf.fonttype": 42,
            "text.parse_math": False,
        },
    )
    mpl.rcParams["axes.axisbelow"] = True
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.07))
    return figure, figure.subplots(rows, columns, **options)


def colours(methods: Sequence[str]) -> dict[str, Any]:
    """Each method's own colour, the same in every figure; one of the palette that no method took for those
    without."""
    import seaborn as sns
    from matplotlib.colors import to_hex

    taken = {declared(name).colour for name in known_methods().names()}
    palette = [c for c in map(to_hex, sns.color_palette("colorblind", 10)) if c not in taken]
    without = [m for m in dict.fromkeys(methods) if not declared(m).colour]
    spare = {m: palette[i % len(palette)] for i, m in enumerate(without)}
    return {m: declared(m).colour or spare[m] for m in methods}


def marker(method: str) -> str:
    return declared(method).marker


def dash(method: str) -> Any:
    """As matplotlib takes it: a name, or an offset and lengths of ink and gap."""
    own = declared(method).dash
    return own if isinstance(own, str) else (0, own)


def finish(figure: Figure, title: str, synthetic: bool, note: str = "") -> None:
    """Title, and inside the figure the mark of synthetic data, so that no copy of it loses the mark.

    The layout is solved here, once: solving again at each save would move things by rounding.
    """
    mark = f"{TWIN_NOTICE}  ·  synthetic images, not patients" if synthetic else "official data"
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    figure.supxlabel(
        mark + (f"     {note}" if note else ""),
        x=0.01,
        ha="left",
        fontsize=7.5,
        fontweight="bold",
        color="#8a3b00" if synthetic else "#1c5d38",
    )
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def save(drawing: Drawing, folder: Path) -> list[Path]:
    """<name>.svg, .pdf and .png; equal drawings are equal bytes."""
    paths = []
    for kind in FORMATS:
        path = folder / f"{drawing.name}.{kind}"
        metadata: dict[str, Any] = {
            "svg": {"Date": None},
            "pdf": {"CreationDate": None, "ModDate": None},
        }.get(kind, {})
        with atomic_path(path) as temporary:
            drawing.figure.savefig(temporary, format=kind, metadata=metadata, dpi=160, facecolor="white")
        paths.append(path)
    return paths


def save_png(figure: Figure, path: Path) -> None:
    """Atomically, without a date; equal figures are equal bytes."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", metadata={}, dpi=110, facecolor="white")


def webp_bytes(drawing: Drawing) -> bytes:
    """The figure as a WebP of 150 dots an inch and 64 colours, without loss."""
    from PIL import Image

    drawn, written = io.BytesIO(), io.BytesIO()
    drawing.figure.savefig(drawn, format="png", dpi=150, metadata={"Software": None}, facecolor="white",
                           pil_kwargs={"compress_level": 1})  # fmt: skip
    with Image.open(drawn) as picture:
        few = picture.convert("RGB").quantize(64, dither=Image.Dither.NONE).convert("RGB")
        few.save(written, "WEBP", lossless=True, quality=60, method=3)
    return written.getvalue()


def svg_text(drawing: Drawing) -> str:
    """The figure as one SVG element, without XML preamble."""
    buffer = io.StringIO()
    drawing.figure.savefig(buffer, format="svg", metadata={"Date": None}, facecolor="white")
    text = buffer.getvalue()
    return text[text.index("<svg") :]
