"""Pointing game and segmentation of RadZero: geometry, boxes, run lengths, thresholds."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from benchmark.core.preprocessing import Preprocessing
from benchmark.data.masks import decode_relative
from benchmark.evaluation import grounding, segmentation
from benchmark.official.parity.check import EXACT, Checker, Tolerance
from benchmark.official.parity.fixture import Fixture
from benchmark.official.parity.registry import case

_MAPS = Tolerance(atol=1e-5)
_MEASURES = Tolerance(atol=1e-6)

# Image processors of RadZero's baselines as preprocessing steps; only fit and the crop ratio act here.
PROCESSORS = {
    "blip": Preprocessing(size=518, fit="stretch"),
    "aspect_blip": Preprocessing(size=518, fit="pad"),
    "bit": Preprocessing(size=224, fit="crop"),
    "m3ae": Preprocessing(size=256, crop=224, fit="pad"),
}


@case("radzero/grounding", arrays=("*in/patch_scores", "*out/point_xy"), without=("in/image_logits",))
def pointing_game(fixture: Fixture, checker: Checker) -> None:
    for name in [n for n in fixture.arrays if n.endswith("in/patch_scores")]:
        place = name.removesuffix("in/patch_scores")
        scores = grounding.square_grid(fixture.tensor(name))
        height, width = fixture.array(f"{place}in/height_width").tolist()
        maps = {k: grounding.map_to_pixels(scores, v, height, width) for k, v in PROCESSORS.items()}
        points = {processor: grounding.highest_point(pixels) for processor, pixels in maps.items()}
        if f"{place}out/point_xy" in fixture:
            checker.equal(f"{place}out/point_xy", list(points["blip"]))
        for processor in PROCESSORS:
            if f"{place}{processor}/out/map" in fixture:
                checker.close(f"{place}{processor}/out/map", maps[processor], _MAPS)
            if f"{place}{processor}/out/point_xy" in fixture:
                checker.equal(f"{place}{processor}/out/point_xy", list(points[processor]))
        if f"{place}in/boxes_xyxy" in fixture:
            boxes = fixture.array(f"{place}in/boxes_xyxy")
            checker.equal(f"{place}out/hit_each_box", grounding.point_in_boxes(points["blip"], boxes))
            checker.equal(f"{place}out/hit_any", grounding.pointing_hit(maps["blip"], boxes[[1, 3]]))


@case("radzero/segmentation", arrays=("in/patch_scores", "in/image_logits", "in/siim_rle", "in/rsna_boxes"))
def zero_shot_segmentation(fixture: Fixture, checker: Checker) -> None:
    height, width = fixture.array("in/height_width").tolist()
    scores = grounding.square_grid(fixture.tensor("in/patch_scores"))
    pixels = grounding.map_to_pixels(scores, PROCESSORS["blip"], height, width)
    probabilities = torch.sigmoid(pixels).numpy()
    checker.close("mid/probability_maps", probabilities, _MEASURES)
    masks = {"siim": _run_length_masks(fixture, height, width), "rsna": _box_masks(fixture, height, width)}
    checker.close("mid/thresholds", segmentation.SEARCH, EXACT)
    for name, mask in masks.items():
        checker.equal(f"mid/{name}_masks", mask)
        search = segmentation.search_threshold(probabilities, mask)
        if f"mid/{name}_dice_at_threshold" in fixture:
            checker.close(f"mid/{name}_dice_at_threshold", search.dice_at, _MEASURES)
        present = mask.reshape(len(mask), -1).any(axis=1)
        checker.close(f"out/{name}/auc", roc_auc_score(present, fixture.array("in/image_logits")), _MEASURES)
        checker.close(f"out/{name}/dice", search.best_dice, _MEASURES)
        checker.close(f"out/{name}/best_threshold", search.best_threshold, EXACT)
        specificity = segmentation.empty_specificity(probabilities, mask, search.best_threshold)
        checker.close(f"out/{name}/specificity", specificity, _MEASURES)
        area = segmentation.pixel_auroc(probabilities, mask)
        checker.close(f"out/{name}/pixel_level_auroc", area, _MEASURES)


def _run_length_masks(fixture: Fixture, height: int, width: int) -> np.ndarray:
    """The rows of one image are united; images in order of first appearance."""
    texts: dict[str, list[str]] = {}
    rows = zip(fixture.strings("in/siim_image_id"), fixture.strings("in/siim_rle"), strict=True)
    for image, text in rows:
        texts.setdefault(image, []).append(text)
    return np.stack([decode_relative(own, height, width) for own in texts.values()]).astype(np.uint8)


def _box_masks(fixture: Fixture, height: int, width: int) -> np.ndarray:
    masks = []
    for text in fixture.strings("in/rsna_boxes"):
        boxes = [[float(value) for value in box.split(";")] for box in text.split("|") if box]
        masks.append(segmentation.boxes_to_mask(boxes, height, width))
    return np.stack(masks)
