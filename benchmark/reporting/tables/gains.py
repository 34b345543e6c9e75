"""The gain of attention over patches by the size of lesions, and on prompts that training has seen or not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmark.evaluation.statistics.paired import Difference
from benchmark.reporting import columns as common
from benchmark.reporting.evidence import Evidence
from benchmark.reporting.gains import OVER, Gain
from benchmark.reporting.numbers import percent
from benchmark.reporting.table import Measured, Row, Table, change, count, words
from benchmark.reporting.tables import Material

PLACE = 45


def tables(material: Material) -> Iterable[Table | None]:
    return [gains_table(material.gains, material.evidence)] if material.gains else []


def gains_table(found: Sequence[Gain], evidence: Evidence) -> Table:
    """One row a dataset and method."""
    rows: list[Row] = [
        {
            "dataset": own.dataset,
            "cell": own.name,
            "gain": f"{evidence.cell(own.name).heading} − {evidence.cell(OVER).heading}",
            "sized": own.sized,
            "by_size": None if own.by_size is None else Measured(*own.by_size),
            "verbatim_classes": own.verbatim and own.verbatim[0],
            "verbatim": own.verbatim and _measured(own.verbatim[1]),
            "others_classes": own.others and own.others[0],
            "others": own.others and _measured(own.others[1]),
            "apart": None if own.apart is None else _measured(own.apart),
            "seen": evidence.seen_by([own.name, OVER], [own.dataset]),
            "origin": evidence.origin(own.dataset),
        }
        for own in found
    ]
    return Table(
        name="gains",
        title="The gain of attention over patches by size of lesions, and on prompts seen in training or not",
        columns=(
            common.DATASET, words("gain", "Gain", csv=False), words("cell"),
            change("by_size", "Spearman's ρ with box area"), count("sized", "Classes with boxes"),
            change("verbatim", "Gain, prompt verbatim"), count("verbatim_classes", "Classes"),
            change("others", "Gain, prompt not verbatim"), count("others_classes", "Classes"),
            change("apart", "Verbatim minus not"), common.SEEN, common.ORIGIN,
        ),
        rows=tuple(rows),
        notes=(
            "Spearman's ρ: over classes, of the gain in AUROC and the median area of the boxes of the "
            "class's findings, with 95% limits (Bonett & Wright 2000); negative: more is gained on small "
            "lesions.",
            "Prompt verbatim: an inference prompt of the class stands word for word among the training "
            "texts. Gains are differences of macro AUROC over these classes with "
            f"{percent(evidence.level)} intervals over patients "
            "(resampled whole) and seeds, uncorrected.",
        ),
        synthetic=evidence.synthetic(),
    )  # fmt: skip


def _measured(own: Difference) -> Measured:
    return Measured(own.value, own.low, own.high, notes=(own.note,) if own.note else ())
