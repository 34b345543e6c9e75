"""CLIP against open_clip and CheXzero."""

from __future__ import annotations

import pytest
import torch
from official_cases import check, image_features, leaf, read_case, text_features

from methods.blocks import cosine_matrix
from methods.clip import CLIP, chexzero_probability, chexzero_single, zero_shot_classifier


def model(width, **changes):
    options = {"width": width, "project": "never", "normalise_inputs": "none"} | changes
    return CLIP(CLIP.Config(**options), width, width).eval()


@pytest.mark.parametrize("case", ["loss", "loss_bias"])
def test_loss(shared, case):
    arrays, info = read_case(shared / "parity/clip", case)
    biased = "in/logit_bias" in arrays
    method = model(info["d"], logit_bias=0.0 if biased else None)
    method.logit_scale.data.copy_(arrays["in/logit_scale"])
    if biased:
        method.logit_bias.data.copy_(arrays["in/logit_bias"])
    u, v = leaf(arrays["in/image_features_raw"]), leaf(arrays["in/text_features_raw"])
    image, text = image_features(u), text_features(v)
    check("image", method.prepare_image(image).tensors["embedding"], arrays["out/image_features"])
    check("text", method.prepare_text(text).tensors["embedding"], arrays["out/text_features"])
    check("logits", method(image, text), arrays["out/logits_per_image"])
    losses = method.loss(image, text, torch.eye(len(u), dtype=torch.bool))
    check("loss", losses.total, arrays["out/loss"])
    losses.total.backward()
    check("grad image", u.grad, arrays["grad_in/image_features_raw"])
    check("grad text", v.grad, arrays["grad_in/text_features_raw"])
    check("grad scale", method.logit_scale.grad, arrays["grad_in/logit_scale"])
    if biased:
        check("grad bias", method.logit_bias.grad, arrays["grad_in/logit_bias"])


def test_clamp(shared):
    arrays, _ = read_case(shared / "parity/clip", "logit_scale_clamp")
    for before, after in zip(arrays["in/logit_scale"], arrays["out/logit_scale"], strict=True):
        method = model(8)
        method.logit_scale.data.copy_(before)
        method.after_step()
        assert method.logit_scale.detach() == after


def test_zero_shot(shared):
    arrays, info = read_case(shared / "parity/clip", "zero_shot")
    classifier = zero_shot_classifier(arrays["in/prompt_features_raw"], info["templates_per_class"])
    check("classifier", classifier.T, arrays["out/classifier"])
    method = model(info["d"])
    method.logit_scale.data.fill_(torch.tensor(100.0).log())
    image = image_features(arrays["in/image_features_raw"])
    check("logits", method(image, text_features(classifier)), arrays["out/logits"])
    positive, negative = (
        cosine_matrix(arrays["in/image_features_raw"], arrays[f"in/{sign}_features_raw"])
        for sign in ("pos", "neg")
    )
    check("pair", chexzero_probability(positive, negative), arrays["out/chexzero_prob"])
    check("single", chexzero_single(positive), arrays["out/chexzero_single_prob"])
