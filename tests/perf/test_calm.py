from __future__ import annotations

import pandas as pd

from benchmark.stages.run_record import RunRecord
from perf.calm import CURVES, TRAININGS, added, curve_table, measured, training_table


def trainings(values, means="as configured"):
    """values: run → what was measured of it."""
    rows = [("x", 0, run, means, k, v) for run, own in values.items() for k, v in own.items()]
    return pd.DataFrame(rows, columns=list(TRAININGS))


def test_held_out_sentences_stand_beside_the_whole_sets():
    own = [{"dataset": "chexpert", "stratum": s, "value": v} for s, v in (("all", 0.8), ("tail", 0.7))]
    record = RunRecord.model_construct(val_auroc=0.83, val_loss=5, best_epoch=76)
    assert measured(own, record) == {"val_auroc": 0.83, "val_loss": 5.0, "chexpert": 0.8}
    assert measured(own, record.model_copy(update={"val_auroc": None})) == {"val_loss": 5.0, "chexpert": 0.8}


def test_a_training_is_replaced_and_others_stay(tmp_path):
    path = tmp_path / "calm.csv"
    first = trainings({0: {"val_auroc": 0.8}, 1: {"val_auroc": 0.7, "weights": 0.4}})
    added(path, first).to_csv(path, index=False)
    found = added(path, trainings({1: {"val_auroc": 0.9}}))
    assert found[["run", "value"]].to_numpy().tolist() == [[0, 0.8], [1, 0.9]]
    other = added(path, trainings({1: {"val_auroc": 0.9}}, "rate / 2"))
    assert len(other) == 4


def test_spreads_are_over_trainings_and_changes_from_run_0():
    found = trainings({
        0: {"val_auroc": 0.80, "val_loss": 5.0, "a": 0.7, "b": 0.9},
        1: {"val_auroc": 0.84, "val_loss": 6.0, "a": 0.8, "b": 0.9, "weights": 0.25},
    })  # fmt: skip
    row = "| x | as configured | 2 | 0.8200 | 0.0283 | 5.5000 | 0.8250 | 0.0500 | 0.1000 | 0.25 |"
    assert training_table(found).endswith(row)
    alone = training_table(found[found["run"] == 0])
    assert alone.endswith("| x | as configured | 1 | 0.8000 | – | 5.0000 | 0.8000 | – | – | – |")


def test_a_curve_is_shown_at_the_epochs_that_it_reached():
    rows = [
        ("x", 0, 1, "stored", "no dropout", epoch, step, name, value)
        for epoch, step, name, value in (
            (1.0, 100, "weights", 1e-6), (1.0, 100, "scores", 1e-5), (2.0, 200, "weights", 1e-4),
            (2.0, 200, "scores", 1e-2), (2.0, 200, "auroc", 0.7), (2.0, 200, "auroc moved", 0.69),
            (3.0, 300, "weights", 2e-4),
        )
    ]  # fmt: skip
    shown = curve_table(pd.DataFrame(rows, columns=list(CURVES)))
    assert shown.endswith(
        "| x | no dropout | stored | – | 1e-05 | 1e-02 | – | – | 3 | 2e-04 | 0.0100 | 4.6 |"
    )
