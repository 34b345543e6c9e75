"""What every registered method must keep, built in or from outside."""

from __future__ import annotations

import json
import random
import re
import sys
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from benchmark.cli import main
from benchmark.core.errors import DataError, ParamsError
from benchmark.stages.method_faults import MethodFault, naming
from methods.base import METHODS, Losses, Method, build, configure
from methods.carzero_plain import per_image_loop, plain_scores
from methods.clip import CLIP
from methods.contract import CHECKS, IMAGE_DIM, TEXT_DIM, WORDS, Subject, check_method, images, texts

NAMES = METHODS.names()

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


def method(name, options):
    return Subject(name, options).method()


def close(got, expected):
    torch.testing.assert_close(
        got, expected, rtol=1e-5, atol=1e-6 * max(1.0, float(expected.detach().abs().max()))
    )


@each
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_contract(name, options, check):
    check(Subject(name, options))


class Careless(CLIP):
    """Keeps no promise: it centres images on their batch, gives NaN for one image, and draws at random."""

    name = "careless"

    def prepare_image(self, image):
        return super().prepare_image(replace(image, pooled=image.pooled - image.pooled.mean(0)))

    def score_pairs(self, pairs):
        return super().score_pairs(pairs) * torch.rand(())

    def objective(self, pairs, positives, image, text, findings):
        return Losses(super().objective(pairs, positives, image, text, findings).total.log() * float("nan"))


def test_a_method_that_breaks_its_promises_is_told_so(monkeypatch, capsys):
    monkeypatch.setitem(METHODS._registered, "careless", [Careless])
    broken = {outcome.check: outcome.reason for outcome in check_method("careless") if not outcome.holds}
    assert {"scores_each_pair_alone", "has_right_gradients", "stays_finite"} <= set(broken)
    assert "one image at a time" in broken["scores_each_pair_alone"]
    assert main(["check", "method", "careless", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "broken"
    assert {c["check"] for c in report["checks"] if not c["holds"]} == set(broken)


class InTraining(CLIP):
    """Keeps every promise out of training; in training it does what `broken` says."""

    broken = ""

    def prepare_image(self, image):
        if self.broken == "findings":
            image = replace(image, pooled=image.pooled + 0 * image.findings.sum())
        if self.training and self.broken == "in place":
            image.pooled.detach().mul_(2)
        return super().prepare_image(image)

    def objective(self, pairs, positives, image, text, findings):
        found = super().objective(pairs, positives, image, text, findings)
        factor = {"nan": float("nan"), "unseeded": 1 + random.random()}.get(self.broken, 1.0)
        return Losses(found.total * factor) if self.training else found


@pytest.mark.parametrize(
    ("broken", "check", "said"),
    [
        ("nan", "repeats_a_step", "the loss is not finite in training"),
        ("unseeded", "repeats_a_step", "the loss, "),
        ("in place", "repeats_a_step", "changes pooled of its ImageFeatures in place"),
        ("findings", "scores_without_findings", "AttributeError"),
    ],
)
def test_a_method_that_breaks_its_promises_in_training_alone_is_told_so(monkeypatch, broken, check, said):
    monkeypatch.setattr(InTraining, "broken", broken)
    monkeypatch.setitem(METHODS._registered, "intraining", [InTraining])
    told = {outcome.check: outcome.reason for outcome in check_method("intraining") if not outcome.holds}
    assert said in told.pop(check)
    assert set(told) <= {"describes_itself"}  # its name is CLIP's


def test_check_as_a_command(capsys):
    assert main(["check", "method", "clip", "--set", "similarity=dot", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "ok"
    for wrong, said in (
        (["clipp"], "Did you mean 'clip'"),
        (["clip", "--set", "similarty=dot"], "similarity"),
        (["clip", "--set", "dot"], "OPTION=VALUE"),
    ):
        assert main(["check", "method", *wrong]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1


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


def test_looks_are_told_apart():
    kinds = [METHODS.get(name) for name in NAMES]
    for attribute in ("title", "order", "marker", "dash", "colour"):
        assert len({getattr(kind, attribute) for kind in kinds}) == len(kinds)

    class Derived(METHODS.get("clip")):
        name = "derived"

    assert (Derived.title, Derived.order, Derived.colour) == ("derived", Method.order, "")


def test_settings_are_named():
    with pytest.raises(ParamsError, match="equal-budget"):
        METHODS.get("clip").settings("fast")


def test_unknown_options_name_the_nearest():
    with pytest.raises(ParamsError, match="Did you mean 'heads'"):
        configure("carzero", {"head_s": 3})
    with pytest.raises(ParamsError, match=r"carzero\.head:.*'mpl'"):
        configure("carzero", {"head": "mpl"})
    with pytest.raises(ParamsError, match="project: never"):
        build("clip", {"project": "never"}, IMAGE_DIM, TEXT_DIM)


def test_the_example_of_the_guide_is_a_method(root):
    text = (root / "docs/add-a-method.md").read_text().split("```python\n")[1].split("```")[0]
    try:
        exec(text, {"__name__": "sharp_method"})
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


def test_a_method_that_lacks_a_part_is_told_which(monkeypatch, capsys):
    class Unfinished(Method):
        """Its `score_pair` is a typing error."""

        name = "unfinished"
        Config = CLIP.Config
        prepare_image, prepare_text, interact = CLIP.prepare_image, CLIP.prepare_text, CLIP.interact
        score_pair, objective = CLIP.score_pairs, CLIP.objective

    monkeypatch.setitem(METHODS._registered, "unfinished", [Unfinished])
    assert main(["check", "method", "unfinished"]) == 2
    said = "method 'unfinished' does not define score_pairs. See docs/add-a-method.md.\n"
    assert capsys.readouterr().err == said


def test_a_reason_is_a_line_that_can_be_read(monkeypatch, capsys):
    monkeypatch.setitem(METHODS._registered, "careless", [Careless])
    assert main(["check", "method", "careless"]) == 1
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 220


def test_what_a_method_raises_names_the_method_and_the_check(capsys):
    """An error in a file of one's own was called a fault of bench. Its message may quote a report."""
    with pytest.raises(MethodFault) as found, naming("clip", 1):
        CLIP.score_pairs(None, {"a report": None})
    assert re.fullmatch(
        r"clip: unexpected \w+Error at clip\.py:\d+\. `bench check method clip` says which promise "
        "it breaks; if none, run again with --debug.",
        str(found.value),
    )
    assert found.value.exit_code == 70
    with pytest.raises(RuntimeError, match="connection closed"), naming("clip", 2):
        raise RuntimeError("connection closed by the other rank")
    with pytest.raises(DataError, match="as it was"), naming("clip", 1):
        raise DataError("as it was")
