"""Which weights of an encoder are trained: of its last stage, matrices of low rank, or all."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import nn

from benchmark.core.errors import ParamsError
from benchmark.encoders.base import ImageEncoder, TextEncoder

How = Literal["last stage", "lora", "full"]
Encoder = ImageEncoder | TextEncoder


def make_trainable(
    encoder: Encoder, how: How, *, rank: int = 8, alpha: int = 16, layers: Sequence[str] = (),
    kind: str = "image", seed: int = 0,
) -> None:  # fmt: skip
    """Let gradients reach the weights that are trained, and no others, in place.

    rank, alpha, layers, kind, seed: of `lora`; layers are ends of names, and () stands for every linear
    layer and every convolution of 1 x 1; kind says whose they are. Its B is zero at first, so that the
    encoder starts as it was. Batch norms keep the statistics that they have, and dropout is off, as encoders
    stay in eval mode.
    Raises ParamsError where a layer does not exist, or the network has no stages.
    """
    encoder.requires_grad_(how == "full")
    if how == "lora":
        _add_low_rank(encoder, _chosen(encoder, kind, layers), rank, alpha, seed)
    elif how == "last stage":
        top = len(stages(encoder))
        for name, parameter in encoder.named_parameters():
            parameter.requires_grad_(depth(encoder, name) >= top)
    if not any(p.requires_grad for p in encoder.parameters()):
        raise ParamsError(f"encoder {encoder.card.name}: has no weights to train by '{how}'.")


def stages(encoder: nn.Module) -> nn.ModuleList | nn.Sequential:
    """The longest row of blocks: the layers of a transformer, the stages of a convolutional network.

    Raises ParamsError where there is none.
    """
    rows = [m for m in encoder.modules() if isinstance(m, nn.ModuleList | nn.Sequential) and len(m) > 1]
    if not rows:
        raise ParamsError("this encoder has no row of layers; train it by full or lora.")
    return max(rows, key=len)


def depth(encoder: nn.Module, parameter: str) -> int:
    """How far up a parameter lies: 0 below the first block, n in the n-th of N, N + 1 above the last one."""
    row = stages(encoder)
    prefix = next(name for name, module in encoder.named_modules() if module is row)
    inside, names = f"{prefix}.", [name for name, _ in encoder.named_parameters()]
    if parameter.startswith(inside):
        block = parameter.removeprefix(inside).partition(".")[0]
        return list(dict(row.named_children())).index(block) + 1
    first = next(n for n, name in enumerate(names) if name.startswith(inside))
    return 0 if names.index(parameter) < first else len(row) + 1


def merge_low_rank(encoder: Encoder) -> None:
    """Add the trained matrices to the weights beside which they stand and take them away; others are left
    alone."""
    for parent in [*encoder.modules()]:
        for name, child in list(parent.named_children()):
            if hasattr(child, "lora_A") and hasattr(child, "get_base_layer"):
                merging: Any = child
                merging.merge()
                setattr(parent, name, merging.get_base_layer())


def _fits(encoder: nn.Module) -> Iterator[str]:
    """Names of the layers that can have a matrix of low rank beside them."""
    for name, module in encoder.named_modules():
        pointwise = isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1
        if isinstance(module, nn.Linear) or pointwise:
            yield name


def _chosen(encoder: Encoder, kind: str, layers: Sequence[str]) -> list[str]:
    """Raises ParamsError for an end of a name that no such layer has."""
    known = list(_fits(encoder))
    ends = list(dict.fromkeys(name.rpartition(".")[2] for name in known))
    for wanted in layers:
        if not any(_ends(name, wanted) for name in known):
            there = ", ".join(ends[:8]) + (", …" if len(ends) > 8 else "")
            raise ParamsError(
                f"encoders.train.lora.{kind}: encoder {encoder.card.name} has no linear layer or convolution "
                f"of 1 x 1 '{wanted}'; there are {there or 'none'}."
            )
    if not known:
        raise ParamsError(
            f"encoders.train: encoder {encoder.card.name} has no layer that LoRA can stand beside."
        )
    return [n for n in known if not layers or any(_ends(n, wanted) for wanted in layers)]


def _ends(name: str, wanted: str) -> bool:
    return name == wanted or name.endswith(f".{wanted}")


def _add_low_rank(encoder: Encoder, layers: list[str], rank: int, alpha: int, seed: int) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise ParamsError(
            "encoders.train: lora needs the package peft. Install it with `pip install cxr-alignbench[lora]`."
        ) from None
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=layers, lora_dropout=0.0, bias="none")
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        inject_adapter_in_model(config, encoder)
    encoder.eval()
