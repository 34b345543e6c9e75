"""Splitting report text into sentences."""

from __future__ import annotations

import re

_ALWAYS = frozenset(
    {"dr", "st", "mr", "mrs", "ms", "prof", "vs", "cf", "approx", "fig", "e.g", "i.e", "eg", "ie"}
)
"""Never end a sentence, whatever follows."""
_ABBREVIATIONS = frozenset(
    {"ca", "ser", "im", "img", "resp", "etc", "al", "inc", "lt", "rt", "min", "max", "cm", "mm", "no"}
)
"""End one where a capital follows."""
_UNITS = frozenset({"cm", "mm"})
_STOP = re.compile(r"[.!?]+")
_BULLET = re.compile(r'(?:^|(?<=\s))[•·▪●](?=\s|$)|(?<=[.!?])(?:\s*")+\s*|\s"+\s|[“”]')
"""Marks that stand between the items of an enumeration."""
_LIST_NUMBER = re.compile(r"\(?(\d{1,2})[.)]\s*(?=[^\d\s.])")
_LAST_WORD = re.compile(r"[A-Za-z][A-Za-z.]*$")


def split_sentences(text: str) -> list[str]:
    """Sentences in order, list numbers removed, white space normalised, none empty.

    A newline ends a sentence. A full stop does not where it stands in a number ("1.5 cm"), behind an
    abbreviation ("Dr. ___", "vs.", "R. lung"), behind an initial of a name, or behind a list number ("1.",
    "2)"), which starts a sentence instead. `___` is a word. A stop without a following space ends a sentence
    between a lower-case and an upper-case letter ("clear.There").
    """
    found: list[str] = []
    for paragraph in _BULLET.sub("\n", text).split("\n"):
        for item in _list_items(paragraph):
            found += _sentences(item)
    return found


def _list_items(text: str) -> list[str]:
    """Cut at list numbers. The first opens the text or follows a stop; later ones count on."""
    items, start, expected = [], 0, 1
    for match in _LIST_NUMBER.finditer(text):
        before = text[: match.start()].rstrip()
        opens = not before or before[-1] in ".!?:;"
        number = int(match[1])
        glued = match.start() > 0 and not text[match.start() - 1].isspace()
        if glued or not ((opens and number in (1, expected)) or number == expected > 1):
            continue
        items.append(text[start : match.start()])
        start, expected = match.end(), number + 1
    return [*items, text[start:]]


def _sentences(text: str) -> list[str]:
    found, start = [], 0
    for stop in _STOP.finditer(text):
        if _ends(text, stop):
            found.append(text[start : stop.end()])
            start = stop.end()
    found.append(text[start:])
    clean = (" ".join(sentence.split()).lstrip("-*•, ") for sentence in found)
    return [sentence for sentence in clean if re.search(r"[^\W\d_]", sentence)]


def _ends(text: str, stop: re.Match[str]) -> bool:
    before, after = text[: stop.start()], text[stop.end() :]
    if not after.strip():
        return True
    if stop[0] == "?" and _asks_ahead(before, after):
        return False
    if not after[0].isspace():
        return before[-1:].islower() and after[0].isupper() and len(_last_word(before)) > 2
    if stop[0] != ".":
        return not _inside_brackets(before, after)
    word = _last_word(before)
    if word.lower() in _ALWAYS:
        return False
    first = after.lstrip()[0]
    if word.lower() in _ABBREVIATIONS:
        return first.isupper() or (first == "_" and word.lower() in _UNITS)
    if len(word) == 1 and word.isupper():
        if first.islower():
            return False
        earlier = _last_word(before[:-1].rstrip(" ."))
        return earlier.lower() not in _ALWAYS and len(earlier) != 1
    if "." in word:
        return first.isupper()
    return True


def _asks_ahead(before: str, after: str) -> bool:
    """ "? pneumonia", "opacity ?pneumonia": a mark before the finding that it doubts."""
    said = before.rstrip()
    if not said or said[-1] in ".!?;:,(":
        return True
    return len(said) < len(before) and (not after[0].isspace() or after.lstrip()[0].islower())


def _inside_brackets(before: str, after: str) -> bool:
    """ "(small airway disease?, small vessel disease?)" is a part of its sentence."""
    opened = before.rfind("(")
    return opened > before.rfind(")") and 0 <= after.find(")") < 80 and "." not in before[opened:]


def _last_word(text: str) -> str:
    match = _LAST_WORD.search(text)
    return match[0] if match else ""
