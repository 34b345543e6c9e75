"""YAML whose every value knows its line, for errors that name file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from benchmark.core.errors import CardError


def read_located(path: Path) -> tuple[dict[str, Any], yaml.Node]:
    """YAML mapping and its node tree. A repeated key is an error; plain YAML keeps the last one."""
    loader_class = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        loader = loader_class(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise CardError(f"{path}: must be a mapping of keys to values.")
        _no_repeats(node, path)
        return loader.construct_document(node), node
    except FileNotFoundError:
        raise CardError(f"{path}: no such file.") from None
    except UnicodeDecodeError:
        raise CardError(f"{path}: not UTF-8 text.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise CardError(f"{path}{line}: not valid YAML ({getattr(error, 'problem', error)}).") from None


def _no_repeats(node: yaml.Node, path: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise CardError(f"{path}:{key.start_mark.line + 1}: key '{key.value}' occurs twice.")
            seen.add(key.value)
            _no_repeats(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _no_repeats(value, path)


def line_of(node: yaml.Node, loc: tuple[int | str, ...]) -> int:
    """Line of the deepest part of `loc` that the file holds."""
    line = node.start_mark.line + 1
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if found is None:
                continue
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line
