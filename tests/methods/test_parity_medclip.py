"""MedCLIP against the official implementation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from official_cases import check, image_features, leaf, read_case, text_features

from methods.blocks import class_scores
from methods.medclip import MedCLIP, soft_targets


def model(arrays, name="logit_scale_before"):
    width = arrays["in/img_embeds_raw"].shape[1]
    options = {"width": width, "project": "never", "normalise_inputs": "none"}
    method = MedCLIP(MedCLIP.Config(**options), width, width).eval()
    method.logit_scale.data.copy_(arrays[f"in/{name}"])
    return method


@pytest.mark.parametrize("case", ["soft_loss", "soft_loss_aug", "soft_loss_clamped", "hard_loss"])
def test_loss(shared, case):
    arrays, _ = read_case(shared / "parity/medclip", case)
    method = model(arrays)
    names = [n for n in ("img_embeds_raw", "text_embeds_raw", "aug_text_embeds_raw") if f"in/{n}" in arrays]
    inputs = {name: leaf(arrays[f"in/{name}"]) for name in names}
    image, text = image_features(inputs["img_embeds_raw"]), text_features(inputs["text_embeds_raw"])
    if "in/img_labels" in arrays:
        image = replace(image, findings=arrays["in/img_labels"])
        text = replace(text, findings=arrays["in/text_labels"])
        over_texts, over_images = soft_targets(arrays["out/label_sim"])
        check("targets", over_texts, arrays["out/soft_targets_image"])
        check("targets", over_images.T, arrays["out/soft_targets_text"])
    augmented = text_features(inputs["aug_text_embeds_raw"]) if len(names) == 3 else None
    check("logits", method(image, text), arrays["out/logits"])
    losses = method.loss(image, text, torch.eye(len(image), dtype=torch.bool), augmented)
    check("loss", losses.total, arrays["out/loss"].float())
    losses.total.backward()
    for name, value in inputs.items():
        check(f"grad {name}", value.grad, arrays[f"grad_in/{name}"])
    check("grad scale", method.logit_scale.grad, arrays["grad_in/logit_scale"])
    method.after_step()
    assert method.logit_scale.detach() == arrays["out/logit_scale_after_clamp"]


def test_prompt_classifier(shared):
    arrays, _ = read_case(shared / "parity/medclip", "prompt_classifier")
    method = model(arrays, "logit_scale")
    scores = method(image_features(arrays["in/img_embeds_raw"]), text_features(arrays["in/text_embeds_raw"]))
    for rule in ("max", "mean"):
        check(rule, class_scores(scores, arrays["in/class_of_prompt"], rule), arrays[f"out/scores_{rule}"])
