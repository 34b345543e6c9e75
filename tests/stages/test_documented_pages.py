"""What README.md, docs/ and the pages beside them point at is there, and their tables are tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "results-registry/README.md",
]
MADE = (
    "reports/grid",
    "reports/figures",
    "reports/tables/own_report",
    "benchmark/evaluation/tasks/own_report",
)
"""What commands or readers make."""
OURS = "benchmark|datasets|docs|methods|perf|reports|results-registry|tests"


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub and MkDocs make them, and of its `<a id>`."""
    heads = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in heads}
    return made | set(re.findall(r'<a id="([^"]+)"', prose(page)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), target
        assert not anchor or there.suffix != ".md" or anchor in anchors(there), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_named_files_and_tests_are_there(page: Path) -> None:
    for name, test in re.findall(rf"`((?:{OURS})/[\w./-]+)(?:::(\w+))?[`:]", prose(page)):
        if name.startswith(MADE) or re.search(r"\b(NAME|ROW)\b|sharp", name):
            continue
        assert (ROOT / name).exists() or [*ROOT.glob(f"{name}.*")], name
        assert not test or f"def {test}(" in (ROOT / name).read_text(encoding="utf-8"), f"{name}::{test}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_row_of_a_table_is_in_it(page: Path) -> None:
    """A blank line parts a row from its table, and a rule of other cells than its head makes none."""
    width = 0
    for line in prose(page).splitlines():
        cells = len(re.findall(r"(?<!\\)\|", re.sub(r"`[^`]*`", "", line))) - 1 if line.startswith("|") else 0
        assert not width or cells in (0, width), line
        if cells and not width:
            head = line
        elif cells and head:
            assert re.fullmatch(r"\|[\s:|-]+\|", line), head
            head = ""
        assert cells or not width or not head, head
        width = cells


def test_every_page_is_reached_from_the_first() -> None:
    seen, left = set(), [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page in seen:
            continue
        seen.add(page)
        links = re.findall(r"\]\(([^)#\s]+\.md)", prose(page))
        left += [there for link in links if (there := (page.parent / link).resolve()).exists()]
    assert set((ROOT / "docs").glob("*.md")) <= seen
