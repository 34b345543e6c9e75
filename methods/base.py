"""The method interface: everything a method must offer to be trained, scored and compared."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field
from torch import Tensor, nn

from benchmark.core.features import ImageFeatures, TextFeatures
from benchmark.core.registry import Registry

Pairs = dict[str, Tensor]
"""Named (I, T) matrices of one tile: what the loss needs of every image-text pair."""

METHODS: Registry[type[Method]] = Registry(
    "method",
    {
        "brgsa": "methods.brgsa:BrgSA",
        "carzero": "methods.carzero:CARZero",
        "clip": "methods.clip:CLIP",
        "gloria": "methods.gloria:GLoRIA",
        "medclip": "methods.medclip:MedCLIP",
        "radzero": "methods.radzero:RadZero",
    },
    hint="See `bench ls methods`.",
)


class MethodConfig(BaseModel, frozen=True, extra="forbid"):
    """Hyper-parameters every method has. A method subclasses it; each field's description gives the
    official value and its source, and `bench ls methods` prints them.

    width: dimension of the shared space.
    """

    width: int = Field(128, gt=0, description="dimension of the shared embedding space")


@dataclass(frozen=True)
class Losses:
    """total: scalar to minimise. parts: detached scalars for the log."""

    total: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """One modality after everything that does not depend on the other one; rows are images or texts."""

    tensors: dict[str, Tensor]
    size: int

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: slice | Tensor) -> Prepared:
        picked = {name: tensor[index] for name, tensor in self.tensors.items()}
        size = len(range(self.size)[index]) if isinstance(index, slice) else int(index.numel())
        return Prepared(picked, size)


class Method(nn.Module):
    """An image-text alignment.

    A subclass implements `prepare_image`, `prepare_text` (once per image, once per text), `interact`
    (once per tile of pairs), `score_pairs` and `objective`; `forward` and `loss` follow. The score of
    an image depends on that image and that text alone.
    """

    name: ClassVar[str]
    Config: ClassVar[type[MethodConfig]]
    trains_on: ClassVar[Literal["one", "all"]] = "one"
    """`one` random sentence per image and step, or `all` sentences as multiple positives."""

    def __init__(self, config: MethodConfig, image_dim: int, text_dim: int) -> None:
        super().__init__()
        self.config = config
        self.image_dim = image_dim
        self.text_dim = text_dim

    @abstractmethod
    def prepare_image(self, image: ImageFeatures) -> Prepared: ...

    @abstractmethod
    def prepare_text(self, text: TextFeatures) -> Prepared: ...

    @abstractmethod
    def interact(self, image: Prepared, text: Prepared, *, scoring: bool) -> Pairs:
        """All pairs of a tile, each matrix (I, T). `scoring` selects the inference rule where a method's
        training and inference rules differ (GLoRIA)."""

    @abstractmethod
    def score_pairs(self, pairs: Pairs) -> Tensor:
        """(I, T) scores from the pairs of `interact(scoring=True)`."""

    @abstractmethod
    def objective(
        self, pairs: Pairs, positives: Tensor, image: Prepared, text: Prepared, findings: Tensor | None
    ) -> Losses:
        """Loss of a whole batch. positives: (I, T) bool. findings: (I, T) agreement of what image and
        text say (float), or None."""

    def forward(self, image: ImageFeatures, text: TextFeatures) -> Tensor:
        """(I, T) logits, every image with every text."""
        pairs = self.interact(self.prepare_image(image), self.prepare_text(text), scoring=True)
        return self.score_pairs(pairs)

    def loss(self, image: ImageFeatures, text: TextFeatures, positives: Tensor) -> Losses:
        """Loss of one batch, untiled."""
        prepared_image, prepared_text = self.prepare_image(image), self.prepare_text(text)
        pairs = self.interact(prepared_image, prepared_text, scoring=False)
        return self.objective(pairs, positives, prepared_image, prepared_text, agreement(image, text))

    def similarity_map(self, image: ImageFeatures, text: TextFeatures) -> Tensor | None:
        """(I, T, *grid), or None where the method has no local similarity."""
        return None

    def after_step(self) -> None:
        """Called after each optimiser step (clamps)."""

    @classmethod
    def import_official(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Official checkpoint names → ours. Pure; raises BenchError listing missing and surplus keys."""
        raise NotImplementedError(f"{cls.name} has no official checkpoint layout")


def agreement(image: ImageFeatures, text: TextFeatures) -> Tensor | None:
    """(I, T) dot product of the finding vectors in {-1, 0, 1}, or None where either lacks them."""
    if image.findings is None or text.findings is None:
        return None
    return image.findings.to(image.pooled.dtype) @ text.findings.to(image.pooled.dtype).T


def build(name: str, options: Mapping[str, Any], image_dim: int, text_dim: int) -> Method:
    """A method by name. Raises UnknownName or ParamsError-style pydantic errors for unknown options."""
    kind = METHODS.get(name)
    return kind(kind.Config(**options), image_dim, text_dim)
