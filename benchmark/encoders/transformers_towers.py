"""One tower of a transformers model, whether a folder holds it alone or a model of two towers."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.utils import logging as transformers_logging

from benchmark.core.errors import BenchError
from benchmark.core.pretrained import model_as, model_from_folder, untrained
from benchmark.encoders.cards import EncoderCard
from benchmark.encoders.weights import WeightsError, read_tensors, weights_file

_NORM_AFTER = ("clip_vision_model", "altclip_vision_model", "chinese_clip_vision_model")
"""Types of networks whose pooled output has passed `post_layernorm` and whose `last_hidden_state` has not."""
PROJECTIONS = {"vision_model": "visual_projection", "text_model": "text_projection"}


@dataclass(frozen=True)
class Tower:
    """network: in eval mode, float32. projection: into the joint space, where the model has one that is
    linear. norm_after: whether the network leaves its final norm to whoever reads its tokens (CLIP).
    joint: whether it is of a model with two towers."""

    network: Any
    projection: nn.Linear | None
    norm_after: bool
    joint: bool


def load_tower(card: EncoderCard, path: Path | None, part: str, unused: tuple[str, ...] = ()) -> Tower:
    """The `vision_model` or `text_model` of a card's weights; the whole network where it has no such part.

    path: file or folder of the weights, None for random ones of the folder in `card.architecture`. unused:
    beginnings of names of weights that may be lacking, as nothing reads them. Raises WeightsError.
    """
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model = _model(card, path, unused).float().eval()
    takes = {"vision_model": "pixel_values", "text_model": "input_ids"}[part]
    other = "text_model" if part == "vision_model" else "vision_model"
    network = getattr(model, part, model)
    if takes not in inspect.signature(network.forward).parameters:
        raise WeightsError(
            f"encoder {card.name}: a {type(model).__name__} has no {part.removesuffix('_model')} tower; give "
            "a model that has one."
        )
    projection = getattr(model, PROJECTIONS[part], None)
    after = str(getattr(network.config, "model_type", "")) in _NORM_AFTER
    return Tower(network, projection, after, hasattr(model, other))


def _model(card: EncoderCard, path: Path | None, unused: tuple[str, ...]) -> Any:
    if path is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return untrained(card.architecture)
    folder = path if path.is_dir() else path.parent
    try:
        if card.architecture:
            return model_as(card.architecture, folder, read_tensors(weights_file(path)), unused)
        safe = not (folder / "pytorch_model.bin").is_file() or any(folder.glob("*.safetensors"))
        return model_from_folder("AutoModel", str(folder), unused, use_safetensors=safe, weights_only=True)
    except WeightsError:
        raise
    except BenchError as error:
        raise WeightsError(f"encoder {card.name}: {error}") from None
