"""Where each method puts volumes and reports of one space, on one plane, before and after the bank."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.core.errors import BenchError
from benchmark.evaluation.retrieval import modality_gap
from benchmark.evaluation.statistics.influence import patient_codes
from benchmark.evaluation.tasks.retrieval import RetrievalSettings, pairs_of
from benchmark.grid.params import main_cell
from benchmark.stages.features import device
from benchmark.stages.run import Session


@dataclass(frozen=True)
class Projection:
    """One space of one method on its plane. image, text: (N, 2), row i of both is a pair. shown: share of the
    variance of both modalities that the plane keeps. gap: length between their means in the whole space."""

    method: str
    space: str
    seed: int
    dataset: str
    image: np.ndarray
    text: np.ndarray
    shown: float
    gap: float


def projections(session: Session) -> list[Projection]:
    """Every space of every main cell that has one, of the first seed, on the set of `ct.tasks.retrieval`.

    Raises BenchError where no such set is named or a cell is not trained.
    """
    import torch

    from benchmark.training.finished import load_method

    params = session.params
    settings = params.tasks.get("retrieval")
    if not isinstance(settings, RetrievalSettings) or not settings.datasets:
        raise BenchError("params.yaml: ct.tasks.retrieval names no set; the modality gap needs reports.")
    data = session.evaluation_data(settings.datasets[0])
    pairs = pairs_of(data, settings.pairs)
    store = data.encode(pairs.texts)
    images = data.images.get(data.rows[pairs.images])
    texts = store.get(store.rows(pairs.texts))
    codes, clusters, _ = patient_codes(data.chosen.patients[pairs.images], len(pairs.images))
    found = []
    for name in params.methods:
        seed = params.seeds[0]
        method = load_method(session.project.run(main_cell(params, name).name, seed)).to(device()).eval()
        with torch.no_grad():
            image, text = method.prepare_image(images.to(device())), method.prepare_text(texts.to(device()))
            spaces = method.embeddings(image, text)
        for space, (own, other) in spaces.items():
            both = own.cpu().numpy(), other.cpu().numpy()[pairs.partner]
            gap = modality_gap(*both, pairs.partner, codes, clusters)["modality_gap"].value
            left, right, shown = on_a_plane(*both)
            found.append(Projection(name, space, seed, data.manifest.dataset, left, right, shown, gap))
    return found


def on_a_plane(image: np.ndarray, text: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Unit vectors of both sides (N, d) on their two first joint principal axes, and the share of the
    variance there. Signs are fixed: the largest entry of each axis is positive."""
    both = np.concatenate([x / np.linalg.norm(x, axis=1, keepdims=True) for x in (image, text)])
    both = both.astype(np.float64) - both.mean(axis=0)
    _, lengths, axes = np.linalg.svd(both, full_matrices=False)
    axes = axes[:2]
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    flat = both @ axes.T
    total = float((lengths**2).sum())
    shown = float((lengths[:2] ** 2).sum()) / total if total > 0 else 1.0
    return flat[: len(image)], flat[len(image) :], shown
