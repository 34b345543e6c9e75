"""Registries: a name is found in a file of the registry's folder or in an installed package, and loaded on
first use. Nothing is imported to list names, and no order of imports decides what a name means.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Generic, TypeVar, cast

from benchmark.core.errors import BenchError, UnknownName
from benchmark.core.files import names_a_folder

T = TypeVar("T")
EVERY = "all"
"""What stands for every name of a kind where a command takes one."""
GROUPS = "cxr_alignbench."
"""How the entry-point groups of every kind begin."""
NO_FOLDER = "results are kept under its name, which no folder can have; letters, digits and - do"
NO_NAME = "the word stands for all of them where a command takes a name; give it another one"


def offered() -> dict[str, tuple[EntryPoint, ...]]:
    """Group → what installed packages offer in it."""
    return _offered(tuple(sys.path))


@lru_cache(maxsize=1)
def _offered(_path: tuple[str, ...]) -> dict[str, tuple[EntryPoint, ...]]:
    """To look through the metadata of every package takes as long for one group as for all."""
    found = entry_points()
    return {group: tuple(found.select(group=group)) for group in found.groups if group.startswith(GROUPS)}


@dataclass(frozen=True)
class Offer:
    """Where a name is to be had. place: for messages. point: an entry point, or a `module:attribute` of this
    project as one. module: one that registers the name when it is imported. broken: why it cannot be read."""

    place: str
    point: EntryPoint | None = None
    module: str = ""
    broken: str = ""


class Registry(Generic[T]):
    """Names → objects of one kind: "method", "reader", …

    package: its files register by `@METHODS.register("name")`, or `METHODS.register("name")(value)`, at top
    level; the variable is the kind's plural in capitals. builtin: name → `module:attribute` for what no such
    call registers. Installed packages offer theirs by the entry-point group `cxr_alignbench.methods`.
    A name that two places offer as two things belongs to neither: `get` says so, and the other names work.
    """

    def __init__(
        self, kind: str, builtin: Mapping[str, str] | None = None, hint: str = "", package: str = ""
    ) -> None:
        self.kind = kind
        self.package = package
        self.group = f"{GROUPS}{kind}s"
        self.hint = hint
        self._builtin = dict(builtin or {})
        self._registered: dict[str, list[T]] = {}
        self._found: dict[str, list[Offer]] | None = None

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator. An object that is imported anew takes the place of its former self."""

        def add(item: T) -> T:
            others = [known for known in self._registered.get(name, []) if not _same(known, item)]
            self._registered[name] = [*others, item]
            return item

        return add

    def names(self) -> list[str]:
        """Every name, also of what cannot be loaded; nothing is imported for it."""
        return sorted({*self._offers(), *self._registered})

    def module_of(self, name: str) -> str | None:
        """The module that a name is loaded from, without importing it; None where there is none, it cannot be
        read, or more than one offers the name."""
        offers = self._offers().get(name, [])
        if len(offers) != 1 or offers[0].broken:
            return None
        point = offers[0].point
        return offers[0].module or (None if point is None else point.module)

    def get(self, name: str) -> T:
        """The object of this name.

        Raises UnknownName, with the nearest known name, and BenchError where its file or package fails to
        import or two places offer the name.
        """
        offers = self._offers().get(name, [])
        if not offers and name not in self._registered:
            raise UnknownName(self.kind, name, self.names(), self.hint)
        found: list[T] = []
        for offer in offers:
            if offer.broken:
                raise self._failed(name, offer, offer.broken)
            try:
                if offer.module:
                    importlib.import_module(offer.module)
                else:
                    found.append(cast(EntryPoint, offer.point).load())
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # foreign code may also end the process, or panic in Rust
                reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
                raise self._failed(name, offer, reason) from error
        for item in self._registered.get(name, []):
            if not any(_same(item, known) for known in found):
                found.append(item)
        if len(found) > 1:
            known = {offer.module or cast(EntryPoint, offer.point).module for offer in offers}
            others = [_module(item) for item in found if _module(item) not in known]
            if len(offers) == 1:  # what it names, and what its module registers
                others = [str(getattr(item, "__qualname__", item)) for item in found]
            places = " and ".join(dict.fromkeys([*map(_whole_place, offers), *others]))
            raise BenchError(f"{self.kind} '{name}' is registered twice ({places}); rename one of the two.")
        if not found:
            raise self._failed(name, offers[0], "importing it registers no such name")
        return found[0]

    def _failed(self, name: str, offer: Offer, reason: str) -> BenchError:
        return BenchError(
            f"{self.kind} '{name}' of {offer.place} cannot be loaded ({reason}). "
            f"Repair it or take it away; every other {self.kind} works."
        )

    def _offers(self) -> dict[str, list[Offer]]:
        if self._found is None:
            found: dict[str, list[Offer]] = {}
            for name, value in self._builtin.items():
                found.setdefault(name, []).append(Offer(value, EntryPoint(name, value, self.group)))
            for name, offer in self._of_package():
                found.setdefault(name, []).append(offer)
            for point in offered().get(self.group, ()):
                package = point.dist.name if point.dist is not None else "?"
                offer = Offer(f"package {package} ({point.value})", point)
                if all(offer.place != known.place for known in found.get(point.name, [])):
                    found.setdefault(point.name, []).append(offer)
            if EVERY in found:
                found[EVERY] = [replace(offer, broken=NO_NAME) for offer in found[EVERY]]
            for name in found:
                if not names_a_folder(name):
                    found[name] = [replace(offer, broken=NO_FOLDER) for offer in found[name]]
            self._found = found
        return self._found

    def _of_package(self) -> list[tuple[str, Offer]]:
        """What the files of the folder register, read from their text. A file that cannot be parsed is an
        offer of its own name, so that the name's message says what is wrong with the file."""
        spec = importlib.util.find_spec(self.package) if self.package else None
        found = []
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            for path in sorted(Path(folder).glob("*.py")):
                place = "/".join([*self.package.split("."), path.name])
                try:
                    names = _registrations(path, f"{self.kind}s".upper())
                except (SyntaxError, ValueError, OSError) as error:
                    reason = f"{type(error).__name__}: {error}"
                    found.append((path.stem, Offer(place, broken=reason)))
                    continue
                module = self.package if path.stem == "__init__" else f"{self.package}.{path.stem}"
                found += [(name, Offer(place, module=module)) for name in names]
        return found


@lru_cache(maxsize=64)
def tree_of(text: str, name: str) -> ast.Module:
    """The syntax tree of a module's text, which is read for its names and for what it declares. Raises
    SyntaxError and ValueError. name: of the file, for messages."""
    return ast.parse(text, name)


def _registrations(path: Path, variable: str) -> list[str]:
    """Names in the calls `<variable>.register("name")` at the top level of a file."""
    text = path.read_text(encoding="utf-8")
    tree, names = tree_of(text, path.name), []
    for statement in tree.body if f"{variable}.register(" in text else ():
        if isinstance(statement, ast.ClassDef | ast.FunctionDef):
            calls = [inner for decorator in statement.decorator_list for inner in ast.walk(decorator)]
        else:
            calls = list(ast.walk(statement))
        for call in calls:
            match call:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id=owner), attr="register"), args=[ast.Constant(name)]
                ) if owner == variable and isinstance(name, str):
                    names.append(name)
    return names


def _same(one: object, other: object) -> bool:
    """Whether two objects are one, or one and its self of an earlier import."""
    if one is other:
        return True
    named = hasattr(one, "__qualname__") and hasattr(other, "__qualname__")
    return named and (_module(one), one.__qualname__) == (_module(other), other.__qualname__)  # type: ignore[attr-defined]


def _whole_place(offer: Offer) -> str:
    """With the file that an entry point names, as a package may be known by its folder alone."""
    if offer.module or offer.point is None:
        return offer.place
    file = getattr(sys.modules.get(offer.point.module), "__file__", None)
    return f"{offer.place}, {file}" if file and offer.place.startswith("package ") else offer.place


def _module(item: object) -> str:
    return str(getattr(item, "__module__", type(item).__module__))
