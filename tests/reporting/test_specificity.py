"""The matrices of all methods as one picture of the page."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from benchmark.grid.layout import Project
from benchmark.reporting.specificity import Matrix, picture, write_matrices


def test_the_page_gets_every_method_with_its_number_and_worst_confusion(tmp_path) -> None:
    project = Project(tmp_path)
    assert picture(project) is None
    folder = project.reports / "understanding"
    folder.mkdir(parents=True)
    diagonal = np.eye(40)
    write_matrices(
        [Matrix("CLIP", diagonal, 0.84, ("a", "b")), Matrix("RadZero", -diagonal, 0.25, None)], folder
    )
    shown = picture(project)
    assert shown is not None
    assert shown.synthetic
    assert "40 findings" in shown.caption
    assert "CLIP 0.84, RadZero 0.25" in shown.alt
    kind, data = shown.source.split(",")
    assert kind == "data:image/webp;base64"
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)
    half = pixels.shape[1] // 2
    red, blue = (pixels[..., 0] - pixels[..., 2], pixels[..., 2] - pixels[..., 0])
    # What rises is red in the left matrix, what falls is blue in the right one.
    assert red[:, :half].max() > 80 > red[:, half:].max()
    assert blue[:, half:].max() > 80 > blue[:, :half].max()


def test_equal_matrices_are_equal_bytes(tmp_path) -> None:
    found = [Matrix("CLIP", np.arange(25.0).reshape(5, 5), 0.5, None)]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_matrices(found, tmp_path / name)
    first, second = ((tmp_path / name / "specificity.webp").read_bytes() for name in ("one", "two"))
    assert first == second
