"""Switching params.yaml from one profile to another."""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import ParamsError
from benchmark.core.files import write_text
from benchmark.core.guard import parse_yaml, read_text
from benchmark.core.located import read_located
from benchmark.grid.layout import Project
from benchmark.grid.params_file import KEEP, apply_profile, load_params, merge

if TYPE_CHECKING:
    from ruamel.yaml.comments import CommentedMap

HEADER = "# Written by `bench stage profile {name}`; `git checkout params.yaml` brings the default back.\n"


def write_profile(project: Project, name: str) -> str:
    """Merge `profiles.<name>` over params.yaml and write it back, validated before anything is written.

    The file keeps its comments and its layout, and holds this profile alone, so that no other one can be
    merged over it by mistake. Raises ParamsError where there is no such profile, or the file is built of
    aliases, of which a change of one would change the others.
    """
    from ruamel.yaml import YAML

    load_params(project.params, name)
    merged = apply_profile(read_located(project.params, ParamsError), name)
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 1_000_000, True
    yaml.indent(mapping=2, sequence=4, offset=2)
    document: CommentedMap = yaml.load(read_text(project.params))
    over = document.pop("profiles")[name]
    if KEEP in over:
        document.pop("attribution", None)  # it names cells that go
        for cell in [cell for cell in document["cells"] if cell not in over[KEEP]]:
            del document["cells"][cell]
    _merge_into(document, {key: value for key, value in over.items() if key != KEEP})
    document["profile"] = name
    written = io.StringIO()
    yaml.dump(document, written)
    text = HEADER.format(name=name) + written.getvalue()
    if parse_yaml(text, project.params) != merged:
        raise ParamsError(
            f"{project.params}: write its aliases (*name) out, so that each can be changed alone."
        )
    write_text(project.params, text)
    return f"params.yaml now holds profile '{name}'."


def _merge_into(document: CommentedMap, over: Mapping[str, Any]) -> None:
    """`merge` of benchmark.grid.params_file, in place. What is taken over is copied, as a value that stands
    twice would be written as an anchor and its alias."""
    for key, value in over.items():
        if value is None:
            document.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(document.get(key), Mapping):
            _merge_into(document[key], value)
        else:
            document[key] = copy.deepcopy(merge({}, value) if isinstance(value, Mapping) else value)
