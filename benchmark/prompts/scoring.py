"""How good an aligner is: against sentences of known truth, Open-I's MeSH terms, and labels of reports."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from benchmark.core.errors import DataError
from benchmark.data.cards import Card
from benchmark.prompts.aligned import SentenceAligner, Statement, align_report
from benchmark.prompts.lexicon import Lexicon
from benchmark.prompts.sections import OpenIReport

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Agreement:
    """Counts of one comparison. value properties are None where they have no denominator."""

    right: int
    surplus: int
    missed: int

    @property
    def precision(self) -> float | None:
        return self.right / (self.right + self.surplus) if self.right + self.surplus else None

    @property
    def recall(self) -> float | None:
        return self.right / (self.right + self.missed) if self.right + self.missed else None

    @property
    def f1(self) -> float | None:
        total = 2 * self.right + self.surplus + self.missed
        return 2 * self.right / total if total else None

    def summary(self) -> dict[str, Any]:
        return {**asdict(self), "precision": self.precision, "recall": self.recall, "f1": self.f1}


_TRUTH_COLUMNS = ["patient", "study", "sentence", "text", "concept", "presence", "side"]
_VIEWS: dict[str, Callable[[Statement], Any]] = {
    "finding": lambda s: s.concept,
    "finding+presence": lambda s: (s.concept, s.presence),
    "side": lambda s: (s.concept, s.side) if s.side and s.presence != "absent" else None,
    "present": lambda s: s.concept if s.presence == "present" else None,
    "absent": lambda s: s.concept if s.presence == "absent" else None,
    "uncertain": lambda s: s.concept if s.presence == "uncertain" else None,
}


def statement_agreement(
    truth: Sequence[Sequence[Statement]], found: Sequence[Sequence[Statement]], lexicon: Lexicon
) -> dict[str, Agreement]:
    """Per sentence, as multisets: `finding` (concept), `finding+presence`, `side` (concept and side of what
    is present or uncertain and has a side in either), and `present`, `absent`, `uncertain` on their own.

    A general remark ("no acute cardiopulmonary process") and the list of absences that it implies count as
    the same: such a remark is replaced by those of its implications that the truth names.
    """
    if len(truth) != len(found):
        raise DataError(f"{len(truth)} sentences with a truth, {len(found)} aligned ones.")
    totals: dict[str, Counter[str]] = {name: Counter() for name in _VIEWS}
    for true, got in zip(truth, found, strict=True):
        seen = _implied(true, got, lexicon)
        for name, view in _VIEWS.items():
            a = Counter(v for s in true if (v := view(s)) is not None)
            b = Counter(v for s in seen if (v := view(s)) is not None)
            totals[name].update(right=(a & b).total(), surplus=(b - a).total(), missed=(a - b).total())
    return {name: Agreement(t["right"], t["surplus"], t["missed"]) for name, t in totals.items()}


def truth_agreement(frame: pd.DataFrame, aligner: SentenceAligner, lexicon: Lexicon) -> dict[str, Agreement]:
    """`statement_agreement` on the sentences that a twin keeps beside its tree (`<root>.truth.parquet`)."""
    if not {"source", *_TRUTH_COLUMNS} <= set(frame):
        raise DataError("this table is no twin truth: columns of its sentences are missing.")
    rows = frame.loc[frame["source"] == "sentence", _TRUTH_COLUMNS].itertuples(index=False, name=None)
    truth: list[list[Statement]] = []
    found: list[tuple[Statement, ...]] = []
    for (*_, text), group in itertools.groupby(rows, key=lambda row: row[:4]):
        truth.append([])
        found.append(aligner.statements(str(text)))
        for *_, concept, presence, side in group:
            if isinstance(concept, str):
                truth[-1].append(Statement(concept, presence, side if isinstance(side, str) else None))  # type: ignore[arg-type]
    return statement_agreement(truth, found, lexicon)


Counted = Literal["present", "present+uncertain"]


def openi_agreement(
    reports: Iterable[OpenIReport],
    card: Card,
    aligner: SentenceAligner,
    lexicon: Lexicon,
    *,
    rule: str = "findings+impression",
    counted: Counted = "present+uncertain",
    terms: str = "substring",
) -> dict[str, Agreement]:
    """Class → agreement of the aligned reports with the automatic MeSH terms, by report.

    terms: label rule of the card (CARZero's substring rule by default). A class counts as read if one of its
    concepts, or anything below them, is `counted`. The terms are not a gold standard: software found them in
    the same reports, negations were left out by hand or not at all.
    Raises DataError where there is no report.
    """
    label_rule = card.label_rules[terms]
    below = {name: frozenset().union(*map(lexicon.descendants, ids)) for name, ids in card.concepts.items()}
    totals: dict[str, Counter[str]] = {name: Counter() for name in card.classes}
    count = 0
    for report in reports:
        count += 1
        text = "\n\n".join(f"{name.upper()}: {body}" for name, body in report.sections.items())
        stated = read_concepts(text, aligner, lexicon, rule, counted)
        for name in card.classes:
            true, got = (
                has_class(report, label_rule.terms.get(name, ()), label_rule.match),
                bool(stated & below[name]),
            )
            kind = "right" if true and got else "surplus" if got else "missed" if true else "neither"
            totals[name][kind] += 1
    if not count:
        raise DataError("no report to score.")
    return {name: Agreement(t["right"], t["surplus"], t["missed"]) for name, t in totals.items()}


def label_agreement(
    frame: pd.DataFrame,
    concepts: Mapping[str, Sequence[str]],
    aligner: SentenceAligner,
    lexicon: Lexicon,
    *,
    rule: str = "findings+impression",
    counted: Counted = "present+uncertain",
) -> dict[str, Agreement]:
    """Class → agreement of aligned reports with labels that stand beside them, in the order of `concepts`.

    frame: a row a report, column `report` and label columns of 1 and 0 (`sources.labelled_reports`); a class
    of `concepts` without a column is left out. A class counts as read as in `openi_agreement`.
    """
    classes = [name for name in concepts if name in frame]
    below = {name: frozenset().union(*map(lexicon.descendants, concepts[name])) for name in classes}
    totals: dict[str, Counter[str]] = {name: Counter() for name in classes}
    for row in frame[["report", *classes]].itertuples(index=False, name=None):
        stated = read_concepts(row[0], aligner, lexicon, rule, counted)
        for name, true in zip(classes, row[1:], strict=True):
            got = bool(stated & below[name])
            kind = "right" if true and got else "surplus" if got else "missed" if true else "neither"
            totals[name][kind] += 1
    return {name: Agreement(t["right"], t["surplus"], t["missed"]) for name, t in totals.items()}


def has_class(report: OpenIReport, wanted: Sequence[str], match: str) -> bool:
    """Is one of `wanted` a substring of the joined automatic terms, or equal to one of them?"""
    have = sorted({t.strip().lower() for t in report.automatic if t.strip()})
    return (
        any(w in "|".join(have) for w in wanted) if match == "substring" else not set(wanted).isdisjoint(have)
    )


def read_concepts(
    report: str, aligner: SentenceAligner, lexicon: Lexicon, rule: str, counted: Counted
) -> set[str]:
    """Concepts that a report states."""
    kinds = counted.split("+")
    sentences = align_report(report, aligner, lexicon, rule)
    return {s.concept for sentence in sentences for s in sentence.statements if s.presence in kinds}


def pooled(scores: Mapping[str, Agreement]) -> Agreement:
    """Counts of all classes together (micro average)."""
    values = list(scores.values())
    return Agreement(
        sum(s.right for s in values), sum(s.surplus for s in values), sum(s.missed for s in values)
    )


def _implied(truth: Sequence[Statement], found: Sequence[Statement], lexicon: Lexicon) -> list[Statement]:
    said: list[Statement] = []
    for statement in found:
        if lexicon[statement.concept].kind != "pseudo" or statement.concept in {s.concept for s in truth}:
            said.append(statement)
        elif statement.presence == "absent":
            below = lexicon.descendants(statement.concept)
            said += [s for s in truth if s.presence == "absent" and s.concept in below]
    return said
