"""Encoders by name, shorthand or card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from benchmark.core.errors import ParamsError
from benchmark.encoders.base import ImageEncoder, TextEncoder
from benchmark.encoders.cards import ENCODERS, EncoderCard, ImageCard, TextCard

Spec = str | EncoderCard | Mapping[str, Any]
Entry = EncoderCard | Callable[[], ImageEncoder | TextEncoder]

Card = TypeVar("Card", bound=EncoderCard)


def image_encoder(spec: Spec) -> ImageEncoder:
    """The image encoder of a registered name, a card, or a mapping of a card's fields, in eval mode.

    Raises UnknownName, ParamsError (a bad card) and WeightsError.
    """
    entry = _resolve(spec, ImageCard)
    if not isinstance(entry, ImageCard):
        built = entry() if callable(entry) else None
    elif entry.source == "open_clip":
        from benchmark.encoders.open_clip_towers import OpenClipImage

        built = OpenClipImage(entry)
    elif entry.source == "timm":
        from benchmark.encoders.timm_images import TimmImage

        built = TimmImage(entry)
    else:
        raise ParamsError(f"encoder {entry.name}: source '{entry.source}' has no image encoders here.")
    if not isinstance(built, ImageEncoder):
        raise ParamsError(f"encoder '{spec}' is no image encoder. See `bench ls encoders`.")
    built.eval()
    return built


def text_encoder(spec: Spec) -> TextEncoder:
    """The text encoder of a registered name, a card, or a mapping of a card's fields. Raises as above."""
    entry = _resolve(spec, TextCard)
    if not isinstance(entry, TextCard):
        built = entry() if callable(entry) else None
    elif entry.source == "open_clip":
        from benchmark.encoders.open_clip_towers import OpenClipText

        built = OpenClipText(entry)
    elif entry.source == "transformers":
        from benchmark.encoders.transformers_text import TransformersText

        built = TransformersText(entry)
    else:
        raise ParamsError(f"encoder {entry.name}: source '{entry.source}' has no text encoders here.")
    if not isinstance(built, TextEncoder):
        raise ParamsError(f"encoder '{spec}' is no text encoder. See `bench ls encoders`.")
    built.eval()
    return built


def _resolve(spec: Spec, kind: type[Card]) -> Entry:
    if isinstance(spec, str):
        entry = ENCODERS.get(spec)
    elif isinstance(spec, EncoderCard):
        entry = spec
    else:
        try:
            return kind.model_validate(spec)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise ParamsError(f"encoder {spec.get('name', '?')}: {place}: {first['msg']}.") from None
    if isinstance(entry, EncoderCard) and not isinstance(entry, kind):
        wanted = "image" if kind is ImageCard else "text"
        raise ParamsError(f"encoder '{entry.name}' is no {wanted} encoder. See `bench ls encoders`.")
    return entry
