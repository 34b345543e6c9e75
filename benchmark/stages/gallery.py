"""Maps to look at, chosen by rule: of every method one hit, one near miss and one failure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from benchmark.core.errors import BenchError
from benchmark.grid.params import main_cell
from benchmark.stages.evaluation_sets import prompt_set, task_data
from benchmark.stages.features import device
from benchmark.stages.run import Session

RULE = (
    "Of every image and class with a box, one map. Hit: of the maps whose maximum lies in a box, the one "
    "with the median contrast-to-noise ratio (CNR). Near miss: of the others, the one with the highest CNR. "
    "Failure: of the others, the one with the lowest. The first image of the set among equals."
)
KINDS = ("hit", "near miss", "failure")


@dataclass(frozen=True)
class Shown:
    """One chosen map. count: maps that were chosen from. grey, pixels, mask: (height, width)."""

    kind: str
    count: int
    method: str
    map: str
    seed: int
    dataset: str
    image_id: str
    cls: str
    cnr: float
    grey: np.ndarray
    pixels: np.ndarray
    mask: np.ndarray


def gallery(session: Session) -> list[Shown]:
    """Chosen maps of the main cells that have maps, method by method, with the first seed of the grid.

    Raises BenchError where there is no set of grounding, a cell is not trained, or the set's images must not
    be shown to others.
    """
    from benchmark.data.pixels import read_pixels
    from benchmark.evaluation.grounding import boxes_on_grid, map_to_pixels, pointing_game
    from benchmark.evaluation.localisation import contrast_to_noise
    from benchmark.evaluation.maps import similarity_maps
    from benchmark.evaluation.tasks.grounding import Grounding, pointing_tries
    from benchmark.training.finished import load_method

    params = session.params
    settings = params.tasks.get("grounding")
    if settings is None or not settings.datasets:
        raise BenchError("params.yaml: tasks.grounding names no set; a gallery needs boxes.")
    data = task_data(session, Grounding(), settings.datasets[0])
    if data.manifest.origin == "official" and not data.card.redistribute:
        raise BenchError(
            f"{data.card.name}: its official images must not be passed on, so no gallery is made of them. "
            "`bench map` draws single ones in data/maps/."
        )
    tries = [t for t in pointing_tries(data) if not t.phrase]
    classes = list(data.chosen.classes)
    wanted = [(t.image, classes.index(t.cls)) for t in tries]
    sizes = [data.sizes[t.image] for t in tries]
    protocol = data.chosen.info.protocol
    found: list[Shown] = []
    for name in params.methods:
        cell, seed = main_cell(params, name), params.seeds[0]
        folder = session.project.run(cell.name, seed)
        if not (folder / "run.json").is_file():
            raise BenchError(f"{folder}: no finished training. Run `bench stage cells main` first.")
        model = load_method(folder).to(device())
        prompts = prompt_set(data.card, protocol, cell.prompts)
        maps = similarity_maps(model, data, prompts, wanted, device())
        if maps is None:
            session.say(f"{cell.name}: no maps of two dimensions")
            continue
        hit = pointing_game(maps, [t.boxes for t in tries], sizes, data.steps).hit > 0
        pixels = [map_to_pixels(m, data.steps, *s).numpy() for m, s in zip(maps.float(), sizes, strict=True)]
        masks = [boxes_on_grid(t.boxes, *s) for t, s in zip(tries, sizes, strict=True)]
        cnr = np.array([contrast_to_noise(p, m) for p, m in zip(pixels, masks, strict=True)])
        for kind, n in chosen(hit, cnr).items():
            own = tries[n]
            path = data.manifest.root / data.chosen.frame["path"].iloc[own.image]
            found.append(
                Shown(
                    kind, int(hit.sum() if kind == "hit" else (~hit).sum()), name,
                    "attention" if model.MAP_IS_ATTENTION else "similarity", seed, data.card.name,
                    str(data.chosen.frame["image_id"].iloc[own.image]), own.cls, float(cnr[n]),
                    read_pixels(path), pixels[n], masks[n],
                )
            )  # fmt: skip
        session.say(f"{cell.name}: {len(tries)} maps, {int(hit.sum())} hits")
    return found


def chosen(hit: np.ndarray, cnr: np.ndarray) -> Mapping[str, int]:
    """Kind → place of the chosen map, after RULE. hit: (N,) bool. cnr: (N,), NaN where it is undefined. A
    kind without maps is left out."""
    known = ~np.isnan(cnr)
    hits, others = np.flatnonzero(hit & known), np.flatnonzero(~hit & known)
    out: dict[str, int] = {}
    if len(hits):
        order = hits[np.argsort(cnr[hits], kind="stable")]
        out["hit"] = int(order[(len(order) - 1) // 2])
    if len(others):
        out["near miss"] = int(others[np.argmax(cnr[others])])
        out["failure"] = int(others[np.argmin(cnr[others])])
    return out
