"""The method interface: everything a method must offer to be trained, scored and compared."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from benchmark.core.errors import ParamsError
from benchmark.core.features import ImageFeatures, TextFeatures
from benchmark.core.registry import Registry
from benchmark.core.settings import EQUAL_BUDGET as EQUAL_BUDGET
from benchmark.core.settings import MethodConfig as MethodConfig
from benchmark.core.settings import Recipe as Recipe
from benchmark.core.settings import TrainsOn
from benchmark.core.validation import first_complaint

Pairs = dict[str, Tensor]
"""Named (I, T) matrices of one tile: what the loss needs of every image-text pair."""

METHODS: Registry[type[Method]] = Registry("method", hint="See `bench ls methods`.", package="methods")
"""Methods by name. Plug-ins: group `cxr_alignbench.methods`."""


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
    title: ClassVar[str] = ""
    """The name as the paper writes it, for tables and figures; without one it is `name`."""
    order: ClassVar[int] = 100
    """Its place among the methods of a figure, smallest first; equal places go by name."""
    marker: ClassVar[str] = "*"
    """Shape of its points in figures, a marker of matplotlib."""
    dash: ClassVar[str | tuple[float, ...]] = "-"
    """Dash of its lines in figures: "-", or lengths of ink and gap in turn."""
    colour: ClassVar[str] = ""
    """`#rrggbb` of its points and lines; empty: one of the palette that no other method took."""
    Config: ClassVar[type[MethodConfig]]
    OFFICIAL: ClassVar[dict[str, Any]] = {}
    """The published hyper-parameters; fields that are not named keep their defaults."""
    OFFICIAL_RECIPE: ClassVar[Recipe | None] = None
    MAP_IS_ATTENTION: ClassVar[bool] = False
    """Whether `similarity_map` gives attention weights in [0, 1]; else it gives similarities of any scale."""

    def __init_subclass__(cls, **options: Any) -> None:
        """A method made from another one has its equations, not its name and looks in tables and figures."""
        super().__init_subclass__(**options)
        own = vars(cls)
        if "name" not in own:
            return
        cls.title = own.get("title") or own["name"]
        for attribute in ("order", "marker", "dash", "colour"):
            setattr(cls, attribute, own.get(attribute, getattr(Method, attribute)))

    def __init__(self, config: MethodConfig, image_dim: int, text_dim: int) -> None:
        super().__init__()
        self.config = config
        self.image_dim = image_dim
        self.text_dim = text_dim
        self.image_norm = FeatureNorm(config.normalise_inputs, image_dim, getattr(config, "local_dim", None))
        self.text_norm = FeatureNorm(config.normalise_inputs, text_dim)

    @property
    def trains_on(self) -> TrainsOn:
        """`one` random sentence per image and step, or `all` sentences as multiple positives."""
        return "all" if self.config.multi_positive else "one"

    @classmethod
    def settings(cls, name: str) -> dict[str, Any]:
        """Hyper-parameters of a named setting, `official` or `equal-budget`. Raises ParamsError."""
        if name == "official":
            return {"normalise_inputs": "none", **cls.OFFICIAL}
        if name == "equal-budget":
            return {}
        raise ParamsError(f"no setting '{name}' of {cls.name}; use 'official' or 'equal-budget'.")

    @classmethod
    def recipe(cls, name: str) -> Recipe:
        """Optimisation of a named setting. Raises ParamsError."""
        if name == "official" and cls.OFFICIAL_RECIPE is not None:
            return cls.OFFICIAL_RECIPE
        if name == "equal-budget":
            return EQUAL_BUDGET
        raise ParamsError(f"no recipe '{name}' of {cls.name}; use 'official' or 'equal-budget'.")

    def fit_inputs(self, image: ImageFeatures, text: TextFeatures) -> None:
        """Set the input statistics of `normalise_inputs: standard` from training features; once, before
        the first step. Without it the statistics are 0 and 1. Other settings ignore the call."""
        self.image_norm.fit(image.pooled, image.local)
        self.text_norm.fit(text.pooled, text.local, text.mask)

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
        text say (float), or None. `positives` is taken as given: a diagonal is the official loss of the
        single-positive methods."""

    def forward(self, image: ImageFeatures, text: TextFeatures) -> Tensor:
        """(I, T) logits, every image with every text."""
        pairs = self.interact(self.prepare_image(image), self.prepare_text(text), scoring=True)
        return self.score_pairs(pairs)

    def loss(self, image: ImageFeatures, text: TextFeatures, positives: Tensor) -> Losses:
        """Loss of one batch, untiled."""
        prepared_image, prepared_text = self.prepare_image(image), self.prepare_text(text)
        pairs = self.interact(prepared_image, prepared_text, scoring=False)
        return self.objective(
            pairs, positives, prepared_image, prepared_text, self.agreement(image.findings, text.findings)
        )

    def agreement(self, image: Tensor | None, text: Tensor | None) -> Tensor | None:
        """(I, T) agreement of finding vectors (I, K) and (T, K) in {-1, 0, 1}, their dot product; None
        where either is missing. A method may measure it otherwise."""
        return None if image is None or text is None else image.float() @ text.float().T

    def similarity_map(self, image: ImageFeatures, text: TextFeatures) -> Tensor | None:
        """(I, T, *grid), or None where the method has no local similarity."""
        return None

    def embeddings(self, image: Prepared, text: Prepared) -> dict[str, tuple[Tensor, Tensor]]:
        """Vectors of both sides in one shared space, (I, d) and (T, d), by name: `direct`, and what else the
        method compares. Empty where images and texts meet only in pairs."""
        return {}

    def after_step(self) -> None:
        """Called after each optimiser step (clamps)."""

    @classmethod
    def official_options(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """`settings("official")` with what the shapes of an official checkpoint tell: width, depth, head."""
        raise NotImplementedError(f"{cls.name} has no official checkpoint layout")

    @classmethod
    def import_official(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Official checkpoint names → ours, for the method's own part (encoder tensors are skipped).
        Pure; raises BenchError listing missing and surplus keys."""
        raise NotImplementedError(f"{cls.name} has no official checkpoint layout")


class FeatureNorm(nn.Module):
    """Input normalisation of one modality's pooled and local features; buffers only in mode `standard`."""

    def __init__(
        self, mode: Literal["none", "layer", "standard"], dim: int, local_dim: int | None = None
    ) -> None:
        super().__init__()
        self.mode = mode
        if mode == "standard":
            for stream, size in (("pooled", dim), ("local", local_dim or dim)):
                self.register_buffer(f"{stream}_mean", torch.zeros(size))
                self.register_buffer(f"{stream}_std", torch.ones(size))

    @torch.no_grad()
    def fit(self, pooled: Tensor, local: Tensor, mask: Tensor | None = None) -> None:
        """pooled: (N, D); local: (N, L, D); mask: (N, L) bool, the columns that count."""
        if self.mode != "standard":
            return
        tokens = local.flatten(0, 1) if mask is None else local[mask]
        for stream, rows in (("pooled", pooled), ("local", tokens)):
            if len(rows) < 2:
                continue
            std, mean = torch.std_mean(rows.double(), dim=0, correction=0)
            getattr(self, f"{stream}_mean").copy_(mean)
            getattr(self, f"{stream}_std").copy_(std.clamp(min=1e-6))

    def pooled(self, x: Tensor) -> Tensor:
        return self._apply_to(x, "pooled")

    def local(self, x: Tensor) -> Tensor:
        return self._apply_to(x, "local")

    def _apply_to(self, x: Tensor, stream: str) -> Tensor:
        if self.mode == "layer":
            return nn.functional.layer_norm(x, x.shape[-1:])
        if self.mode == "standard":
            return (x - getattr(self, f"{stream}_mean")) / getattr(self, f"{stream}_std")
        return x


def build(name: str, options: Mapping[str, Any] | MethodConfig, image_dim: int, text_dim: int) -> Method:
    """A method by name. Raises UnknownName or ParamsError, naming the option and the nearest known one."""
    kind = METHODS.get(name)
    return kind(configure(name, options), image_dim, text_dim)


def configure(name: str, options: Mapping[str, Any] | MethodConfig) -> MethodConfig:
    """Options → the method's frozen Config, which may be made already. Raises UnknownName or ParamsError."""
    kind = METHODS.get(name)
    if isinstance(options, kind.Config):
        return options
    try:
        return kind.Config.model_validate(options)
    except ValidationError as error:
        first = first_complaint(error, lambda _: kind.Config.model_fields)
        more = f"See `bench ls methods {name}`."
        if first.unknown:
            raise ParamsError(f"{name}: unknown option '{first.key}'.{first.guess} {more}") from None
        raise ParamsError(
            f"{name}.{first.key or 'options'}: {first.reason}, got {first.got!r}. {more}"
        ) from None
