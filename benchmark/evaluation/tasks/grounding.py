"""Grounding as a pointing game: whether a map's maximum lies in a box of its class or phrase.

Source: deepnoid-ai/RadZero and laihaoran/CARZero evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmark.core.errors import DataError
from benchmark.core.tasks import TASKS, Task, TaskContext, TaskResult
from benchmark.evaluation.evaluate import finish
from benchmark.evaluation.maps import similarity_maps
from benchmark.evaluation.prompt_scores import prompt_label
from benchmark.evaluation.statistics.influence import patient_codes
from benchmark.evaluation.statistics.trials import Trials
from benchmark.evaluation.trial_rows import Rows, trial_rows

if TYPE_CHECKING:
    from benchmark.evaluation.evaluation_data import EvaluationData
    from benchmark.evaluation.grounding import Pointing
    from benchmark.prompts.class_prompts import PromptSet
    from methods.base import Method


@TASKS.register("grounding")
class Grounding(Task):
    name = "grounding"
    title = "Grounding: pointing game"
    headlines = ("pointing_game",)
    shown = ("pointing_game", "pointing_game_ties_shared")
    needs = frozenset({"labels", "maps", "boxes"})
    lacking = "no maps of two dimensions"
    order = 1

    def evaluate(
        self, method: Method, data: EvaluationData, prompts: PromptSet, given: TaskContext
    ) -> TaskResult | None:
        from benchmark.evaluation.grounding import pointing_game

        if given.helper:
            return None
        tries = pointing_tries(data)
        if not tries:
            raise DataError(f"{data.manifest.dataset}: no box of any class. Check the file of boxes.")
        phrased = any(t.phrase for t in tries)
        texts = list(dict.fromkeys(t.phrase for t in tries)) if phrased else list(data.chosen.classes)
        place = {text: k for k, text in enumerate(texts)}
        wanted = [(t.image, place[t.phrase if phrased else t.cls]) for t in tries]
        maps = similarity_maps(method, data, texts if phrased else prompts, wanted, given.device)
        if maps is None:
            return None
        result = pointing_game(
            maps, [t.boxes for t in tries], [data.sizes[t.image] for t in tries], data.steps
        )
        rows = pointing_rows(
            result,
            [t.cls for t in tries],
            np.array([t.image for t in tries]),
            () if phrased else data.chosen.classes,
            data.chosen.patients,
            given.statistics.level,
        )
        grouped = patient_codes(data.chosen.patients, len(data))[2]
        return TaskResult(finish(rows, None, grouped), "phrase" if phrased else prompt_label(prompts))


@dataclass(frozen=True)
class PointingTry:
    """One map and the boxes that its maximum may hit. image: row of the evaluation set. boxes: (K, 4) corners
    in pixels of the original image."""

    image: int
    cls: str
    phrase: str
    boxes: np.ndarray


def pointing_tries(data: EvaluationData) -> list[PointingTry]:
    """One an image and class with a box, or, where boxes have phrases, an image, class and phrase."""
    regions = data.regions
    if regions is None:
        return []
    place = {name: row for row, name in enumerate(data.chosen.frame["image_id"])}
    own = regions[(regions["kind"] == "box") & regions["class"].isin(list(data.chosen.classes))]
    own = own.assign(phrase=own["phrase"].fillna("").astype(str))
    tries = []
    for (image, cls, phrase), part in own.groupby(["image_id", "class", "phrase"], sort=False):
        x, y, w, h = (part[c].to_numpy(dtype=float) for c in ("x", "y", "w", "h"))
        corners = np.stack([x, y, x + w, y + h], axis=1)
        tries.append(PointingTry(place[image], str(cls), str(phrase), corners))
    return sorted(tries, key=lambda t: t.image)


def pointing_rows(
    result: Pointing,
    names: Sequence[str],
    images: np.ndarray,
    classes: Sequence[str],
    patients: np.ndarray,
    level: float,
) -> Rows:
    """`pointing_game` by the official rule, and the mean of `pointing_game_ties_shared`.

    names, images: class and row of each try. classes: in order, for a mean over classes; empty for the mean
    over all tries (phrases).
    """
    codes, clusters, _ = patient_codes(patients, len(patients))
    owner = codes[images]
    groups = [np.array([n == c for n in names], dtype=bool) for c in classes] or [np.ones(len(names), bool)]
    titles = list(classes) or ["all phrases"]
    chance = f"a random point hits {np.mean([result.chance[g].mean() for g in groups if g.any()]):.3f}"
    ties = f"{int(result.tied.sum())} of {len(names)} maps have tied maxima"
    official = [Trials(title, result.hit[g], owner[g]) for title, g in zip(titles, groups, strict=True)]
    fair = [Trials(title, result.shared[g], owner[g]) for title, g in zip(titles, groups, strict=True)]
    rows = trial_rows("pointing_game", official, clusters, level, chance)
    return rows + trial_rows("pointing_game_ties_shared", fair, clusters, level, ties)[-1:]
