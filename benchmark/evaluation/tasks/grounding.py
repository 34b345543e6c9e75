"""Grounding: whether a map's maximum lies in a box of its class or phrase, and how well it marks the box.

Source: deepnoid-ai/RadZero and laihaoran/CARZero evaluation; benchmark.evaluation.localisation for the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from benchmark.core.errors import DataError
from benchmark.core.tasks import TASKS, Task, TaskContext, TaskResult
from benchmark.evaluation.evaluate import finish
from benchmark.evaluation.maps import IMAGES_AT_ONCE, similarity_maps
from benchmark.evaluation.prompt_scores import prompt_label
from benchmark.evaluation.statistics.influence import patient_codes
from benchmark.evaluation.statistics.trials import Trials
from benchmark.evaluation.trial_rows import Rows, trial_rows

if TYPE_CHECKING:
    from benchmark.evaluation.evaluation_data import EvaluationData
    from benchmark.evaluation.grounding import Pointing
    from benchmark.evaluation.localisation import Boxed
    from benchmark.prompts.class_prompts import PromptSet
    from methods.base import Method


@TASKS.register("grounding")
class Grounding(Task):
    name = "grounding"
    title = "Grounding: pointing game and maps against boxes"
    headlines = ("pointing_game",)
    shown = ("pointing_game", "pointing_game_centre", "pointing_game_mean_map", "cnr", "iou_held_out")
    needs = frozenset({"labels", "maps", "boxes"})
    lacking = "no maps of two dimensions"
    order = 1

    def evaluate(
        self, method: Method, data: EvaluationData, prompts: PromptSet, given: TaskContext
    ) -> TaskResult | None:
        from benchmark.evaluation.grounding import pointing_game
        from benchmark.evaluation.localisation import Boxed
        from benchmark.evaluation.pixelwise import halves

        if given.helper:
            return None
        tries = pointing_tries(data)
        if not tries:
            raise DataError(f"{data.manifest.dataset}: no box of any class. Check the file of boxes.")
        phrased = any(t.phrase for t in tries)
        classes = () if phrased else data.chosen.classes
        texts = list(dict.fromkeys(t.phrase for t in tries)) if phrased else list(classes)
        place = {text: k for k, text in enumerate(texts)}
        wanted = [(t.image, place[t.phrase if phrased else t.cls]) for t in tries]
        maps = similarity_maps(method, data, texts if phrased else prompts, wanted, given.device)
        if maps is None:
            return None
        boxed = Boxed(
            maps, [t.boxes for t in tries], [data.sizes[t.image] for t in tries], data.steps,
            method.MAP_IS_ATTENTION,
        )  # fmt: skip
        names, images = [t.cls for t in tries], np.array([t.image for t in tries])
        half = halves(data.chosen.patients)[images]
        result = pointing_game(maps, boxed.boxes, boxed.sizes, data.steps)
        codes, clusters, grouped = patient_codes(data.chosen.patients, len(data))
        about = Tries(names, codes[images], classes, clusters, given.statistics.level)
        rows = pointing_rows(result, about)
        rows += map_rows(boxed, half, about)
        if classes:
            rows += open_vocabulary_rows(method, data, prompts, boxed, images, about, given.device)
        return TaskResult(finish(rows, grouped), "phrase" if phrased else prompt_label(prompts))

    def is_share(self, metric: str) -> bool:
        """A contrast-to-noise ratio has no bounds."""
        return not metric.startswith("cnr")


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


@dataclass(frozen=True)
class Tries:
    """What the rows of N tries share. names: class of each. owner: patient of each, 0..clusters-1. classes:
    in order, for a mean over classes; empty for the mean over all tries (phrases)."""

    names: Sequence[str]
    owner: np.ndarray
    classes: Sequence[str]
    clusters: int
    level: float

    @cached_property
    def groups(self) -> list[tuple[str, np.ndarray]]:
        """Title and members (N,) of each group."""
        if not self.classes:
            return [("all phrases", np.ones(len(self.names), dtype=bool))]
        return [(c, np.array([n == c for n in self.names], dtype=bool)) for c in self.classes]

    def rows(self, metric: str, values: np.ndarray, note: str, *, share: bool = True) -> Rows:
        """One a class and `macro`. values: (N,), NaN of a try that has none."""
        there = ~np.isnan(values)
        found = [Trials(title, values[own & there], self.owner[own & there]) for title, own in self.groups]
        return trial_rows(metric, found, self.clusters, self.level, note, share=share)


def pointing_rows(result: Pointing, about: Tries) -> Rows:
    """`pointing_game` by the official rule, and the mean of `pointing_game_ties_shared`."""
    chances = [result.chance[own].mean() for _, own in about.groups if own.any()]
    chance = f"a random point hits {np.mean(chances):.3f}"
    ties = f"{int(result.tied.sum())} of {len(about.names)} maps have tied maxima"
    fair = about.rows("pointing_game_ties_shared", result.shared, ties)
    return about.rows("pointing_game", result.hit, chance) + fair[-1:]


def map_rows(boxed: Boxed, half: np.ndarray, about: Tries) -> Rows:
    """`cnr` and `iou_held_out` by class, and for the mean over classes what maps reach that do not read the
    image: `pointing_game_centre` and `<measure>_mean_map`. half: (N,) half of the patients of each try."""
    from benchmark.evaluation.grounding import pointing_game
    from benchmark.evaluation.localisation import centre_hits, localise, mean_maps

    unseen = "tries whose boxes lie outside of what the encoder saw are left out"
    held = "threshold from the other half of the patients, one for all classes"
    own = localise(boxed, about.names, half)
    rows = about.rows("cnr", own.cnr, unseen if np.isnan(own.cnr).any() else "", share=False)
    rows += about.rows("iou_held_out", own.iou, held)
    middle = centre_hits(boxed.boxes, boxed.sizes)
    rows += about.rows("pointing_game_centre", middle, "always the pixel in the middle of the image")[-1:]
    maps, known = mean_maps(boxed.maps, about.names, half)
    if not known.any():
        return rows
    blind = replace(boxed, maps=maps)
    pointed = pointing_game(maps, boxed.boxes, boxed.sizes, boxed.steps)
    other = localise(blind, about.names, half)
    note = "the method's mean map of the class over the other half of the patients"
    if not known.all():
        note += f"; {int((~known).sum())} tries have none and are left out"
    for metric, values in (("pointing_game", pointed.hit), ("cnr", other.cnr), ("iou_held_out", other.iou)):
        kept = np.where(known, values, np.nan)
        rows += about.rows(f"{metric}_mean_map", kept, note, share=metric != "cnr")[-1:]
    return rows


def open_vocabulary_rows(
    method: Method, data: EvaluationData, prompts: PromptSet, boxed: Boxed, images: np.ndarray,
    about: Tries, device: str,
) -> Rows:  # fmt: skip
    """`iou_open_vocabulary`: masks in which every class of the set competes for each pixel of the image, at
    RadZero's fixed threshold. images: (N,) row of each try."""
    from benchmark.evaluation.localisation import FINDINGS, open_vocabulary, overlap

    used = list(dict.fromkeys(images.tolist()))
    classes = list(data.chosen.classes)
    found = np.zeros(len(images))
    empty = 0
    for first in range(0, len(used), IMAGES_AT_ONCE):
        group = used[first : first + IMAGES_AT_ONCE]
        wanted = [(i, k) for i in group for k in range(len(classes))]
        maps = similarity_maps(method, data, prompts, wanted, device)
        assert maps is not None  # the method has maps: the pointing game was played
        for place, image in enumerate(group):
            own = maps[place * len(classes) : (place + 1) * len(classes)]
            marked = open_vocabulary(own, data.steps, data.sizes[image], boxed.attention)
            for n in np.flatnonzero(images == image).tolist():
                mask = np.asarray(marked == classes.index(about.names[n]))
                found[n] = overlap(mask, boxed.truth(n))
                empty += not mask.any()
    note = f"all classes compete for each pixel at {FINDINGS:.1f}; {empty} of {len(images)} masks are empty"
    return about.rows("iou_open_vocabulary", found, note)
