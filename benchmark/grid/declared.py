"""What a method or task says of itself, without the torch of its equations: options, settings, title, looks.

Importing one costs more than most answers of `bench`. Here its file is read instead: of a class of equations
the attributes and the few functions about settings are carried out, of options the whole class, so that they
are validated as ever. What cannot be had so is imported: plug-ins, and files that do more at the top than
declare. Once methods are imported they are what is given.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from contextlib import suppress
from copy import copy
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel, ValidationError

from benchmark.core import tasks
from benchmark.core.errors import BenchError
from benchmark.core.registry import Registry, tree_of
from benchmark.core.settings import MethodConfig
from benchmark.core.tasks import TASKS, Task, TaskSettings
from benchmark.grid.asked import known_methods

if TYPE_CHECKING:
    from methods.base import Method

SETTINGS = ("settings", "recipe", "__init_subclass__")
"""The functions of a method that its declaration keeps: they give values and touch no tensor."""
READ = ("methods.", "benchmark.evaluation.tasks.")
"""Packages whose files are read."""
TORCH = "torch"


class NeedsImport(Exception):
    """A declaration that needs what only an import gives."""


def declared(name: str) -> type[Method]:
    """The class of a method, or what stands for it: the same attributes, `Config`, `settings` and `recipe`.

    Raises UnknownName, and BenchError where the method cannot be loaded.
    """
    if "methods.base" not in sys.modules and (kind := _declared(known_methods(), "METHODS", name)):
        return cast("type[Method]", kind)
    from methods.base import METHODS

    return METHODS.get(name)


def declared_task(name: str) -> type[Task]:
    """The class of a task, or what stands for it: the same attributes and `Settings`, of the functions those
    of `Task`. Raises UnknownName, and BenchError where the task cannot be loaded."""
    return cast("type[Task] | None", _declared(TASKS, "TASKS", name)) or TASKS.get(name)


def _declared(registry: Registry[Any], variable: str, name: str) -> Any:
    module = registry.module_of(name)
    if module is not None and module.startswith(READ):
        with suppress(Exception):  # whatever it is, importing the file says it in its own words
            return _read(module).registered(variable, name)
    return None


def task_settings(given: object) -> dict[str, TaskSettings]:
    """`benchmark.core.tasks.task_settings`, each task as its file declares it."""
    known = TASKS.names()
    if isinstance(given, Mapping):
        given = {name: _settings(name, own) if name in known else own for name, own in given.items()}
    return tasks.task_settings(given)


def _settings(name: str, value: object) -> object:
    """The settings of a task; what is wrong with them is left for the task to say."""
    asked = {"datasets": value} if isinstance(value, list) else value
    try:
        return declared_task(name).Settings.model_validate(asked)
    except (ValidationError, BenchError):
        return value


def about(kind: type[Method]) -> str:
    """What the file of a method says of it, or else its class."""
    module = kind.__module__
    imported = sys.modules.get(module)
    return ((imported.__doc__ if imported else _read(module).doc) or kind.__doc__ or "").strip()


def configure(name: str, options: Mapping[str, Any]) -> MethodConfig:
    """Options → the method's frozen Config. Raises what `methods.base.configure` raises."""
    try:
        return declared(name).Config.model_validate(options)
    except ValidationError:
        from methods import base

        return base.configure(name, options)


@lru_cache
def _read(module: str) -> _Declarations:
    return _Declarations(module)


class _Declarations:
    """The top level of a module, of which single names are carried out when they are asked for."""

    def __init__(self, module: str) -> None:
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise NeedsImport(module)
        path = Path(spec.origin)
        tree = tree_of(path.read_text(encoding="utf-8"), path.name)
        self.doc = ast.get_docstring(tree)
        self._module = module
        self._values: dict[str, Any] = {"__name__": module}
        self._statements: dict[str, ast.stmt] = {}
        self._running: set[str] = set()
        self._registered: dict[tuple[str, str], Any] = {}
        for statement in tree.body:
            self._statements |= dict.fromkeys(_bound(statement), statement)

    def registered(self, variable: str, name: str) -> Any:
        """The class that the module registers under a name."""
        if (variable, name) not in self._registered:
            call = f"{variable}.register({name!r})"
            classes = [own for own in self._statements.values() if isinstance(own, ast.ClassDef)]
            own = next((c for c in classes if call in map(ast.unparse, c.decorator_list)), None)
            if own is None:
                raise NeedsImport(name)
            self._registered[variable, name] = self.value(own.name)
        return self._registered[variable, name]

    def value(self, name: str) -> Any:
        """What a name of the module stands for."""
        if name not in self._values:
            if name in self._running or name not in self._statements:
                raise NeedsImport(f"{self._module}: {name}")
            self._running.add(name)
            statement = self._statements[name]
            if TORCH in _roots(statement):
                raise NeedsImport(f"{self._module}: {name}")
            if isinstance(statement, ast.ImportFrom):
                self._values[name] = _imported(statement, name)
            else:
                self._carry_out(self._shorn(statement) if isinstance(statement, ast.ClassDef) else statement)
        return self._values[name]

    def _carry_out(self, statement: ast.stmt) -> None:
        """With every name of the module that the statement reads. Annotations are evaluated: pydantic could
        not look their names up in a module that is not imported."""
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and node.id in self._statements and node.id not in self._running:
                self.value(node.id)
        code = compile(ast.Module([statement], []), self._module, "exec", dont_inherit=True)
        exec(code, self._values)  # noqa: S102  (as importing the file would)

    def _shorn(self, own: ast.ClassDef) -> ast.ClassDef:
        """Options as they are; of any other class what needs no tensor."""
        bases = [base for base in own.bases if not self._of_torch(base)]
        found = [self.value(base.id) for base in bases if isinstance(base, ast.Name)]
        if any(isinstance(base, type) and issubclass(base, BaseModel) for base in found):
            return own
        shorn = copy(own)
        shorn.bases, shorn.decorator_list, shorn.body = bases, [], [ast.Pass()]
        for statement in own.body:
            if isinstance(statement, ast.AnnAssign) and statement.value is not None:
                shorn.body.append(ast.Assign([statement.target], statement.value))
            elif isinstance(statement, ast.Assign) or getattr(statement, "name", "") in SETTINGS:
                shorn.body.append(statement)
        shorn.body.append(ast.parse(f"__doc__ = {ast.get_docstring(own, clean=False)!r}").body[0])
        return ast.fix_missing_locations(shorn)

    def _of_torch(self, base: ast.expr) -> bool:
        first = next(node.id for node in ast.walk(base) if isinstance(node, ast.Name))
        return TORCH in _roots(self._statements.get(first))


def _bound(statement: ast.stmt) -> list[str]:
    """The names that a statement at the top of a module binds. Raises NeedsImport for one that does more than
    declare, and for an import that would fail."""
    if any(importlib.util.find_spec(root) is None for root in _roots(statement)):
        raise NeedsImport(ast.unparse(statement))
    match statement:
        case ast.Import(names) | ast.ImportFrom(names=names, level=0):
            return [alias.asname or alias.name.partition(".")[0] for alias in names]
        case ast.ClassDef(name) | ast.FunctionDef(name):
            return [name]
        case ast.Assign(targets):
            return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
        case ast.AnnAssign(target=ast.Name(name)):
            return [name]
        case ast.Expr(ast.Constant(str())) | ast.If(test=ast.Name("TYPE_CHECKING")):
            return []
    raise NeedsImport(ast.unparse(statement))


def _roots(statement: ast.stmt | None) -> list[str]:
    """The packages that an import is from."""
    if isinstance(statement, ast.ImportFrom):
        return [str(statement.module).partition(".")[0]]
    return [a.name.partition(".")[0] for a in statement.names] if isinstance(statement, ast.Import) else []


def _imported(statement: ast.ImportFrom, name: str) -> Any:
    """What `from … import` gives, of another file of methods without importing it."""
    own = next(alias.name for alias in statement.names if (alias.asname or alias.name) == name)
    module = str(statement.module)
    if module.startswith(READ):
        return _read(module).value(own)
    return getattr(importlib.import_module(module), own)
