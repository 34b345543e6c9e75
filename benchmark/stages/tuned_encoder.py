"""Fine-tuning of the shared image encoder on drawn labels, beside what task `transfer` asks of alignments."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark.core import numerics
from benchmark.core.errors import BenchError
from benchmark.core.hashing import derive_seed
from benchmark.core.progress import watched
from benchmark.core.reuse import key_of, reuse, source
from benchmark.core.tables import METRIC_COLUMNS, read_table, write_table
from benchmark.data.decoded import decoded
from benchmark.encoders.factory import image_encoder
from benchmark.encoders.trainable import How, make_trainable
from benchmark.evaluation.evaluate import evaluate, finish
from benchmark.evaluation.operating_point import every_label, held_out_data
from benchmark.evaluation.statistics.influence import patient_codes
from benchmark.evaluation.statistics.metric_values import VALUE
from benchmark.evaluation.tasks.transfer import averaged
from benchmark.evaluation.transfer import label_draws
from benchmark.evaluation.tuned_encoder import tuned_encoder
from benchmark.grid.layout import source_name
from benchmark.stages.features import device

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.core.settings import StatisticsConfig
    from benchmark.evaluation.evaluation_data import EvaluationData
    from benchmark.evaluation.tasks.transfer import TransferSettings
    from benchmark.evaluation.trial_rows import Rows
    from benchmark.stages.run import Session

TUNED: tuple[How, ...] = ("last stage", "full")
"""What of the encoder is tuned, each a metric of its own (`metric_of`)."""

RATES = (1.0, 0.1)
"""Parts of the task's learning rate, which is that of alignments, of which the checked patients of a draw
choose: an encoder that is trained already may want a smaller one."""


def metric_of(how: How, percent: str) -> str:
    """`auroc_encoder_full_10`: an encoder of which all weights were tuned with 10% of the labels."""
    return f"auroc_encoder_{how.replace(' ', '_')}_{percent}"


def encoder_rows(session: Session, dataset: str, how: TransferSettings) -> pd.DataFrame:
    """Metric rows, their identity empty: they are the same for every method that shares the encoder.

    Made, or reused where nothing that they rest on changed; for what is tuned each has files of its own, so
    that a killed call goes on with the next. how: of task `transfer`, whose learning rate (by
    RATES), epochs and batch hold for encoders too. Raises BenchError where no patient beside those evaluated
    has labels.
    """
    import pandas as pd

    data = session.evaluation_data(dataset)
    other = held_out_data(data, how.labelled)
    if other is None:
        raise BenchError(f"{dataset}: no labelled images of two patients beside those evaluated.")
    folder = session.project.root / "results" / "transfer" / source_name(dataset, data.manifest.origin)
    frames = []
    for tuned in TUNED:
        name = tuned.replace(" ", "-")
        table = folder / f"encoder-{name}.parquet"
        key = key_of(
            tuned=tuned,
            features=data.images.key,
            images=data.identity,
            protocol=data.chosen.info.as_json(),
            labels=[data.content("labels"), every_label(data)],
            settings=how.model_dump(mode="json", exclude={"datasets"}),
            rates=RATES,
            statistics=session.params.statistics.model_dump(mode="json"),
            numerics=numerics.state(),
            source=source("benchmark.evaluation.tuned_encoder", "benchmark.encoders.trainable"),
        )
        with session.writing(f"encoder, {tuned}, on {dataset}", folder):
            make = partial(_make, session, data, other, how, tuned, table)
            made = reuse(folder / f"encoder-{name}.json", key, [table], make)
        session.say(f"encoder, {tuned}, on {dataset}: {made}")
        frames.append(read_table(table)[0])
    return pd.concat(frames, ignore_index=True)


def _make(
    session: Session,
    data: EvaluationData,
    other: EvaluationData,
    how: TransferSettings,
    tuned: How,
    table: Path,
) -> None:
    spec, labels = session.params.encoders.image, other.chosen.labels
    with watched(f"decode {data.manifest.dataset}") as report:
        paths = [data.manifest.root / path for path in data.manifest.frame["path"]]
        found = decoded(paths, data.steps, session.project.cache / "decoded", on_progress=report)
    rows: Rows = []
    with watched(f"tune the encoder, {tuned}") as report:
        for done, share in enumerate(how.shares):
            percent, scored = f"{100 * share:g}", []
            for number, draw in enumerate(label_draws(other.chosen.patients.tolist(), share, how.draws)):
                encoder = image_encoder(spec)
                make_trainable(encoder, tuned)
                score = tuned_encoder(
                    encoder, found.pixels, other.rows, labels, draw,
                    epochs=how.epochs, learning_rates=[how.learning_rate * part for part in RATES],
                    batch=how.batch_size, device=device(),
                    seed=derive_seed(number, "transfer", tuned, f"{len(draw.rows)}"),
                )  # fmt: skip
                scored.append(_auroc(score(data.rows), data, session.params.statistics))
            rows += averaged(scored, metric_of(tuned, percent), session.params.statistics.level)
            report(done + 1, len(how.shares))
    _, _, grouped = patient_codes(data.chosen.patients, len(data))
    table.parent.mkdir(parents=True, exist_ok=True)
    about = {"notice": data.manifest.origin, "evaluation": data.chosen.info.as_json(), "note": data.note}
    write_table(table, finish(rows, grouped)[list(METRIC_COLUMNS)], about)


def _auroc(scores: np.ndarray, data: EvaluationData, statistics: StatisticsConfig) -> pd.DataFrame:
    """AUROC by class, macro and stratum, without identity."""
    chosen, plain = data.chosen, statistics.model_copy(update={"thresholded": False})
    found = evaluate(scores, chosen.labels, chosen.patients, chosen.classes, strata=data.strata, config=plain)
    kept = found[(found["metric"] == "auroc") & ~found["class"].isin(["micro", "weighted"])]
    return kept[list(VALUE)].reset_index(drop=True)
