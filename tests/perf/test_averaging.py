from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from perf.averaging import COLUMNS, apart, measured, table


def rows(values):
    """values: run → AUROC without and with averaging, None where that training is not there yet."""
    return pd.DataFrame(
        [("x", 0, run, weights, "chexpert", value)
         for run, pair in values.items() for weights, value in zip(("without", "with"), pair, strict=True)
         if value is not None],
        columns=list(COLUMNS),
    )  # fmt: skip


def test_held_out_sentences_stand_beside_the_whole_sets():
    own = [{"dataset": "chexpert", "stratum": s, "value": v} for s, v in (("all", 0.8), ("tail", 0.7))]
    record = {"val_auroc": 0.83, "val_loss": 5, "best_epoch": 76}
    assert measured(own, record) == {"val_auroc": 0.83, "val_loss": 5.0, "chexpert": 0.8}
    assert measured(own, {**record, "val_auroc": None}) == {"val_loss": 5.0, "chexpert": 0.8}


def test_only_pairs_are_compared():
    shown = table(rows({0: (0.80, 0.81), 1: (0.84, 0.83), 2: (0.99, None)}))
    assert shown.endswith("| chexpert | 2 | 0.8200 | 0.8200 | +0.0000 ± 0.0100 | 0.0283 | 0.0141 | 0.50 |")
    assert table(rows({0: (0.80, 0.81)})).endswith("| 1 | 0.8000 | 0.8100 | +0.0100 | – | – | – |")
    assert table(rows({0: (0.80, 0.81), 1: (0.80, 0.83)})).endswith("| 0.0000 | 0.0141 | – |")


def test_weights_are_as_far_apart_as_a_share_of_their_norm(tmp_path):
    for name, last in (("a", 4.0), ("b", 4.5)):
        save_file({"x": np.array([3.0, 0.0], "float32"), "y": np.array([last], "float32")}, tmp_path / name)
    assert apart(tmp_path / "a", tmp_path / "b") == pytest.approx(0.1)
    assert apart(tmp_path / "a", tmp_path / "a") == 0
