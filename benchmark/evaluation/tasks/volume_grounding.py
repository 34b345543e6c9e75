"""The pointing game on CT volumes: whether the highest cell of a map in three dimensions touches a lesion.

A map has one value a token (z, y, x), several centimetres wide, so that cells are compared and not voxels: a
hit is a cell that the drawn mask of the class touches. Twins alone have masks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmark.core.errors import DataError
from benchmark.core.settings import StatisticsConfig
from benchmark.core.tasks import TASKS, Task, TaskContext, TaskResult
from benchmark.evaluation.evaluate import finish
from benchmark.evaluation.localisation import mean_maps
from benchmark.evaluation.maps import similarity_maps
from benchmark.evaluation.pixelwise import halves
from benchmark.evaluation.prompt_scores import prompt_label
from benchmark.evaluation.statistics.influence import patient_codes
from benchmark.evaluation.tasks.grounding import Tries
from benchmark.evaluation.volume_masks import DrawnMasks
from benchmark.prompts.lexicon import load_lexicon

if TYPE_CHECKING:
    from torch import Tensor

    from benchmark.evaluation.evaluation_data import EvaluationData
    from benchmark.prompts.class_prompts import PromptSet
    from methods.base import Method


@TASKS.register("volume_grounding")
class VolumeGrounding(Task):
    name = "volume_grounding"
    title = "Grounding in three dimensions: pointing game of cells against drawn masks"
    headlines = ("pointing_game",)
    shown = ("pointing_game", "pointing_game_mean_map", "pointing_game_chance")
    needs = frozenset({"labels", "maps"})
    lacking = "no maps of three dimensions"
    order = 1
    own_protocol = False

    def evaluate(
        self, method: Method, data: EvaluationData, prompts: PromptSet, given: TaskContext
    ) -> TaskResult | None:
        if given.helper or data.volume_steps is None:
            return None
        tries = lesion_cells(data)
        if not tries:
            raise DataError(f"{data.manifest.dataset}: no drawn mask of any class in the evaluation set.")
        classes = list(data.chosen.classes)
        wanted = [(image, classes.index(name)) for image, name, _ in tries]
        maps = similarity_maps(method, data, prompts, wanted, given.device, axes=3)
        if maps is None:
            return None
        inside = np.stack([cells for _, _, cells in tries])
        images, names = np.array([i for i, _, _ in tries]), [name for _, name, _ in tries]
        codes, clusters, grouped = patient_codes(data.chosen.patients, len(data))
        about = Tries(names, codes[images], classes, clusters, given.statistics.level)
        rows = about.rows("pointing_game", hits(maps, inside), "a hit is a cell that the lesion touches")
        chance = inside.reshape(len(inside), -1).mean(axis=1)
        rows += about.rows("pointing_game_chance", chance, "share of the cells that the lesion touches")
        blind, known = mean_maps(maps, names, halves(data.chosen.patients)[images])
        if known.any():
            note = "the method's mean map of the class over the other half of the patients"
            if not known.all():
                note += f"; {int((~known).sum())} tries have none and are left out"
            unread = np.where(known, hits(blind, inside), np.nan)
            rows += about.rows("pointing_game_mean_map", unread, note)
        return TaskResult(finish(rows, grouped), prompt_label(prompts))

    def reads(self, data: EvaluationData, statistics: StatisticsConfig) -> dict[str, str]:
        """The drawn masks too."""
        return {**super().reads(data, statistics), "drawn": DrawnMasks(data.manifest.root).content}


def hits(maps: Tensor, inside: np.ndarray) -> np.ndarray:
    """(n,) 1 where the highest cell, the first among equal ones, is inside. maps, inside: (n, *grid)."""
    best = maps.flatten(1).numpy().argmax(axis=1)
    return np.asarray(inside.reshape(len(inside), -1)[np.arange(len(inside)), best], dtype=float)


def lesion_cells(data: EvaluationData) -> list[tuple[int, str, np.ndarray]]:
    """(row of the evaluation set, class, (*grid) bool) of every class whose lesion is drawn in an image."""
    assert data.volume_steps is not None
    lexicon, card = load_lexicon(), data.card
    concepts = {
        name: frozenset(own).union(*(lexicon.descendants(c) for c in own if c in lexicon))
        for name in data.chosen.classes
        if (own := card.concepts.get(name, ()))
    }
    ids = list(data.chosen.frame["image_id"])
    place = {image: row for row, image in enumerate(ids)}
    z, y, x = data.images.grid
    wanted = {image: list(concepts.items()) for image in ids}
    found = DrawnMasks(data.manifest.root).cells(wanted, data.volume_steps, (z, y, x))
    return [(place[image], name, cells) for image, name, cells in found]
