"""What an encoder is made of: architecture, weights, licence and preprocessing, pinned and hashable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field

from benchmark.core.preprocessing import Preprocessing
from benchmark.core.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmark.encoders.base import ImageEncoder, TextEncoder


class EncoderCard(BaseModel, frozen=True, extra="forbid"):
    """One encoder. Every field is part of the feature cache's key, the weights' own hash beside it.

    source: library that builds the architecture. architecture: its name there.
    weights: `package:<import name>/<file>` (ships inside an installed package), `hub:<owner>/<name>`
    (needs `revision` and `sha256`), `path:<file or folder>`, or `random` (seeded, for tests).
    sha256: of the weights file; checked whenever it is given. revision: commit on the hub, 40 hex digits.
    """

    name: str
    source: Literal["timm", "open_clip", "transformers"]
    architecture: str = ""
    weights: str
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    revision: str | None = Field(default=None, pattern="^[0-9a-f]{40}$")
    licence: str = "unstated"
    note: str = ""


class ImageCard(EncoderCard, frozen=True, extra="forbid"):
    """An image encoder.

    stage: of a convolutional timm network, the last stage that runs (its map gives the patch tokens).
    None: the whole network.
    pooling: `mean` of the patch tokens, `cls` token, or `model` (the network's own pooling).
    """

    preprocessing: Preprocessing
    stage: int | None = None
    pooling: Literal["mean", "cls", "model"] = "mean"


class TextCard(EncoderCard, frozen=True, extra="forbid"):
    """A text encoder.

    pooling: `mean` over the attended tokens (special ones included, as sentence-transformers does),
    `cls`, or `model` (the network's own pooled output).
    layers: sum of the last n hidden states (1: the last one; 4: GLoRIA and CARZero).
    specials: whether [CLS], [SEP] and their kin are columns of the word tokens.
    """

    max_length: int = Field(default=128, gt=2)
    pooling: Literal["mean", "cls", "model"] = "mean"
    layers: int = Field(default=1, ge=1)
    specials: Literal["keep", "drop"] = "drop"


ENCODERS: Registry[EncoderCard | Callable[[], ImageEncoder | TextEncoder]] = Registry(
    "encoder", hint="See `bench ls encoders`.", package="benchmark.encoders.known"
)
"""Names → a card, or a function that builds the encoder. Plug-ins: group `cxr_alignbench.encoders`."""
