"""The one rule of reuse: what is on disk is used again only if it was made under an equal key.

A key is made of named parts: the settings that act on the artifact, the content of what it was made from, and
the source of the modules that make it. The mark beside an artifact records the key, the hash of each part (so
that a rerun can say which of them changed) and the content of the files it stands for.
"""

from __future__ import annotations

import ast
import importlib.util
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmark.core.errors import BenchError
from benchmark.core.files import read_json, write_json
from benchmark.core.hashing import hash_file, hash_strings, hash_value

ROOTS = ("benchmark", "methods")
"""Packages whose imports `source` follows; the version of another package is a part of its own in a key."""

_SILENT = ("errors", "files", "guard", "locks", "progress", "registry", "reuse", "validation", "workers")
CANNOT_CHANGE_NUMBERS = frozenset(["benchmark", *(f"benchmark.core.{name}" for name in _SILENT)])
"""Modules that a key leaves out: they find, refuse, report, lock and write, and compute nothing."""


@dataclass(frozen=True)
class Key:
    """parts: name → hash of what was given under that name. digest: hash of all of them."""

    parts: Mapping[str, str]

    @property
    def digest(self) -> str:
        return hash_value(dict(self.parts))

    def changed(self, known: Mapping[str, str]) -> tuple[str, ...]:
        """Names of the parts that differ from those of an older key."""
        names = {*self.parts, *known}
        return tuple(sorted(n for n in names if self.parts.get(n) != known.get(n)))


def key_of(**parts: Any) -> Key:
    """A key from JSON-serialisable parts; another `Key` counts by its digest.

    Raises TypeError for a part that is not JSON-serialisable: its content must be hashed first.
    """
    return Key({n: hash_value(p.digest if isinstance(p, Key) else p) for n, p in sorted(parts.items())})


@dataclass(frozen=True)
class Reused:
    """reused: found as it was made. why: the parts that differed where it was made again, () where nothing
    was there before."""

    reused: bool
    why: tuple[str, ...] = ()

    def __str__(self) -> str:
        """`reused`, `made`, or `made again: settings, source changed`."""
        if self.reused:
            return "reused"
        return f"made again: {', '.join(self.why)} changed" if self.why else "made"


Files = Iterable[Path] | Callable[[], Iterable[Path]]
"""What an artifact consists of; a function where `make` decides which files there are."""


def reuse(mark: Path, key: Key, files: Files, make: Callable[[], object]) -> Reused:
    """Keep `files` where `mark` says that they were made under `key` and they are as they were; else `make`.

    mark: a JSON file of its own for each artifact. files: what `make` writes. The old mark goes first, so
    that a killed `make` leaves nothing that would be reused. Callers hold the lock of the folder. Raises
    BenchError where `make` left a file unwritten.
    """
    if is_made(mark, key, files):
        return Reused(True)
    why = changes(mark, key)
    mark.unlink(missing_ok=True)
    make()
    record(mark, key, files)
    return Reused(False, why)


def changes(mark: Path, key: Key) -> tuple[str, ...]:
    """What differs from what `mark` saw: parts of the key, else `files`; () where it saw nothing."""
    known = _read(mark)
    return (key.changed(known["parts"]) or ("files",)) if known else ()


def is_made(mark: Path, key: Key, files: Files) -> bool:
    """Whether these very files were recorded under this key and every one is as it was then.

    Size and time of change are compared first, as large files are not read at every start; where the time
    differs and the content does not, the mark takes the new time.
    """
    known = _read(mark)
    if known is None or known["key"] != key.digest:
        return False
    found = {_name(path, mark): path for path in _listed(files)}
    if found.keys() != known["files"].keys():
        return False
    now = {name: _seen(path, known["files"][name]) for name, path in found.items()}
    if None in now.values():
        return False
    if now != known["files"]:
        write_json(mark, {**known, "files": now})
    return True


def record(mark: Path, key: Key, files: Files) -> None:
    """Write the mark of files that were made under this key. Raises BenchError for one that is missing."""
    seen = {}
    for path in _listed(files):
        if not path.is_file():
            raise BenchError(f"{path}: was not written. Run the same command again.")
        seen[_name(path, mark)] = {"sha256": hash_file(path), **_stat(path)}
    write_json(mark, {"key": key.digest, "parts": dict(key.parts), "files": seen})


def _listed(files: Files) -> tuple[Path, ...]:
    return tuple(files() if callable(files) else files)


def _name(path: Path, mark: Path) -> str:
    """Relative to the mark, so that a folder that was moved is still known."""
    return Path(os.path.relpath(path, mark.parent)).as_posix()


def _read(mark: Path) -> dict[str, Any] | None:
    """A mark that cannot be read counts as none: what it stood for is made again."""
    try:
        known = read_json(mark)
    except BenchError:
        return None
    shaped = isinstance(known, dict) and isinstance(known.get("parts"), dict)
    return known if shaped and isinstance(known.get("files"), dict) and "key" in known else None


def _seen(path: Path, known: Any) -> dict[str, Any] | None:
    """The entry of a file that is as it was, with its time of now; None where it is not."""
    if not isinstance(known, dict) or not path.is_file():
        return None
    now = _stat(path)
    if now["size"] != known.get("size"):
        return None
    if now["mtime_ns"] == known.get("mtime_ns") or hash_file(path) == known.get("sha256"):
        return {"sha256": known.get("sha256"), **now}
    return None


def _stat(path: Path) -> dict[str, int]:
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}


@lru_cache(maxsize=256)
def source(*modules: str) -> str:
    """Hash of the code of these modules and of every module of this project, and of their own packages, that
    they import.

    Comments, docstrings and layout do not count. Imports for type checking only do not run and are left out.
    What a registry loads by name is not followed: name its module too, or `package.*`, which stands for every
    module below a package. Raises ModuleNotFoundError.
    """
    seen: dict[str, str] = {}
    waiting = [name for given in modules for name in _named(given)]
    roots = frozenset([*ROOTS, *(name.partition(".")[0] for name in waiting)])
    while waiting:
        name = waiting.pop()
        if name in seen or name in CANNOT_CHANGE_NUMBERS:
            continue
        seen[name], imports = _code(name, roots)
        waiting += imports
    return hash_strings(part for name in sorted(seen) for part in (name, seen[name]))


def _named(name: str) -> list[str]:
    package = name.removesuffix(".*")
    if package == name:
        return [name]
    path = _file_of(package)
    if path is None:
        raise ModuleNotFoundError(f"{package}: no such package")
    below = (file.relative_to(path.parent).with_suffix("") for file in sorted(path.parent.rglob("*.py")))
    return [".".join((package, *p.parts)).removesuffix(".__init__") for p in below]


@lru_cache(maxsize=1024)
def _code(name: str, roots: frozenset[str]) -> tuple[str, tuple[str, ...]]:
    """The hash of one module's code, and the modules below `roots` that it imports."""
    path = _file_of(name)
    if path is None:
        raise ModuleNotFoundError(f"{name}: no source file")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    imports = tuple(dict.fromkeys(_imports(tree, package, roots)))
    return hash_strings([ast.dump(_Bare().visit(tree))]), imports


class _Bare(ast.NodeTransformer):
    """Removes docstrings, which compute nothing."""

    def _strip(self, node: Any) -> Any:
        self.generic_visit(node)
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            node.body = node.body[1:] or [ast.Pass()] if isinstance(first.value.value, str) else node.body
        return node

    visit_Module = visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = _strip


def _imports(tree: ast.AST, package: str, roots: frozenset[str]) -> Iterable[str]:
    skipped = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for part in node.body
        for inner in ast.walk(part)
    }
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (n for alias in node.names for n in _ours(alias.name, roots))
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield from _ours(module, roots)
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                if module.partition(".")[0] in roots and _file_of(inner) is not None:
                    yield from _ours(inner, roots)


def _ours(name: str, roots: frozenset[str]) -> list[str]:
    """A module below `roots` and the packages around it, whose __init__ runs too."""
    parts = name.split(".")
    return [".".join(parts[: k + 1]) for k in range(len(parts))] if parts[0] in roots else []


@lru_cache(maxsize=2048)
def _file_of(name: str) -> Path | None:
    """The source file of a module; only the packages around it are imported, as `find_spec` needs them. What
    stands in a module that is no package is a name of it, for which the module need not be imported."""
    above = _file_of(name.rpartition(".")[0]) if "." in name else None
    if above is not None and above.name != "__init__.py":
        return None
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec is not None and spec.origin and spec.has_location else None
