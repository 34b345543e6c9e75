"""Published orders against results whose truth is known: CARZero is better than CLIP on both sets."""

from __future__ import annotations

import pytest

from benchmark.core.errors import BenchError
from benchmark.grid.layout import Project
from benchmark.grid.params_file import load_params
from benchmark.reporting.claims import Prediction, load_ledger
from benchmark.reporting.gather import Gathered
from benchmark.reporting.predictions import Computed, Ours, Summarised, held, predictions_text
from benchmark.reporting.published import Published, load_published
from benchmark.reporting.tables.predictions import orders, signs

VALUES = {"carzero-main": 0.80, "carzero-global": 0.79, "clip-main": 0.70}
ROWS = {"carzero-main": "A", "carzero-global": "B", "clip-main": "C"}
RIGHT = "carzero-main > clip-main"
NAN = float("nan")


@pytest.fixture(scope="module")
def gathered(project):
    return Gathered(Project(project), load_params(project / "params.yaml"), "all")


def prediction(*orders: str, sd: float = 0.001, name="x", rows=ROWS) -> Prediction:
    """One order a set."""
    sets = [
        {"dataset": d, "order": order, "seed_sd": sd}
        for d, order in zip(("chestxray14", "chexpert"), orders, strict=False)
    ]
    source = {"paper": "P", "where": "Table 5"}
    return Prediction.model_validate(
        {"id": name, "statement": "S.", "source": source, "published": "t", "rows": rows, "sets": sets}
    )


def printed(*orders: str) -> Published:
    """Values of A, B and C that fall in the order of each set."""
    sets = zip(("chestxray14", "chexpert"), orders, strict=False)
    rows = [
        {"method": ROWS[cell], "dataset": d, "task": "classification", "stratum": "all", "setting": "s",
         "metric": "auroc_macro", "value": value, "source": "t"}
        for d, order in sets
        for cell, value in zip(order.split(" > "), sorted(VALUES.values(), reverse=True), strict=False)
    ]  # fmt: skip
    return Published.model_validate({"sources": {"t": "T"}, "notes": {}, "images": {}, "rows": rows})


def judged(gathered, *orders: str, **more):
    (found,) = held(
        [prediction(*orders, **more)],
        printed(*orders),
        gathered.evidence.cells,
        Computed(gathered.summary, gathered.config),
        gathered.config.level,
    )
    return found


def test_what_is_found_and_what_is_not_is_counted_with_its_limits(gathered):
    wrong = "clip-main > carzero-main"
    both, neither, half = (judged(gathered, *own) for own in ((RIGHT,) * 2, (wrong,) * 2, (RIGHT, wrong)))
    assert [(c.pairs, c.agree, c.least, c.most) for c in (both.count(), neither.count(), half.count())] == [
        (2, 2, 2, 2), (2, 0, 0, 0), (2, 1, 1, 1),
    ]  # fmt: skip
    assert [own.count().tau()[0] for own in (both, neither, half)] == [1, -1, 0]
    assert [p.said for p in half.pairs] == ["same sign", "opposite sign"]
    for p in both.pairs:
        row = gathered.evidence.pair("carzero-main", "clip-main", p.dataset)
        assert p.ours.value == pytest.approx(row["delta"], abs=1e-6)
        assert p.ours.p <= p.p_holm <= 2 * p.ours.p
    assert "opposite sign: clip-main minus carzero-main on chexpert" in predictions_text([half])


def test_what_the_summary_compares_is_not_computed_again(gathered):
    order = "carzero-main > carzero-global > clip-main"
    computed = Computed(gathered.summary, gathered.config)
    asked = []

    def summary(cell, dataset):
        asked.append(cell)
        return gathered.summary(cell, dataset)

    def predicted(cell, dataset):
        return bool(gathered.predicted(cell, dataset))

    results = Summarised(gathered.evidence, predicted, Computed(summary, gathered.config))
    for own in (order, order.replace("carzero-main > carzero-global", "carzero-global > carzero-main")):
        cells = gathered.evidence.cells
        (one,) = held([prediction(own)], printed(own), cells, results, 0.95)
        (other,) = held([prediction(own)], printed(own), cells, computed, 0.95)
        assert predictions_text([one]) == predictions_text([other])
        assert one.as_json() == other.as_json()
        for mine, theirs in zip(one.pairs, other.pairs, strict=True):
            numbers = [(own.value, own.low, own.high, own.p) for own in (mine.ours, theirs.ours)]
            assert numbers[0] == pytest.approx(numbers[1], rel=1e-9)
            assert mine.ours.note == theirs.ours.note
    assert set(asked) == {"carzero-global", "clip-main"}  # of two methods: in no family of the summary


def test_what_the_tests_cannot_tell_apart_may_be_either(gathered):
    same = {**ROWS, "copy": "B"}

    def summary(cell, dataset):
        return gathered.summary("clip-main" if cell == "copy" else cell, dataset)

    values = printed("clip-main > carzero-global")
    cells = {**gathered.evidence.cells, "copy": gathered.evidence.cells["clip-main"]}
    own = prediction("clip-main > copy", rows=same)
    (found,) = held([own], values, cells, Computed(summary, gathered.config), 0.95)
    count = found.count()
    assert (count.agree, count.least, count.most) == (0, 0, 1)
    assert count.tau() == (0, -1, 1)
    assert found.pairs[0].said == "no difference, not separable"


@pytest.mark.parametrize(
    ("ours", "said", "count"),
    [
        (Ours(NAN, NAN, NAN, NAN, "no positive images"), "undefined", (1, 0, 0, 0, 1)),
        (Ours(0.02, NAN, NAN, NAN, "few positive patients"), "same sign, not tested", (1, 1, 0, 0, 1)),
        (Ours(-0.02, NAN, NAN, NAN, "few positive patients"), "opposite sign, not tested", (1, 0, 1, 0, 1)),
        (Ours(0.0, 0.0, 0.0, 1.0, "identical scores"), "no difference, not separable", (1, 0, 0, 0, 1)),
    ],
)
def test_a_difference_without_a_sign_or_a_test_is_said_to_be_one(gathered, ours, said, count):
    class Fixed:
        def there(self, cell, dataset):
            return True

        def difference(self, a, b, dataset, stratum):
            return ours

    cells = gathered.evidence.cells
    (found,) = held([prediction(RIGHT)], printed(RIGHT), cells, Fixed(), 0.95)
    own = found.count()
    assert found.pairs[0].said == said
    assert (own.pairs, own.agree, own.disagree, own.least, own.most) == count
    assert own.tau()[0] == own.agree - own.disagree
    assert ("opposite" in predictions_text([found])) == said.startswith("opposite")
    assert bool(found.as_json()["opposite"]) == said.startswith("opposite")
    if said == "undefined":
        assert "here – (no positive images)" in predictions_text([found])


def test_printed_values_nearer_than_two_trainings_predict_nothing(gathered):
    order = "carzero-main > carzero-global > clip-main"
    found = judged(gathered, order, sd=0.01)
    assert found.close == 1
    assert {(p.better, p.worse) for p in found.pairs} == {
        ("carzero-main", "clip-main"), ("carzero-global", "clip-main"),
    }  # fmt: skip
    assert len(judged(gathered, order, sd=0.001).pairs) == 3


def test_a_cell_without_results_leaves_the_prediction_open(gathered):
    def summary(cell, dataset):
        return None if cell == "clip-main" else gathered.summary(cell, dataset)

    cells = gathered.evidence.cells
    (found,) = held([prediction(RIGHT)], printed(RIGHT), cells, Computed(summary, gathered.config), 0.95)
    assert found.missing == ("clip-main",)
    assert not found.pairs
    assert "NOT RUN, no results of clip-main" in predictions_text([found])
    assert found.as_json() == {"prediction": "x", "missing": ["clip-main"]}
    assert orders([found], gathered.evidence).rows == ()
    few = {name: cell for name, cell in cells.items() if name != "clip-main"}
    assert held([prediction(RIGHT)], printed(RIGHT), few, Computed(summary, gathered.config), 0.95) == []


def test_values_that_are_printed_too_close_predict_nothing(gathered):
    found = judged(gathered, RIGHT, sd=10.0)
    assert (found.close, found.pairs) == (1, ())
    assert "x: no sign predicted: all printed values lie as close" in predictions_text([found])


def test_tables_have_a_row_a_set_and_a_row_a_sign(gathered):
    found = judged(gathered, RIGHT, RIGHT)
    table = orders([found], gathered.evidence)
    assert [row["place"] for row in table.rows] == ["chestxray14", "chexpert", "all"]
    assert [row["range"] for row in table.rows] == [(1, 1), (1, 1), (2, 2)]
    assert {row["origin"] for row in table.rows} == {"twin"}
    assert table.rows[0]["printed"] == "CARZero 0.800 > CLIP 0.790"
    assert [row["said"] for row in signs([found], gathered.evidence).rows] == ["same sign"] * 2


def test_an_order_that_is_not_printed_is_one_line(gathered, root):
    cells, results = gathered.evidence.cells, Computed(gathered.summary, gathered.config)
    with pytest.raises(BenchError, match="prediction 'x': the order on chestxray14 is not that"):
        held([prediction("clip-main > carzero-main")], printed(RIGHT), cells, results, 0.95)
    with pytest.raises(BenchError, match="no value of B on chestxray14"):
        held([prediction("carzero-main > carzero-global")], printed(RIGHT), cells, results, 0.95)
    ledger = load_ledger(root / "reports" / "claims.yaml")
    values = load_published(root / "reports" / "published.yaml")
    assert held(ledger.predictions, values, {}, results, 0.95) == []


def test_a_ledger_with_an_unknown_row_names_it(tmp_path, root):
    text = (root / "reports" / "claims.yaml").read_text(encoding="utf-8")
    path = tmp_path / "claims.yaml"
    path.write_text(
        text.replace("order: radzero-main > carzero-main", "order: radzero-main > carzer-main", 1)
    )
    with pytest.raises(BenchError, match=r"claims\.yaml:\d+: the order on openi names 'carzer-main'"):
        load_ledger(path)
    path.write_text(text.replace("seed_sd: 0.0016", "seed_sd: none", 1), encoding="utf-8")
    with pytest.raises(BenchError, match=r"claims\.yaml:\d+: prediction 'published-order': sets\.0\.seed_sd"):
        load_ledger(path)
