"""How hard the evaluation sets are: a supervised probe beside zero-shot results and training frequency."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.core.errors import DataError, MetricUndefined
from benchmark.core.files import read_json, write_csv, write_text
from benchmark.core.tables import TWIN_NOTICE, Predictions
from benchmark.encoders.exposure import READING, level
from benchmark.evaluation.statistics.curves import Curve
from benchmark.evaluation.statistics.metrics import influenced
from benchmark.grid.params import main_cell
from benchmark.reporting.figures.difficulty import cells_of, draw_difficulty
from benchmark.reporting.seen import trained_exposure
from benchmark.stages.pool import MAIN, index_file
from benchmark.stages.references import PREFIX, labels_of, referred, training_truth
from benchmark.stages.run import Session

if TYPE_CHECKING:
    import pandas as pd

PROBE = f"{PREFIX}pooled"
LEAST = 15
"""Images with a class, of those that the probe is fitted on, under which the class is not probed."""
FREQUENCIES = (
    (0, 0, "never named"),
    (1, 30, "rare (1-30)"),
    (31, 300, "medium (31-300)"),
    (301, None, "common (over 300)"),
)
"""Groups of classes by the number of training studies that state them."""


def difficulty(session: Session, per_class: Path) -> tuple[pd.DataFrame, str]:
    """One row a dataset and class, and what the probe is. Columns: `probe`, AUROC of the reference `pooled`
    (NaN for a class with fewer than LEAST images to learn it from), the training studies that name it,
    `<cell>` zero-shot AUROC, mean over seeds, and `seen`, by the weights of these cells.

    per_class: the table of the main results. Raises DataError where it is missing.
    """
    import pandas as pd

    if not per_class.is_file():
        raise DataError(f"{per_class}: no per-class results. Run `bench report tables --part main` first.")
    table = pd.read_csv(per_class)
    cells = [c.removesuffix(" value") for c in table.columns if c.endswith(" value")]
    table = table.rename(columns={f"{cell} value": cell for cell in cells})
    training = training_truth(session)
    frames, notes = [], []
    for dataset, probes in referred(session, session.params.data.evaluate, [PROBE]).items():
        data = session.evaluation_data(dataset)
        classes, labels = data.chosen.classes, data.chosen.labels
        learnt = labels if training is None else labels_of(training.drawn, data.card, classes)
        own = table[table["dataset"] == dataset].copy()
        own["probe"] = float("nan")
        for probe in probes:
            scores = Predictions.load(probe.path).frame
            found = {
                name: auroc(labels[:, c], scores[name].to_numpy())
                for c, name in enumerate(classes)
                if (learnt[:, c] == 1).sum() >= LEAST
            }
            own["probe"] = own["class"].map(found)
            notes.append(probe.note)
        frames.append(own[["dataset", "class", "named", "positives", "probe", *cells, "seen"]])
    return pd.concat(frames, ignore_index=True), "; ".join(dict.fromkeys(notes))


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Of one class: labels (N,) in {1, 0, -1 ignored}; NaN where one side has no image."""
    try:
        return influenced("auroc", Curve(scores[labels == 1], scores[labels == 0]))[0]
    except MetricUndefined:
        return float("nan")


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean AUROC a dataset and training frequency: classes, those probed, the probe, every cell."""
    import pandas as pd

    cells = cells_of(frame)
    rows = []
    for dataset, own in frame.groupby("dataset", sort=False):
        for low, high, name in (*FREQUENCIES, (0, None, "all")):
            part = own[(own["named"] >= low) & (True if high is None else own["named"] <= high)]
            if len(part):
                probed = part["probe"].notna()
                rows.append(
                    {
                        "dataset": dataset,
                        "training studies": name,
                        "classes": len(part),
                        "probed": int(probed.sum()),
                        "probe": part["probe"].mean(),
                        **part[cells].mean().to_dict(),
                        "seen": part["seen"].iloc[0],
                    }
                )
    return pd.DataFrame(rows)


def seed_spread(session: Session) -> pd.DataFrame:
    """One row a main cell and dataset: `above_chance`, the mean macro AUROC minus one half, `seed_sd`, and
    what its weights have `seen` of the set."""
    import pandas as pd

    rows = []
    known = read_json(index_file(session.project, MAIN))
    for method in session.params.methods:
        cell = main_cell(session.params, method)
        own = trained_exposure(session.params, cell)
        seeds = [known[cell.name][f"seed-{seed}"] for seed in session.params.seeds]
        for dataset in session.params.data.evaluate:
            values = np.array([seed[dataset]["auroc_all"] for seed in seeds], dtype=float)
            spread = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
            rows.append((cell.name, dataset, float(values.mean()) - 0.5, spread, level(own, dataset)))
    return pd.DataFrame(rows, columns=["cell", "dataset", "above_chance", "seed_sd", "seen"])


def write_difficulty(session: Session, per_class: Path, folder: Path) -> str:
    """difficulty.csv (a row a class), seeds.csv, difficulty.md (both summarised), difficulty.png."""
    frame, probe = difficulty(session, per_class)
    origins = {session.manifest(d).origin for d in session.params.data.evaluate}
    label = TWIN_NOTICE if origins == {"twin"} else "official data" if origins == {"official"} else "mixed"
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "difficulty.csv", frame.assign(evidence=label), "%.4f")
    spread = seed_spread(session)
    write_csv(folder / "seeds.csv", spread.assign(evidence=label), "%.4f")
    table = summary(frame)
    lines = [
        f"**{label}.** Probe: {probe}; over the classes with {LEAST} or more of these images. Methods: "
        "zero-shot, mean over seeds and over all classes of the group.",
        "",
        *_markdown(table),
        "",
        "What a method's mean adds to chance, and how far its seeds lie apart (standard deviation):",
        "",
        *_markdown(spread),
        "",
        READING,
        "",
    ]
    write_text(folder / "difficulty.md", "\n".join(lines))
    draw_difficulty(frame, label, folder / "difficulty.png")
    return f"{int(frame['probe'].notna().sum())} of {len(frame)} classes probed, {folder}"


def _markdown(table: pd.DataFrame) -> list[str]:
    def cell(value: object) -> str:
        if isinstance(value, float):
            return "" if value != value else f"{value:.3f}"
        return str(value)

    head = [name.removesuffix("-main") for name in table.columns]
    rows = [[cell(value) for value in row] for row in table.itertuples(index=False)]
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
