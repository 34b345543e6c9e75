"""A kept fingerprint is that of the built encoder, and only while all that it rests on is as it was."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmark.core import numerics, states
from benchmark.core.errors import ParamsError, UnknownName
from benchmark.encoders import fingerprints
from benchmark.encoders.base import ImageEncoder, TextEncoder, fingerprint
from benchmark.encoders.cache import image_features, image_key, text_features, text_key
from benchmark.encoders.card_files import card_paths, files_of, read_encoder_card
from benchmark.encoders.cards import ImageCard, TextCard
from benchmark.encoders.factory import image_encoder, text_encoder
from benchmark.encoders.fingerprints import KnownEncoder, known_encoder
from tests.encoders.tiny import Pixels, Words

SHIPPED = [
    (name, "image" if isinstance(card, ImageCard) else "text")
    for name, card in ((name, read_encoder_card(path)) for name, path in card_paths().items())
    if card.weights.startswith("package:") and all(path.is_file() for path in files_of(card))
]
"""(name, kind) of every encoder whose weights are installed here."""


def settle() -> None:
    """Wait until what was just written counts as settled."""
    time.sleep(states.SETTLED_NS / 1e9 + 0.02)


def unbuilt() -> ImageEncoder:
    pytest.fail("the network was built")


@pytest.mark.parametrize(("name", "kind"), SHIPPED)
def test_keys_are_those_of_the_built_encoder(name: str, kind: str, tmp_path: Path) -> None:
    """Of features too, to the letter, when it is built and when it is known."""
    if kind == "image":
        image = image_encoder(name)
        for build in (lambda: image, unbuilt):
            known = known_encoder(name, "image", tmp_path, build)
            assert isinstance(known, KnownEncoder)
            assert known.fingerprint == fingerprint(image)
            assert known.preprocessing == image.preprocessing
            assert known.card == image.card
            assert image_key(known, "pixels", "float16") == image_key(image, "pixels", "float16")
    else:
        text = text_encoder(name)
        for own in (lambda: text, unbuilt):
            found = known_encoder(name, "text", tmp_path, own)
            assert found.card == text.card
            assert text_key(found, ["a"], "float32") == text_key(text, ["a"], "float32")


class Place:
    """An encoder with a file of weights, what is kept of it, and how often it was built."""

    def __init__(self, folder: Path) -> None:
        self.cache, self.weights = folder / "cache", folder / "model" / "weights.safetensors"
        self.weights.parent.mkdir()
        self.weights.write_text("aaaa")
        (self.weights.parent / "tokenizer.json").write_text("aaaa")
        common = {"name": "own", "weights": f"path:{self.weights}", "licence": "MIT", "seen": ()}
        self.card = TextCard(source="transformers", **common)
        self.count = 0

    def built(self) -> bool:
        """Whether a process that begins now builds the network."""
        before = self.count
        known_encoder(self.card, "text", self.cache, self._build)
        return self.count > before

    def _build(self) -> TextEncoder:
        self.count += 1
        return Words()

    def seen(self, change: Callable[[], object]) -> None:
        """A change leads to a network that is built once more."""
        assert not self.built()
        change()
        settle()
        assert self.built()
        assert not self.built()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(tmp_path)
    settle()
    assert found.built()
    return found


@pytest.mark.parametrize("name", ["weights.safetensors", "tokenizer.json"])
def test_an_edited_file_is_seen_with_equal_size_and_time_too(place: Place, name: str) -> None:
    path = place.weights.parent / name

    def edit() -> None:
        before = path.stat()
        path.write_text("aaab")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    place.seen(edit)


def test_a_new_file_beside_the_weights_is_seen(place: Place) -> None:
    place.seen(lambda: (place.weights.parent / "config.json").write_text("{}"))


def test_a_changed_card_code_package_and_kernel_are_seen(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change_card() -> None:
        place.card = place.card.model_copy(update={"layers": 2})

    def install() -> None:
        (tmp_path / "site" / "torch-99.dist-info").mkdir(parents=True)
        monkeypatch.syspath_prepend(str(tmp_path / "site"))

    place.seen(change_card)
    place.seen(install)
    place.seen(lambda: (tmp_path / "site" / "torch-99.dist-info" / "METADATA").write_text("Version: 99"))
    place.seen(lambda: monkeypatch.setattr(fingerprints, "source", lambda *_: "another code"))
    place.seen(lambda: monkeypatch.setattr(numerics, "state", lambda: "portable"))
    place.seen(lambda: monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx512"))
    place.seen(lambda: monkeypatch.setattr(fingerprints, "machine", lambda: ["another"]))


def test_the_code_is_that_of_the_class_that_builds_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(fingerprints, "source", lambda *modules: asked.extend(modules) or "")
    place.built()
    assert set(asked) == {"benchmark.encoders.transformers_text"}


def test_nothing_is_kept_of_what_changes_meanwhile_or_a_moment_ago(place: Place) -> None:
    place.weights.write_text("aaac")
    assert place.built(), "it may change again within one tick"
    assert place.built()
    settle()

    def meanwhile() -> TextEncoder:
        place.weights.write_text("aaad")
        return Words()

    known_encoder(place.card, "text", place.cache, meanwhile)
    settle()
    assert place.built()
    assert not place.built()


def test_nothing_is_kept_of_what_is_found_by_the_name_of_a_repository(place: Place) -> None:
    whole = place.card
    for changed in (
        {"weights": "hub:owner/name", "revision": "0" * 40, "sha256": "0" * 64},
        {"source": "open_clip"},
        {"architecture": "hf-hub:owner/name"},
    ):
        place.card = whole.model_copy(update=changed)
        assert all(place.built() for _ in range(2)), changed


def test_what_is_no_encoder_of_the_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown encoder 'efficientnet-lite'"):
        known_encoder("efficientnet-lite", "image", tmp_path, unbuilt)
    with pytest.raises(ParamsError, match="is no image encoder"):
        known_encoder("minilm-l6", "image", tmp_path, lambda: image_encoder("minilm-l6"))
    with pytest.raises(ParamsError, match="neither a card"):
        known_encoder("no/such/card.yaml", "image", tmp_path, unbuilt)


def test_only_what_is_not_encoded_yet_asks_for_the_network(tmp_path: Path) -> None:
    image, text = Pixels(), Words()
    pixels = np.zeros((3, 8, 8), np.uint8)
    store = image_features(pixels, KnownEncoder(image.card, fingerprint(image), lambda: image), tmp_path)
    again = KnownEncoder(image.card, fingerprint(image), unbuilt)
    assert image_features(pixels, again, tmp_path).key == store.key
    texts = text_features(["a b"], KnownEncoder(text.card, fingerprint(text), lambda: text), tmp_path)
    known = KnownEncoder(text.card, fingerprint(text), unbuilt)
    assert text_features(["a b"], known, tmp_path).key == texts.key
    with pytest.raises(pytest.fail.Exception, match="was built"):
        text_features(["a c"], known, tmp_path)
