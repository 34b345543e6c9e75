"""What an encoder is made of: architecture, weights, licence and preprocessing, pinned and hashable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field

from benchmark.core.preprocessing import Preprocessing
from benchmark.core.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmark.encoders.base import ImageEncoder, TextEncoder


class Seen(BaseModel, frozen=True, extra="forbid"):
    """One set of data that weights were fitted to, by any of their trainings.

    dataset: a name of `bench ls datasets`, else what the field calls it; `unknown` where those who made the
    weights do not say everything. split: of that set; `all`, or `unknown`. what: its images, its reports or
    captions, its labels. source: where that is stated, or `unknown`.
    """

    dataset: str = Field(min_length=1)
    split: str = Field(default="unknown", min_length=1)
    what: tuple[Literal["images", "reports", "labels"], ...] = Field(min_length=1)
    source: str = Field(min_length=1)


class EncoderCard(BaseModel, frozen=True, extra="forbid"):
    """One encoder. What its features are a function of is part of the feature cache's key (`fingerprint`).

    source: library that builds the architecture. architecture: its name there; of `transformers` the type of
    model that config.json describes, where the file names another one.
    weights: `package:<import name>/<file>` (ships inside an installed package), `hub:<owner>/<name>`
    (needs `revision` and `sha256`), `path:<file or folder>`, or `random` (seeded, for tests).
    sha256: of the weights file; checked whenever it is given. revision: commit on the hub, 40 hex digits.
    seen: what the weights were fitted to; () for random ones; `unknown` where nothing is stated.
    """

    name: str
    source: Literal["timm", "open_clip", "transformers", "torchxrayvision"]
    architecture: str = ""
    weights: str
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    revision: str | None = Field(default=None, pattern="^[0-9a-f]{40}$")
    licence: str = Field(min_length=1)
    seen: tuple[Seen, ...] | Literal["unknown"]
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
    tokenizer: `path:<folder>` of the vocabulary, where it does not lie beside the weights.
    """

    tokenizer: str = ""
    max_length: int = Field(default=128, gt=2)
    pooling: Literal["mean", "cls", "model"] = "mean"
    layers: int = Field(default=1, ge=1)
    specials: Literal["keep", "drop"] = "drop"


ENCODERS: Registry[EncoderCard | Callable[[], ImageEncoder | TextEncoder]] = Registry(
    "encoder", hint="See `bench ls encoders`.", package="benchmark.encoders.known"
)
"""Names → a card, or a function that builds the encoder. Plug-ins: group `cxr_alignbench.encoders`."""
