"""What every method must keep, built in or from outside: checks on small random features.

Each check builds the method anew, computes, and raises `Broken` with the reason where a promise is not kept:
the score of an image depends on that image and that text alone, tiles give the whole, losses and gradients
are finite and right, saved weights load exactly, and a seed decides every initial weight.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional

from benchmark.core.features import ImageFeatures, TextFeatures
from methods.base import METHODS, Method, MethodConfig, Prepared, Recipe, build

IMAGE_DIM, TEXT_DIM, GRID, WORDS, FINDINGS, WIDTH = 24, 20, (2, 3), 5, 7, 16
RTOL, ATOL = 1e-5, 1e-6
"""Of two ways to one number; `ATOL` is relative to the largest number where that is above 1."""
BFLOAT16 = 0.1
"""Largest share of the largest score that bfloat16 may move; its numbers carry three digits."""


class Broken(Exception):
    """A promise that a method does not keep; the message says which number or text shows it."""


@dataclass(frozen=True)
class Subject:
    """A method under check. options: as params.yaml sets them; the width is small unless they name one."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def fresh(self, seed: int = 3) -> Method:
        """As a training starts it."""
        torch.manual_seed(seed)
        return build(self.name, {"width": WIDTH, **self.options}, IMAGE_DIM, TEXT_DIM).eval()

    def method(self, dtype: torch.dtype = torch.float32) -> Method:
        """With weights away from their initial values, so that no zero hides a term."""
        made = self.fresh().to(dtype)
        made.fit_inputs(images(12, 5, dtype), texts(12, 6, dtype))
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        return made


@dataclass(frozen=True)
class CheckResult:
    """One check of a method. reason: empty where it holds."""

    check: str
    promise: str
    reason: str

    @property
    def holds(self) -> bool:
        return not self.reason


def check_method(name: str, options: Mapping[str, Any] | None = None) -> list[CheckResult]:
    """Every check on one method, none of which stops another.

    Raises UnknownName, ParamsError for wrong options, and BenchError where the method cannot be imported.
    """
    subject = Subject(name, options or {})
    subject.fresh()
    outcomes = []
    for check in CHECKS:
        try:
            check(subject)
            reason = ""
        except Broken as broken:
            reason = str(broken)
        except Exception as error:  # whatever the method raises is its answer to this check
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        outcomes.append(CheckResult(check.__name__, (check.__doc__ or "").split("\n")[0], reason))
    return outcomes


def images(count: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> ImageFeatures:
    """Random features of `count` images with a grid of 2 x 3 patches and random findings."""
    draw = torch.Generator().manual_seed(seed)
    patches = torch.randn(count, GRID[0] * GRID[1], IMAGE_DIM, generator=draw, dtype=dtype)
    pooled = torch.randn(count, IMAGE_DIM, generator=draw, dtype=dtype)
    findings = torch.randint(-1, 2, (count, FINDINGS), generator=draw)
    return ImageFeatures(pooled, patches, GRID, findings)


def texts(count: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> TextFeatures:
    """Random features of `count` texts of one to five words, zero where there is no word."""
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, WORDS + 1, (count, 1), generator=draw)
    mask = torch.arange(WORDS) < lengths
    local = torch.randn(count, WORDS, TEXT_DIM, generator=draw, dtype=dtype) * mask[..., None]
    pooled = torch.randn(count, TEXT_DIM, generator=draw, dtype=dtype)
    return TextFeatures(pooled, local, mask, None, torch.randint(-1, 2, (count, FINDINGS), generator=draw))


def describes_itself(subject: Subject) -> None:
    """It has the name it is registered under, a title, described options and both named settings."""
    kind = METHODS.get(subject.name)
    _hold(issubclass(kind, Method), f"{kind.__name__} is not a subclass of methods.base.Method")
    _hold(kind.name == subject.name, f"registered as '{subject.name}', but its `name` is '{kind.name}'")
    _hold(bool(kind.title), "its `title` is empty")
    _hold(issubclass(kind.Config, MethodConfig), "its `Config` is not a subclass of MethodConfig")
    bare = [name for name, option in kind.Config.model_fields.items() if not option.description]
    _hold(not bare, f"options without a description: {', '.join(bare)}")
    for setting in ("official", "equal-budget"):
        kind.Config(**kind.settings(setting))
    _hold(
        kind.recipe("equal-budget") == Method.recipe("equal-budget"),
        "its recipe 'equal-budget' is not that of every method",
    )
    official = kind.OFFICIAL_RECIPE
    _hold(official is None or isinstance(official, Recipe), "its `OFFICIAL_RECIPE` is not a Recipe")
    spec = importlib.util.find_spec(kind.__module__)
    readable = spec is not None and bool(spec.origin) and spec.has_location
    _hold(readable, f"{kind.__module__} has no source file, which tells when its trainings are out of date")


def starts_from_its_seed(subject: Subject) -> None:
    """Equal seeds give equal initial weights, bit by bit."""
    one, other = subject.fresh().state_dict(), subject.fresh().state_dict()
    different = [name for name, value in one.items() if not torch.equal(value, other[name])]
    _hold(not different, f"weights differ: {', '.join(different[:3])}")


@torch.no_grad()
def scores_each_pair_alone(subject: Subject) -> None:
    """The score of an image depends on that image and that text, not on what else is in the batch."""
    made, image, text = subject.method(), images(6), texts(4)
    whole = made(image, text)
    _hold(whole.shape == (6, 4), f"scores of 6 images with 4 texts have the shape {tuple(whole.shape)}")
    _hold(bool(whole.std(0).min() > 0), "a text has the same score with every image")
    alone = torch.cat([made(image[i : i + 1], text) for i in range(6)])
    _close(alone, whole, "scores of one image at a time")
    order = torch.tensor([4, 1, 5, 0, 3, 2])
    _close(made(image[order], text), whole[order], "scores of images in another order")
    _close(
        torch.cat([made(image, text[t : t + 1]) for t in range(4)], 1), whole, "scores of one text at a time"
    )
    order = torch.tensor([2, 0, 3, 1])
    _close(made(image, text[order]), whole[:, order], "scores of texts in another order")


def ignores_padding(subject: Subject) -> None:
    """Padding a text changes neither its scores nor the loss."""
    made, image, text = subject.method(), images(3), texts(4)
    longer = replace(
        text, local=functional.pad(text.local, (0, 0, 0, 3)), mask=functional.pad(text.mask, (0, 3))
    )
    with torch.no_grad():
        _close(made(image, longer), made(image, text), "scores of padded texts")
    eye = torch.eye(3, dtype=torch.bool)
    _close(
        made.loss(image, longer[:3], eye).total, made.loss(image, text[:3], eye).total, "loss of padded texts"
    )


def has_right_gradients(subject: Subject) -> None:
    """Gradients are those of finite differences in float64."""
    made = subject.method(torch.float64)
    image, text = images(2, dtype=torch.float64), texts(3, dtype=torch.float64)
    positives = torch.tensor([[True, False, True], [False, True, False]])

    def of_inputs(pooled: Tensor, local: Tensor, words: Tensor) -> Tensor:
        return made.loss(
            replace(image, pooled=pooled, local=local), replace(text, local=words), positives
        ).total

    inputs = [t.clone().requires_grad_() for t in (image.pooled, image.local, text.local)]
    _hold(torch.autograd.gradcheck(of_inputs, inputs, fast_mode=True), "gradients of the features are off")
    parameters = dict(made.named_parameters())
    if not parameters:
        return
    largest = max(parameters, key=lambda name: parameters[name].numel())

    def of_parameter(value: Tensor) -> Tensor:
        own = {f"method.{name}": value if name == largest else p for name, p in parameters.items()}
        total: Tensor = torch.func.functional_call(_Loss(made), own, (image, text, positives))
        return total

    value = parameters[largest].detach().clone().requires_grad_()
    _hold(
        torch.autograd.gradcheck(of_parameter, [value], fast_mode=True), f"the gradient of {largest} is off"
    )


class _Loss(nn.Module):
    """The loss as a module, so that one parameter can be exchanged."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, image: ImageFeatures, text: TextFeatures, positives: Tensor) -> Tensor:
        return self.method.loss(image, text, positives).total


def stays_finite(subject: Subject) -> None:
    """Loss, gradients and scores are finite for one pair, no positive pair, and texts without words."""
    made = subject.method()
    for count, prompts in ((1, 1), (3, 5)):
        image, text = images(count), texts(prompts)
        empty = replace(text, local=torch.zeros_like(text.local), mask=torch.zeros_like(text.mask))
        silent = replace(empty, pooled=torch.zeros_like(text.pooled))
        diagonal = torch.arange(prompts) % count == torch.arange(count)[:, None]
        for said, words in (("texts", text), ("texts without words", empty), ("texts of zeros", silent)):
            for positives in (diagonal, torch.zeros_like(diagonal)):
                place = f"{count} images, {prompts} {said}, {int(positives.sum())} positive pairs"
                made.zero_grad()
                losses = made.loss(image, words, positives)
                _hold(losses.total.ndim == 0, f"{place}: the loss is no scalar")
                _hold(bool(torch.isfinite(losses.total)), f"{place}: the loss is {losses.total.item()}")
                losses.total.backward()
                for name, parameter in made.named_parameters():
                    gradient = parameter.grad
                    finite = gradient is None or bool(torch.isfinite(gradient).all())
                    _hold(finite, f"{place}: the gradient of {name} is not finite")
            _hold(
                bool(torch.isfinite(made(image, words)).all()),
                f"{count} images, {said}: a score is not finite",
            )


def repeats_a_step(subject: Subject) -> None:
    """A step of training is finite, repeats under its seed and leaves its features as they were."""
    runs: list[dict[str, Tensor]] = []
    for _ in range(2):
        made, image, text = subject.method().train(), images(4), texts(4)
        torch.manual_seed(9)
        total = made.loss(image, text, torch.eye(4, dtype=torch.bool)).total
        total.backward()
        found = {n: p.grad for n, p in made.named_parameters() if p.grad is not None}
        runs.append({"the loss": total.detach(), **{f"the gradient of {n}": g for n, g in found.items()}})
        for name, value in runs[-1].items():
            _hold(bool(torch.isfinite(value).all()), f"{name} is not finite in training")
        for given, kept in ((image, images(4)), (text, texts(4))):
            for part in ("pooled", "local"):
                same = torch.equal(getattr(given, part), getattr(kept, part))
                _hold(same, f"it changes {part} of its {type(given).__name__} in place")
    first, again = runs
    moved = [name for name, value in first.items() if not torch.equal(value, again[name])]
    _hold(not moved, f"{', '.join(moved[:3])} differ between two equal steps; draw from torch's generator")


@torch.no_grad()
def scores_without_findings(subject: Subject) -> None:
    """Scores rest on features alone: findings are there in training only."""
    made, image, text = subject.method(), images(3), texts(4)
    bare = made(replace(image, findings=None), replace(text, findings=None))
    _close(bare, made(image, text), "scores with and without findings")


@torch.no_grad()
def gives_the_whole_in_tiles(subject: Subject) -> None:
    """Rows of prepared tensors are images or texts, and tiles of pairs give exactly their part."""
    made, image, text = subject.method(), images(5), texts(7)
    own, other = made.prepare_image(image), made.prepare_text(text)
    for side, prepared, size in (("image", own, 5), ("text", other, 7)):
        _hold(len(prepared) == size, f"prepare_{side} of {size} rows says that it has {len(prepared)}")
        for name, tensor in prepared.tensors.items():
            _hold(len(tensor) == size, f"prepare_{side}: '{name}' has {len(tensor)} rows for {size}")
    _hold(
        _shapes(made.prepare_image(images(5, 8))) == _shapes(own)
        and _shapes(made.prepare_text(replace(texts(7, 9), mask=text.mask))) == _shapes(other),
        "shapes of prepared tensors depend on what the rows hold, but processes exchange them",
    )
    for scoring in (False, True):
        whole = made.interact(own, other, scoring=scoring)
        rows: list[dict[str, Tensor]] = []
        for i in (slice(0, 2), slice(2, 5)):
            parts = [made.interact(own[i], other[t], scoring=scoring) for t in (slice(0, 3), slice(3, 7))]
            rows.append({k: torch.cat([p[k] for p in parts], 1) for k in whole})
        for key, matrix in whole.items():
            _hold(
                matrix.shape == (5, 7), f"interact: '{key}' of 5 images and 7 texts is {tuple(matrix.shape)}"
            )
            _close(torch.cat([row[key] for row in rows]), matrix, f"'{key}' in tiles")


def stands_bfloat16(subject: Subject) -> None:
    """Under bfloat16 autocast scores stay near and gradients finite."""
    made, image, text = subject.method(), images(5), texts(4)
    with torch.no_grad():
        exact = made(image, text)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = made(image, text).float()
    gap, limit = float((rough - exact).abs().max()), BFLOAT16 * float(exact.abs().max()) + 0.01
    _hold(gap <= limit, f"scores move by {gap:.3g}, more than {limit:.3g}")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        own, other = made.prepare_image(image), made.prepare_text(text)
        pairs = made.interact(own, other, scoring=False)
    single = {key: matrix.float() for key, matrix in pairs.items()}
    made.objective(single, torch.eye(5, 4, dtype=torch.bool), own, other, None).total.backward()
    for name, parameter in made.named_parameters():
        finite = parameter.grad is None or bool(torch.isfinite(parameter.grad).all())
        _hold(finite, f"the gradient of {name} is not finite")


@torch.no_grad()
def loads_what_it_saves(subject: Subject) -> None:
    """Saved weights load exactly."""
    made, image, text = subject.method(), images(3), texts(4)
    other = subject.fresh(seed=4)
    other.load_state_dict(load(save(dict(made.state_dict()))))
    _hold(torch.equal(other(image, text), made(image, text)), "scores after loading differ")


@torch.no_grad()
def maps_have_the_grid(subject: Subject) -> None:
    """Maps, where it has them, are finite and of the image's grid, in two and three dimensions."""
    made = subject.method()
    for grid in (GRID, (1, 2, 3)):
        found = made.similarity_map(replace(images(2), grid=grid), texts(3))
        if found is not None:
            _hold(found.shape == (2, 3, *grid), f"maps of a grid {grid} are {tuple(found.shape)}")
            _hold(bool(torch.isfinite(found).all()), "a map is not finite")


CHECKS: tuple[Callable[[Subject], None], ...] = (
    describes_itself,
    starts_from_its_seed,
    scores_each_pair_alone,
    ignores_padding,
    has_right_gradients,
    stays_finite,
    repeats_a_step,
    scores_without_findings,
    gives_the_whole_in_tiles,
    stands_bfloat16,
    loads_what_it_saves,
    maps_have_the_grid,
)


def _hold(condition: bool, reason: str) -> None:
    if not condition:
        raise Broken(reason)


def _close(got: Tensor, expected: Tensor, what: str) -> None:
    got, expected = got.detach(), expected.detach()
    _hold(got.shape == expected.shape, f"{what}: shape {tuple(got.shape)}, not {tuple(expected.shape)}")
    atol = ATOL * max(1.0, float(expected.abs().max()))
    if not torch.allclose(got, expected, rtol=RTOL, atol=atol):
        raise Broken(f"{what} differ by {float((got - expected).abs().max()):.3g} at most")


def _shapes(prepared: Prepared) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in prepared.tensors.items()}
