"""Whether scores are those of each image with each text alone, asked of a few before all are evaluated.

A score that depends on what else is scored at once, on chance or on earlier calls says nothing of an
image, yet ranks images. `bench check method` looks for it on random features; here the trained one is asked.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.core.errors import BenchError
from benchmark.core.features import TextFeatures
from benchmark.encoders.store import FeatureStore
from benchmark.evaluation.scoring import score
from methods.base import Method

IMAGES, TEXTS = 3, 8
OF_SPREAD, OF_SIZE = 0.01, 0.001
"""What two ways to one score may differ by: of the range of the scores, and of the largest one, for the
arithmetic of accelerators."""


def check_alone(
    method: Method,
    images: FeatureStore,
    rows: NDArray[Any],
    texts: TextFeatures,
    scores: NDArray[np.float32],
    device: str,
) -> None:
    """Raises BenchError where (N, T) scores are no finite numbers, or where some pairs of image and text,
    each scored alone, have other ones."""
    if not scores.size:
        return
    wrong = int(np.count_nonzero(~np.isfinite(scores)))
    if wrong:
        raise BenchError(
            f"{method.name}: {wrong:,} of {scores.size:,} scores are not finite numbers, which rank nothing. "
            "Repair score_pairs of the method."
        )
    picked, asked = _spread(len(rows), IMAGES), _spread(len(texts), TEXTS)
    alone = [score(method, images, texts[asked], (1, 1), rows=rows[[i]], device=device)[0] for i in picked]
    gap = float(np.abs(np.stack(alone) - scores[np.ix_(picked, asked)]).max())
    if not gap <= OF_SPREAD * float(np.ptp(scores)) + OF_SIZE * float(np.abs(scores).max()):
        raise BenchError(
            f"{method.name}: the score of an image and a text alone differs by {gap:.3g} from the one beside "
            f"others; it must depend on nothing else. `bench check method {method.name}`, with the options "
            "of this run, says where."
        )


def _spread(count: int, most: int) -> list[int]:
    """At most so many of the first `count` numbers, from the first to the last."""
    return sorted({round(x) for x in np.linspace(0, count - 1, min(count, most))})
