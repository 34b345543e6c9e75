"""Images to look at, class by class: the positive that the methods rank highest, the positive that they rank
lowest, and the negative that they rank highest, with the map of every method that has one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmark.core.errors import BenchError
from benchmark.core.tables import Predictions
from benchmark.grid.layout import source_name
from benchmark.grid.params import Cell, main_cell
from benchmark.stages.evaluation_sets import prompt_set
from benchmark.stages.features import device
from benchmark.stages.run import Session

if TYPE_CHECKING:
    from benchmark.evaluation.evaluation_data import EvaluationData

EXAMPLE_RULE = (
    "Of every class: the positive image that the methods rank highest on average, the positive that they "
    "rank lowest, and the negative that they rank highest; the first seed, the first image among equals."
)


@dataclass(frozen=True)
class Example:
    """One image chosen for one class. above: method → share of the set's images that it scores lower.
    maps: method → (h, w) uint8, its map stretched to 0..255 over what the encoder saw."""

    cls: str
    kind: str
    image_id: str
    above: Mapping[str, float]
    maps: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class SetExamples:
    """The examples of one set. pixels: image → (S, S) uint8 as the encoder saw it. weights: cell → hash of
    the weights that scored. seed: of the trainings."""

    dataset: str
    origin: str
    seed: int
    weights: Mapping[str, str]
    examples: Sequence[Example]
    pixels: Mapping[str, np.ndarray]


def example_images(session: Session) -> list[SetExamples]:
    """Examples of every evaluated set that may be shown, from the saved predictions of the first seed.

    Official images whose card forbids passing them on are left out and said. Raises BenchError where a main
    cell was not evaluated.
    """
    found = []
    for name in session.params.data.evaluate:
        manifest = session.manifest(name)
        data = session.evaluation_data(name)
        if manifest.origin == "official" and not data.card.redistribute:
            session.say(f"{name}: official images that must not be passed on; no examples")
            continue
        found.append(_of_set(session, data))
        session.say(f"{name}: {len(found[-1].examples)} examples on {len(found[-1].pixels)} images")
    return found


def _of_set(session: Session, data: EvaluationData) -> SetExamples:
    from benchmark.data.pixels import preprocess, read_pixels

    params, seed = session.params, session.params.seeds[0]
    cells = {name: main_cell(params, name) for name in params.methods}
    place = source_name(data.card.name, data.manifest.origin)
    classes, ids = list(data.chosen.classes), data.chosen.frame["image_id"].astype(str).tolist()
    ranks, weights = {}, {}
    for name, cell in cells.items():
        path = session.project.results(cell.name, seed) / place / "predictions.parquet"
        if not path.is_file():
            raise BenchError(f"{path}: no predictions. Run `bench stage cell {name}` first.")
        made = Predictions.load(path)
        ranks[name] = shares_below(made.frame.set_index("image_id").loc[ids, classes].to_numpy(np.float64))
        weights[cell.name] = made.info.weights_hash
    chosen = chosen_examples(np.mean(list(ranks.values()), axis=0), np.asarray(data.chosen.labels))
    maps = {name: _maps(session, data, cell, seed, chosen) for name, cell in cells.items()}
    examples = [
        Example(
            classes[k], kind, ids[n],
            {name: float(own[n, k]) for name, own in ranks.items()},
            {name: own[place] for name, own in maps.items() if own is not None},
        )
        for place, (k, kind, n) in enumerate(chosen)
    ]  # fmt: skip
    paths = dict(zip(ids, data.chosen.frame["path"], strict=True))
    pixels = {
        image: preprocess(read_pixels(data.manifest.root / paths[image]), data.steps)
        for image in dict.fromkeys(e.image_id for e in examples)
    }
    return SetExamples(data.card.name, data.manifest.origin, seed, weights, examples, pixels)


def _maps(
    session: Session, data: EvaluationData, cell: Cell, seed: int, chosen: Sequence[tuple[int, str, int]]
) -> list[np.ndarray] | None:
    """Maps of the chosen (class, kind, image); None for a method without maps of two dimensions."""
    from benchmark.evaluation.maps import similarity_maps
    from benchmark.training.finished import load_method

    folder = session.project.run(cell.name, seed)
    if not chosen or not (folder / "run.json").is_file():
        return None
    model = load_method(folder).to(device())
    prompts = prompt_set(data.card, data.chosen.info.protocol, cell.prompts)
    maps = similarity_maps(model, data, prompts, [(n, k) for k, _, n in chosen], device())
    return None if maps is None else [stretched(own) for own in maps.float().numpy()]


def shares_below(scores: np.ndarray) -> np.ndarray:
    """(N, C) scores → (N, C) share of the other images of each column that score lower; equals count half."""
    from scipy.stats import rankdata

    return np.asarray((rankdata(scores, axis=0) - 1) / max(len(scores) - 1, 1))


def chosen_examples(share: np.ndarray, labels: np.ndarray) -> list[tuple[int, str, int]]:
    """(class, kind, image) after EXAMPLE_RULE, class by class.

    share: (N, C) mean share of images below. labels: (N, C) 1, 0, or -1 for ignored. A class without
    positives has no examples; one positive alone is found and missed at once and stands as `found`.
    """
    chosen = []
    for k in range(labels.shape[1]):
        positive, negative = np.flatnonzero(labels[:, k] == 1), np.flatnonzero(labels[:, k] == 0)
        if not len(positive):
            continue
        chosen.append((k, "found", int(positive[np.argmax(share[positive, k])])))
        if len(positive) > 1:
            chosen.append((k, "missed", int(positive[np.argmin(share[positive, k])])))
        if len(negative):
            chosen.append((k, "false alarm", int(negative[np.argmax(share[negative, k])])))
    return chosen


def stretched(values: np.ndarray) -> np.ndarray:
    """A map as uint8, its lowest value 0 and its highest 255; a flat one is 0 throughout."""
    low, high = float(values.min()), float(values.max())
    if not high > low:
        return np.zeros(values.shape, np.uint8)
    return np.rint((values - low) / (high - low) * 255).astype(np.uint8)
