"""Whether a published order of methods is found again: a row a set, and a row a predicted sign."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmark.reporting import columns as common
from benchmark.reporting.claims import PredictedSet
from benchmark.reporting.evidence import Evidence
from benchmark.reporting.numbers import interval_text, missing, percent
from benchmark.reporting.predictions import Count, Held
from benchmark.reporting.table import (
    Measured,
    Row,
    Table,
    TableColumn,
    change,
    count,
    estimate,
    probability,
    real,
    words,
)
from benchmark.reporting.tables import Material
from benchmark.reporting.tables.zero_shot import place_title

PLACE = 91
FAMILY = "the pairs of one prediction on all of its sets that params.yaml plans."


def tables(material: Material) -> Iterable[Table | None]:
    if not material.predictions:
        return []
    return [orders(material.predictions, material.evidence), signs(material.predictions, material.evidence)]


def orders(found: Sequence[Held], evidence: Evidence) -> Table:
    """A row a prediction and set, then one for all of its sets."""
    rows: list[Row] = []
    for own in found:
        if own.missing:
            continue
        for at in own.sets:
            rows.append({"prediction": own.prediction.id, "dataset": at.dataset, "stratum": at.stratum,
                         "place": place_title(at.dataset, at.stratum), **_orders(own, at, evidence),
                         **_counted(own.count(at)), "seen": evidence.seen_by(at.cells, [at.dataset]),
                         "origin": evidence.origin(at.dataset)})  # fmt: skip
        twin = evidence.synthetic([at.dataset for at in own.sets])
        cells = [cell for at in own.sets for cell in at.cells]
        rows.append({"prediction": own.prediction.id, "place": "all", **_counted(own.count()),
                     "seen": evidence.seen_by(cells, [at.dataset for at in own.sets]),
                     "origin": "twin" if twin else "official"})  # fmt: skip
    return Table(
        name="predictions",
        title="Published orders of methods, and whether they are found here",
        columns=(
            words("prediction", "Prediction"), words("place", "Set", csv=False), words("dataset"),
            words("stratum"), words("printed", "Published, best first"), words("here", "Here, best first"),
            count("pairs", "Signs predicted"), count("agree", "Same sign"),
            TableColumn("range", "At least–at most", _range, ("agree_least", "agree_most")),
            estimate("tau", "Kendall's τ", "tau_", marked=False), common.SEEN, common.ORIGIN,
        ),
        rows=tuple(rows),
        notes=(*_about(found, evidence),
            "At least: pairs that are separable with the published sign; at most: all but those that are "
            f"separable with the opposite sign. With {percent(evidence.level)} confidence the true number "
            "lies between them, and τ, "
            "pairs of the same minus pairs of the opposite sign as a share of all, between its limits.",
            "A printed difference below 1.96·√2 standard deviations of five published trainings of one "
            "method predicts no sign and is not counted.",
        ),
        family=FAMILY,
        synthetic=evidence.synthetic(),
    )  # fmt: skip


def signs(found: Sequence[Held], evidence: Evidence) -> Table:
    """A row a predicted sign, in the order of the prediction."""
    rows: list[Row] = [
        {
            "prediction": own.prediction.id,
            "place": place_title(p.dataset, p.stratum),
            "dataset": p.dataset,
            "stratum": p.stratum,
            "pair": f"{_title(p.better, evidence)} − {_title(p.worse, evidence)}",
            "better": p.better,
            "worse": p.worse,
            "published": p.published,
            "ours": Measured(
                p.ours.value, p.ours.low, p.ours.high, notes=(p.ours.note,) if p.ours.note else ()
            ),
            "p": p.ours.p,
            "p_holm": p.p_holm,
            "said": p.said,
            "seen": evidence.seen_by([p.better, p.worse], [p.dataset]),
            "origin": evidence.origin(p.dataset),
        }
        for own in found
        for p in own.pairs
    ]
    return Table(
        name="predicted_signs",
        title="Published differences of macro AUROC beside those found here",
        columns=(
            words("prediction", "Prediction"), words("place", "Set", csv=False), words("dataset"),
            words("stratum"), words("pair", "Difference", csv=False), words("better"), words("worse"),
            TableColumn("published", "Published", real("").show, ("published",)),
            change("ours", "Here"), probability("p"), probability("p_holm", "p (Holm)"),
            words("said", "Agreement"), common.SEEN, common.ORIGIN,
        ),
        rows=tuple(rows),
        notes=(*_about(found, evidence),
            f"Here: means over seeds with {percent(evidence.level)} intervals over patients and seeds, "
            "uncorrected. Not separable: "
            "the corrected test leaves both signs possible.",
        ),
        family=FAMILY,
        synthetic=evidence.synthetic(),
    )  # fmt: skip


def _range(value: object) -> str:
    return f"{value[0]}–{value[1]}" if isinstance(value, tuple) else "–"


def _counted(own: Count) -> Row:
    return {
        "pairs": own.pairs,
        "agree": own.agree,
        "range": (own.least, own.most),
        "tau": Measured(*own.tau()) if own.pairs else None,
    }


def _orders(own: Held, at: PredictedSet, evidence: Evidence) -> dict[str, str]:
    rows = {cell: evidence.value(cell, at.dataset, at.stratum) for cell in at.cells}
    here = {cell: float("nan") if row is None else row["value"] for cell, row in rows.items()}
    found = {}
    for key, of_cell in (("printed", (own.printed or {})[at]), ("here", here)):
        ordered = sorted(at.cells, key=lambda cell: (missing(of_cell[cell]), -of_cell[cell]))
        found[key] = " > ".join(f"{_title(c, evidence)} {interval_text(of_cell[c])}" for c in ordered)
    return found


def _about(found: Sequence[Held], evidence: Evidence) -> list[str]:
    """What each prediction says, which row of the paper each of ours stands for, and what is missing."""
    said = []
    for own in found:
        prediction = own.prediction
        rows = "; ".join(f"{_title(cell, evidence)}: {row}" for cell, row in prediction.rows.items())
        said.append(
            f"{prediction.id}: {prediction.statement} {prediction.source.paper}, {prediction.source.where}. "
            f"Ours and theirs: {rows}."
        )
        if own.missing:
            said.append(f"{prediction.id} is not run: no results of {', '.join(own.missing)}.")
        if left := len(prediction.sets) - len(own.sets):
            said.append(f"{prediction.id}: params.yaml does not plan {left} of its sets.")
        if own.close:
            said.append(f"{prediction.id}: {own.close} printed differences are too small to predict a sign.")
    return said


def _title(cell: str, evidence: Evidence) -> str:
    return evidence.cell(cell).heading
