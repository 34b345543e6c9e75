"""From a report as a dataset stores it to its sections, and the named rules that choose among them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from benchmark.core.errors import DataError, UnknownName
from benchmark.core.guard import parsing
from benchmark.prompts.characters import visible

MERGED = "findings and impression"
PREAMBLE = ""
"""Key of text that stands before the first head, or of a report without heads."""

SELECTIONS: dict[str, tuple[str, ...]] = {
    "findings+impression": ("findings", "impression"),
    "findings": ("findings",),
    "impression": ("impression",),
    "all": (),
}
"""Named rules. A merged section answers to both names. Where a report has none of the wanted sections,
the fallbacks of `select` apply."""

_HEADS = {
    "exam": "examination",
    "clinical history": "history",
    "clinical information": "indication",
    "reason for exam": "indication",
    "reason for examination": "indication",
    "comparisons": "comparison",
    "finding": "findings",
    "impressions": "impression",
    "conclusion": "impression",
    "conclusions": "impression",
    "opinion": "impression",
    "wet read": "wet read",
    "recommendations": "recommendation",
    "findings and impression": MERGED,
    "impression and findings": MERGED,
    "findings/impression": MERGED,
    "impression/findings": MERGED,
    "findings & impression": MERGED,
    "findings impression": MERGED,
}
_KNOWN = (
    "findings and impression|impression and findings|findings/impression|findings|impression|conclusion|"
    "comparison|indication|technique|examination|exam|history|clinical history|clinical information|"
    "wet read|recommendations?|notification"
)
_HEAD = re.compile(
    r"(?m)(?:^[ \t]*(?P<upper>[A-Z][A-Z /&,()\-]{2,60}?)[ \t]*:)"
    rf"|(?:^[ \t]*(?P<mixed>(?i:{_KNOWN}))[ \t]*:)"
    r"|(?:(?<=[.!?\n])[ \t]+(?P<inline>FINDINGS|IMPRESSION|FINDINGS AND IMPRESSION)[ \t]*:)"
)
_RULE_LINE = re.compile(
    r"(?m)^[ \t]*(?:FINAL REPORT|WET READ VERSION.*|FINAL ADDENDUM|ADDENDUM|[_=\-]{5,})[ \t]*$"
)


def text_sections(text: str) -> dict[str, str]:
    """Sections of a free-text report, lower-case name → text, in order of appearance.

    Heads are capitals before a colon at the start of a line (any words), known heads in any case there,
    and FINDINGS or IMPRESSION behind a full stop. `FINAL REPORT` lines are dropped, wrapped lines joined,
    paragraphs separated by a newline. The last section of a name that is not empty wins (usual MIMIC-CXR
    rule). Text before the first head has the key "".
    """
    text = _RULE_LINE.sub("\n", visible(text).replace("\r\n", "\n").replace("\r", "\n"))
    heads = list(_HEAD.finditer(text))
    found: dict[str, str] = {}
    before = _unwrap(text[: heads[0].start()] if heads else text)
    if before:
        found[PREAMBLE] = before
    for index, head in enumerate(heads):
        end = heads[index + 1].start() if index + 1 < len(heads) else len(text)
        name = " ".join((head["upper"] or head["mixed"] or head["inline"]).lower().split())
        body = _unwrap(text[head.end() : end])
        if body:
            name = _HEADS.get(name, name)
            found.pop(name, None)
            found[name] = body
    return found


@dataclass(frozen=True)
class OpenIReport:
    """One Open-I XML file. identifier: `uId/@id`. major, automatic: MeSH terms as written."""

    identifier: str
    sections: dict[str, str]
    major: tuple[str, ...]
    automatic: tuple[str, ...]


def openi_report(data: bytes, source: str = "report") -> OpenIReport:
    """Parse an Open-I XML file. Raises DataError, naming `source`, where it is not one."""
    from defusedxml import ElementTree

    with parsing(source, "well-formed XML", "Fetch it again.", private=True):
        root = ElementTree.fromstring(data)
    uid = root.find("uId")
    if uid is None or "id" not in uid.attrib:
        raise DataError(f"{source}: not an Open-I report (no uId element).")
    sections = {}
    for part in root.iter("AbstractText"):
        body = " ".join((part.text or "").split())
        if body:
            sections[part.get("Label", "").lower()] = body
    terms = {tag: tuple(t.text or "" for t in root.iterfind(f"MeSH/{tag}")) for tag in ("major", "automatic")}
    return OpenIReport(uid.attrib["id"], sections, terms["major"], terms["automatic"])


def report_sections(text: str) -> dict[str, str]:
    """Sections of a report in any of the three forms: Open-I XML, text with heads, plain text.

    Plain text (PadChest's stemmed Spanish, one sentence, a paragraph) has the single key "". "< 5 mm nodule"
    and "<NAME> has ..." are plain text: an Open-I file declares XML or has a uId.
    """
    start = text.lstrip("\ufeff \t\r\n")
    if start.startswith("<?xml") or (start.startswith("<") and "<uId" in start):
        return openi_report(start.strip().encode()).sections
    return text_sections(text)


def select(sections: Mapping[str, str], rule: str = "findings+impression") -> list[tuple[str, str]]:
    """(name, text) of the sections that a rule wants, in the rule's order, none empty.

    Fallbacks, in order, where none of them exists: the other of findings and impression, a wet read, the
    last paragraph of the text without a head, the comparison. `all` takes every section.
    Raises UnknownName for an unknown rule.
    """
    if rule not in SELECTIONS:
        raise UnknownName("section rule", rule, SELECTIONS, f"Rules: {', '.join(SELECTIONS)}.")
    if rule == "all":
        return [(name or "text", text) for name, text in sections.items()]
    wanted = SELECTIONS[rule]
    chosen = [(name, sections[name]) for name in wanted if name in sections]
    if MERGED in sections and len(chosen) < len(wanted):
        chosen.append((MERGED, sections[MERGED]))
    if chosen:
        return chosen
    for name in ("impression", "findings", "wet read"):
        if name in sections:
            return [(name, sections[name])]
    if PREAMBLE in sections:
        whole = len(sections) == 1
        text = sections[PREAMBLE] if whole else sections[PREAMBLE].rsplit("\n", 1)[-1]
        return [("text", text)]
    return [("comparison", sections["comparison"])] if "comparison" in sections else []


def selected_text(report: str, rule: str = "findings+impression") -> str:
    """The text of a report that a rule selects, as one line; empty where there is none."""
    return " ".join(" ".join(text.split()) for _, text in select(report_sections(report), rule))


def _unwrap(text: str) -> str:
    paragraphs = re.split(r"\n[ \t]*\n", text.strip())
    return "\n".join(" ".join(p.split()) for p in paragraphs if p.strip())
