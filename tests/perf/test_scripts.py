"""Every script of `perf/`: whether a page names it, and whether --help says what it does."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [path for path in sorted((ROOT / "perf").glob("*.py")) if "__main__" in path.read_text("utf-8")]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_page_names_it_and_its_help_begins_with_its_docstring(script: Path) -> None:
    pages = "".join(path.read_text("utf-8") for path in (ROOT / "docs").rglob("*.md"))
    assert re.search(rf"perf/{script.name}|perf\.{script.stem}\b", pages), "no page of docs/ names it"
    text = script.read_text("utf-8")
    said = ast.get_docstring(ast.parse(text)) or ""
    assert re.search(rf"^    python (perf/{script.name}|-m perf\.{script.stem})", said, re.M), "no usage"
    assert re.search(r"described\(__doc__|device_parser\(__doc__\)", text), "--help is not its docstring"
