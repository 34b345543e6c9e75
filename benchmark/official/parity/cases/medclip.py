"""MedCLIP: soft and hard losses, text pooling over padding, prompt classifier."""

from __future__ import annotations

from dataclasses import replace

import torch

from benchmark.official.bert import medclip_pool
from benchmark.official.parity.cases.features import (
    backward,
    check_input_gradients,
    image_features,
    text_features,
)
from benchmark.official.parity.check import Checker
from benchmark.official.parity.fixture import Fixture
from benchmark.official.parity.registry import case
from methods.blocks import class_scores
from methods.medclip import MedCLIP, MedCLIPConfig, soft_targets


def _method(width: int, text_dim: int | None = None) -> MedCLIP:
    options = {**MedCLIP.settings("official"), "width": width, "project": "auto"}
    return MedCLIP(MedCLIPConfig.model_validate(options), width, text_dim or width).eval()


@case("medclip/loss", method="medclip", arrays=("in/img_embeds_raw", "in/logit_scale_before"))
def loss(fixture: Fixture, checker: Checker) -> None:
    """With label vectors the soft loss, without them the hard one; with augmented texts the mean of two."""
    leaves = {
        name.removeprefix("in/"): fixture.tensor(name, grad=True)
        for name in ("in/img_embeds_raw", "in/text_embeds_raw", "in/aug_text_embeds_raw")
        if name in fixture
    }
    image, text = image_features(leaves["img_embeds_raw"]), text_features(leaves["text_embeds_raw"])
    method = _method(image.pooled.shape[1])
    with torch.no_grad():
        method.logit_scale.copy_(fixture.tensor("in/logit_scale_before"))
    soft = "in/img_labels" in fixture
    if soft:
        image = replace(image, findings=fixture.tensor("in/img_labels"))
        text = replace(text, findings=fixture.tensor("in/text_labels"))
        similarity = method.agreement(image.findings, text.findings)
        assert similarity is not None
        over_texts, over_images = soft_targets(similarity)
        checker.close("out/label_sim", similarity)
        checker.close("out/soft_targets_image", over_texts)
        checker.close("out/soft_targets_text", over_images.T)
    checker.close("out/img_embeds", method.prepare_image(image).tensors["embedding"])
    checker.close("out/text_embeds", method.prepare_text(text).tensors["embedding"])
    logits = method(image, text)
    checker.close("out/logits", logits)
    checker.close("out/logits_per_text", logits.T)
    augmented = None
    if "aug_text_embeds_raw" in leaves:
        augmented = text_features(leaves["aug_text_embeds_raw"])
        checker.close("out/logits_aug", method(image, augmented))
    total = method.loss(image, text, torch.eye(len(image), dtype=torch.bool), augmented).total
    checker.close("out/loss", total)
    backward(total)
    check_input_gradients(checker, leaves | {"logit_scale": method.logit_scale})
    method.after_step()
    checker.close("out/logit_scale_after_clamp", method.logit_scale)


@case("medclip/text_pooling", method="medclip", arrays=("in/hidden_states", "in/lens"))
@torch.no_grad()
def text_pooling(fixture: Fixture, checker: Checker) -> None:
    hidden = fixture.tensor("in/hidden_states")
    weight = fixture.state()["text_model.projection_head.weight"]
    method = _method(weight.shape[0], weight.shape[1])
    method.text_project.load_state_dict({"weight": weight})
    longest = int(fixture.tensor("in/lens").max())
    for tag, columns in (("batch_max", longest), ("padded", hidden.shape[2])):
        pooled = medclip_pool(list(hidden[:, :, :columns]), None)
        checker.close(f"out/text_embed_{tag}", method.text_project(pooled))


@case("medclip/prompt_classifier", method="medclip", arrays=("in/img_embeds_raw", "in/class_of_prompt"))
@torch.no_grad()
def prompt_classifier(fixture: Fixture, checker: Checker) -> None:
    image = image_features(fixture.tensor("in/img_embeds_raw"))
    text = text_features(fixture.tensor("in/text_embeds_raw"))
    method = _method(image.pooled.shape[1])
    method.logit_scale.copy_(fixture.tensor("in/logit_scale"))
    classes = fixture.tensor("in/class_of_prompt")
    scores = method(image, text)
    checker.close("out/scores_max", class_scores(scores, classes, "max"))
    checker.close("out/scores_mean", class_scores(scores, classes, "mean"))
