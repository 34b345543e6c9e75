"""A supervised probe of the image as a whole: the pooled features, and the largest value of each channel over
the patches."""

from __future__ import annotations

import numpy as np

from benchmark.evaluation.references.base import REFERENCES, Floats, Images
from benchmark.evaluation.references.linear import LinearReference


@REFERENCES.register("pooled")
class Pooled(LinearReference):
    name = "pooled"
    title = "linear probe of pooled features"
    kind = "ceiling"
    order = 60
    reads = "the shared encoder's pooled features and each channel's largest value over the patches"

    def inputs(self, images: Images) -> Floats:
        parts = []
        for rows in images.batches():
            got = images.features.get(rows)
            parts.append(np.concatenate([got.pooled.numpy(), got.local.amax(1).numpy()], axis=1))
        return np.concatenate(parts).astype(np.float64)
