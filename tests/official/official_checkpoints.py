"""Checkpoints under the official names, at small widths or as listed, and tokenizers to go with them."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import nibabel
import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from transformers import BertConfig, BertModel, BertTokenizerFast

from benchmark.data.cards import load_card

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["there", "is", "no", "pleural", "effusion", "card", "##io", "##megaly", "right", "left", "edema"]


def tokenizer(folder: Path, size: int) -> Path:
    """A BERT tokenizer with `size` tokens."""
    words = SPECIAL + WORDS
    words += [f"word{i}" for i in range(size - len(words))]
    BertTokenizerFast(vocab={word: i for i, word in enumerate(words[:size])}).save_pretrained(folder)
    return folder


def filled(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Random tensors of the given names and shapes, drawn from one small pool; variances positive."""
    pool = torch.randn(1 << 16, generator=torch.Generator().manual_seed(seed)) * 0.02
    tensors = {}
    for number, (name, shape) in enumerate(shapes.items()):
        count = torch.Size(shape).numel()
        start = pool.roll(number * 101)
        value = start.repeat(-(-count // len(pool)))[:count].reshape(tuple(shape))
        if name.endswith(("num_batches_tracked", "position_ids", "relative_position_index")):
            value = torch.zeros(tuple(shape), dtype=torch.long)
        elif name.endswith("running_var") or ("norm" in name.lower() and name.endswith("weight")):
            value = 1 + value.abs()
        tensors[name] = value.clone()
    return tensors


def small_bert(vocabulary: int, width: int = 64, layers: int = 4) -> dict[str, Tensor]:
    config = BertConfig(
        vocab_size=vocabulary, hidden_size=width, num_hidden_layers=layers, num_attention_heads=1,
        intermediate_size=48, max_position_embeddings=40,
    )  # fmt: skip
    return dict(BertModel(config).state_dict())


def fusion_shapes(width: int, layers: int, hidden: int, head: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Official names of CARZero's fusion module, dead tensors and the second name of the norm included."""
    shapes: dict[str, tuple[int, ...]] = {"logit_scale": ()}
    pairs = {"decoder_norm": (width,), "decoder.norm": (width,)}
    for index in range(layers):
        layer = f"decoder.layers.{index}"
        for attention in ("self_attn", "multihead_attn"):
            shapes |= {
                f"{layer}.{attention}.in_proj_weight": (3 * width, width),
                f"{layer}.{attention}.in_proj_bias": (3 * width,),
                f"{layer}.{attention}.out_proj.weight": (width, width),
                f"{layer}.{attention}.out_proj.bias": (width,),
            }
        shapes |= {
            f"{layer}.linear1.weight": (hidden, width), f"{layer}.linear1.bias": (hidden,),
            f"{layer}.linear2.weight": (width, hidden), f"{layer}.linear2.bias": (width,),
        }  # fmt: skip
        pairs |= {f"{layer}.norm{i}": (width,) for i in (1, 2, 3)}
    shapes |= {f"{name}.{leaf}": shape for name, shape in pairs.items() for leaf in ("weight", "bias")}
    sizes = [width, *head, 1]
    for step, (fan_in, out) in enumerate(pairwise(sizes)):
        shapes |= {f"mlp_head.{3 * step}.weight": (out, fan_in), f"mlp_head.{3 * step}.bias": (out,)}
    return shapes


def carzero_state(vocabulary: int, width: int = 64) -> dict[str, Tensor]:
    """A whole small CARZero checkpoint under the Lightning prefix."""
    torch.manual_seed(3)
    vit = VisionTransformer(img_size=32, patch_size=8, embed_dim=width, depth=2, num_heads=1, num_classes=0)
    state = {f"img_encoder.model.{k}": v for k, v in vit.state_dict().items()}
    state |= {f"text_encoder.model.{k}": v for k, v in small_bert(vocabulary, width).items()}
    fusion = filled(fusion_shapes(width, 4, 48, (32, 24, 16)))
    state |= {f"fusion_module.{k}": v * (1 if "norm" in k else 20) for k, v in fusion.items()}
    return {f"CARZero.{name}": value.clone() for name, value in equal_copies(state).items()}


def equal_copies(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The two names of the shared LayerNorm hold the same numbers."""
    for name in list(state):
        if "decoder.norm." in name:
            state[name] = state[name.replace("decoder.norm.", "decoder_norm.")].clone()
    return state


def ct_rate_tree(root: Path) -> Path:
    """Two scans in the official layout of CT-RATE."""
    classes = load_card("ct_rate").classes
    rows = []
    for k, name in enumerate(("valid_1_a_1", "valid_2_a_1")):
        path = root / "valid_fixed" / name[:7] / name[:9] / f"{name}.nii.gz"
        path.parent.mkdir(parents=True)
        body = np.random.default_rng(k).integers(-1000, 400, (24, 20, 16)).astype(np.int16)
        nibabel.Nifti1Image(body, np.diag([-8.0, -8.0, 9.0, 1.0])).to_filename(path)
        rows.append([f"{name}.nii.gz", *(int(k == i % 2) for i in range(len(classes)))])
    table = root / "multi_abnormality_labels" / "valid_predicted_labels.csv"
    table.parent.mkdir()
    with table.open("w", newline="") as handle:
        csv.writer(handle).writerows([["VolumeName", *classes], *rows])
    return root
