"""Nothing that only some systems have is imported at start."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ONLY_UNIX = {"crypt", "curses", "fcntl", "grp", "nis", "posix", "pty", "pwd", "readline", "resource", "spwd"}
ONLY_UNIX |= {"syslog", "termios", "tty"}
ONLY_WINDOWS = {"_winapi", "msvcrt", "winreg", "winsound"}
FILES = sorted(p for folder in ("benchmark", "methods") for p in (ROOT / folder).rglob("*.py"))


def imported_at_start(tree: ast.Module) -> set[str]:
    """Modules that importing the file imports: not those inside functions."""
    found, waiting = set(), list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").split(".")[0])
        waiting += ast.iter_child_nodes(node)
    return found


def test_the_walk_sees_what_runs() -> None:
    tree = ast.parse(
        "if x:\n    import fcntl\ndef f():\n    import pwd\nclass A:\n    from grp import getgrall\n"
    )
    assert imported_at_start(tree) == {"fcntl", "grp"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_can_be_imported_anywhere(path: Path) -> None:
    found = imported_at_start(ast.parse(path.read_text(encoding="utf-8")))
    assert not found & (ONLY_UNIX | ONLY_WINDOWS)
