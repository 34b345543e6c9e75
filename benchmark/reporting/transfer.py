"""reports/transfer/: zero-shot beside a linear probe and fine-tuning with shares of the labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.core.tasks import task_named
from benchmark.encoders.exposure import READING, level
from benchmark.grid.declared import declared
from benchmark.reporting import columns as common
from benchmark.reporting.effects import seed_mean
from benchmark.reporting.questions import verdicts
from benchmark.reporting.seen import trained_exposure
from benchmark.reporting.table import Measured, Row, Table, count, estimate, save, words

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.grid.params import Params
    from benchmark.reporting.claims import Claim
    from benchmark.stages.questions import Answers

FAMILY = "transfer"
COMMAND = "bench stage transfer"
ZERO_SHOT = "auroc_zero_shot"
_KINDS = {
    "probe": "Linear probe",
    "encoder_last_stage": "Encoder tuned, last stage",
    "encoder_full": "Encoder tuned, all",
    "tuned": "Alignment tuned",
}


def write_transfer(found: Answers, claims: Sequence[Claim], folder: Path, params: Params) -> str:
    """`transfer` and `claims`, each as .md, .csv and .tex."""
    folder.mkdir(parents=True, exist_ok=True)
    for table in (transfer_table(found, params), verdicts(found, claims, params, FAMILY, COMMAND)):
        save(table, folder)
    return f"{found.rows['run_id'].nunique()} methods, {folder}"


def transfer_table(found: Answers, params: Params) -> Table:
    """One row a method, dataset and share of the labels; zero-shot stands in each of them."""
    rows = found.rows[(found.rows["class"] == "macro") & (found.rows["stratum"] == "all")]
    shown: list[Row] = []
    for dataset in dict.fromkeys(rows["dataset"]):
        for cell in found.cells:
            own = rows[(rows["run_id"] == cell.name) & (rows["dataset"] == dataset)]
            for percent in shares(own):
                images, classes = (_mean(own, f"{what}_{percent}", params) for what in ("images", "classes"))
                shown.append(
                    {
                        "method": declared(cell.method).title,
                        "cell": cell.name,
                        "dataset": str(dataset),
                        "seen": level(trained_exposure(params, cell), str(dataset)),
                        "seeds": int(own["seed"].nunique()),
                        "share": f"{percent}%",
                        "images": _whole(images),
                        "classes": _whole(classes),
                        "zero_shot": _mean(own, ZERO_SHOT, params),
                        **{kind: _mean(own, f"auroc_{kind}_{percent}", params) for kind in _KINDS},
                        "origin": str(own["origin"].iloc[0]),
                    }
                )
    notes = [
        "Macro AUROC of the same images, mean over draws of labelled patients and over seeds; no labelled "
        "patient is evaluated. The interval joins patients, draws and seeds, and is conservative.",
        "Linear probe: logistic regression of the frozen image encoder's pooled vector, its C chosen on "
        "held-out patients of the draw. Encoder tuned: that probe and the last stage, or all weights, of the "
        "image encoder, trained on, as papers fine-tune; no text takes part. Both are the same for all "
        "methods, which share the encoder. Alignment tuned: all weights of the alignment, asked with the "
        "class prompts; both encoders stay frozen.",
        "Images: labelled ones of a draw, a fifth of whose patients choose penalty or epoch. Classes: how "
        "many a draw both shows and lacks, so that they can be fitted; every other one scores 0.5 with "
        "the probe and a tuned encoder.",
    ]
    if found.untrained:
        notes.append(f"Not trained with the settings of params.yaml here: {', '.join(found.untrained)}.")
    return Table(
        name="transfer",
        title=task_named("transfer").title,
        columns=(
            common.METHOD, words("cell"), common.DATASET, common.SEEN, count("seeds", "Seeds"),
            words("share", "Labels"), count("images", "Images"), count("classes", "Classes"),
            estimate("zero_shot", "Zero-shot", "zero_shot_"),
            *(estimate(kind, title, f"{kind}_") for kind, title in _KINDS.items()), common.ORIGIN,
        ),
        rows=tuple(shown),
        notes=(*notes, READING),
        synthetic=bool((rows["origin"] == "twin").any()),
        command=COMMAND,
    )  # fmt: skip


def shares(rows: pd.DataFrame) -> list[str]:
    """Percent of the labels, in the order of the rows: `1`, `10`, `100`."""
    found = [re.fullmatch(r"images_(.+)", str(metric)) for metric in rows["metric"]]
    return list(dict.fromkeys(match[1] for match in found if match))


def _mean(rows: pd.DataFrame, metric: str, params: Params) -> Measured | None:
    """Mean over seeds; None without rows."""
    own = rows[(rows["metric"] == metric) & rows["value"].notna()]
    if own.empty:
        return None
    share = task_named("transfer").is_share(metric)
    mean = seed_mean(own.to_dict("records"), params.statistics.level, share=share)
    return Measured(mean["value"], mean["low"], mean["high"])


def _whole(mean: Measured | None) -> int | None:
    return None if mean is None or mean.value is None else round(mean.value)
