"""What weights have seen of a set, with the sets that hold images of one another."""

from __future__ import annotations

import pytest

from benchmark.core.errors import CardError
from benchmark.data import overlaps
from benchmark.data.cards import card_names, load_card
from benchmark.encoders.cards import Seen
from benchmark.encoders.exposure import exposure_of, exposure_of_encoder, joined, level, trained_on
from benchmark.official.checkpoints import _BUILDERS, CT_CLIP
from benchmark.official.seen import SEEN


def seen(dataset: str, *what: str, split: str = "unknown") -> Seen:
    return Seen.model_validate({"dataset": dataset, "split": split, "what": what, "source": "x"})


@pytest.mark.parametrize(
    ("exposure", "expected"),
    [
        ((), "zero-shot"),
        ((seen("imagenet-1k", "images", "labels"),), "zero-shot"),
        ((seen("chestxray14", "images"),), "seen images"),
        (
            (seen("chestxray14", "images"), seen("chestxray14", "labels", split="train")),
            "seen labels (train)",
        ),
        ((seen("chestxray14", "images", "reports", split="all"),), "seen reports (all)"),
        ((seen("unknown", "images"),), "unknown"),
        ((seen("unknown", "images"), seen("chestxray14", "images")), "seen images"),
        (exposure_of("unknown"), "unknown"),
    ],
)
def test_the_highest_of_what_was_seen(exposure: tuple[Seen, ...], expected: str) -> None:
    assert level(exposure, "chestxray14") == expected


def test_sets_that_hold_images_of_one_another_count_together() -> None:
    nih = (seen("chestxray14", "images"),)
    for name in ("chestxdet10", "rsna_pneumonia", "siim_pneumothorax"):
        assert level(nih, name) == "seen images"
        assert level((seen(name, "labels"),), "chestxray14") == "seen labels"
    assert level((seen("rsna_pneumonia", "images"),), "chestxdet10") == "seen images"
    assert level((seen("rsna_pneumonia", "images"),), "cxr_lt_2026") == "seen images"
    assert level(nih, "vindr_cxr") == "zero-shot"
    assert level((seen("mimic_cxr", "reports"),), "ms_cxr") == "seen reports"
    assert level((seen("chexpert", "images"),), "chexpert5x200") == "seen images"
    assert level(nih, "padchest") == level(nih, "openi") == "zero-shot"


def test_declared_overlaps_are_of_known_sets_and_go_both_ways() -> None:
    names = card_names()
    for name in names:
        assert set(overlaps.overlapping(name)) <= set(names)
        for other in overlaps.overlapping(name):
            assert name in overlaps.overlapping(other)


def test_a_broken_file_of_overlaps_is_one_line(tmp_path, monkeypatch) -> None:
    (tmp_path / "overlaps.yaml").write_text("- {sets: [padchest], source: x}\n")
    monkeypatch.setattr(overlaps, "datasets_folder", lambda: tmp_path)
    with pytest.raises(CardError, match=r"overlaps.yaml: 0.sets: Tuple should have at least 2 items"):
        overlaps.overlapping("padchest")


def test_what_the_papers_weights_have_seen() -> None:
    assert set(SEEN) == {*_BUILDERS, CT_CLIP}, "every official layout says it"
    assert level(SEEN["carzero"], "padchest") == "seen reports"
    assert level(SEEN["carzero"], "openi") == "zero-shot"
    assert level(SEEN["gloria"], "chexpert") == "seen reports (train)"
    assert level(SEEN["medclip"], "chexpert5x200") == "seen labels (train)"
    assert level(SEEN["radzero"], "padchest") == "unknown"
    assert level(SEEN["ct-clip"], "ct_rate_lt") == "seen reports (train)"


def test_the_default_grid_is_zero_shot_where_it_does_not_train() -> None:
    encoders = joined(
        [exposure_of_encoder("efficientnet-lite0", "image"), exposure_of_encoder("minilm-l6", "text")]
    )
    whole = joined([encoders, trained_on("mimic_cxr")])
    assert level(whole, "padchest") == "zero-shot"
    assert level(whole, "mimic_cxr") == level(whole, "ms_cxr") == "seen reports (train)"
    assert level(exposure_of_encoder("rad-dino", "image"), "chestxdet10") == "seen images"
    assert level(exposure_of_encoder("carzero-bert", "text"), "padchest_gr") == "seen reports"
    volumes = joined([exposure_of_encoder("slices-lite0", "image"), trained_on("ct_rate")])
    assert level(volumes, "rad_chestct") == "zero-shot"
    assert level(volumes, "ct_rate_lt") == "seen reports (train)"
    assert load_card("padchest_gr").overlaps == ("padchest",)
