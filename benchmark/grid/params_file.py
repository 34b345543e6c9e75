"""From params.yaml, a profile and `--set` to validated parameters; an error says where it is from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from benchmark.core.errors import BenchError, ParamsError, closest
from benchmark.core.guard import parse_yaml
from benchmark.core.located import Loc, Located, read_located
from benchmark.core.settings import MethodConfig
from benchmark.core.tasks import TASKS, TaskSettings
from benchmark.core.validation import first_complaint
from benchmark.grid.asked import known_methods
from benchmark.grid.declared import declared, declared_task
from benchmark.grid.modality import on_volumes
from benchmark.grid.names import wrong_names
from benchmark.grid.params import Params, ablation_cell, main_cell
from benchmark.grid.robust_cells import under_setting

KEEP = "keep_cells"
"""Key of a profile: the cells of the file that it keeps; without it, all. With it, nothing is attributed,
which takes every combination."""
DEEPEST = 16
"""Most dots of a key in `--set`; nothing of params.yaml lies half as deep."""


def load_params(path: Path, profile: str | None = None, sets: Sequence[str] = ()) -> Params:
    """Read, apply a profile and `a.b=c` overrides, validate.

    Every profile of the file is validated too, asked for or not, and every cell is put together.
    Raises ParamsError naming the file and line (or the option), the key and the nearest known key.
    """
    file = read_located(path, ParamsError)
    profiles = file.value.get("profiles")
    for name in profiles if isinstance(profiles, dict) else ():
        _validated(apply_profile(file, name), _Source(file, name))
    asked = profile if profile is not None and profile != file.value.get("profile") else None
    raw = without_profiles(file) if asked is None else apply_profile(file, asked)
    options = {}
    for item in sets:
        keys, raw = _assign(raw, item)
        options[keys] = f"--set {'.'.join(keys)}"
    if {("methods",), ("cells",)} & set(options) and not any(keys[0] == "attribution" for keys in options):
        raw = {key: value for key, value in raw.items() if key != "attribution"}  # it names cells that go
    return _validated(raw, _Source(file, asked, options))


@dataclass(frozen=True)
class _Source:
    """Where the parts of parameters are from. options: keys → the option that gave them."""

    file: Located
    profile: str | None
    options: Mapping[tuple[str, ...], str] = field(default_factory=dict)

    def place(self, loc: Loc) -> str:
        """The option, or file and line."""
        keys = tuple(str(part) for part in loc)
        for given, option in reversed(list(self.options.items())):
            if given[: len(keys)] == keys or keys[: len(given)] == given:
                return option
        own = ("profiles", self.profile, *loc) if self.profile else ()
        return self.file.place(own if own and self.file.follow(own)[1] else loc)


def without_profiles(file: Located) -> dict[str, Any]:
    """The file's own values."""
    return {key: value for key, value in file.value.items() if key != "profiles"}


def apply_profile(file: Located, name: str) -> dict[str, Any]:
    """The overrides of `profiles.<name>` merged over the file.

    Raises ParamsError where there is no such profile, or it keeps or removes what is not there.
    """
    raw, profiles = without_profiles(file), file.value.get("profiles") or {}
    if not isinstance(profiles, dict) or name not in profiles:
        near = closest(name, map(str, profiles))
        hint = f" Did you mean '{near}'?" if near else ""
        known = f"there are {', '.join(map(str, profiles))}" if profiles else "this file has none"
        raise ParamsError(f"{file.path}: no profile '{name}' ({known}).{hint}")
    over = profiles[name]
    if not isinstance(over, dict):
        place = file.place(["profiles", name])
        raise ParamsError(f"{place}: profile '{name}' must be a mapping of keys to values.")
    own = {key: value for key, value in over.items() if key != KEEP}
    if KEEP in over:
        raw["cells"] = _kept(file, name, raw.get("cells") or {}, over[KEEP])
        raw.pop("attribution", None)
    for loc in _removed(own):
        _check_removal(file, name, raw, loc)
    return {**merge(raw, own), "profile": name}


def _kept(file: Located, profile: str, cells: Any, names: object) -> Any:
    """The cells that a profile keeps."""
    loc = ["profiles", profile, KEEP]
    if not isinstance(cells, dict):
        return cells  # for the validation to refuse
    if not isinstance(names, list):
        raise ParamsError(f"{file.place(loc)}: {'.'.join(loc)}: expected a list of names of cells.")
    for number, name in enumerate(names):
        if not isinstance(name, str) or name not in cells:
            near = closest(str(name), cells)
            hint = f" Did you mean '{near}'?" if near else ""
            place = file.place([*loc, number])
            raise ParamsError(f"{place}: {'.'.join(loc)}: there is no cell '{name}'.{hint}")
    return {name: cell for name, cell in cells.items() if name in names}


def _removed(over: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where a profile says `null`, which removes a key."""
    for key, value in over.items():
        if value is None:
            yield (*above, str(key))
        elif isinstance(value, dict):
            yield from _removed(value, (*above, str(key)))


def _check_removal(file: Located, profile: str, raw: Mapping[str, Any], loc: tuple[str, ...]) -> None:
    """A key that is removed must be one that the file has, or could have."""
    section: Any = raw
    for key in loc[:-1]:
        section = section.get(key) if isinstance(section, dict) else None
    known = [*(section if isinstance(section, dict) else ()), *known_keys(raw, loc[:-1])]
    if loc[-1] not in known:
        near = closest(loc[-1], map(str, known))
        hint = f" Did you mean '{near}'?" if near else ""
        place = file.place(["profiles", profile, *loc])
        key = ".".join(loc)
        raise ParamsError(f"{place}: profile '{profile}' removes '{key}', which is not there.{hint}")


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings merge key by key; `null` removes a key; everything else replaces."""
    result = dict(base)
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            below = result.get(key)
            result[key] = merge(below if isinstance(below, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def _assign(raw: dict[str, Any], item: str) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The keys of `a.b=c`, and a copy of `raw` with that value. Raises ParamsError."""
    key, sep, text = item.partition("=")
    keys = tuple(key.split("."))
    if not sep or not all(keys) or len(keys) > DEEPEST:
        raise ParamsError(f"--set {item:.60}: expected key=value, as in training.epochs=5.")
    try:
        value = parse_yaml(text, f"--set {key}")
    except BenchError as error:
        raise ParamsError(str(error)) from None
    result = section = dict(raw)
    for part in keys[:-1]:
        below = section.get(part)
        if below is not None and not isinstance(below, dict):
            raise ParamsError(f"--set {key}: '{part}' is a value, not a section.")
        section[part] = section = dict(below or {})
    section[keys[-1]] = value
    return keys, result


def _validated(raw: Mapping[str, Any], source: _Source) -> Params:
    try:
        params = Params.model_validate(raw)
    except ValidationError as error:
        raise ParamsError(_explained(error, raw, source)) from None
    for where, value in _not_finite(raw):
        text = f"{'.'.join(map(str, where))}: expected a finite number, got {value}."
        raise ParamsError(f"{source.place(where)}: {text}")
    for loc, text in wrong_names(params):
        raise ParamsError(f"{source.place(loc)}: {text}")
    volumes = on_volumes(params)
    for own, loc, make in (
        *((params, ("method", method), main_cell) for method in params.methods),
        *((params, ("cells", cell), ablation_cell) for cell in params.cells),
        *((volumes, ("ct", "cells", cell), ablation_cell) for cell in volumes.cells),
        *((params, ("robustness", "settings", name), under_setting) for name in params.robustness.settings),
    ):
        try:
            make(own, loc[-1])
        except ValidationError as error:
            said = first_complaint(error, lambda _: ()).reason
            raise ParamsError(f"{source.place(loc)}: {'.'.join(loc)}: {said}.") from None
        except ParamsError as error:
            raise ParamsError(f"{source.place(loc)}: {error}") from None
    return params


def _not_finite(value: object, above: Loc = ()) -> Iterator[tuple[Loc, float]]:
    """Where a number stands that no key can hold, as options of methods may be any number."""
    if isinstance(value, float) and not math.isfinite(value):
        yield above, value
    below = value.items() if isinstance(value, Mapping) else ()
    for key, inner in enumerate(value) if isinstance(value, list) else below:
        yield from _not_finite(inner, (*above, key))


def _explained(error: ValidationError, raw: Mapping[str, Any], source: _Source) -> str:
    """The first problem of a validation of `raw` as one line: file and line, key, reason, nearest key."""
    first = first_complaint(error, lambda parent: known_keys(raw, parent))
    place = source.place(first.keys)
    if first.unknown:
        return f"{place}: unknown key '{first.key}'.{first.guess}"
    if first.full:
        return f"{place}: {first.reason}"
    return f"{place}: {first.key or 'file'}: {first.reason} (got {first.got!r:.80})."


def known_keys(raw: Mapping[str, Any], parent: Sequence[str]) -> list[str]:
    """The keys that may stand at `parent`; none where they are names of the file's own."""
    model: type[BaseModel] = Params
    named = False
    for key in parent:
        if named:
            named = False
            if model is TaskSettings:
                return list(declared_task(key).Settings.model_fields) if key in TASKS.names() else []
            continue
        annotation = getattr(model.model_fields.get(key), "annotation", None)
        inner = _model_in(annotation)
        if inner is MethodConfig:
            return _options_of(raw, parent)
        model, named = inner or model, get_origin(annotation) is dict
    return [] if named else list(model.model_fields)


def _model_in(annotation: object) -> type[BaseModel] | None:
    parts = [annotation, *get_args(annotation), *(a for p in get_args(annotation) for a in get_args(p))]
    return next((p for p in parts if isinstance(p, type) and issubclass(p, BaseModel)), None)


def _options_of(raw: Mapping[str, Any], parent: Sequence[str]) -> list[str]:
    """The options of the method that `method.<name>`, `cells.<name>` or `ct.cells.<name>` changes; none where
    there is none."""
    entry: Any = raw
    for key in parent[:-1]:
        entry = entry.get(key) if isinstance(entry, dict) else None
    method = entry.get("method", parent[-2]) if isinstance(entry, dict) else parent[-2]
    return list(declared(method).Config.model_fields) if method in known_methods().names() else []
