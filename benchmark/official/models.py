"""Models of two towers as rows: `hf:FOLDER`, `open_clip:FOLDER`, or cards NAME-image and NAME-text.

What the model's own `get_image_features` and `get_text_features` (open_clip: `encode_image`, `encode_text`)
give is compared by cosine, with the model's own preprocessing, scale and bias. Nothing is trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.core.errors import BenchError, CardError, ParamsError, UnknownName
from benchmark.core.features import ImageFeatures, TextFeatures
from benchmark.core.guard import parse_json, parsing, read_text
from benchmark.core.hashing import hash_strings
from benchmark.core.preprocessing import Preprocessing
from benchmark.encoders.base import ImageEncoder, TextEncoder, fingerprint
from benchmark.encoders.card_files import encoder_entry, encoder_names
from benchmark.encoders.cards import EncoderCard, ImageCard, TextCard
from benchmark.encoders.factory import image_encoder, text_encoder
from benchmark.encoders.folder_cards import check_normal, folder_card, read_config
from methods.base import METHODS, Method
from methods.clip import CLIP

OPEN_CLIP_CONFIG = "open_clip_config.json"
SOURCES = {"hf": "transformers", "open_clip": "open_clip"}
_FITS = {"shortest": "crop", "longest": "pad", "squash": "stretch"}


class DualEncoder(CLIP):
    """The cosine of a model's two pooled vectors, under its scale and bias. joint: whether patch tokens live
    in the same space; without it there are no similarity maps."""

    joint = False

    def similarity_map(self, image: ImageFeatures, text: TextFeatures) -> Tensor | None:
        return super().similarity_map(image, text) if self.joint else None


@dataclass(frozen=True)
class DualModel:
    """name: of its row, with - for each dot of the folder's. identity: a hash of weights, preprocessing,
    vocabulary, scale and bias."""

    name: str
    method: Method
    image: ImageEncoder
    text: TextEncoder
    identity: str


def load_model(spec: str, architecture: str | None = None) -> DualModel:
    """A model of two towers.

    spec: `hf:` or `open_clip:` before a folder in the library's layout, a file of open_clip, or the NAME of
    cards NAME-image and NAME-text. architecture: open_clip's name of a file's network, which the file does
    not say. Raises BenchError in one line where there is no such model, a tower is lacking, the file is
    ambiguous, or the towers do not meet.
    """
    source, _, where = spec.partition(":")
    if source not in SOURCES or not where:
        raise ParamsError(
            f"--model {spec:.80}: expected hf:FOLDER, open_clip:FOLDER or the NAME of cards there."
        )
    name, cards = _cards(source, where, architecture)
    image: Any  # of a source whose encoders of images hold the model's scale
    with parsing(name, "a model of two towers", "Give one of another type.", error=BenchError):
        image, text = image_encoder(cards[0]), text_encoder(cards[1])
    if image.width != text.width:
        raise BenchError(
            f"--model {spec}: images have {image.width} dimensions and texts {text.width}: the towers "
            "share no space."
        )
    scale, bias = image.scale
    if not all(map(math.isfinite, (scale, bias or 0.0))):
        raise BenchError(
            f"--model {spec}: its logit_scale or logit_bias is no number. Fetch the files again."
        )
    kind = METHODS.get("clip")
    config = kind.Config(
        **{**kind.settings("official"), "width": image.width, "project": "never", "normalise_inputs": "none",
           "logit_bias": bias}
    )  # fmt: skip
    method = DualEncoder(config, image.width, text.width)  # type: ignore[arg-type]
    with torch.no_grad():
        method.logit_scale.fill_(scale)
    method.joint = bool(getattr(image, "joint", False))
    identity = hash_strings([fingerprint(image), fingerprint(text), repr(scale), repr(bias)])
    return DualModel(name, method.eval(), image, text, identity)


def _cards(source: str, where: str, architecture: str | None) -> tuple[str, tuple[EncoderCard, EncoderCard]]:
    path = Path(where).expanduser()
    if architecture is not None and (source != "open_clip" or path.is_dir()):
        raise ParamsError("--architecture goes with --model open_clip:FILE; a folder says it itself.")
    if path.exists():
        found = _of_folder(source, path) if path.is_dir() else _of_file(source, path, architecture)
        name = path.resolve().name if path.is_dir() else path.resolve().stem
        return name.replace(".", "-"), found
    names = encoder_names()
    if f"{where}-image" not in names or f"{where}-text" not in names:
        near = [n.removesuffix("-image") for n in names if n.endswith("-image")]
        raise UnknownName(
            "model", where, near, "Give a folder, or cards NAME-image and NAME-text. A model of the hub is "
            "downloaded first: huggingface-cli download NAME --revision COMMIT --local-dir FOLDER.",
        )  # fmt: skip
    cards = encoder_entry(f"{where}-image"), encoder_entry(f"{where}-text")
    for card, kind in zip(cards, (ImageCard, TextCard), strict=True):
        if not isinstance(card, kind) or card.source != SOURCES[source]:
            raise ParamsError(f"--model {source}:{where}: card '{where}' is of source '{card.source}'.")
    return where, cards


def _of_folder(source: str, folder: Path) -> tuple[EncoderCard, EncoderCard]:
    theirs, other = ("config.json", OPEN_CLIP_CONFIG)[:: 1 if source == "hf" else -1]
    if not (folder / theirs).is_file():
        if (folder / other).is_file():
            right = "open_clip" if source == "hf" else "hf"
            raise ParamsError(
                f"--model {source}:{folder}: its {other} is of the other library; give {right}:{folder}."
            )
        raise CardError(f"{folder}: no {theirs}, so no model folder.")
    if source == "open_clip":
        return _open_clip_cards(folder, f"local-dir:{folder.resolve()}", _open_clip_steps(folder))
    config = read_config(folder)
    if not all(isinstance(config.get(part), Mapping) for part in ("vision_config", "text_config")):
        kind = config.get("model_type", "?")
        raise BenchError(
            f"{folder}: a model of type '{kind}' has no vision and text tower, and --model needs both; as an "
            "encoder it is named by --set encoders.image=FOLDER or encoders.text=FOLDER."
        )
    return folder_card(folder, "image", "model"), folder_card(folder, "text", "model")


def _of_file(source: str, path: Path, architecture: str | None) -> tuple[EncoderCard, EncoderCard]:
    """A bare file of open_clip: neither its activation nor its preprocessing can be told from the weights."""
    import open_clip

    if source == "hf":
        raise ParamsError(f"--model hf:{path}: give the folder of the model, with its config.json.")
    if architecture is None:
        raise ParamsError(
            f"--model open_clip:{path}: a bare file does not say its network (ViT-B-32 and "
            "ViT-B-32-quickgelu have the same tensors); give --architecture NAME, one of "
            "open_clip.list_models()."
        )
    if architecture not in open_clip.list_models():
        raise UnknownName("architecture of open_clip", architecture, open_clip.list_models())
    side = open_clip.get_model_config(architecture)["vision_cfg"].get("image_size", 224)
    if not isinstance(side, int):
        raise BenchError(f"--architecture {architecture}: images of {side} are no square.")
    return _open_clip_cards(path, architecture, _steps(side, {}, path))


def _open_clip_cards(path: Path, architecture: str, steps: Preprocessing) -> tuple[EncoderCard, EncoderCard]:
    common: dict[str, Any] = {
        "name": path.resolve().name,
        "source": "open_clip",
        "architecture": architecture,
        "weights": f"path:{path.resolve()}",
        "licence": "unknown",
        "seen": "unknown",
        "pooling": "model",
    }
    image = ImageCard(**common, preprocessing=steps)
    return image, TextCard(**common, max_length=512)


def _open_clip_steps(folder: Path) -> Preprocessing:
    path = folder / OPEN_CLIP_CONFIG
    found = parse_json(read_text(path, "a JSON file"), path)
    with parsing(path, "a configuration of open_clip", "It needs model_cfg with vision_cfg."):
        side = found["model_cfg"]["vision_cfg"]["image_size"]
        given = dict(found.get("preprocess_cfg") or {})
    return _steps(side, given, path)


def _steps(side: Any, given: Mapping[str, Any], path: Path) -> Preprocessing:
    """open_clip's `PreprocessCfg`, whose defaults are OpenAI's."""
    from open_clip.transform import PreprocessCfg

    with parsing(path, "steps of open_clip", "Check its preprocess_cfg."):
        usual = PreprocessCfg()
        fields = {k: given.get(k, getattr(usual, k)) for k in ("mean", "std", "interpolation", "resize_mode")}
        fit = _FITS[fields.pop("resize_mode")]
        check_normal(fields["mean"], fields["std"])
        if fit == "pad" and given.get("fill_color", usual.fill_color) != 0:
            raise ValueError("a fill_color other than 0 is not carried out here")
        return Preprocessing.model_validate({"size": side, "fit": fit, "depth": "full", **fields})
