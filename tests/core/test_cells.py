"""What a cell means, by every way in which people write it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.core.cells import (
    blanks,
    is_blank,
    known_clusters,
    label_names,
    label_state,
    tallied,
    unknown_labels_said,
)

NAMES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1)
    .map(str.strip)
    .filter(lambda name: name and not is_blank(name)),
    unique=True,
)


@pytest.mark.parametrize(
    "token", ["", "  ", "None", "none", "nan", "NaN", "NA", "N/A", "<NA>", "null", "NaT"]
)
def test_blank_is_one_set_in_every_case(token):
    assert is_blank(token)
    assert is_blank(f" {token} ")
    assert label_state(token) is None
    assert label_names(token) == ()


@pytest.mark.parametrize("value", [None, float("nan"), np.nan, pd.NA, pd.NaT, np.float32("nan")])
def test_blank_values(value):
    assert is_blank(value)


def test_text_that_is_not_blank():
    assert not any(is_blank(v) for v in ("0", "No Finding", "Nan Li", 0, 1.5, "nonexistent"))
    assert blanks(["a", "None", None]).tolist() == [False, True, True]


def test_states():
    assert [label_state(t) for t in ("1", "1.0", " 0 ", "0.", "-1", "-1.0", "1.000")] == [
        1,
        1,
        0,
        0,
        -1,
        -1,
        1,
    ]


@pytest.mark.parametrize("text", ["2", "yes", "0.5", "+", "1e0", "['1']", "--1"])
def test_a_state_that_is_not_understood_is_an_error(text):
    with pytest.raises(ValueError, match="expected 1, 0, -1 or blank"):
        label_state(text)


@given(NAMES)
def test_every_printed_form_gives_the_same_names(names):
    wanted = tuple(names)
    assert label_names(repr(names)) == wanted
    assert label_names(repr(tuple(names))) == wanted
    assert label_names(json.dumps(names)) == wanted
    assert label_names(json.dumps(names, ensure_ascii=False)) == wanted
    array = np.array(names, dtype=object)
    with np.printoptions(threshold=10**6):
        assert label_names(repr(array)) == wanted
        assert label_names(str(array)) == wanted
    assert set(label_names(repr(set(names)))) == set(wanted)
    assert set(label_names(repr(frozenset(names)))) == set(wanted)


@given(st.lists(st.sampled_from(["Cardiomegaly", "Crohn's", 'a "b" c', "Pleural Effusion", "é"]), min_size=1))
def test_names_with_separators(names):
    wanted = tuple(dict.fromkeys(names))
    assert label_names("|".join(names)) == wanted
    assert label_names(" ; ".join(names)) == wanted
    assert label_names("\t".join(names), "\t") == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("['a' 'b']", ("a", "b")),
        ("['a'\n 'b'\n 'c']", ("a", "b", "c")),
        ("array(['a', 'b'], dtype=object)", ("a", "b")),
        ("array(['a', 'b'], dtype='<U12')", ("a", "b")),
        ("np.array(['a'])", ("a",)),
        ("set()", ()),
        ("[]", ()),
        ("()", ()),
        ("{'a', 'b'}", ("a", "b")),
        ("('a',)", ("a",)),
        ("['a', nan]", ("a",)),
        ("[None]", ()),
        ("[nan 'a']", ("a",)),
        ("['a', 'a', ' b ', '']", ("a", "b")),
        ("No Finding", ("No Finding",)),
        ("(old) fracture", ("(old) fracture",)),
    ],
)
def test_lists_as_people_write_them(text, wanted):
    assert label_names(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "['a', 'b' 'c']",
        "['a' 'b', 'c']",
        "['a' ... 'z']",
        "['a', 'b'",
        "[a, b]",
        "[1, 0]",
        "{'a': 1}",
        "[['a'], ['b']]",
        "['a',, 'b']",
        "array(['a'], dtype=int)",
        "['a'] extra",
        r"['\x']",
        "[" * 5000,
    ],
)
def test_a_list_that_is_not_understood_is_an_error(text):
    with pytest.raises(ValueError, match="printed list"):
        label_names(text)


@given(st.text())
def test_any_text_is_names_or_an_error(text):
    try:
        names = label_names(text)
    except ValueError:
        return
    assert all(name == name.strip() != "" for name in names)
    assert len(set(names)) == len(names)


def test_unknown_patients_are_their_own_clusters():
    images = [f"i{k}" for k in range(8)]
    clusters, unknown = known_clusters(["a", "a", "None", "<NA>", "nan", None, "", "i0"], images)
    assert unknown == 5
    assert len(set(clusters)) == 7
    assert clusters[0] == clusters[1] == "a"


def test_tally_counts_names_that_are_no_class():
    matrix, tally = tallied([("A", "b"), ("c",), ("D", "normal")], ["A", "C"], {"c": "C"}, ["normal"])
    assert matrix.tolist() == [[1, 0], [0, 1], [0, 0]]
    assert tally.met == 5
    assert tally.unknown == {"b": 1, "D": 1}
    assert tally.share == pytest.approx(0.4)
    said = unknown_labels_said({"effusion": 2, "x": 1}, ["Effusion", "Edema"])
    assert said == "3 labels are no class of the card: 'effusion' 2 (near 'Effusion'), 'x' 1"
