"""How hard the evaluation sets are: a supervised probe beside zero-shot results and training frequency."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.core.errors import DataError
from benchmark.core.files import read_json, write_csv, write_text
from benchmark.core.progress import watched
from benchmark.grid.params import main_cell
from benchmark.stages.features import image_store
from benchmark.stages.pool import MAIN, index_file
from benchmark.stages.run import Session
from benchmark.stages.train import training_source

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.data.cards import Card
    from benchmark.encoders.store import FeatureStore

FREQUENCIES = (
    (0, 0, "never named"),
    (1, 30, "rare (1-30)"),
    (31, 300, "medium (31-300)"),
    (301, None, "common (over 300)"),
)
"""Groups of classes by the number of training studies that state them."""


def difficulty(session: Session, per_class: Path) -> pd.DataFrame:
    """One row a dataset and class: `probe`, AUROC of the supervised probe (NaN where the training images have
    too few positives), the training studies that name it, and `<cell>` zero-shot AUROC, mean over seeds.

    per_class: the table of the main results. Raises DataError where it is missing, or where the training data
    are not a twin, whose true labels the probe needs.
    """
    import pandas as pd

    from benchmark.data.cards import load_card
    from benchmark.evaluation.probe import linear_probe

    if not per_class.is_file():
        raise DataError(f"{per_class}: no per-class results. Run `bench report tables --part main` first.")
    table = pd.read_csv(per_class)
    cells = [c.removesuffix(" value") for c in table.columns if c.endswith(" value")]
    table = table.rename(columns={f"{cell} value": cell for cell in cells})
    images, drawn = training_truth(session)
    frames = []
    for dataset in session.params.data.evaluate:
        at = session.evaluation_data(dataset)
        labels = labels_of(drawn, load_card(dataset), at.chosen.classes)
        features = probe_features(at.images, at.rows)
        with watched(f"linear probe on {dataset}") as report:
            found = linear_probe(images, labels, features, at.chosen.labels, at.chosen.classes, report=report)
        own = table[table["dataset"] == dataset].copy()
        own["probe"] = own["class"].map({c.name: c.auroc for c in found})
        frames.append(own[["dataset", "class", "named", "positives", "probe", *cells]])
    return pd.concat(frames, ignore_index=True)


def training_truth(session: Session) -> tuple[np.ndarray, list[frozenset[str]]]:
    """Features (M, D) of the images that methods train on, and the concepts drawn in each."""
    import pandas as pd

    from benchmark.twins.build import truth_path

    manifest = session.manifest(session.params.data.train)
    path = truth_path(manifest.root)
    if manifest.origin != "twin" or not path.is_file():
        raise DataError(
            f"{path}: no truth of the training images. The probe is for twins; train on one, or leave "
            "the stage `difficulty` out."
        )
    source = training_source(session.params, manifest).manifest
    store = image_store(session.project, session.params, source)
    truth = pd.read_parquet(path, columns=["image_id", "source", "concept", "presence"])
    truth = truth[(truth["source"] == "image") & (truth["presence"] == "present")]
    drawn = truth.groupby("image_id")["concept"].agg(frozenset).to_dict()
    concepts = [drawn.get(name, frozenset()) for name in source.frame["image_id"]]
    return probe_features(store, np.arange(len(store))), concepts


def labels_of(drawn: Sequence[frozenset[str]], card: Card, classes: Sequence[str]) -> np.ndarray:
    """(M, C) int8: whether an image shows one of a class's concepts, or something below it."""
    from benchmark.prompts.lexicon import load_lexicon

    lexicon = load_lexicon()
    wanted = [
        frozenset(card.concepts.get(name, ())).union(
            *(lexicon.descendants(c) for c in card.concepts.get(name, ()) if c in lexicon)
        )
        for name in classes
    ]
    return np.array([[bool(own & w) for w in wanted] for own in drawn], dtype=np.int8)


def probe_features(images: FeatureStore, rows: np.ndarray) -> np.ndarray:
    """(N, 2D) float32: the pooled features and the largest value of each channel over the patches."""
    parts = []
    for start in range(0, len(rows), 256):
        got = images.get(rows[start : start + 256])
        parts.append(np.concatenate([got.pooled.numpy(), got.local.amax(1).numpy()], 1))
    return np.concatenate(parts)


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean AUROC a dataset and training frequency: classes, those probed, the probe, every cell."""
    import pandas as pd

    cells = [c for c in frame.columns if c not in ("dataset", "class", "named", "positives", "probe")]
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
                    }
                )
    return pd.DataFrame(rows)


def seed_spread(session: Session) -> pd.DataFrame:
    """One row a main cell and dataset: `above_chance`, the mean macro AUROC minus one half, and `seed_sd`."""
    import pandas as pd

    rows = []
    known = read_json(index_file(session.project, MAIN))
    for method in session.params.methods:
        cell = main_cell(session.params, method)
        seeds = [known[cell.name][f"seed-{seed}"] for seed in session.params.seeds]
        for dataset in session.params.data.evaluate:
            values = np.array([seed[dataset]["auroc_all"] for seed in seeds], dtype=float)
            spread = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
            rows.append((cell.name, dataset, float(values.mean()) - 0.5, spread))
    return pd.DataFrame(rows, columns=["cell", "dataset", "above_chance", "seed_sd"])


def write_difficulty(session: Session, per_class: Path, folder: Path) -> str:
    """difficulty.csv (a row a class), seeds.csv, difficulty.md (both summarised), difficulty.png."""
    from benchmark.reporting.figures.difficulty import draw_difficulty

    frame = difficulty(session, per_class)
    origins = {session.manifest(d).origin for d in session.params.data.evaluate}
    label = (
        "SYNTHETIC TWIN" if origins == {"twin"} else "official data" if origins == {"official"} else "mixed"
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "difficulty.csv", frame.assign(evidence=label), "%.4f")
    spread = seed_spread(session)
    write_csv(folder / "seeds.csv", spread.assign(evidence=label), "%.4f")
    table = summary(frame)
    lines = [
        f"**{label}.** Probe: supervised, linear, on the shared features of the training images with their "
        "true labels, over the classes with 15 or more of them. Methods: zero-shot, mean over seeds and over "
        "all classes of the group.",
        "",
        *_markdown(table),
        "",
        "What a method's mean adds to chance, and how far its seeds lie apart (standard deviation):",
        "",
        *_markdown(spread),
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
