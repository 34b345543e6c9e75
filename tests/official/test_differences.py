"""Every reference to a difference from the official code leads to an entry, and every entry says why."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "official-differences.md"
OWN = r"Q-[A-Z]\d+"
"""Unmistakable anywhere; the short ones below only where methods and official code are spoken of."""
SHORT = r"(?<![\w-])[QBA]\d+(?!\w)"
PLACES = ("methods", "benchmark/official", "tests/official", "tests/methods")
ENTRY = re.compile(r'^\| <a id="([a-z0-9-]+)"></a>(\S+) \| (.+) \| (.+) \|$', re.MULTILINE)


def entries() -> dict[str, tuple[str, str]]:
    found = ENTRY.findall(PAGE.read_text(encoding="utf-8"))
    assert all(anchor == name.lower() for anchor, name, *_ in found)
    assert len({name for _, name, *_ in found}) == len(found)
    return {name: (official, here) for _, name, official, here in found}


def references() -> dict[str, set[str]]:
    """Reference → the files that cite it; `Q-M4 … Q-M6` cites all three."""
    found: dict[str, set[str]] = {}
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "datasets").rglob("*.yaml")]
    code = [p for folder in ("benchmark", "methods", "tests") for p in (ROOT / folder).rglob("*.py")]
    for path in [*pages, *code]:
        place = path.relative_to(ROOT).as_posix()
        close = path == PAGE or place.startswith(PLACES)
        one = f"(?:{OWN}|{SHORT})" if close else OWN
        for first, last in re.findall(f"({one})(?: … ({one}))?", path.read_text(encoding="utf-8")):
            names = [first]
            if last:
                head, number = re.fullmatch(r"(\D+)(\d+)", first).groups()
                end = re.fullmatch(r"(\D+)(\d+)", last)
                assert end[1] == head, f"{place}: {first} … {last}"
                names = [f"{head}{k}" for k in range(int(number), int(end[2]) + 1)]
            for name in names:
                found.setdefault(name, set()).add(place)
    return found


def test_every_reference_leads_to_an_entry() -> None:
    known, cited = entries(), references()
    lost = {name: sorted(places) for name, places in cited.items() if name not in known}
    assert not lost
    outside = [name for name, places in cited.items() if places - {PAGE.relative_to(ROOT).as_posix()}]
    assert len(outside) > 50


def test_every_entry_says_what_and_why() -> None:
    known = entries()
    assert {"Q-C1", "Q-G1", "Q-M11", "Q-Z13", "Q17", "Q18", "B16", "A1"} <= set(known)
    for name, (official, here) in known.items():
        assert len(official) > 20, name
        assert len(here) > 3, name
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| <a")]
    assert len(lines) == len(known)


def test_links_to_the_page_name_an_entry() -> None:
    known = {name.lower() for name in entries()}
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for anchor in re.findall(r"official-differences\.md#([\w-]+)", page.read_text(encoding="utf-8")):
            assert anchor in known, f"{page.name}: {anchor}"
