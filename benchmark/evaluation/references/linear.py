"""A linear probe: ridge regression of the labels on standardised inputs, one column a class."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import numpy as np

from benchmark.evaluation.references.base import Floats, Images, Labels, Reference, held_out, mean_auroc

PENALTIES = (1.0, 10.0, 100.0, 1e3, 1e4)


class LinearReference(Reference):
    """The penalty is the one of five with the best mean AUROC on fitted patients that are held out.

    Scores are distances from the mean of the fitted images without the intercept: with it, folds in which a
    class is rarer would score lower, and pooled folds would show an AUROC below one half by construction.
    """

    @abstractmethod
    def inputs(self, images: Images) -> Floats:
        """(N, F), finite."""

    def fit(self, train: Images, labels: Labels, seed: int) -> Callable[[Images], Floats]:
        x = self.inputs(train)
        fit, check = held_out(train, seed)
        found = [
            mean_auroc(labels[check], fitted(x[fit], labels[fit], penalty)(x[check])) for penalty in PENALTIES
        ]
        known = not np.isnan(found).all()
        final = fitted(x, labels, PENALTIES[int(np.nanargmax(found))] if known else PENALTIES[-1])
        return lambda images: final(self.inputs(images))


def fitted(x: Floats, labels: Labels, penalty: float) -> Callable[[Floats], Floats]:
    """(N, F) → (N, C). Classes whose labels are known of the same images are fitted at once; one of which no
    two labels are known scores 0."""
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    weights = np.zeros((x.shape[1], labels.shape[1]))
    offsets = np.zeros(labels.shape[1])
    patterns, of_class = np.unique(labels >= 0, axis=1, return_inverse=True)
    for number, known in enumerate(patterns.T):
        columns = np.flatnonzero(of_class.ravel() == number)
        if known.sum() < 2:
            continue
        scale = StandardScaler().fit(x[known])
        truth = labels[np.ix_(known, columns)].astype(np.float64)
        model = Ridge(alpha=penalty).fit(scale.transform(x[known]), truth)
        own = np.atleast_2d(model.coef_).T / scale.scale_[:, None]
        weights[:, columns], offsets[columns] = own, scale.mean_ @ own
    return lambda shown: np.asarray(shown @ weights - offsets)
