"""Which encoders cells have, and which of their weights are trained: `encoders` and `cells.*.encoders`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from benchmark.core.errors import BenchError
from benchmark.core.settings import Precision
from benchmark.core.validation import complaint_at
from benchmark.encoders.cards import EncoderCard, ImageCard, TextCard
from benchmark.grid.strict import Strict


def _encoder(kind: str) -> Any:
    """A name stays a name; a path, or a mapping of a card's fields, becomes the card."""

    def read(value: object) -> object:
        from benchmark.encoders.card_files import card_at, card_of, given_as_path

        try:
            if isinstance(value, str) and given_as_path(value):
                return card_at(value, kind)
            return card_of(value, kind) if isinstance(value, Mapping) else value
        except BenchError as error:
            raise complaint_at((), str(error), value) from None

    return BeforeValidator(read)


ImageSpec = Annotated[str | ImageCard, _encoder("image")]
TextSpec = Annotated[str | TextCard, _encoder("text")]
ImageChange = Annotated[str | ImageCard | None, _encoder("image")]
TextChange = Annotated[str | TextCard | None, _encoder("text")]
Trains = Literal["none", "last stage", "lora", "full"]
"""Which weights of an encoder are trained with the method: none, those of its last stage or layer, matrices
of low rank beside its layers, or all."""


def encoder_name(spec: str | EncoderCard) -> str:
    """The name of an encoder that is given by name or as a card."""
    return spec.name if isinstance(spec, EncoderCard) else spec


def _trained_name(name: str, how: str) -> str:
    return name if how == "none" else f"{name} ({how})"


class LowRank(Strict):
    """LoRA (Hu et al. 2022, sec. 4): W + (alpha / rank) · B A, of which A and B are trained."""

    rank: PositiveInt = Field(default=8, description="rows of A")
    alpha: PositiveInt = Field(default=16, description="what B A is multiplied by, times the rank")
    image: tuple[str, ...] = Field(
        default=(), description="ends of names of layers; empty: all linear ones and convolutions of 1 x 1"
    )
    text: tuple[str, ...] = Field(default=(), description="the same of the text encoder")


class EncoderTraining(Strict):
    """How encoders are trained together with the method; what has nothing to act on is refused."""

    image: Trains = "none"
    text: Trains = "none"
    layer_decay: float = Field(
        default=1.0, gt=0, le=1, description="rate of a layer as a share of the rate of the layer above it"
    )
    lora: LowRank = LowRank()
    augment: Literal["none", "official"] = Field(
        default="none", description="of training images: none, or as the method's paper has it"
    )

    @property
    def trains(self) -> bool:
        """Whether the weights of any encoder change."""
        return (self.image, self.text) != ("none", "none")

    @model_validator(mode="after")
    def _acts(self) -> EncoderTraining:
        idle = {
            "layer_decay": self.layer_decay != 1 and not {"lora", "full"} & {self.image, self.text},
            "lora": self.lora != LowRank() and "lora" not in (self.image, self.text),
            "lora.image": bool(self.lora.image) and self.image != "lora",
            "lora.text": bool(self.lora.text) and self.text != "lora",
            "augment": self.augment != "none" and self.image == "none",
        }
        needed = {
            "layer_decay": "image or text to lora or full",
            "lora": "image or text to lora",
            "lora.image": "image to lora",
            "lora.text": "text to lora",
            "augment": "image to last stage, lora or full",
        }
        for name in (name for name, found in idle.items() if found):
            text = f"encoders.train.{name}: acts on nothing here. Set {needed[name]}, or leave it out."
            raise complaint_at(tuple(name.split(".")), text, name)
        return self


class EncoderParams(Strict):
    """The encoders every method shares: a name of `bench ls encoders`, a path of a card or of a model's
    folder, or a card's fields (`card: NAME` with those that differ)."""

    image: ImageSpec = "efficientnet-lite0"
    text: TextSpec = "minilm-l6"
    precision: Precision = "float16"
    train: EncoderTraining = EncoderTraining()

    @property
    def both(self) -> tuple[str, str]:
        """Names of the image and the text encoder, with how they are trained where they are."""
        image, text = (encoder_name(self.image), self.train.image), (encoder_name(self.text), self.train.text)
        return _trained_name(*image), _trained_name(*text)

    @property
    def names(self) -> str:
        return "+".join(self.both)

    @model_serializer(mode="wrap")
    def _without_frozen(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Frozen encoders are what they were before any could be trained, and so are names made from this."""
        found: dict[str, Any] = plain(self)
        if self.train == EncoderTraining():
            del found["train"]
        return found


class EncoderChanges(Strict):
    """Encoders of a cell's own; those that are not set are the shared ones."""

    image: ImageChange = None
    text: TextChange = None
    train: EncoderTraining | None = None
