"""The one rule of reuse: what is on disk is used again only if it was made under an equal key.

A key is made of named parts: the settings that act on the artifact, the content of what it was made from, and
the source of the modules that make it. The mark beside an artifact records the key, the hash of each part (so
that a rerun can say which of them changed) and the content of the files it stands for.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmark.core import hashing
from benchmark.core.errors import BenchError
from benchmark.core.files import read_json, write_json
from benchmark.core.hashing import hash_file, hash_strings, hash_value
from benchmark.core.kept_code import Code, KeptCode
from benchmark.core.plug_ins import data_of, plug_ins

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

    Size and times are compared first, as large files are not read at every start: the time of change, and
    that at which the file itself changed, which cannot be set back with the content. Where one differs, or an
    older mark lacks it, the content decides, and the mark takes the times of now if its folder takes files.
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
        with suppress(BenchError):
            write_json(mark, {**known, "files": now})
    return True


def record(mark: Path, key: Key, files: Files) -> None:
    """Write the mark of files that were made under this key. Raises BenchError for one that is missing."""
    seen = {}
    for path in _listed(files):
        if not path.is_file():
            raise BenchError(f"{path}: was not written. Run the same command again.")
        seen[_name(path, mark)] = {**_stat(path), "sha256": hash_file(path)}
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
    """The entry of a file that is as it was, with its times of now; None where it is not."""
    if not isinstance(known, dict) or not path.is_file():
        return None
    now = {**_stat(path), "sha256": known.get("sha256")}
    if now == known:
        return now
    same = now["size"] == known.get("size") and hash_file(path) == now["sha256"]
    return now if same else None


def _stat(path: Path) -> dict[str, int]:
    """Without the number on the disk, which some network folders give anew at each start: all of a cache of
    features would be read again."""
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "ctime_ns": status.st_ctime_ns}


_kept: KeptCode | None = None


def keep_code_in(place: Path) -> None:
    """Let `source` keep in this file what it reads of modules, and use what it holds of those that are as
    they were; other processes may do so too."""
    global _kept
    if _kept is None or _kept.place != place:
        rules = [hash_file(__file__), hash_file(str(hashing.__file__)), sys.version]
        _kept = KeptCode(place, hash_strings(rules))


@lru_cache(maxsize=256)
def source(*modules: str) -> str:
    """Hash of the code of these modules and of every module of this project, and of their own packages, that
    they import.

    Comments, docstrings and layout do not count. Imports for type checking only do not run and are left out.
    What a registry loads by name is not followed: name its module too, or `package.*`, which stands for every
    module below a package. Of a plug-in every module that came with it is its own, and of a package the files
    beside its modules count too, as it may read them. Raises ModuleNotFoundError.
    """
    seen: dict[str, str] = {}
    waiting = [name for given in modules for name in _named(given)]
    foreign = {name: place for name, place in plug_ins().items() if name not in ROOTS}
    roots = frozenset([*ROOTS, *foreign, *(name.partition(".")[0] for name in waiting)])
    while waiting:
        name = waiting.pop()
        if name in seen or name in CANNOT_CHANGE_NUMBERS:
            continue
        seen[name], imports = _code(name, roots)
        waiting += [*imports, *_ours(name, frozenset(foreign))]
        if name in foreign and (data := [*data_of(foreign[name])]):
            seen[name] = hash_strings([seen[name], *data])
    if _kept is not None:
        _kept.save()
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
    digest, imports = _parsed(path) if _kept is None else _kept.code_of(path, _parsed)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return digest, tuple(dict.fromkeys(_followed(imports, package, roots)))


def _parsed(path: Path) -> Code:
    """What one file says, whatever other files do."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports = tuple(_imports(tree))
    for node in _statements(tree):
        if isinstance(node, _DOCUMENTED):
            _strip(node)
    return Code(hash_strings([ast.dump(tree)]), imports)


_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
"""Fields of a statement that hold statements, or what holds them; expressions hold none."""


def _statements(tree: ast.AST, typing: bool = True) -> Iterable[ast.AST]:
    """A module and every statement in it. typing: those under `if TYPE_CHECKING` too."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for block in _BLOCKS:
            if typing or block != "body" or not _for_types(node):
                waiting += getattr(node, block, ())


def _for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def _strip(node: Any) -> None:
    """Remove a docstring, which computes nothing."""
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        node.body = node.body[1:] or [ast.Pass()] if isinstance(first.value.value, str) else node.body


def _imports(tree: ast.AST) -> Iterable[tuple[str, tuple[str, ...]]]:
    """(module, names taken from it) of every import that runs; a module relative to its package has the dots
    before its name."""
    for node in _statements(tree, typing=False):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or ""), tuple(alias.name for alias in node.names)


def _followed(
    imports: Iterable[tuple[str, tuple[str, ...]]], package: str, roots: frozenset[str]
) -> Iterable[str]:
    """The modules below `roots` that these imports of a module in `package` run."""
    for written, names in imports:
        own = written.lstrip(".")
        level = len(written) - len(own)
        base = package.rsplit(".", level - 1)[0] if level else ""
        module = ".".join(part for part in (base, own) if part)
        yield from _ours(module, roots)
        for name in names if module.partition(".")[0] in roots else ():
            if _file_of(f"{module}.{name}") is not None:
                yield from _ours(f"{module}.{name}", roots)


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
