"""`perf/scale.py`: whether the sizes that a law is fitted at determine it, and what timed runs leave out."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest


@pytest.fixture
def laws():
    from perf import scale_laws

    return scale_laws


@pytest.mark.skipif(sys.platform != "linux", reason="the laws are measured on Linux")
def test_a_process_that_keeps_its_memory_takes_none_anew() -> None:
    code = """
import resource
import numpy as np
from perf.scale_work import keep_memory
keep_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(2**26, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults(), faults(), faults())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, *later = (int(word) for word in done.stdout.split())
    assert first > 30
    assert max(later) < first / 10


def test_features_on_disk_are_one_block_of_noise_again_and_again(tmp_path) -> None:
    from perf.shared import BLOCK, noise_store

    store = noise_store(tmp_path / "features", BLOCK + 3, tokens=2, width=5)
    assert store.local.shape == (BLOCK + 3, 2, 5)
    assert store.local.dtype == np.float16
    assert np.array_equal(store.pooled[BLOCK:], store.pooled[:3])
    assert np.array_equal(store.local[BLOCK:], store.local[:3])
    assert len(np.unique(store.pooled[:BLOCK])) > BLOCK


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
            for own in {"all": laws.LETTERS}.get(letter, "P" if "tokens" in letter else letter):
                assert size[own] > max(other[own] for other in fitted)
        if key[0] == "training":
            assert all(size["N"] % size["T"] == 0 for size in (*fitted, *checks.values()))


def test_the_peak_of_a_training_is_that_of_its_higher_part(laws) -> None:
    found = {part: laws.Law(("N",), (factor,)) for part, factor in (("standardising", 2.0), ("steps", 1.0))}
    size = {"N": 10, "T": 2, "P": 1, "D": 1, "S": 1}
    assert laws.compared(found, size, {"standardising": 5.0, "steps": 21.0}) == {"memory": (20.0, 21.0)}


def test_attention_is_counted_on_paper() -> None:
    import torch
    from torch.nn import functional

    from perf.paper import flop

    one = torch.randn(1, 2, 16, 8)
    assert flop(lambda: functional.scaled_dot_product_attention(one, one, one)) == 2 * 2 * (2 * 16 * 16 * 8)
