"""timm image encoders: convolutional maps at a chosen stage, or transformer tokens."""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Sequence
from typing import Any

import timm
import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from benchmark.core.features import ImageFeatures
from benchmark.encoders.base import ImageEncoder
from benchmark.encoders.cards import ImageCard
from benchmark.encoders.weights import (
    WeightsError,
    check_grid,
    load_into,
    read_tensors,
    weights_file,
    weights_path,
)

_NOT_ENCODER = ("classifier.", "head.", "fc.", "decoder_", "mask_token", "bert_")
"""Beginnings of names of a file's other parts: classifiers, and decoders of masked modelling (MAE, MRM)."""
_ROLES = {"_depthwise_conv": "conv_dw", "_expand_conv": "conv_pw", "_bn0": "bn1"}


class TimmImage(ImageEncoder):
    """A timm network whose last feature map or token sequence gives the patch tokens.

    Batch norms are folded into the convolutions before them: same function to rounding, faster, and
    fixed statistics when the encoder is fine-tuned.
    """

    def __init__(self, card: ImageCard) -> None:
        super().__init__(card)
        network: Any = _network(card)
        self.convolutional = card.stage is not None or not hasattr(network, "pos_embed")
        self.prefix = getattr(network, "num_prefix_tokens", 0)
        if card.stage is not None:
            network = _until_stage(network, card)
        self.network: Any = fold_batch_norms(network.eval())
        if card.stage is not None:
            self.network = self.network.to(memory_format=torch.channels_last)
        with torch.no_grad():
            side = card.preprocessing.side
            probe = self(torch.zeros(1, card.preprocessing.channels, side, side))
        self.width = probe.local.shape[-1]
        self.grid = probe.grid
        check_grid(card.name, probe.local.shape[1], self.grid)
        if probe.pooled.shape[-1] != self.width:
            raise WeightsError(
                f"encoder {card.name}: pooled width {probe.pooled.shape[-1]} differs from the tokens' "
                f"{self.width}; use pooling: mean."
            )

    def forward(self, images: Tensor) -> ImageFeatures:
        if self.card.stage is not None:
            images = images.contiguous(memory_format=torch.channels_last)
            states = self.network(images)  # (B, D, h, w)
        else:
            states = self.network.forward_features(images)
        if states.ndim == 4:
            if not self.convolutional or states.shape[1] != self._channels(states):
                states = states.permute(0, 3, 1, 2)
            grid = tuple(states.shape[-2:])
            local = states.flatten(2).transpose(1, 2)  # (B, P, D)
            own = local.mean(1)
        else:
            local = states[:, self.prefix :]
            side = round(local.shape[1] ** 0.5)
            grid = (side, local.shape[1] // side)
            own = states[:, 0] if self.prefix else local.mean(1)
        if self.card.pooling == "model" and self.card.stage is None:
            pooled = self.network.forward_head(states, pre_logits=True)
        elif self.card.pooling == "cls":
            pooled = own
        else:
            pooled = local.mean(1)
        return ImageFeatures(pooled, local, grid)

    def _channels(self, states: Tensor) -> int:
        return int(getattr(self.network, "num_features", states.shape[1]))


def _network(card: ImageCard) -> nn.Module:
    options: dict[str, Any] = (
        {"num_classes": 1000} if card.weights.startswith("package:") else {"num_classes": 0}
    )
    if "vit" in card.architecture and card.stage is None:
        options["img_size"] = card.preprocessing.side
    path = weights_path(card)
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            network = timm.create_model(
                card.architecture, pretrained=False, in_chans=card.preprocessing.channels, **options
            )
    except Exception as error:  # timm and the hub raise many kinds; each means the same here
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise WeightsError(
            f"encoder {card.name}: timm cannot build '{card.architecture}' ({reason})."
        ) from None
    if path is not None:
        state = read_tensors(weights_file(path))
        if any(key.startswith("_blocks.") for key in state):
            blocks: Any = network.blocks
            state = from_efficientnet_pytorch(state, [len(stage) for stage in blocks])
        own = network.state_dict().keys()
        state = {k: v for k, v in state.items() if k in own or not k.startswith(_NOT_ENCODER)}
        load_into(network, state, card.name, path)
    return network


def from_efficientnet_pytorch(
    state: dict[str, Tensor], repeats: Sequence[int] = (1, 2, 2, 3, 3, 4, 1)
) -> dict[str, Tensor]:
    """Keys of lukemelas/EfficientNet-PyTorch (Lite variant) → timm's.

    There blocks are numbered through, here by stage; a block without expansion has its projection under
    timm's `conv_pw`. repeats: blocks of each stage, those of Lite0 by default.
    """
    place = [(s, b) for s, count in enumerate(repeats) for b in range(count)]
    top = {
        "_conv_stem": "conv_stem",
        "_bn0": "bn1",
        "_conv_head": "conv_head",
        "_bn1": "bn2",
        "_fc": "classifier",
    }
    renamed = {}
    for key, value in state.items():
        found = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
        if found is None:
            head, _, rest = key.partition(".")
            renamed[f"{top.get(head, head)}.{rest}"] = value
            continue
        number, role, rest = int(found[1]), found[2], found[3]
        stage, block = place[number]
        expands = f"_blocks.{number}._expand_conv.weight" in state
        if expands:
            roles = {**_ROLES, "_bn1": "bn2", "_bn2": "bn3", "_project_conv": "conv_pwl"}
        else:
            roles = {**_ROLES, "_bn1": "bn1", "_bn2": "bn2", "_project_conv": "conv_pw"}
        renamed[f"blocks.{stage}.{block}.{roles[role]}.{rest}"] = value
    return renamed


def _until_stage(network: Any, card: ImageCard) -> nn.Module:
    stage = card.stage or 0
    if hasattr(network, "blocks") and hasattr(network, "conv_stem"):
        stages = network.blocks
        if not 0 <= stage < len(stages):
            raise WeightsError(f"encoder {card.name}: stage {stage} is not in 0..{len(stages) - 1}.")
        return nn.Sequential(network.conv_stem, network.bn1, *list(stages)[: stage + 1])
    if hasattr(network, "layer4") and hasattr(network, "conv1"):
        layers = [network.layer1, network.layer2, network.layer3, network.layer4]
        if not 0 <= stage < 4:
            raise WeightsError(f"encoder {card.name}: stage {stage} is not in 0..3.")
        stem = [network.conv1, network.bn1, network.act1, network.maxpool]
        return nn.Sequential(*stem, *layers[: stage + 1])
    raise WeightsError(f"encoder {card.name}: '{card.architecture}' has no stages; leave `stage` out.")


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Fuse every (convolution, batch norm) pair of neighbours, in place; the network must be in eval mode."""
    for parent in [*network.modules()]:
        children = list(parent.named_children())
        for (first, conv), (second, norm) in itertools.pairwise(children):
            if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
                continue
            if norm.num_features != conv.out_channels:
                continue
            setattr(parent, first, fuse_conv_bn_eval(conv, norm))
            after = nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()
            setattr(parent, second, after)
    return network
