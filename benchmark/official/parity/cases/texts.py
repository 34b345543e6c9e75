"""Prompt cleaning, report splitting, word aggregation, image preprocessing, checkpoint key lists."""

from __future__ import annotations

from typing import Literal

from benchmark.core.preprocessing import Preprocessing
from benchmark.official.cleaning import (
    character_caption_length,
    clean_prompt,
    medclip_sentences,
    report_table,
    word_caption_length,
)
from benchmark.official.parity.check import EXACT, VALUE, Checker
from benchmark.official.parity.fixture import Fixture
from benchmark.official.parity.registry import case
from benchmark.official.word_aggregation import group_pieces, pool_layers, ungrouped


@case("prompt_cleaning", settings=("prompts", "cleaned"), without=("arrays",))
def prompt_cleaning(fixture: Fixture, checker: Checker) -> None:
    prompts = fixture.setting("prompts")
    checker.equal("json/cleaned", [clean_prompt(p) for p in prompts], fixture.setting("cleaned"))
    if "cap_lens_official" in fixture.info:
        ours = [character_caption_length(p) for p in prompts]
        checker.equal("json/cap_lens_official", ours, fixture.setting("cap_lens_official"))


@case("report_sentences", settings=("reports", "sentences"))
def report_sentences(fixture: Fixture, checker: Checker) -> None:
    """A table of ids → sentences is GLoRIA's and CARZero's splitter, a list of lists MedCLIP's."""
    reports, expected = fixture.setting("reports"), fixture.setting("sentences")
    if isinstance(expected, list):
        checker.equal("json/sentences", [medclip_sentences(report) for report in reports], expected)
        return
    kept, removed = report_table(
        _numbered(reports), _numbered(fixture.info.get("extra")), fixture.setting("captions_per_image")
    )
    checker.equal("json/sentences", kept, expected)
    checker.equal("json/removed", removed, fixture.setting("removed"))


def _numbered(texts: list[str | None] | None) -> dict[str, str | None]:
    return {f"p{i}": text for i, text in enumerate(texts or [])}


@case("text_aggregation", arrays=("in/hidden_states", "in/caption_ids"))
def text_aggregation(fixture: Fixture, checker: Checker) -> None:
    vocabulary = fixture.setting("vocab")
    tokens = [[vocabulary[i] for i in row] for row in fixture.array("in/caption_ids").tolist()]
    layers = fixture.tensor("in/hidden_states")[-int(fixture.setting("last_n_layers")) :]
    for tag, columns in (("agg", group_pieces(tokens)), ("raw", ungrouped(tokens))):
        checker.equal(f"json/sents_{tag}", columns.words, fixture.setting(f"sents_{tag}"))
        lengths = [word_caption_length(words) for words in columns.words]
        checker.equal(f"out/cap_lens_train_{tag}", lengths)
        rules: tuple[Literal["sum", "mean"], ...] = ("sum", "mean")
        for combine in rules:
            words, sentences = pool_layers(layers, columns.index, combine)
            checker.close(f"out/word_emb_{tag}_{combine}", words.transpose(1, 2), VALUE)
            checker.close(f"out/sent_emb_{tag}_{combine}", sentences, VALUE)


@case("preprocess", arrays=("in/image_0", "out/resized_0"), settings=("imsize", "crop"))
def preprocess_pixels(fixture: Fixture, checker: Checker) -> None:
    from benchmark.data.pixels import preprocess

    size, crop = fixture.setting("imsize"), fixture.setting("crop")
    whole = Preprocessing(size=size, depth="full", fit="pad", interpolation="area")
    cropped = whole.model_copy(update={"crop": crop})
    norms = {"carzero": (0.4978, 0.2449), "gloria": (0.5, 0.5)}
    for name, image in fixture.under("in/image_").items():
        checker.close(f"out/resized_{name}", preprocess(image, whole), EXACT)
        seen = preprocess(image, cropped).astype("float32") / 255
        for method, (mean, std) in norms.items():
            if f"out/{method}_{name}" in fixture:
                checker.close(f"out/{method}_{name}", ((seen - mean) / std)[None], VALUE)
