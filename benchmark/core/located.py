"""YAML whose every value knows its line, for errors that name file and line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from benchmark.core.errors import BenchError
from benchmark.core.guard import MAX_YAML, parse_nodes, read_text

Loc = Sequence[int | str]
"""Where a value stands: the keys and list indices that lead to it."""


@dataclass(frozen=True)
class Located:
    """A YAML file that is a mapping. value: as read. node: the same with lines."""

    path: Path
    value: dict[str, Any]
    node: yaml.Node

    def follow(self, loc: Loc) -> tuple[int, bool]:
        """The line of the deepest part of `loc` that the file holds, and whether it holds all of it."""
        node, line = self.node, self.node.start_mark.line + 1
        for part in loc:
            if isinstance(node, yaml.MappingNode):
                found = next(((k, v) for k, v in node.value if k.value == str(part)), None)
                if found is None:
                    return line, False
                line, node = found[0].start_mark.line + 1, found[1]
            elif (
                isinstance(node, yaml.SequenceNode) and str(part).isdecimal() and int(part) < len(node.value)
            ):
                node = node.value[int(part)]
                line = node.start_mark.line + 1
            else:
                return line, False
        return line, True

    def place(self, loc: Loc) -> str:
        """`PATH:LINE` of the deepest part of `loc` that the file holds."""
        return f"{self.path}:{self.follow(loc)[0]}"

    def first_fault(self, problem: ValidationError, kinds: Sequence[str] = ()) -> tuple[str, Loc, str]:
        """`PATH:LINE`, keys and reason of the first fault. kinds: names of a tagged union, which pydantic
        puts among the keys and no file holds."""
        first = problem.errors()[0]
        loc = tuple(part for part in first["loc"] if part not in kinds)
        return self.place(loc), loc, first["msg"].removeprefix("Value error, ")


def read_located(path: Path, error: type[BenchError]) -> Located:
    """Raises `error`, naming file and line, where there is no file, no YAML or no mapping."""
    try:
        value, node = parse_nodes(read_text(path, "a YAML file", MAX_YAML), path)
    except BenchError as problem:
        raise error(str(problem)) from None
    if not isinstance(value, dict):
        raise error(f"{path}: must be a mapping of keys to values.")
    return Located(path, value, node)
