"""The feature cache: content keys, shards, half precision, one text once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import benchmark.encoders.cache as cache_module
from benchmark.core.errors import BenchError
from benchmark.core.features import ImageFeatures
from benchmark.encoders.cache import at_once, image_features, image_key, text_features
from benchmark.encoders.store import FeatureStore, TextStore
from tests.encoders.tiny import Pixels, Words


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (50, 8, 8), dtype=np.uint8)


def test_features_come_back_as_they_were(pixels: np.ndarray, tmp_path: Path) -> None:
    encoder = Pixels()
    store = image_features(pixels, encoder, tmp_path, precision="float32", batch_size=7)
    with torch.no_grad():
        expected = encoder.encode(torch.from_numpy(pixels))
    rows = [40, 3, 3, 17]
    found = store.get(rows)
    torch.testing.assert_close(found.local, expected.local[rows], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.pooled, expected.pooled[rows], rtol=1e-5, atol=1e-6)
    assert (len(store), store.width, found.grid) == (50, 5, (2, 2))
    seen = encoder.seen
    again = image_features(pixels, encoder, tmp_path, precision="float32")
    assert encoder.seen == seen
    assert again.key == store.key
    with pytest.raises(BenchError, match="outside the store's 50 rows"):
        store.get([50])


@pytest.mark.parametrize("damage", ["half", "empty", "gone", "zeros"])
def test_a_damaged_file_of_a_finished_store_is_named(pixels: np.ndarray, tmp_path: Path, damage: str) -> None:
    """Each file of images and of texts; none is an error that bench did not foresee."""
    texts = ["a small effusion", "no effusion"]
    whole = {
        "image": lambda: image_features(pixels, Pixels(), tmp_path),
        "text": lambda: text_features(texts, Words(), tmp_path),
    }
    for make in whole.values():
        folder = tmp_path / make().key
        for path in sorted(folder.iterdir()):
            before = path.read_bytes()
            path.write_bytes(
                {"half": before[: len(before) // 2], "empty": b"", "gone": b"", "zeros": bytes(len(before))}[
                    damage
                ]
            )
            if damage == "gone":
                path.unlink()
            if path.name != "store.json" or damage != "gone":
                with pytest.raises(BenchError, match=r"not whole \(.*Remove the folder and run again"):
                    make()
            path.write_bytes(before)
        make()


def test_half_precision_touches_only_the_tokens(pixels: np.ndarray, tmp_path: Path) -> None:
    full = image_features(pixels, Pixels(), tmp_path, precision="float32")
    half = image_features(pixels, Pixels(), tmp_path, precision="float16")
    assert full.key != half.key
    assert half.local.dtype == np.float16
    assert torch.equal(full.get(slice(None)).pooled, half.get(slice(None)).pooled)
    assert half.get([0]).local.dtype == torch.float32
    torch.testing.assert_close(half.get(slice(None)).local, full.get(slice(None)).local, rtol=1e-3, atol=1e-3)


def test_the_key_follows_content(pixels: np.ndarray, tmp_path: Path) -> None:
    base = image_key(Pixels(), "pixels", "float16")
    assert image_key(Pixels(), "pixels", "float16") == base
    others = [
        image_key(Pixels(seed=1), "pixels", "float16"),  # weights
        image_key(Pixels(mean=0.4), "pixels", "float16"),  # preprocessing
        image_key(Pixels(), "other", "float16"),  # pixels
        image_key(Pixels(), "pixels", "float32"),  # precision
    ]
    assert len({base, *others}) == 5
    changed = pixels.copy()
    changed[49, 7, 7] ^= 1
    one, two = (image_features(p, Pixels(), tmp_path).key for p in (pixels, changed))
    assert one != two


def test_a_killed_encoding_goes_on(
    pixels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "_SHARD", 16)
    whole = image_features(pixels, Pixels(), tmp_path / "whole", batch_size=8)
    cut = Pixels()
    cut.stop_after = 24
    with pytest.raises(KeyboardInterrupt):
        image_features(pixels, cut, tmp_path / "cut", batch_size=8)
    with pytest.raises(BenchError, match="no finished features"):
        FeatureStore.open(tmp_path / "cut" / whole.key)
    steps: list[tuple[int, int]] = []
    rest = Pixels()
    store = image_features(pixels, rest, tmp_path / "cut", batch_size=8, report=lambda *s: steps.append(s))
    assert rest.seen == 50 - 16
    assert steps == [(32, 50), (48, 50), (50, 50)]
    assert store.key == whole.key
    assert np.array_equal(store.local, whole.local)
    assert np.array_equal(store.pooled, whole.pooled)


def test_texts_are_encoded_once_and_padded_on_reading(tmp_path: Path) -> None:
    encoder = Words()
    texts = ["no effusion", "edema", "no effusion", "a much longer sentence about the heart", ""]
    store = text_features(texts, encoder, tmp_path)
    assert (len(store), encoder.seen) == (4, 4)
    rows = store.rows(texts)
    assert rows[0] == rows[2]
    found = store.get(rows)
    with torch.no_grad():
        expected = encoder.encode(texts)
    torch.testing.assert_close(found.pooled, expected.pooled)
    torch.testing.assert_close(found.local, expected.local)
    assert torch.equal(found.mask, expected.mask)
    assert found.words == expected.words
    assert store.get(rows[:2]).local.shape[1] == 2
    assert store.get(rows[:2], length=9).local.shape[1] == 9
    assert store.lengths(rows).tolist() == [2, 1, 2, 7, 0]
    with pytest.raises(BenchError, match="text 1 of 1 is not in the text features") as caught:
        store.rows(["never seen"])
    assert "never seen" not in str(caught.value)
    assert TextStore.open(tmp_path / store.key).rows(["edema"]) == store.rows(["edema"])


def test_pixels_of_another_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="takes uint8 images of 8 px"):
        image_features(np.zeros((2, 9, 9), np.uint8), Pixels(), tmp_path)
    with pytest.raises(BenchError, match="takes uint8 images"):
        image_features(np.zeros((2, 8, 8), np.float32), Pixels(), tmp_path)


def test_values_beyond_half_precision_are_refused(pixels: np.ndarray, tmp_path: Path) -> None:
    loud = Pixels()
    with torch.no_grad():
        loud.convolution.bias += 1e6
    with pytest.raises(BenchError, match="exceed half precision"):
        image_features(pixels, loud, tmp_path, precision="float16")


def test_several_processes_divide_the_shards_and_give_the_same_bytes(
    pixels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that start together, while a third one was killed over a shard that it had claimed."""
    monkeypatch.setattr(cache_module, "_SHARD", 8)
    whole = image_features(pixels, Pixels(), tmp_path / "whole", batch_size=4)
    cut = Pixels()
    cut.stop_after = 12
    with pytest.raises(KeyboardInterrupt):
        image_features(pixels, cut, tmp_path / "shared", batch_size=4)
    one, other = Pixels(), Pixels()
    meet, seen = threading.Barrier(2, timeout=30), []
    plain = Pixels.forward

    def forward(self: Pixels, images: torch.Tensor) -> ImageFeatures:
        if len(seen) < 2:  # each holds a shard before either goes on
            seen.append(self)
            meet.wait()
        return plain(self, images)

    monkeypatch.setattr(Pixels, "forward", forward)
    with ThreadPoolExecutor(2) as pool:
        started = [
            pool.submit(image_features, pixels, e, tmp_path / "shared", batch_size=4) for e in (one, other)
        ]
        stores = [future.result(timeout=60) for future in started]
    assert {id(e) for e in seen} == {id(one), id(other)}, "both were at work at once"
    assert one.seen + other.seen == 50 - 8, "no image is encoded twice"
    for name in ("pooled.npy", "local.npy", "store.json"):
        made = (tmp_path / "shared" / whole.key / name).read_bytes()
        assert made == (tmp_path / "whole" / whole.key / name).read_bytes()
    assert [store.key for store in stores] == [whole.key] * 2
    left = {path.name for path in (tmp_path / "shared").iterdir()} | {
        path.name for path in (tmp_path / "shared" / whole.key).iterdir()
    }
    assert left == {whole.key, f"{whole.key}.lock", "pooled.npy", "local.npy", "store.json"}


def test_a_batch_takes_no_more_memory_at_any_resolution() -> None:
    sides = (32, 96, 224, 448, 518, 1024, 4096)
    assert [at_once(side) for side in sides] == [64, 64, 64, 16, 11, 3, 1]


def test_no_shard_is_computed_twice_whoever_ends_first(
    pixels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "_SHARD", 5)
    for number in range(8):
        encoders = [Pixels() for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            made = [
                pool.submit(image_features, pixels, e, tmp_path / str(number), batch_size=5) for e in encoders
            ]
            assert len({future.result(timeout=60).key for future in made}) == 1
        assert sum(e.seen for e in encoders) == 50
