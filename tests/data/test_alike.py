"""Images that look alike: copies of other size, format and depth are found, other images are not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from benchmark.data.alike import AT_MOST, pairs_alike, perceptual_hash, perceptual_hashes


def film(seed: int, side: int = 256) -> np.ndarray:
    """Soft structure over several scales, as of a radiograph."""
    rng = np.random.default_rng(seed)
    total = sum(
        cv2.resize(rng.normal(size=(n, n)), (side, side), interpolation=cv2.INTER_CUBIC) / n
        for n in (4, 8, 32)
    )
    return np.asarray(cv2.normalize(total, None, 20, 230, cv2.NORM_MINMAX), np.uint8)


def bits(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.bitwise_count(perceptual_hash(one) ^ perceptual_hash(other)).sum())


def test_copies_are_alike_and_others_are_not() -> None:
    films = [film(seed) for seed in range(12)]
    for own in films:
        small = cv2.resize(own, (131, 131), interpolation=cv2.INTER_AREA)
        coded = cv2.imdecode(cv2.imencode(".jpg", own, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], 0)
        deeper = own.astype(np.uint16) * 16 + 3
        assert max(bits(own, copy) for copy in (small, coded, deeper)) <= AT_MOST
    apart = [bits(a, b) for i, a in enumerate(films) for b in films[:i]]
    assert min(apart) > 4 * AT_MOST


def test_pairs_are_all_that_differ_in_few_bits() -> None:
    """Against the plain definition, with near copies at every distance around the limit."""
    rng = np.random.default_rng(0)
    other = rng.integers(0, 1 << 16, (40, 16)).astype(np.uint16)
    one = other[:30].copy()
    for row in range(30):
        for place in rng.choice(256, row, replace=False):
            one[row, place // 16] ^= np.uint16(1 << (place % 16))
    distance = np.bitwise_count(one[:, None] ^ other[None]).sum(-1)
    expected = {(int(a), int(b), int(distance[a, b])) for a, b in np.argwhere(distance <= AT_MOST)}
    found = pairs_alike(one, other)
    assert set(found) == expected
    assert len(found) == AT_MOST + 1
    assert [d for *_, d in found] == sorted(d for *_, d in found)
    with pytest.raises(ValueError, match="at most 15"):
        pairs_alike(one, other, 16)


def test_files_that_say_nothing_are_left_out(tmp_path: Path) -> None:
    Image.fromarray(film(0)).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / "flat.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    hashes, known = perceptual_hashes([tmp_path / n for n in ("a.png", "flat.png", "broken.png")], 1)
    assert known.tolist() == [True, False, False]
    np.testing.assert_array_equal(hashes[0], perceptual_hash(film(0)))
