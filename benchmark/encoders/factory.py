"""Encoders by name, path, card, or mapping of a card's fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from benchmark.core.errors import ParamsError
from benchmark.encoders.base import ImageEncoder, TextEncoder
from benchmark.encoders.card_files import card_at, card_of, encoder_entry, given_as_path
from benchmark.encoders.cards import EncoderCard, ImageCard, TextCard

Spec = str | EncoderCard | Mapping[str, Any]
Entry = EncoderCard | Callable[[], ImageEncoder | TextEncoder]

_SOURCES: Mapping[tuple[str, str], str] = {
    ("image", "timm"): "timm_images:TimmImage",
    ("image", "open_clip"): "open_clip_towers:OpenClipImage",
    ("image", "transformers"): "transformers_vision:TransformersImage",
    ("image", "torchxrayvision"): "torchxrayvision_images:DenseImage",
    ("text", "open_clip"): "open_clip_towers:OpenClipText",
    ("text", "transformers"): "transformers_text:TransformersText",
}
"""(kind, source) → where the class that takes such a card is; nothing heavy is imported to know it."""


def image_encoder(spec: Spec) -> ImageEncoder:
    """The image encoder of a name, a path (a card, or a model folder), a card or a mapping, in eval mode.

    Raises UnknownName, CardError, ParamsError (a bad card) and WeightsError.
    """
    built = _built(spec, "image", ImageCard)
    if not isinstance(built, ImageEncoder):
        raise ParamsError(f"encoder '{spec}' is no image encoder. See `bench ls encoders`.")
    built.eval()
    return built


def text_encoder(spec: Spec) -> TextEncoder:
    """The text encoder of a name, a path, a card or a mapping, in eval mode. Raises as above."""
    built = _built(spec, "text", TextCard)
    if not isinstance(built, TextEncoder):
        raise ParamsError(f"encoder '{spec}' is no text encoder. See `bench ls encoders`.")
    built.eval()
    return built


def _built(spec: Spec, kind: str, card: type[EncoderCard]) -> object:
    entry = entry_of(spec, kind)
    if not isinstance(entry, EncoderCard):
        return entry()
    if not isinstance(entry, card):
        raise ParamsError(f"encoder '{entry.name}' is no {kind} encoder. See `bench ls encoders`.")
    from benchmark.encoders.weights import check_finite

    module, _, name = place_of(entry, kind).partition(":")
    built = getattr(import_module(module), name)(entry)
    check_finite(built.named_parameters(), f"encoder {entry.name}")
    return built


def place_of(card: EncoderCard, kind: str) -> str:
    """`module:class` of what builds the encoder of a card. Raises ParamsError where nothing does."""
    place = _SOURCES.get((kind, card.source))
    if place is None:
        raise ParamsError(f"encoder {card.name}: source '{card.source}' has no {kind} encoders here.")
    return f"benchmark.encoders.{place}"


def entry_of(spec: Spec, kind: str) -> Entry:
    """The card of an encoder, or the function that builds it. Raises UnknownName, CardError, ParamsError."""
    if isinstance(spec, EncoderCard):
        return spec
    if isinstance(spec, str):
        found: Entry = card_at(spec, kind) if given_as_path(spec) else encoder_entry(spec)
        return found
    return card_of(spec, kind)
