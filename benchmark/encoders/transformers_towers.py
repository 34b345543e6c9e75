"""One tower of a transformers model, whether a folder holds it alone or a model of two towers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.utils import logging as transformers_logging

from benchmark.core.errors import BenchError
from benchmark.core.guard import parsing
from benchmark.core.pretrained import model_as, model_from_folder, untrained
from benchmark.encoders.cards import EncoderCard
from benchmark.encoders.weights import WeightsError, read_tensors, scale_of, weights_file

_NORM_AFTER = ("clip_vision_model", "altclip_vision_model", "chinese_clip_vision_model")
"""Types of networks whose pooled output has passed `post_layernorm` and whose `last_hidden_state` has not."""
PROJECTIONS = {"vision_model": "visual_projection", "text_model": "text_projection"}
_OWN = {"vision_model": "get_image_features", "text_model": "get_text_features"}


@dataclass(frozen=True)
class Tower:
    """network: in eval mode, float32. projection: into the joint space, where the model has one that is
    linear. norm_after: whether the network leaves its final norm to whoever reads its tokens (CLIP).
    joint: whether it is of a model with two towers. own: what the model calls the features of this tower, of
    one that does. scale: its log scale and bias; (0, None) where it has none."""

    network: Any
    projection: nn.Linear | None
    norm_after: bool
    joint: bool
    own: Callable[..., Any] | None
    scale: tuple[float, float | None]


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
    own = getattr(model, _OWN[part], None)
    return Tower(network, projection, after, hasattr(model, other), own, scale_of(model))


def check_own(card: EncoderCard, tower: Tower, ours: Tensor, **inputs: Any) -> None:
    """Raises WeightsError where the model's own features of `inputs` are others than `ours`: not every type
    projects the pooled output of its tower (ALIGN takes the first token)."""
    if tower.own is None:
        return
    with torch.no_grad(), parsing(card.name, "a tower of the library", error=WeightsError):
        found = tower.own(**inputs)
        theirs = found if isinstance(found, Tensor) else found.pooler_output
    if theirs.shape != ours.shape or not torch.allclose(theirs, ours, rtol=1e-3, atol=1e-4):
        raise WeightsError(
            f"encoder {card.name}: {tower.own.__name__} of a {type(tower.own.__self__).__name__} is not the "  # type: ignore[attr-defined]
            "pooled output of its tower under its projection, which is what is read here; give a model of "
            "another type."
        )


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
