from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmark.cli import main
from benchmark.evaluation.statistics.bands import bands
from benchmark.grid.layout import Project
from benchmark.reporting.figures.style import colours, save, svg_text
from benchmark.reporting.outputs import PartReport


@pytest.fixture(scope="module")
def drawings(project):
    return {d.name: d for d in PartReport(Project(project), "all").drawings}


def test_every_figure_is_drawn_with_its_mark_inside(drawings):
    expected = {
        "forest",
        "ablation_features",
        "ablation_prompt_alignment",
        "prompt_sensitivity",
        "training",
        "cost",
    }
    for dataset in ("chestxray14", "chexpert"):
        expected |= {f"frequency_{dataset}", f"classes_{dataset}", f"curves_{dataset}"}
    assert set(drawings) == expected
    for drawing in drawings.values():
        marks = [text.get_text() for text in drawing.figure.texts]
        assert any("SYNTHETIC TWIN" in mark for mark in marks)
        assert drawing.alt
        assert drawing.caption


def test_files_are_vector_and_png_and_repeat(drawings, tmp_path):
    first = {p.name: p.read_bytes() for p in save(drawings["forest"], tmp_path / "a")}
    second = {p.name: p.read_bytes() for p in save(drawings["forest"], tmp_path / "b")}
    assert set(first) == {"forest.svg", "forest.pdf", "forest.png"}
    assert first == second
    assert svg_text(drawings["forest"]).startswith("<svg")


def test_a_method_keeps_its_colour():
    assert colours(["clip", "carzero"])["carzero"] == colours(["carzero"])["carzero"]
    six = colours(["carzero", "clip", "medclip", "gloria", "radzero", "brgsa"])
    assert len(set(six.values())) == 6


def test_curves_integrate_to_the_metrics():
    rng = np.random.default_rng(0)
    labels = (rng.random((800, 3)) < 0.3).astype(np.int8)
    labels[rng.random(labels.shape) < 0.05] = -1
    scores = rng.normal(size=(2, *labels.shape)) + labels.clip(0)
    patients = np.repeat(np.arange(400), 2).astype(str)
    roc, precision = bands(scores, labels, patients, draws=40)
    kept = [labels[:, j] >= 0 for j in range(3)]
    truth = np.mean([roc_auc_score(labels[kept[j], j], run[kept[j], j]) for run in scores for j in range(3)])
    area = np.mean(
        [average_precision_score(labels[kept[j], j], run[kept[j], j]) for run in scores for j in range(3)]
    )
    assert np.trapezoid(roc.value, roc.x) == pytest.approx(truth, abs=0.003)
    assert np.trapezoid(precision.value, precision.x) == pytest.approx(area, abs=0.02)
    assert (roc.low <= roc.value + 0.02).all()
    assert (roc.high >= roc.value - 0.02).all()
    assert (roc.high - roc.low)[50] > 0.01
    assert roc.classes == 3


def test_no_curve_without_enough_positives():
    labels = np.zeros((50, 1), dtype=np.int8)
    labels[:9] = 1
    assert bands(np.zeros((1, 50, 1)), labels, np.arange(50).astype(str)) is None


def test_command(inside, capsys):
    assert main(["report", "figures", "--part", "main"]) == 0
    assert "reports/figures/forest.png" in capsys.readouterr().out
    assert (inside / "reports" / "figures" / "forest.pdf").is_file()
