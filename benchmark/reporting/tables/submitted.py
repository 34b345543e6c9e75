"""Rows that others computed, from results-registry/: a table of their own, under their evidence."""

from __future__ import annotations

from collections.abc import Iterable

from benchmark.reporting import columns as common
from benchmark.reporting.table import Measured, Row, Table, count, estimate, words
from benchmark.reporting.tables import Material

PLACE = 75


def tables(material: Material) -> Iterable[Table]:
    rows: list[Row] = []
    for row in material.submitted:
        record, made = row.record, row.record.provenance
        rows.append(
            {
                "dataset": record.dataset,
                "protocol": record.protocol,
                "method": record.title,
                "name": record.name,
                "site": made.site,
                "evidence_class": row.evidence,
                "auroc": Measured(*row.values["auroc"]),
                "average_precision": Measured(*row.values["average_precision"]),
                "seeds": len(record.seeds),
                "encoder": made.encoder,
                "trained_on": made.trained_on,
                "images": record.images,
                "patients": row.patients,
                "positives": row.positives,
                "origin": record.origin,
                "commit": made.commit[:10],
                "row": row.place,
            }
        )
    yield Table(
        name="submitted",
        title="Rows computed elsewhere: macro AUROC and average precision",
        columns=(
            common.DATASET, words("protocol"), common.METHOD, words("name", "Name"), words("site", "Site"),
            words("evidence_class", "Evidence"), estimate("auroc", "AUROC", prefix="auroc_"),
            estimate("average_precision", "Average precision", prefix="average_precision_"),
            count("seeds", "Seeds"), words("encoder", "Encoder"), words("trained_on", "Trained on"),
            *common.COUNTS, common.ORIGIN, words("commit", "Commit"), words("row", "Row"),
        ),
        rows=tuple(rows),
        notes=(
            "Each row was trained with its site's own budget, encoders and data, so it stands in no ranking "
            "and in no test beside the main tables.",
            "recomputed: every number was computed again here from scores and labels. signed: the labels may "
            "not leave the site, whose key is in results-registry/keys. quoted: the site's word.",
        ),
        synthetic=any(row["origin"] == "twin" for row in rows),
    )  # fmt: skip
