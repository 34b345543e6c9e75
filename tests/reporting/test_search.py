"""The table of the search says what was chosen, whether at an edge, and how well the criterion tracks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from scipy.stats import spearmanr

from benchmark.core.errors import BenchError
from benchmark.core.tables import TWIN_NOTICE
from benchmark.reporting.figures.search import search
from benchmark.reporting.search import SearchRecord, read_search, search_table, unlike
from benchmark.training.tuning import SPACE, Trial, Tuning, draws

HELD = (0.70, 0.74, 0.71, 0.75, 0.73)
TEST = (0.60, 0.66, 0.61, 0.62, 0.65)


def record(folder: Path, method: str = "clip", chosen: int = 3, read: str = "padchest") -> Path:
    """Of a search of four drawn trials; the chosen one diverged with its third seed."""
    drawn = draws(SPACE, 0, 5)
    trials = [Trial(n, drawn[n], HELD[n], 1.0, 1.0) for n in range(5)]
    trials[chosen] = Trial(chosen, drawn[chosen], HELD[chosen], 1.0, 1.0, repeats=(0.77, None))
    found = Tuning(method, 0, {"options.width": 64}, dict(SPACE), tuple(trials), trials[chosen], 9, 90, 10)
    found = found.sealed(lambda number, repeat: {read: TEST[number] + 0.01 * repeat})
    return found.beside([0.72, 0.74], {"mimic_cxr": "twin", read: "twin"}).write(folder)


def test_the_row_of_a_method(tmp_path: Path) -> None:
    record(tmp_path)
    [own] = read_search(tmp_path, ["clip", "medclip"])  # of MedCLIP there is no record
    table = search_table([own])
    [row] = table.records()
    assert row["chosen"] == pytest.approx(0.76)  # of the seeds that finished
    assert row["failed"] == 1, "a trial of which one seed diverged"
    assert any("while the choice counted it as 0" in note for note in table.notes)
    assert row["in_use"] == pytest.approx(0.73)
    assert row["untuned"] == HELD[0]
    assert row["sealed_padchest"] == pytest.approx((0.62 + 0.63) / 2)
    assert row["tracking_padchest"] == pytest.approx(spearmanr(HELD, TEST).statistic)
    assert TWIN_NOTICE in table.banner
    drawing = search([own])
    assert drawing.synthetic
    assert "CLIP" in drawing.alt


def test_searches_that_read_other_sets_lie_side_by_side(tmp_path: Path) -> None:
    record(tmp_path)
    record(tmp_path, "gloria", read="openi")
    clip, gloria = search_table(read_search(tmp_path, ["clip", "gloria"])).records()
    for row, own, other in ((clip, "padchest", "openi"), (gloria, "openi", "padchest")):
        assert row[f"tracking_{own}"] == pytest.approx(spearmanr(HELD, TEST).statistic)
        assert row[f"sealed_{other}"] is row[f"tracking_{other}"] is None, (
            "nothing was read, so nothing is said"
        )
    assert search(read_search(tmp_path, ["clip", "gloria"])).figure


def test_an_edge_is_the_outermost_part_of_the_range(tmp_path: Path) -> None:
    rates = [trial["training.learning_rate"] for trial in draws(SPACE, 0, 5)[1:]]
    lowest, highest = (rates.index(v) + 1 for v in (min(rates), max(rates)))
    for chosen in range(5):
        own = SearchRecord.model_validate(yaml.safe_load(record(tmp_path, chosen=chosen).read_text()))
        assert own.edge == {lowest: "low", highest: "high"}.get(chosen, "")


def test_a_search_of_one_trial_has_no_edge(tmp_path: Path) -> None:
    alone = Trial(0, {}, 0.7, 1.0, 1.0)
    Tuning("clip", 0, {}, dict(SPACE), (alone,), alone, 9, 90, 10).write(tmp_path)
    [own] = read_search(tmp_path, ["clip"])
    assert own.edge == ""
    [row] = search_table([own]).records()
    assert (row["edge"], row["chosen"], row["in_use"]) == ("no", 0.7, None)
    assert search([own]).figure


def test_another_file_and_no_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no record of a search"):
        read_search(tmp_path, ["clip"])
    (tmp_path / "clip.yaml").write_text("method: clip\ntrials: 3\n")
    with pytest.raises(BenchError, match=r"clip\.yaml: .*bench stage tune clip"):
        read_search(tmp_path, ["clip"])


@pytest.mark.parametrize(("old", "new", "said"), [
    ("options.width: 64", "options.width: 128", r"width: 64 \(CLIP\); 128 \(GLoRIA\)"),
    ("options.width: 64", "options.width: 64\n  training.epochs: 2", r"epochs: not stated \(CLIP\); 2 \(GL"),
    ("seed: 0", "seed: 1", r"seed: 0 \(CLIP\); 1 \(GLoRIA\)"),
    ("train_images: 90", "train_images: 45", r"train_images: 90 \(CLIP\); 45 \(GLoRIA\)"),
    ("padchest: twin", "padchest: official", r"origin of padchest: twin \(CLIP\); official \(GLoRIA\)"),
    ("high: 0.03", "high: 0.3", r"range of training\.learning_rate: .*0\.03.*\(CLIP\); .*0\.3.*\(GLoRIA\)"),
])  # fmt: skip
def test_searches_on_other_terms_are_named_before_anything_else(tmp_path, old, new, said) -> None:
    """Records of 2 and of 80 epochs stood side by side, as if one budget had been given to both."""
    record(tmp_path)
    path = record(tmp_path, "gloria")
    assert unlike(read_search(tmp_path, ["clip", "gloria"])) == []
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")
    first = search_table(read_search(tmp_path, ["clip", "gloria"])).notes[0]
    assert first.startswith("THE SEARCHES ARE NOT ALIKE")
    assert re.search(said, first)


def test_the_committed_searches_are_alike() -> None:
    folder = Path(__file__).parents[2] / "reports" / "tuning"
    records = read_search(folder, [path.stem for path in sorted(folder.glob("*.yaml"))])
    assert len(records) > 5
    assert unlike(records) == []


@pytest.mark.parametrize(("old", "new", "said"), [
    ("method: clip", "method: gloria", "the record of gloria"),
    ("chosen: 3", "chosen: 7", "trial 7 was chosen of 5"),
    ("training.learning_rate:\n    kind", "training.rate:\n    kind", "no training.learning_rate"),
])  # fmt: skip
def test_a_record_that_cannot_be_is_one_line(tmp_path, old, new, said) -> None:
    path = record(tmp_path)
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(BenchError, match=f"clip.yaml.*{said}.*bench stage tune clip"):
        read_search(tmp_path, ["clip"])
