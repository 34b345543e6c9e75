"""Files that tests of `bench score` share."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def pair(tmp_path):
    """Scores and labels of two classes for 40 images, as frames, in a folder."""
    rng = np.random.default_rng(3)
    labels = pd.DataFrame((rng.random((40, 2)) < 0.4).astype(int), columns=["Consolidation", "Effusion"])
    scores = pd.DataFrame(rng.standard_normal((40, 2)) + labels.to_numpy(), columns=labels.columns)
    for frame in (labels, scores):
        frame.insert(0, "image_id", [f"i{i:03d}" for i in range(40)])
    return tmp_path, scores, labels


@pytest.fixture
def cases(shared):
    folder = shared / "cases"
    if not folder.is_dir():
        pytest.skip("the shared cases are not here")
    return folder
