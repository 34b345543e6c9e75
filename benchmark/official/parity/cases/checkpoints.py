"""Official key lists: every tensor of a released checkpoint must be imported, or left out by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from benchmark.core.checkpoints import strip_prefix, take
from benchmark.core.errors import BenchError
from benchmark.official.bert import bert_from_state
from benchmark.official.checkpoints import CT_CLIP, CT_CLIP_MARK, PREFIXES
from benchmark.official.ctvit import CTViT
from benchmark.official.parity.check import Checker
from benchmark.official.parity.fixture import Fixture
from benchmark.official.parity.registry import case
from benchmark.official.vision import resnet_network, swin_network, vit_network
from methods.base import METHODS

_Parts = dict[str, Callable[[Mapping[str, Tensor]], nn.Module]]
_NETWORKS: dict[str, _Parts] = {
    "carzero": {"img_encoder.model.": vit_network, "text_encoder.model.": bert_from_state},
    "gloria": {"img_encoder.model.": resnet_network, "text_encoder.model.": bert_from_state},
    "medclip": {"vision_model.model.": swin_network, "text_model.model.": bert_from_state},
    CT_CLIP: {"visual_transformer.": CTViT.from_state, "text_transformer.": bert_from_state},
}
_MARKS = {
    "carzero": "fusion_module.",
    "gloria": "img_encoder.global_embedder.",
    "medclip": "vision_model.",
    CT_CLIP: CT_CLIP_MARK,
}


@case("checkpoint_keys", settings=("keys", "n_keys"))
def checkpoint_keys(fixture: Fixture, checker: Checker) -> None:
    """Tensors of the listed names and shapes enter the method and the encoders (without memory)."""
    shapes: dict[str, list[int]] = fixture.setting("keys")
    checker.equal("json/n_keys", len(shapes), fixture.setting("n_keys"))
    if "n_parameters" in fixture.info:
        count = sum(torch.Size(shape).numel() for shape in shapes.values())
        checker.equal("json/n_parameters", count, fixture.setting("n_parameters"))
    method = next((name for name, mark in _MARKS.items() if any(mark in key for key in shapes)), None)
    if method is None:
        raise BenchError(f"{fixture.path}: keys of no method known here ({', '.join(_MARKS)}).")
    state = {name: torch.zeros(()).expand(tuple(shape)) for name, shape in shapes.items()}
    state = strip_prefix(state, PREFIXES.get(method, ""), fixture.path)
    if method != CT_CLIP:  # whose projections are its encoders'
        imported = METHODS.get(method).import_official(state)
        checker.ratio("json/keys/method", 0.0, 0.0, f"{method}: {len(imported)} tensors imported")
    for prefix, build in _NETWORKS[method].items():
        part = {name: tensor.to("meta") for name, tensor in take(state, prefix).items()}
        if method == "medclip" and "fc.weight" in part:
            part.pop("fc.weight")  # the ResNet's projection, which the method imports
            build = resnet_network
        if part:
            with torch.device("meta"):
                build(part)
            checker.ratio(f"json/keys/{prefix}", 0.0, 0.0, f"{len(part)} tensors loaded strictly")
