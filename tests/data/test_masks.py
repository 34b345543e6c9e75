"""Run-length masks against their definition."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from benchmark.core.errors import DataError
from benchmark.data.masks import (
    bounding_box,
    decode_mask,
    decode_relative,
    encode_mask,
    encode_relative,
    relative_runs,
)

MASKS = hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@given(MASKS)
def test_both_codes_round_trip(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_mask(encode_mask(mask)), mask)
    np.testing.assert_array_equal(decode_relative([encode_relative(mask)], *mask.shape), mask)


@given(MASKS)
def test_counts_are_runs_down_the_columns(mask: np.ndarray) -> None:
    value = json.loads(encode_mask(mask))
    assert value["size"] == list(mask.shape)
    flat = [bit for i, n in enumerate(value["counts"]) for bit in [i % 2] * n]
    assert flat == mask.T.astype(int).ravel().tolist()
    assert all(n > 0 for n in value["counts"][1:-1])


def naive_relative(text: str, height: int, width: int) -> np.ndarray:
    """Pixel by pixel, as the challenge describes it."""
    mask, place = np.zeros((height, width), bool), 0
    numbers = [int(n) for n in text.split()]
    for gap, length in zip(numbers[::2], numbers[1::2], strict=True):
        place += gap
        for _ in range(length):
            mask[place % height, place // height] = True
            place += 1
    return mask


@given(MASKS)
def test_relative_runs_against_the_naive_reader(mask: np.ndarray) -> None:
    if mask.any():
        np.testing.assert_array_equal(naive_relative(encode_relative(mask), *mask.shape), mask)


@given(st.lists(hnp.arrays(bool, (7, 5)), min_size=1, max_size=4))
def test_masks_unite(masks: list[np.ndarray]) -> None:
    united = decode_relative([encode_relative(m) for m in masks], 7, 5)
    np.testing.assert_array_equal(united, np.any(masks, axis=0))


def test_known_runs() -> None:
    mask = decode_relative(["2 1 3 2"], 3, 3)
    np.testing.assert_array_equal(mask, np.array([[0, 0, 1], [0, 0, 1], [1, 0, 0]], bool))
    assert not decode_relative([" -1 ", "-1"], 3, 3).any()
    assert encode_relative(np.zeros((3, 3), bool)) == "-1"


@given(MASKS.filter(lambda m: bool(m.any())))
def test_bounding_box_is_tight(mask: np.ndarray) -> None:
    x, y, w, h = bounding_box(mask)
    inside = np.zeros_like(mask)
    inside[y : y + h, x : x + w] = True
    assert not (mask & ~inside).any()
    assert mask[y].any()
    assert mask[y + h - 1].any()
    assert mask[:, x].any()
    assert mask[:, x + w - 1].any()


@pytest.mark.parametrize("text", ["1", "1 2 3", "1 -2", "a b", "", "3 7", "100 1"])
def test_malformed_relative_runs(text: str) -> None:
    with pytest.raises(DataError, match="run lengths"):
        decode_relative([text], 3, 3)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"size": [2, 2]}', '{"size": [2, 2], "counts": [1]}', '{"size": [1], "counts": [1]}']
)
def test_malformed_json_runs(text: str) -> None:
    with pytest.raises(DataError, match="run lengths"):
        decode_mask(text)


@pytest.mark.parametrize(
    "runs", [f"{1 << 62} 1 {1 << 62} 1 {1 << 62} 1 {1 << 62} 1", "9" * 30 + " 1", "\u00b2 1"]
)
def test_runs_that_wrap_around_are_refused(runs: str) -> None:
    with pytest.raises(DataError, match="run lengths"):
        relative_runs(runs, 1024 * 1024)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"size": [2, 2], "counts": [1 << 62, 1 << 62, 1 << 62, 1 << 62, 4]}),
        '{"size": [1000000, 1000000], "counts": [1000000000000]}',
        '{"size": [2, 2], "counts": [1' + "0" * 30 + "]}",
        "[" * 100_000,
        '{"size": null}',
        "4",
    ],
)
def test_masks_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(DataError, match="run lengths"):
        decode_mask(text)
