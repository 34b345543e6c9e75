"""Entries of the ledger and published values that no result can answer: numbers that are none, mistyped
names, and contrasts of one side."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmark.core.errors import BenchError
from benchmark.reporting.claims import Prediction, load_claims
from benchmark.reporting.known_names import check_names
from benchmark.reporting.published import load_published
from tests.reporting.test_claims import claim


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("claims.yaml", (r"datasets: all", "datasets: all, margin: .inf")),
        ("claims.yaml", (r"published: [0-9.]+", "published: .nan")),
        ("published.yaml", (r"value: [0-9.]+", "value: .nan")),
        ("published.yaml", (r"value: [0-9.]+", "value: .inf")),
    ],
)
def test_a_number_that_is_none_decides_no_verdict(tmp_path, root, name, change):
    text = (root / "reports" / name).read_text(encoding="utf-8")
    start = text.index("\nrows:" if name == "published.yaml" else "\nclaims:")
    (tmp_path / name).write_text(text[:start] + re.sub(*change, text[start:], count=1), encoding="utf-8")
    with pytest.raises(BenchError, match="finite number"):
        (load_claims if name == "claims.yaml" else load_published)(tmp_path / name)


@pytest.mark.parametrize(
    ("contrast", "said"),
    [
        ({"datasets": ["chexpert", "chexpert"]}, "chexpert stands twice"),
        ({"datasets": []}, "names no set"),
        ({"b": "carzero-main"}, "holds carzero-main against itself"),
        ({"b": "carzero-main", "prompts": {"a": "name", "b": "name"}}, "against itself"),
        (
            {"kind": "interaction", "stratum": "tail", "against": "head", "metric": "average_precision"},
            "is of auroc_macro",
        ),
        ({"kind": "interaction", "stratum": "tail", "against": "tail"}, "one stratum"),
        ({"kind": "absolute", "b": None, "published": 0.8, "margin": 0.01}, "name the one set"),
        (
            {
                "kind": "absolute",
                "b": None,
                "published": 0.8,
                "margin": 0.1,
                "datasets": ["openi", "chexpert"],
            },
            "name the one set",
        ),
    ],
)
def test_a_contrast_that_no_result_can_answer_is_refused(contrast, said):
    with pytest.raises(ValueError, match=said):
        claim(**contrast)


@pytest.mark.parametrize(
    ("contrast", "said"),
    [
        ({"datasets": ["chexpret"]}, r"no card of 'chexpret'.*Did you mean 'chexpert'"),
        ({"stratum": "tial"}, r"no set has a stratum 'tial'.*Did you mean 'tail'"),
        ({"datasets": ["openi"], "stratum": "padchest20"}, "openi has no stratum 'padchest20'"),
        ({"metric": "auroc_marco"}, r"not compared by 'auroc_marco'.*Did you mean 'auroc_macro'"),
        ({"kind": "interaction", "stratum": "tail", "against": "haed"}, "no set has a stratum 'haed'"),
    ],
)
def test_a_mistyped_name_is_not_taken_for_results_that_are_missing(contrast, said):
    with pytest.raises(BenchError, match=said) as caught:
        check_names([claim(), claim("odd", **contrast)], Path("claims.yaml"))
    assert str(caught.value).startswith("claims.yaml: claim 'odd': ")


def test_published_values_of_sets_and_strata_that_are_there(tmp_path, root):
    text = (root / "reports" / "published.yaml").read_text(encoding="utf-8")
    path = tmp_path / "published.yaml"
    for old, new in (("dataset: openi", "dataset: opnei"), ("stratum: padchest20", "stratum: padchest02")):
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(BenchError, match=rf"published\.yaml:\d+: .*{new.split()[1]}.*Did you mean"):
            load_published(path)
    path.write_text(re.sub(r"\bopeni: 7470", "opnei: 7470", text, count=1), encoding="utf-8")
    with pytest.raises(BenchError, match=r"published\.yaml:\d+: images: .*no card of 'opnei'"):
        load_published(path)


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ([], "at least 1 item"),
        ([("chexpert", "a > b"), ("chexpert", "a > b")], "chexpert \\(all\\) stands twice"),
        ([("chexpert", "a > b > a")], "a > b > a names a cell twice"),
    ],
)
def test_no_sign_of_a_prediction_counts_twice(sets, said):
    entry = {
        "id": "x",
        "statement": "S.",
        "source": {"paper": "P", "where": "T"},
        "published": "t",
        "rows": {},
    }
    own = [{"dataset": dataset, "order": order, "seed_sd": 0.01} for dataset, order in sets]
    with pytest.raises(ValueError, match=said):
        Prediction.model_validate({**entry, "sets": own})
