"""What every registered method must keep, built in or from outside."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save
from torch.nn import functional

from benchmark.core.errors import ParamsError
from benchmark.core.features import ImageFeatures, TextFeatures
from methods.base import METHODS, Method, Recipe, build, configure
from methods.carzero_plain import per_image_loop, plain_scores

NAMES = METHODS.names()
IMAGE_DIM, TEXT_DIM, GRID, WORDS, FINDINGS = 24, 20, (2, 3), 5, 7

# Every method in its default form, and the switches that change what is computed.
VARIANTS = [(name, {}) for name in NAMES] + [
    ("brgsa", {"bank": False}),
    ("carzero", {"directions": "image_memory"}),
    ("carzero", {"directions": "text_memory"}),
    ("carzero", {"features": "global"}),
    ("carzero", {"features": "local"}),
    ("carzero", {"head": "cosine"}),
    ("carzero", {"head": "linear"}),
    ("carzero", {"layers": 1, "normalise_inputs": "layer"}),
    ("carzero", {"mask_padding": False, "text_columns": 9, "normalise_inputs": "none"}),
    ("clip", {"logit_bias": -1.0, "loss": "sigmoid"}),
    ("clip", {"similarity": "dot"}),
    ("clip", {"image_pool": "pooled+mean"}),
    ("gloria", {"features": "global"}),
    ("gloria", {"features": "local", "aggregate": "mean"}),
    ("medclip", {"label_similarity": "cosine"}),
    ("medclip", {"targets": "hard"}),
    ("radzero", {"align": "identity", "sim_op": "dot"}),
    ("radzero", {"align": "linear", "features": "global"}),
    ("radzero", {"align": "mlp", "layer_norm": False, "attention_temperature": 0.1}),
    ("radzero", {"features": "local", "row_sum": True, "column_sum": True}),
]
each = pytest.mark.parametrize(
    ("name", "options"),
    VARIANTS,
    ids=[f"{n}-{'-'.join(map(str, o.values()))}".rstrip("-") for n, o in VARIANTS],
)


def images(count, seed=0, dtype=torch.float32):
    draw = torch.Generator().manual_seed(seed)
    patches = torch.randn(count, GRID[0] * GRID[1], IMAGE_DIM, generator=draw, dtype=dtype)
    pooled = torch.randn(count, IMAGE_DIM, generator=draw, dtype=dtype)
    findings = torch.randint(-1, 2, (count, FINDINGS), generator=draw)
    return ImageFeatures(pooled, patches, GRID, findings)


def texts(count, seed=1, dtype=torch.float32):
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, WORDS + 1, (count, 1), generator=draw)
    mask = torch.arange(WORDS) < lengths
    local = torch.randn(count, WORDS, TEXT_DIM, generator=draw, dtype=dtype) * mask[..., None]
    pooled = torch.randn(count, TEXT_DIM, generator=draw, dtype=dtype)
    return TextFeatures(pooled, local, mask, None, torch.randint(-1, 2, (count, FINDINGS), generator=draw))


def method(name, options, dtype=torch.float32):
    """A method with weights away from their initial values, so that no zero hides a term."""
    torch.manual_seed(3)
    made = build(name, {"width": 16, **options}, IMAGE_DIM, TEXT_DIM).to(dtype).eval()
    made.fit_inputs(images(12, 5, dtype), texts(12, 6, dtype))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


def close(got, expected):
    torch.testing.assert_close(
        got, expected, rtol=1e-5, atol=1e-6 * max(1.0, float(expected.detach().abs().max()))
    )


@each
def test_score_of_an_image_depends_on_that_image_and_text_alone(name, options):
    made, image, text = method(name, options), images(6), texts(4)
    with torch.no_grad():
        whole = made(image, text)
        assert whole.shape == (6, 4)
        assert whole.std(0).min() > 0
        alone = torch.cat([made(image[i : i + 1], text) for i in range(6)])
        order = torch.tensor([4, 1, 5, 0, 3, 2])
        close(alone, whole)
        close(made(image[order], text), whole[order])
        close(torch.cat([made(image, text[t : t + 1]) for t in range(4)], 1), whole)
        close(made(image, text[torch.tensor([2, 0, 3, 1])]), whole[:, [2, 0, 3, 1]])


@each
def test_padding_a_text_changes_nothing(name, options):
    made, image, text = method(name, options), images(3), texts(4)
    padded = replace(
        text,
        local=functional.pad(text.local, (0, 0, 0, 3)),
        mask=functional.pad(text.mask, (0, 3)),
    )
    with torch.no_grad():
        close(made(image, padded), made(image, text))
    eye = torch.eye(3, dtype=torch.bool)
    close(made.loss(image, padded[:3], eye).total, made.loss(image, text[:3], eye).total)


def test_released_carzero_lets_padding_leak():
    options = {"mask_padding": False, "normalise_inputs": "none"}
    made, image, text = method("carzero", options), images(3), texts(4)
    padded = replace(
        text, local=functional.pad(text.local, (0, 0, 0, 3)), mask=functional.pad(text.mask, (0, 3))
    )
    with torch.no_grad():
        assert (made(image, padded) - made(image, text)).abs().max() > 1e-3


def test_equal_padding_columns_collapse_exactly():
    options = {"mask_padding": False, "text_columns": 23, "normalise_inputs": "none"}
    made, image, text = method("carzero", options), images(3), texts(4)
    with torch.no_grad():
        collapsed = made(image, text)
    assert made.prepare_text(text).tensors["key0"].shape[2] == 24
    close(collapsed, made(image, text).detach())


@each
def test_gradient_in_float64(name, options):
    made = method(name, options, torch.float64)
    image, text = images(2, dtype=torch.float64), texts(3, dtype=torch.float64)
    positives = torch.tensor([[True, False, True], [False, True, False]])
    text.local.mul_(text.mask[..., None])

    def loss(pooled, local, words):
        return made.loss(
            replace(image, pooled=pooled, local=local),
            replace(text, pooled=text.pooled, local=words),
            positives,
        ).total

    inputs = [t.clone().requires_grad_() for t in (image.pooled, image.local, text.local)]
    assert torch.autograd.gradcheck(loss, inputs, fast_mode=True)
    parameter = max(made.parameters(), key=torch.numel)

    def of_parameter(value):
        own = {n: (value if p is parameter else p) for n, p in made.named_parameters()}
        return torch.func.functional_call(
            _Loss(made), {f"method.{n}": p for n, p in own.items()}, (image, text, positives)
        )

    assert torch.autograd.gradcheck(
        of_parameter, [parameter.detach().clone().requires_grad_()], fast_mode=True
    )


class _Loss(torch.nn.Module):
    def __init__(self, made):
        super().__init__()
        self.method = made

    def forward(self, image, text, positives):
        return self.method.loss(image, text, positives).total


@each
@pytest.mark.parametrize(("count", "prompts"), [(1, 1), (3, 5)])
def test_loss_is_finite_at_the_edges(name, options, count, prompts):
    made, image, text = method(name, options), images(count), texts(prompts)
    empty = replace(text, local=torch.zeros_like(text.local), mask=torch.zeros_like(text.mask))
    silent = replace(empty, pooled=torch.zeros_like(text.pooled))
    diagonal = torch.arange(prompts) % count == torch.arange(count)[:, None]
    for words in (text, empty, silent):
        for positives in (diagonal, torch.zeros_like(diagonal)):
            made.zero_grad()
            losses = made.loss(image, words, positives)
            assert losses.total.ndim == 0
            assert torch.isfinite(losses.total)
            losses.total.backward()
            for parameter in made.parameters():
                assert parameter.grad is None or torch.isfinite(parameter.grad).all()
        assert torch.isfinite(made(image, words)).all()


@each
def test_tiles_give_the_whole(name, options):
    made, image, text = method(name, options), images(5), texts(7)
    own, other = made.prepare_image(image), made.prepare_text(text)
    for scoring in (False, True):
        whole = made.interact(own, other, scoring=scoring)
        rows = []
        for i in (slice(0, 2), slice(2, 5)):
            parts = [made.interact(own[i], other[t], scoring=scoring) for t in (slice(0, 3), slice(3, 7))]
            rows.append({k: torch.cat([p[k] for p in parts], 1) for k in whole})
        for key, matrix in whole.items():
            assert matrix.shape == (5, 7)
            close(torch.cat([row[key] for row in rows]), matrix)


@each
def test_bfloat16_autocast_stays_near(name, options):
    made, image, text = method(name, options), images(5), texts(4)
    with torch.no_grad():
        exact = made(image, text)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = made(image, text).float()
    assert torch.isfinite(rough).all()
    assert (rough - exact).abs().max() <= 0.1 * exact.abs().max() + 0.01
    with torch.autocast("cpu", dtype=torch.bfloat16):
        own, other = made.prepare_image(image), made.prepare_text(text[:4])
        pairs = made.interact(own, other, scoring=False)
    pairs = {key: matrix.float() for key, matrix in pairs.items()}
    positives = torch.eye(5, 4, dtype=torch.bool)
    losses = made.objective(pairs, positives, own, other, None)
    losses.total.backward()
    assert all(torch.isfinite(p.grad).all() for p in made.parameters() if p.grad is not None)


@each
def test_saving_and_loading_is_exact(name, options):
    made, image, text = method(name, options), images(3), texts(4)
    other = build(name, {"width": 16, **options}, IMAGE_DIM, TEXT_DIM).eval()
    other.load_state_dict(load(save(dict(made.state_dict()))))
    with torch.no_grad():
        assert torch.equal(other(image, text), made(image, text))


@each
def test_similarity_map_has_the_grid(name, options):
    made = method(name, options)
    for grid in (GRID, (1, 2, 3)):
        found = made.similarity_map(replace(images(2), grid=grid), texts(3))
        if found is not None:
            assert found.shape == (2, 3, *grid)
            assert torch.isfinite(found).all()


@pytest.mark.parametrize("name", NAMES)
def test_settings_and_descriptions(name):
    kind = METHODS.get(name)
    for setting in ("official", "equal-budget"):
        assert isinstance(kind.Config(**kind.settings(setting)), kind.Config)
        assert isinstance(kind.recipe(setting), Recipe)
    assert all(field.description for field in kind.Config.model_fields.values())
    assert kind.recipe("equal-budget") == METHODS.get("clip").recipe("equal-budget")
    with pytest.raises(ParamsError, match="equal-budget"):
        kind.settings("fast")


def test_looks_are_told_apart():
    kinds = [METHODS.get(name) for name in NAMES]
    for attribute in ("title", "order", "marker", "dash", "colour"):
        assert len({getattr(kind, attribute) for kind in kinds}) == len(kinds)

    class Derived(METHODS.get("clip")):
        name = "derived"

    assert (Derived.title, Derived.order, Derived.colour) == ("derived", Method.order, "")


def test_unknown_options_name_the_nearest():
    with pytest.raises(ParamsError, match="Did you mean 'heads'"):
        configure("carzero", {"head_s": 3})
    with pytest.raises(ParamsError, match=r"carzero\.head:.*'mpl'"):
        configure("carzero", {"head": "mpl"})
    with pytest.raises(ParamsError, match="project: never"):
        build("clip", {"project": "never"}, IMAGE_DIM, TEXT_DIM)


def test_the_example_of_the_guide_is_a_method(root):
    text = (root / "docs/add-a-method.md").read_text().split("```python\n")[1].split("```")[0]
    head = (
        "from pydantic import Field\n"
        "from methods.base import METHODS, Losses, Method, MethodConfig, Prepared\n"
        "from methods.blocks import contrast, projection, unit\n"
    )
    try:
        exec(head + text, {"__name__": "sharp_method"})
        made, image, text = method("sharp", {}), images(3), texts(4)
        assert made(image, text).shape == (3, 4)
        assert torch.isfinite(made.loss(image, text[:3], torch.eye(3, dtype=torch.bool)).total)
    finally:
        METHODS._registered.pop("sharp", None)


def test_agreement_of_findings():
    image, text = images(3).findings, texts(4).findings
    dot = method("medclip", {}).agreement(image, text)
    cosine = method("medclip", {"label_similarity": "cosine"}).agreement(image, text)
    assert torch.equal(dot, image.float() @ text.float().T)
    close(cosine, functional.cosine_similarity(image[:, None].float(), text.float(), dim=-1))
    assert method("clip", {}).agreement(image, None) is None


PLUGIN = '''
from methods.base import Method, MethodConfig, Prepared, Losses
from methods.clip import CLIP

class Tilted(CLIP):
    """CLIP under another name."""
    name = "tilted"
'''


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A distribution on sys.path that offers a method by entry point, as an installed package does."""
    (tmp_path / "tilted_method.py").write_text(PLUGIN)
    info = tmp_path / "tilted_method-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tilted-method\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[cxr_alignbench.methods]\ntilted = tilted_method:Tilted\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(METHODS, "_found", None)
    yield
    sys.modules.pop("tilted_method", None)


def test_a_method_from_outside_is_found(outside):
    assert "tilted" in METHODS.names()
    made = build("tilted", {"width": 16}, IMAGE_DIM, TEXT_DIM)
    assert isinstance(made, Method)
    assert made(images(2), texts(3)).shape == (2, 3)


@pytest.mark.parametrize("options", [{}, {"mask_padding": False, "text_columns": WORDS}, {"head": "linear"}])
def test_carzero_equals_its_plain_equations(options):
    made, image, text = method("carzero", {"layers": 3, **options}), images(5), texts(4)
    with torch.no_grad():
        expected = plain_scores(made, image, text)
        close(made(image, text), expected)
        close(per_image_loop(made, image, text), expected)
    close(made(image, text), expected)
