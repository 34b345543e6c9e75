"""What age, sex and view tell without the image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmark.evaluation.references.base import REFERENCES, Floats, Images, Labels
from benchmark.evaluation.references.linear import LinearReference

BANDS = (20, 30, 40, 50, 60, 70, 80)
"""Years at which the influence of age may bend."""
SEXES = ("F", "M")
VIEWS = ("PA", "AP", "L")


@REFERENCES.register("metadata")
class Metadata(LinearReference):
    name = "metadata"
    title = "age, sex and view"
    kind = "floor"
    order = 40
    reads = "age, sex and view, no image"

    def applies(self, test: Images) -> bool:
        return any(_told_apart(test).values())

    def shared(self, train: Images, test: Images) -> bool:
        """Of every column that tells evaluated images apart, one of the levels that do tells training images
        apart too: laterals teach nothing of frontal images, nor the reverse."""
        learnt = _told_apart(train)
        return all(levels & learnt[name] for name, levels in _told_apart(test).items() if levels)

    def fit(self, train: Images, labels: Labels, seed: int) -> Callable[[Images], Floats]:
        """Where every fitted image has an age, nothing is learnt of a missing one: it counts as the mean of
        these, as 0 years would be the youngest of all."""
        model, ages = super().fit(train, labels, seed), _ages(train)
        if np.isnan(ages).any():
            return model
        typical = float(ages.mean())

        def scored(images: Images) -> Floats:
            filled = np.where(np.isnan(own := _ages(images)), typical, own)
            return model(replace(images, frame=images.frame.assign(age=filled)))

        return scored

    def inputs(self, images: Images) -> Floats:
        frame, age = images.frame, _ages(images)
        known = ~np.isnan(age)
        years = np.where(known, age, 0.0)
        columns = [known, years, *(np.maximum(years - band, 0.0) * known for band in BANDS)]
        for name, levels in (("sex", SEXES), ("view", VIEWS)):
            values = frame[name].astype("string").fillna("").to_numpy(dtype=object)
            columns += [values == level for level in levels]
        return np.stack([np.asarray(c, dtype=float) for c in columns], axis=1)


def _ages(images: Images) -> Floats:
    """(N,) years, NaN where there are none."""
    import pandas as pd

    return pd.to_numeric(images.frame["age"], errors="coerce").to_numpy(dtype=float)


def _told_apart(images: Images) -> dict[str, set[str]]:
    """Column → those of its known levels that some of the images have and others lack; of age, `years`."""
    found = {"age": {"years"} if images.frame["age"].nunique(dropna=False) > 1 else set()}
    for name, levels in (("sex", SEXES), ("view", VIEWS)):
        values = images.frame[name]
        found[name] = {level for level in levels if 0 < int((values == level).sum()) < len(values)}
    return found
