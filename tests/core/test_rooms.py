"""The rooms of the package import one way, so that each can be read without those above it."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = (
    "core", "methods", "data", "prompts", "encoders", "twins", "evaluation", "training", "official", "score",
    "grid", "stages", "exchange", "reporting", "commands",
)  # fmt: skip
"""Each room may import those before it. `methods` and `twins` see less: see SEEN."""
SEEN = {"methods": {"core"}, "twins": {"core", "data", "prompts"}}


def room_of(module: str) -> str:
    first, *rest = module.split(".")
    return first if first == "methods" else rest[0] if rest else ""


def imports(tree: ast.Module) -> set[str]:
    """Rooms that running the module imports, at the start or inside a function: not those for types alone."""
    found, waiting = set(), [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [str(node.module)]
        found |= {room_of(n) for n in names if n.split(".")[0] in ("benchmark", "methods")}
        waiting += ast.iter_child_nodes(node)
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_imports_against_the_current(room: str) -> None:
    folder = ROOT / ("methods" if room == "methods" else f"benchmark/{room}")
    allowed = SEEN.get(room, set(ROOMS[: ROOMS.index(room)])) | {room, ""}
    against = {
        str(path.relative_to(ROOT)): seen
        for path in folder.rglob("*.py")
        if (seen := imports(ast.parse(path.read_text(encoding="utf-8"))) - allowed)
    }
    assert not against


def test_every_room_has_its_place() -> None:
    assert {p.name for p in (ROOT / "benchmark").iterdir() if p.is_dir() and any(p.glob("*.py"))} <= {*ROOMS}


def test_no_two_classes_have_one_name() -> None:
    files = [path for top in ("benchmark", "methods") for path in (ROOT / top).rglob("*.py")]
    names = (n for path in files for n in re.findall(r"^class (\w+)", path.read_text(encoding="utf-8"), re.M))
    assert not {name for name, count in Counter(names).items() if count > 1}
