"""Registries: decorator, lazy import, collision is an error, lookup suggests."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from benchmark.core.errors import BenchError, UnknownName

T = TypeVar("T")


class Registry(Generic[T]):
    """Names → objects. Built-ins are `module:attribute` strings, imported on first use.

    Plug-ins enter by the entry-point group `cxr_alignbench.<kind>s`.
    """

    def __init__(self, kind: str, builtin: dict[str, str] | None = None, hint: str = "") -> None:
        self.kind = kind
        self.group = f"cxr_alignbench.{kind}s"
        self.hint = hint
        self._lazy: dict[str, str] = dict(builtin or {})
        self._loaded: dict[str, T] = {}
        self._scanned = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator. The same object may be registered twice (re-import); another one may not."""

        def add(item: T) -> T:
            known = self._loaded.get(name)
            if known is not None and known is not item:
                same = getattr(known, "__module__", 0) == getattr(item, "__module__", 1)
                if not same or getattr(known, "__qualname__", 0) != getattr(item, "__qualname__", 1):
                    raise BenchError(f"{self.kind} '{name}' is registered twice; rename one of the two.")
            self._loaded[name] = item
            return item

        return add

    def names(self) -> list[str]:
        self._scan()
        return sorted({*self._lazy, *self._loaded})

    def get(self, name: str) -> T:
        """Raises UnknownName, with the nearest known name."""
        self._scan()
        if name not in self._loaded:
            if name not in self._lazy:
                raise UnknownName(self.kind, name, self.names(), self.hint)
            module, _, attribute = self._lazy[name].partition(":")
            self._loaded[name] = getattr(importlib.import_module(module), attribute)
        return self._loaded[name]

    def items(self) -> Iterable[tuple[str, T]]:
        return ((name, self.get(name)) for name in self.names())

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = True
        for point in entry_points(group=self.group):
            if point.name in self._lazy or point.name in self._loaded:
                raise BenchError(
                    f"{self.kind} '{point.name}' of plug-in {point.value} is already taken; rename it."
                )
            self._lazy[point.name] = point.value
