"""The matrices of all methods as one picture of the page."""

from __future__ import annotations

import base64
import io

import numpy as np
import pandas as pd
from PIL import Image

from benchmark.grid.layout import Project
from benchmark.reporting.specificity import matrix_of, picture
from benchmark.reporting.understanding import draw_matrix

NAMES = [f"finding {i}" for i in range(12)]


def test_the_page_gets_the_matrix_of_every_method_with_its_number(tmp_path) -> None:
    project = Project(tmp_path)
    assert picture(project) is None
    folder = project.reports / "understanding"
    folder.mkdir(parents=True)
    rows = [("clip-main", "clip", "specificity", "macro", 0.84), ("clip-main", "clip", "side", "macro", 0.1),
            ("radzero-main", "radzero", "specificity", "macro", 0.25),
            ("radzero-main", "radzero", "specificity", "finding 1", 0.5)]  # fmt: skip
    pd.DataFrame(rows, columns=["cell", "method", "metric", "class", "value"]).to_csv(
        folder / "findings.csv", index=False
    )
    assert picture(project) is None, "a table without pictures"
    changes = np.full((12, 12), 0.2) + np.eye(12)
    draw_matrix(changes, NAMES, NAMES, "CLIP", folder / "specificity-clip-main.png")
    draw_matrix(-changes, NAMES, NAMES, "RadZero", folder / "specificity-radzero-main.png")

    found = matrix_of(folder / "specificity-clip-main.png").astype(int)
    assert abs(found.shape[0] - found.shape[1]) <= 4
    # The darkest red cells are the diagonal, in the middle of the first and the last cell too.
    cell = found.shape[0] / 12
    for i in (0, 5, 11):
        middle = found[int((i + 0.5) * cell), int((i + 0.5) * cell)]
        beside = found[int((i + 0.5) * cell), int(((i + 1) % 12 + 0.5) * cell)]
        assert middle[0] - middle[1] > 60
        assert middle[1] < beside[1]

    shown = picture(project)
    assert shown is not None
    assert shown.synthetic
    assert shown.alt.endswith("Specificity: CLIP 0.84, RadZero 0.25.")
    kind, data = shown.source.split(",")
    assert kind == "data:image/webp;base64"
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)
    third = pixels.shape[1] // 3
    warm = pixels[..., 0] - pixels[..., 2]
    # What rises is red in the first matrix, what falls is blue in the second, and there is no third.
    assert warm[:, :third].max() > 60 > warm[:, third : 2 * third].max()
    assert -warm[:, third : 2 * third].min() > 60 > -warm[:, :third].min()
    assert np.ptp(pixels[:, 2 * third + 40 :], axis=2).max() < 60
