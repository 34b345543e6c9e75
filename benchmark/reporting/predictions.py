"""Orders of methods that papers lead one to expect, held against the results (`predictions`, claims.yaml).

Every pair of rows that print apart by more than two trainings of one method do is one predicted sign. A pair
agrees where our difference has the printed sign. The interval of the count rests on Holm's tests of all
pairs of the prediction: those that are significantly of the printed sign agree, those significantly of the
other one do not, and of all others either may be true, so that the interval holds the true count with the
nominal level (as the rank intervals of `statistics.ranks`). A pair whose difference here is undefined or zero
has no sign: it counts as neither, and either may be true. With C pairs of P that agree and D that do not,
Kendall's τ of the orders within the sets is (C - D) / P, and its limits are those of the count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any, Literal, Protocol

import numpy as np

from benchmark.core.errors import BenchError
from benchmark.core.settings import StatisticsConfig
from benchmark.evaluation.statistics.multiplicity import holm
from benchmark.evaluation.statistics.paired import difference
from benchmark.evaluation.statistics.seeds import SeedSummary
from benchmark.reporting.claims import PredictedSet, Prediction
from benchmark.reporting.evidence import CellInfo, Evidence
from benchmark.reporting.numbers import missing, signed_text
from benchmark.reporting.published import Published

SummaryOf = Callable[[str, str], SeedSummary | None]
"""(cell, dataset) → its AUROC over seeds; None without predictions."""
APART = 1.96 * np.sqrt(2)
"""Standard deviations of one training by which two printed values must differ to predict a sign."""
Agreement = Literal["same sign", "opposite sign", "no difference", "undefined"]


@dataclass(frozen=True)
class Ours:
    """The macro AUROC of one cell minus that of another, with its limits and uncorrected p."""

    value: float
    low: float
    high: float
    p: float
    note: str = ""


class Results(Protocol):
    """What predictions are held against: the macro AUROC of cells over a stratum of a set."""

    def there(self, cell: str, dataset: str) -> bool: ...

    def difference(self, a: str, b: str, dataset: str, stratum: str) -> Ours: ...


@dataclass(frozen=True)
class Computed:
    """Results as the saved scores give them."""

    summary: SummaryOf
    config: StatisticsConfig

    def there(self, cell: str, dataset: str) -> bool:
        return self.summary(cell, dataset) is not None

    def difference(self, a: str, b: str, dataset: str, stratum: str) -> Ours:
        one, other = self._known(a, dataset), self._known(b, dataset)
        found = difference(one, other, _macro(one, stratum), self.config.level, self.config.power)
        return Ours(found.value, found.low, found.high, found.p, found.note)

    def _known(self, cell: str, dataset: str) -> SeedSummary:
        own = self.summary(cell, dataset)
        assert own is not None, f"{cell} has no results on {dataset}"
        return own


@dataclass(frozen=True)
class Summarised:
    """Results as the summary holds them, with which claims are judged too; what it does not compare is
    computed. The last bits may be others than those of `computed`, as its columns are summed beside others.

    predicted: whether a cell has scores on a set that the summary rests on.
    """

    evidence: Evidence
    predicted: Callable[[str, str], bool]
    computed: Computed

    def there(self, cell: str, dataset: str) -> bool:
        return self.predicted(cell, dataset)

    def difference(self, a: str, b: str, dataset: str, stratum: str) -> Ours:
        row = self.evidence.pair(a, b, dataset, stratum)
        if row is None:
            return self.computed.difference(a, b, dataset, stratum)
        note = "" if missing(row["note"]) else str(row["note"])
        return Ours(row["delta"], row["low"], row["high"], row["p"], note)


@dataclass(frozen=True)
class PredictedPair:
    """better, worse: cells, as printed. published: their printed difference, positive. ours: the same
    difference here. p_holm: over all pairs of the prediction. separable: whether that is below 1 - level."""

    dataset: str
    stratum: str
    better: str
    worse: str
    published: float
    ours: Ours
    p_holm: float = float("nan")
    separable: bool = False

    @property
    def sign(self) -> Agreement:
        """Whether our difference has the printed sign; `undefined` where results give no difference."""
        if missing(self.ours.value):
            return "undefined"
        if self.ours.value == 0:
            return "no difference"
        return "same sign" if self.ours.value > 0 else "opposite sign"

    @property
    def said(self) -> str:
        if self.separable or self.sign == "undefined":
            return self.sign
        return f"{self.sign}, not {'tested' if missing(self.ours.p) else 'separable'}"


@dataclass(frozen=True)
class Count:
    """How many of `pairs` agree and disagree; the least and the most that the tests leave possible to
    agree."""

    pairs: int
    agree: int
    disagree: int
    least: int
    most: int

    def tau(self) -> tuple[float, float, float]:
        """Kendall's τ within the sets, with its limits."""
        twice = (self.pairs + self.agree - self.disagree, 2 * self.least, 2 * self.most)
        one, low, high = (n / self.pairs - 1 for n in twice)
        return one, low, high


@dataclass(frozen=True)
class Held:
    """One prediction held against results. sets: those that params.yaml plans for all of their cells;
    printed: of each of them, cell → value. close: pairs whose printed values are too near to predict a sign.
    missing: cells without results, of which nothing is then counted."""

    prediction: Prediction
    sets: tuple[PredictedSet, ...]
    pairs: tuple[PredictedPair, ...] = ()
    printed: Mapping[PredictedSet, Mapping[str, float]] | None = None
    close: int = 0
    missing: tuple[str, ...] = ()

    def count(self, at: PredictedSet | None = None) -> Count:
        """On one set, or on all."""
        own = [p for p in self.pairs if at is None or (p.dataset, p.stratum) == (at.dataset, at.stratum)]
        same, opposite = ([p for p in own if p.sign == sign] for sign in ("same sign", "opposite sign"))
        return Count(
            len(own),
            len(same),
            len(opposite),
            sum(p.separable for p in same),
            len(own) - sum(p.separable for p in opposite),
        )

    def as_json(self) -> dict[str, Any]:
        whole = self.count()
        tau = whole.tau() if whole.pairs else None
        found: dict[str, list[dict[str, str]]] = {"opposite": [], "no_sign": []}
        for p in (p for p in self.pairs if p.sign != "same sign"):
            found["opposite" if p.sign == "opposite sign" else "no_sign"].append(
                {"dataset": p.dataset, "stratum": p.stratum, "better": p.better, "worse": p.worse,
                 "said": p.said}
            )  # fmt: skip
        counts = {} if self.missing else {**asdict(whole), "tau": tau, **found}
        return {"prediction": self.prediction.id, "missing": list(self.missing), **counts}


def predictions_text(found: Sequence[Held]) -> str:
    """For people: a block a prediction, with every pair that has not the printed sign."""
    lines = []
    for own in found:
        source = own.prediction.source
        whole = own.count()
        if not own.missing and not whole.pairs:
            why = "all printed values lie as close as trainings of one method"
            lines.append(f"{own.prediction.id}: no sign predicted: {why}")
        elif own.missing:
            lines.append(f"{own.prediction.id}: NOT RUN, no results of {', '.join(own.missing)}")
        else:
            tau, low, high = whole.tau()
            lines.append(
                f"{own.prediction.id}: {whole.agree} of {whole.pairs} published signs found "
                f"[{whole.least}, {whole.most}]  Kendall's τ {tau:.2f} [{low:.2f}, {high:.2f}]"
            )
        lines.append(f"  predicted {own.prediction.statement}")
        for p in (p for p in own.pairs if p.sign != "same sign"):
            place = p.dataset if p.stratum == "all" else f"{p.dataset} ({p.stratum})"
            why = f" ({p.ours.note})" if p.sign == "undefined" and p.ours.note else ""
            lines.append(
                f"  {p.said}: {p.better} minus {p.worse} on {place}, published {p.published:+.3f}, "
                f"here {signed_text(p.ours.value, p.ours.low, p.ours.high)}{why}"
            )
        lines.append(f"  source    {source.paper}, {source.where}")
    return "\n".join(lines)


def held(
    predictions: Sequence[Prediction],
    published: Published,
    cells: Mapping[str, CellInfo],
    results: Results,
    level: float,
) -> list[Held]:
    """Every prediction of which params.yaml plans a set. Raises BenchError where an order is not that of the
    printed values."""
    found = []
    for prediction in predictions:
        printed = {at: _printed(prediction, at, published) for at in prediction.sets}
        planned = [
            at
            for at in prediction.sets
            if all(c in cells and at.dataset in cells[c].evaluate for c in at.cells)
        ]
        if planned:
            found.append(_held(prediction, planned, printed, results, level))
    return found


def _printed(prediction: Prediction, at: PredictedSet, published: Published) -> dict[str, float]:
    """Cell → printed value, in the order of the prediction."""
    values = {
        (row.method, row.dataset, row.stratum): row.value
        for row in published.rows
        if row.source == prediction.published and row.metric == "auroc_macro"
    }
    where = f"reports/claims.yaml: prediction '{prediction.id}'"
    found = {}
    for cell in at.cells:
        key = (prediction.rows[cell], at.dataset, at.stratum)
        if key not in values:
            raise BenchError(f"{where}: published.yaml has no value of {key[0]} on {at.dataset}.")
        found[cell] = values[key]
    if sorted(found.values(), reverse=True) != list(found.values()):
        raise BenchError(f"{where}: the order on {at.dataset} is not that of the printed values.")
    return found


def _held(
    prediction: Prediction,
    planned: Sequence[PredictedSet],
    printed: Mapping[PredictedSet, Mapping[str, float]],
    results: Results,
    level: float,
) -> Held:
    asked = dict.fromkeys((cell, at.dataset) for at in planned for cell in at.cells)
    lacking = dict.fromkeys(cell for cell, dataset in asked if not results.there(cell, dataset))
    if lacking:
        return Held(prediction, tuple(planned), missing=tuple(lacking))
    pairs, close = [], 0
    for at in planned:
        for better, worse in combinations(at.cells, 2):
            gap = printed[at][better] - printed[at][worse]
            if gap < APART * at.seed_sd:
                close += 1
                continue
            ours = results.difference(better, worse, at.dataset, at.stratum)
            pairs.append(PredictedPair(at.dataset, at.stratum, better, worse, gap, ours))
    corrected = holm(np.array([p.ours.p for p in pairs], dtype=float), len(pairs))
    tested = tuple(
        replace(p, p_holm=float(q), separable=bool(q < 1 - level))
        for p, q in zip(pairs, corrected, strict=True)
    )
    return Held(prediction, tuple(planned), tested, printed, close)


def _macro(summary: SeedSummary, stratum: str) -> int:
    """The column of the macro mean over a stratum."""
    return [(c.name, c.stratum) for c in summary.columns].index(("macro", stratum))
