"""CLIP: losses, the clamp after a step, and the zero-shot rules of open_clip and CheXzero."""

from __future__ import annotations

import torch

from benchmark.official.parity.cases.features import (
    backward,
    check_input_gradients,
    image_features,
    text_features,
)
from benchmark.official.parity.check import Checker
from benchmark.official.parity.fixture import Fixture
from benchmark.official.parity.registry import case
from methods.clip import (
    CLIP,
    CLIPConfig,
    chexzero_probability,
    chexzero_single,
    zero_shot_classifier,
)


def _method(width: int, bias: bool = False) -> CLIP:
    options = {**CLIP.settings("official"), "width": width, "project": "never"}
    config = CLIPConfig.model_validate(options | {"logit_bias": 0.0 if bias else None})
    return CLIP(config, width, width)


@case("clip/loss", method="clip", arrays=("in/image_features_raw", "in/text_features_raw"))
def loss(fixture: Fixture, checker: Checker) -> None:
    image = fixture.tensor("in/image_features_raw", grad=True)
    text = fixture.tensor("in/text_features_raw", grad=True)
    method = _method(image.shape[1], "in/logit_bias" in fixture)
    with torch.no_grad():
        method.logit_scale.copy_(fixture.tensor("in/logit_scale"))
        if method.logit_bias is not None:
            method.logit_bias.copy_(fixture.tensor("in/logit_bias"))
    images, texts = image_features(image), text_features(text)
    checker.close("out/image_features", method.prepare_image(images).tensors["embedding"])
    checker.close("out/text_features", method.prepare_text(texts).tensors["embedding"])
    logits = method(images, texts)
    checker.close("out/logits_per_image", logits)
    checker.close("out/logits_per_text", logits.T)
    total = method.loss(images, texts, torch.eye(len(image), dtype=torch.bool)).total
    checker.close("out/loss", total)
    backward(total)
    leaves = {"image_features_raw": image, "text_features_raw": text, "logit_scale": method.logit_scale}
    if method.logit_bias is not None:
        leaves["logit_bias"] = method.logit_bias
    check_input_gradients(checker, leaves)


@case(
    "clip/logit_scale_clamp",
    method="clip",
    arrays=("in/logit_scale", "out/logit_scale"),
    without=("in/image_features_raw",),
)
def clamp(fixture: Fixture, checker: Checker) -> None:
    method = _method(1)
    found = []
    for value in fixture.tensor("in/logit_scale"):
        with torch.no_grad():
            method.logit_scale.copy_(value)
        method.after_step()
        found.append(method.logit_scale.detach().clone())
    checker.equal("out/logit_scale", torch.stack(found))


@case("clip/zero_shot", method="clip", arrays=("in/image_features_raw", "in/prompt_features_raw"))
def zero_shot(fixture: Fixture, checker: Checker) -> None:
    image = fixture.tensor("in/image_features_raw")
    prompts = fixture.tensor("in/prompt_features_raw")
    classes = fixture.tensor("in/pos_features_raw")
    method = _method(image.shape[1])
    classifier = zero_shot_classifier(prompts, len(prompts) // len(classes))
    checker.close("out/classifier", classifier.T)

    def cosines(text: torch.Tensor) -> torch.Tensor:
        prepared = method.prepare_image(image_features(image)), method.prepare_text(text_features(text))
        return method.interact(*prepared, scoring=True)["similarity"]

    with torch.no_grad():
        method.logit_scale.fill_(1e9)
        method.after_step()  # the official logits use the upper bound, 100
        checker.close("out/logits", method(image_features(image), text_features(classifier)))
        positive, negative = cosines(classes), cosines(fixture.tensor("in/neg_features_raw"))
        checker.close("out/chexzero_prob", chexzero_probability(positive, negative))
        checker.close("out/chexzero_single_prob", chexzero_single(positive))
