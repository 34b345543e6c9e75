"""`perf/scale.py`: whether the sizes that a law is fitted at determine it."""

from __future__ import annotations

import numpy as np
import pytest

from perf import ratios


@pytest.fixture
def laws(monkeypatch):
    monkeypatch.syspath_prepend(str(ratios.RECORDED.parent))
    import scale_laws

    return scale_laws


def test_the_sizes_tell_every_term_of_a_law_from_the_others(laws) -> None:
    rng = np.random.default_rng(0)
    for key, quantities in laws.TERMS.items():
        sizes = laws.fit_sizes(*key)
        for terms in quantities.values():
            given = [1 if term.startswith("4") else rng.uniform(1, 2) for term in terms]
            known = laws.Law(terms, tuple(given))
            found = laws.fitted(terms, sizes, [known.told(size) for size in sizes])
            assert found.coefficients == pytest.approx(known.coefficients, rel=1e-4)


def test_a_check_is_larger_than_all_that_was_fitted_and_batches_are_full(laws) -> None:
    for key in laws.SIZES:
        fitted, checks = laws.fit_sizes(*key), laws.check_sizes(*key)
        for letter, size in checks.items():
            for own in laws.LETTERS if letter == "all" else letter:
                assert size[own] > max(other[own] for other in fitted)
        if key[0] == "training":
            assert all(size["N"] % size["T"] == 0 for size in (*fitted, *checks.values()))


def test_the_peak_of_a_training_is_that_of_its_higher_part(laws) -> None:
    found = {part: laws.Law(("N",), (factor,)) for part, factor in (("standardising", 2.0), ("steps", 1.0))}
    size = {"N": 10, "T": 2, "P": 1, "D": 1, "S": 1}
    assert laws.compared(found, size, {"standardising": 5.0, "steps": 21.0}) == {"memory": (20.0, 21.0)}
