"""Reading weights that others made, without running what they pickled.

A torch file is opened by weights-only loading. Lightning files that carry pickled configuration
(OmegaConf, callbacks) are refused by that; they go through an unpickler that knows tensors and plain
containers, and puts inert placeholders where configuration classes stood. Any other global is an error.
"""

from __future__ import annotations

import pickle
import types
import warnings
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmark.core.errors import BenchError
from benchmark.core.guard import bounded_zip, parsing

WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
"""Entries of a training checkpoint that may hold the state dict, in order of preference."""

_PLAIN: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "collections.defaultdict": defaultdict,
    "builtins.set": set,
    "builtins.frozenset": frozenset,
    "__builtin__.set": set,
    "torch.Size": torch.Size,
    "torch.device": torch.device,
    "torch._utils._rebuild_tensor": torch._utils._rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": torch._utils._rebuild_tensor_v2,
    "torch._utils._rebuild_parameter": torch._utils._rebuild_parameter,
}
_INERT = (
    "omegaconf",
    "antlr4",
    "pytorch_lightning",
    "lightning",
    "lightning_fabric",
    "yacs",
    "argparse",
    "pathlib",
    "typing",
    "enum",
    "numpy",
)
_INERT_BUILTINS = frozenset(
    [
        "dict",
        "list",
        "tuple",
        "str",
        "int",
        "float",
        "bool",
        "bytes",
        "bytearray",
        "complex",
        "object",
        "slice",
        "long",
        "unicode",
        "xrange",
    ]
)
_INERT_CALLS = frozenset(("copyreg._reconstructor", "copy_reg._reconstructor", "_codecs.encode"))


class Inert:
    """Stands where a configuration object stood. Takes any arguments and state, does nothing with them."""

    def __new__(cls, *_args: Any, **_options: Any) -> Inert:
        return super().__new__(cls)

    def __init__(self, *_args: Any, **_options: Any) -> None:
        pass

    def __setstate__(self, _state: Any) -> None:
        pass

    def append(self, _item: Any) -> None:
        pass

    def extend(self, _items: Any) -> None:
        pass

    def __setitem__(self, _key: Any, _value: Any) -> None:
        pass


class _RestrictedUnpickler(pickle._Unpickler):
    """The one in Python: that in C reserves a table as long as the largest number of a memo entry, tens
    of gigabytes for four damaged bytes."""

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        found = _PLAIN.get(full)
        if found is not None:
            return found
        if module == "torch":
            value = getattr(torch, name, None)
            if isinstance(value, torch.dtype) or name.endswith("Storage"):
                return value
        if module.split(".")[0] in _INERT:
            return type(name.rpartition(".")[2], (Inert,), {})
        if full in _INERT_CALLS or (module in ("builtins", "__builtin__") and name in _INERT_BUILTINS):
            return type(name, (Inert,), {})
        raise pickle.UnpicklingError(f"it refers to {full}")


def _restricted_load(file: Any, **options: Any) -> Any:
    return _RestrictedUnpickler(file, **options).load()


_pickle = types.ModuleType("restricted_pickle")
_pickle.__dict__.update(
    Unpickler=_RestrictedUnpickler, load=_restricted_load, UnpicklingError=pickle.UnpicklingError
)


def load_checkpoint(path: Path | str, prefix: str = "") -> dict[str, Tensor]:
    """Name → tensor (CPU) of a .safetensors or torch file.

    prefix: the text after its last occurrence counts as the name ("CARZero.", "gloria."), as the official
    loaders do. Wrappers of training frameworks are opened. Raises BenchError where the file is missing,
    unreadable, refers to anything but tensors and configuration, or holds no state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise BenchError(f"{path}: no such checkpoint file.")
    if path.suffix == ".safetensors":
        return strip_prefix(read_weights(path), prefix, path)
    return strip_prefix(find_state_dict(_read_torch(path), path), prefix, path)


def read_weights(path: Path | str) -> Any:
    """What a .safetensors file, or a torch file by weights-only loading, holds, on the CPU.

    Raises BenchError where the file is missing, damaged, or holds more than tensors and plain containers.
    """
    with parsing(path, "a file of weights"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about pickle protocols, of no consequence
        if Path(path).suffix == ".safetensors":
            return load_file(path)
        _bounded(path)
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:  # torch's own words advise to load it unsafely
            raise BenchError(
                f"{path}: not a tensor file that is safe to load, or damaged; it may hold tensors and plain "
                "containers only. Save it as safetensors."
            ) from None


def find_state_dict(content: Any, path: Path | str) -> dict[str, Tensor]:
    """The state dict inside what a torch file held. Raises BenchError where there is none.

    Every entry of it must be a tensor.
    """
    if isinstance(content, Mapping):
        inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), content)
        if inner and all(isinstance(key, str) for key in inner):
            odd = sorted(key for key, value in inner.items() if not isinstance(value, Tensor))
            if not odd:
                return {key: value.detach() for key, value in inner.items()}
            if len(odd) < len(inner):
                raise BenchError(f"{path}: entries of the state dict are no tensors: {listed(odd)}.")
    raise BenchError(
        f"{path}: holds no state dict; expected names and tensors, or one of {', '.join(WRAPPERS)}."
    )


def strip_prefix(state: Mapping[str, Tensor], prefix: str, path: Path | str) -> dict[str, Tensor]:
    """Keep what follows the last `prefix` of each name. Raises BenchError where two names become one."""
    if not prefix:
        return dict(state)
    stripped: dict[str, Tensor] = {}
    for name, value in state.items():
        short = name.rpartition(prefix)[2]
        if short in stripped:
            raise BenchError(f"{path}: two tensors are named '{short}' after the prefix '{prefix}'.")
        stripped[short] = value
    return stripped


def take(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries below `prefix`, without it."""
    return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}


def load_strictly(
    module: torch.nn.Module, state: Mapping[str, Tensor], what: str, ignore: frozenset[str] = frozenset()
) -> None:
    """Load every tensor. Raises BenchError listing missing, surplus and misshapen names.

    ignore: names that the file may hold and the module does not need (integer buffers of old releases).
    """
    own = module.state_dict()
    given = {name: value for name, value in state.items() if name not in ignore}
    problems = {
        "missing": sorted(own.keys() - given.keys() - ignore),
        "surplus": sorted(given.keys() - own.keys()),
        "of another shape": [
            f"{name} {list(given[name].shape)} instead of {list(own[name].shape)}"
            for name in sorted(own.keys() & given.keys())
            if own[name].shape != given[name].shape
        ],
    }
    found = [f"{kind}: {listed(names)}" for kind, names in problems.items() if names]
    if found:
        raise BenchError(f"{what} does not fit the checkpoint; {'; '.join(found)}.")
    module.load_state_dict(given, strict=not ignore)


def listed(names: list[str], limit: int = 30) -> str:
    """Names in one line; of very many the first ones, and how many more."""
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")


def _bounded(path: Path | str) -> None:
    if zipfile.is_zipfile(path):
        bounded_zip(path, "a file of weights")


def _read_torch(path: Path) -> Any:
    """`read_weights`, and for files with pickled configuration the restricted reader."""
    with parsing(path, "a torch checkpoint"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        _bounded(path)
        with suppress(pickle.UnpicklingError):
            return torch.load(path, map_location="cpu", weights_only=True)
        try:
            return torch.load(path, map_location="cpu", weights_only=False, pickle_module=_pickle)
        except pickle.UnpicklingError as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
            raise BenchError(
                f"{path}: refused, {reason}; a checkpoint may hold tensors, plain containers and "
                "configuration only."
            ) from None
