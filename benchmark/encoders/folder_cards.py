"""The card of a folder in the layout of the hub: config.json, weights, image processor or tokenizer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchmark.core.errors import CardError
from benchmark.core.guard import parse_json, parsing, read_text
from benchmark.core.preprocessing import Preprocessing
from benchmark.encoders.cards import EncoderCard, ImageCard, TextCard

PROCESSORS = ("preprocessor_config.json", "processor_config.json")
_RESAMPLING = {2: "bilinear", 3: "bicubic"}
_SHORTEST = ("Bit", "CLIP", "ChineseCLIP", "ConvNext")
"""Processors of transformers to which a size of one number is the shorter edge (`default_to_square`)."""
_SQUARE = ("Beit", "Blip", "DeiT", "ViTFeature", "ViTImage")
"""Those to which it is both sides of a square; a type that is neither is told apart by the crop alone."""
_CROPS = ("Bit", "CLIP", "ChineseCLIP", "DeiT", "Flava")
"""Those that cut the centre where do_center_crop is absent."""
_CONVNEXT_CROPS_BELOW, _CONVNEXT_CROP = 384, 224 / 256


def folder_card(folder: Path, kind: str, pooling: str | None = None) -> EncoderCard:
    """A card of the model in a folder; what its files do not state is `unknown`.

    kind: image or text. pooling: `model`, of towers that share a space, else `cls` for images with a class
    token and `mean` for texts. Raises CardError where there is no model, or no image processor for images.
    """
    config = read_config(folder)
    fields: dict[str, Any] = {
        "name": folder.resolve().name,
        "source": "transformers",
        "weights": f"path:{folder.resolve()}",
        "licence": "unknown",
        "seen": "unknown",
    }
    if kind == "text":
        length = _text_config(config).get("max_position_embeddings")
        fields |= {"pooling": pooling or "mean"}
        if isinstance(length, int) and length > 2:
            fields["max_length"] = min(length, 512)
        return TextCard.model_validate(fields)
    steps = folder_preprocessing(folder)
    if steps is None:
        raise CardError(
            f"{folder}: no {PROCESSORS[0]}, which says how images are prepared. Add it, or write a card "
            "with `preprocessing`."
        )
    usual = "mean" if config.get("model_type") in ("siglip", "siglip2", "convnext", "convnextv2") else "cls"
    return ImageCard.model_validate({**fields, "preprocessing": steps, "pooling": pooling or usual})


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a model folder. Raises CardError where there is none, BenchError where it is no JSON."""
    path = folder / "config.json"
    if not path.is_file():
        raise CardError(f"{folder}: no config.json, so no folder with a model of transformers.")
    found = parse_json(read_text(path, "a JSON file"), path)
    if not isinstance(found, dict):
        raise CardError(f"{path}: must be a mapping.")
    return found


def folder_preprocessing(folder: Path) -> Preprocessing | None:
    """What the image processor of a folder does, in this project's steps; None where the folder has none.

    A grey image has equal channels, so that a conversion to RGB changes nothing. Raises CardError for steps
    that are not known here.
    """
    path = next((folder / name for name in PROCESSORS if (folder / name).is_file()), None)
    if path is None:
        return None
    found = parse_json(read_text(path, "a JSON file"), path)
    if isinstance(found, dict) and isinstance(found.get("image_processor"), dict):
        found = found["image_processor"]
    if not isinstance(found, dict):
        raise CardError(f"{path}: must be a mapping.")
    if not (isinstance(found.get("image_mean"), list) and isinstance(found.get("image_std"), list)):
        if path.name == PROCESSORS[1]:
            return None
        raise CardError(f"{path}: lacks image_mean and image_std; write a card with `preprocessing`.")
    with parsing(path, "an image processor", "Or write a card with `preprocessing`."):
        size, crop, fit = _sides(found, path)
        mean, std = _in_unit_range(found)
    resample = found.get("resample")  # absent, it is what the class of the processor takes
    if resample not in _RESAMPLING:
        raise CardError(f"{path}: resample {resample!r:.20} is neither bilinear (2) nor bicubic (3); write a "
                        "card with `preprocessing`.")  # fmt: skip
    try:
        return Preprocessing.model_validate(
            {
                "size": size,
                "crop": crop if crop != size else None,
                "fit": fit,
                "depth": "full",
                "interpolation": _RESAMPLING[resample],
                "mean": mean,
                "std": std,
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise CardError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from None


def _sides(found: Mapping[str, Any], path: Path) -> tuple[int, int | None, str]:
    """`size`, `crop` and `fit` of a processor, as its class in transformers reads them: the files of CLIP and
    ConvNeXt on the hub say `"size": 224` and mean the shorter edge, those of ViT a square."""
    kind = str(found.get("image_processor_type") or found.get("feature_extractor_type") or "")
    size, fit = _size(found.get("size"), path)
    crops = bool(found.get("do_center_crop", kind.startswith(_CROPS)))
    if found.get("do_resize") is False or found.get("do_pad"):
        step = "do_pad" if found.get("do_pad") else "do_resize: false"
        raise CardError(f"{path}: {step} is not carried out here; write a card with `preprocessing`.")
    if isinstance(found.get("size"), int):
        if kind.startswith(_SHORTEST):
            fit = "crop"
        elif crops and not kind.startswith(_SQUARE):
            raise CardError(
                f"{path}: a size of {size} with a centre crop is the shorter edge to some processors and "
                f'a square to others. Write {{"shortest_edge": {size}}}, or "height" and "width" of {size}.'
            )
    if kind.startswith("ConvNext"):
        part = found.get("crop_pct") or _CONVNEXT_CROP
        return (int(size / part), size, "crop") if size < _CONVNEXT_CROPS_BELOW else (size, None, "stretch")
    for step in ("crop_pct", "include_top", "rescale_offset"):
        if found.get(step):
            raise CardError(f"{path}: {step} is not carried out here; write a card with `preprocessing`.")
    if fit == "crop" and not crops:
        raise CardError(
            f"{path}: a shorter edge of {size} without do_center_crop leaves images that are no squares; "
            "write a card with `preprocessing`."
        )
    return size, _size(found.get("crop_size", size), path)[0] if crops else None, fit


def _in_unit_range(found: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """Mean and std of pixels in [0, 1], as ours are; theirs are stored bytes times `rescale_factor`."""
    mean, std = ([float(value) for value in found[name]] for name in ("image_mean", "image_std"))
    check_normal(mean, std)
    if not found.get("do_normalize", True):
        mean, std = [0.0] * 3, [1.0] * 3
    white = 255 * float(found.get("rescale_factor", 1 / 255)) if found.get("do_rescale", True) else 255.0
    if white <= 0:
        raise ValueError("rescale_factor is not above 0")
    if abs(white - 1) < 1e-3:
        return mean, std
    return [value / white for value in mean], [value / white for value in std]


def check_normal(mean: Sequence[float], std: Sequence[float]) -> None:
    """Raises ValueError where pixels cannot be normalised with these."""
    if {len(mean), len(std)} not in ({1}, {3}) or not all(map(math.isfinite, [*mean, *std])) or 0 in std:
        raise ValueError("mean and std are not one number, or one a colour, and no std is 0")


def _size(value: Any, path: Path) -> tuple[int, str]:
    """The side, and whether the aspect is kept (`crop`) or not (`stretch`)."""
    if isinstance(value, int) and value > 0:
        return value, "stretch"
    if isinstance(value, Mapping):
        if isinstance(value.get("shortest_edge"), int):
            return value["shortest_edge"], "crop"
        height, width = value.get("height"), value.get("width")
        if isinstance(height, int) and height == width:
            return height, "stretch"
    raise CardError(f"{path}: a size of {value!r:.60} is no square; write a card with `preprocessing`.")


def _text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = config.get("text_config")
    return inner if isinstance(inner, Mapping) else config
