"""Fixtures on disk: inputs, official weights and official outputs of one case.

Two layouts are read: `<case>.json` that names its npz files, and a stand-alone npz whose settings are
the JSON text in its array `cfg`. Nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.core.errors import BenchError
from benchmark.core.files import read_json
from benchmark.core.guard import parse_json, parsing


@dataclass(frozen=True)
class Fixture:
    """One case. info: settings. arrays: name → array. read: names that a case has asked for."""

    path: Path
    info: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]
    read: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        return f"{self.path.parent.name}/{self.path.stem}"

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def array(self, name: str) -> np.ndarray:
        """Raises BenchError where the fixture lacks the array."""
        if name not in self.arrays:
            raise BenchError(f"{self.path}: array '{name}' is missing; the case cannot be run without it.")
        self.read.add(name)
        return self.arrays[name]

    def tensor(self, name: str, *, grad: bool = False) -> Tensor:
        """A fresh tensor; with `grad`, a leaf that collects a gradient."""
        value = torch.from_numpy(np.array(self.array(name)))
        return value.requires_grad_() if grad else value

    def strings(self, name: str) -> list[Any]:
        """A unicode array as nested lists of str."""
        values: list[Any] = self.array(name).tolist()
        return values

    def setting(self, name: str) -> Any:
        """Raises BenchError where the fixture lacks the setting."""
        if name not in self.info:
            raise BenchError(f"{self.path}: setting '{name}' is missing; the case cannot be run without it.")
        self.read.add(f"json/{name}")
        return self.info[name]

    def under(self, prefix: str) -> dict[str, np.ndarray]:
        """Arrays whose name starts with `prefix`, without it."""
        return {k[len(prefix) :]: v for k, v in self.arrays.items() if k.startswith(prefix)}

    def state(self, prefix: str = "state/", *, grad: bool = False) -> dict[str, Tensor]:
        """Official weights. Raises BenchError where there are none."""
        found = self.under(prefix)
        if not found:
            raise BenchError(f"{self.path}: no array '{prefix}…'; the case cannot be run without weights.")
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in found.items()}
        if grad:
            for value in tensors.values():
                if value.is_floating_point():
                    value.requires_grad_()
        return tensors

    def sibling(self, hint: str) -> Fixture:
        """The case in the same folder whose weights this one uses.

        hint: its npz name, or words of its name ("linear_random (…)": then the shortest name with
        all of these words and with weights).
        """
        stem = hint.split(" ")[0].removesuffix(".npz")
        exact = self.path.with_name(f"{stem}.json")
        if exact.is_file():
            return load_fixture(exact)
        words = set(stem.split("_"))
        near = sorted(
            (p for p in self.path.parent.glob("*.json") if words <= set(p.stem.split("_"))),
            key=lambda p: (len(p.stem), p.stem),
        )
        for path in near:
            case = load_fixture(path)
            if case.under("state/"):
                return case
        raise BenchError(f"{self.path}: no case '{stem}' beside it to take the weights from.")


def find_fixtures(paths: Iterable[Path | str]) -> list[Path]:
    """Case files (JSON, or npz that no JSON claims) under files and folders, sorted, each once.

    Raises BenchError where a path does not exist or nothing is found.
    """
    found: dict[Path, None] = {}
    for given in map(Path, paths):
        if given.is_dir():
            candidates = sorted(p for p in given.rglob("*") if p.suffix in (".json", ".npz"))
        elif given.is_file():
            candidates = [given]
        else:
            raise BenchError(
                f"{given}: no such file or folder. Give fixture files or folders that hold them."
            )
        for path in candidates:
            found.setdefault(_owner(path) if path.suffix == ".npz" else path, None)
    if not found:
        raise BenchError(f"no fixture (.json or .npz) in {', '.join(map(str, paths))}.")
    return list(found)


def load_fixture(path: Path) -> Fixture:
    """Read one case. Raises BenchError where a file or array is missing, malformed or of another shape."""
    if path.suffix == ".npz":
        arrays = _read_npz(path)
        info = _parse_cfg(path, arrays["cfg"]) if "cfg" in arrays else {}
        return Fixture(path, info, arrays)
    info = read_json(path)
    if not isinstance(info, dict):
        raise BenchError(f"{path}: a fixture is a JSON object, this is a {type(info).__name__}.")
    arrays = {}
    for name in _files(info, path):
        arrays.update(_read_npz(path.with_name(Path(name).name)))
    declarations = info.get("arrays") or {}
    whole = isinstance(declarations, dict) and all(
        isinstance(own, dict) and isinstance(own.get("shape"), list) and "dtype" in own
        for own in declarations.values()
    )
    if not whole:
        raise BenchError(f"{path}: 'arrays' is no object of names, each with its shape and dtype.")
    for name, declared in declarations.items():
        if name not in arrays:
            raise BenchError(f"{path}: array '{name}' is declared but in none of its files.")
        have = arrays[name]
        if list(have.shape) != list(declared["shape"]) or have.dtype.name != declared["dtype"]:
            raise BenchError(
                f"{path}: array '{name}' is {have.dtype.name} {list(have.shape)}, "
                f"declared as {declared['dtype']} {declared['shape']}."
            )
    return Fixture(path, info, arrays)


def _owner(npz: Path) -> Path:
    """The JSON case beside an npz that lists it, else the npz itself."""
    for path in sorted(npz.parent.glob("*.json")):
        if npz.name.startswith(path.stem):
            info = read_json(path)
            if isinstance(info, dict) and npz.name in _files(info, path):
                return path
    return npz


def _files(info: Mapping[str, Any], path: Path) -> list[str]:
    """Names of the npz files of a JSON case. Raises BenchError where they are no list of names."""
    names = info.get("files", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BenchError(f"{path}: 'files' is no list of names of npz files.")
    return names


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    hint = "It may hold plain arrays only."
    with parsing(path, "an npz file", hint), np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _parse_cfg(path: Path, value: np.ndarray) -> dict[str, Any]:
    info = parse_json(str(value), f"{path}: array 'cfg'")
    if not isinstance(info, dict):
        raise BenchError(f"{path}: array 'cfg' is not a JSON object.")
    return info
