"""Characters and short forms of report text, before its words are read.

Reports come out of dictation systems, PDF files and web forms: their apostrophes curl, their hyphens are of
several kinds, and marks that nobody sees stand within words.
"""

from __future__ import annotations

import re
import unicodedata

_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
"""Soft hyphen, zero-width spaces and joiners, marks of direction and of byte order."""
_MARKS = str.maketrans({"\u2018": "'", "\u2019": "'", "\u02bc": "'", "`": "'", "\u2010": "-", "\u2011": "-"})
_DASH = re.compile("[\u2012-\u2015\u2212]")
_SHORT = (
    (re.compile(r"\bcan't\b", re.I), "cannot"),
    (re.compile(r"\bwon't\b", re.I), "will not"),
    (re.compile(r"n't\b", re.I), " not"),
    (re.compile(r"\bw/o\b", re.I), "without"),
    (re.compile(r"\br/o\b", re.I), "rule out"),
    (re.compile(r"\bc/f\b", re.I), "concern for"),
    (re.compile(r"\b(?:h/o|hx(?: of)?)\b", re.I), "history of"),
    (re.compile(r"(?<![^\s(,;:.\[])\?(?=\s*[A-Za-z])"), "possible "),  # "?pneumonia" asks for what follows
)
"""Short forms that decide over presence, and their words."""


def visible(text: str) -> str:
    """The text without characters that nobody sees, which would cut its words."""
    return _INVISIBLE.sub("", text)


def plain(text: str) -> str:
    """The text in plain marks: compatibility forms taken apart (the ligature of "fi"), straight apostrophes,
    "-" for every dash with spaces about those that are no hyphens, short forms written out."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", visible(text).translate(_MARKS))
        text = _DASH.sub(" - ", text)
    for short, long in _SHORT:
        text = short.sub(long, text)
    return text
