"""RadZero: VL-CABS with its options, the multi-positive loss, align layers, baselines, the whole model."""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from torch import Tensor

from benchmark.core.features import ImageFeatures
from benchmark.official.bert import mean_pool, mpnet_from_state
from benchmark.official.parity.cases.features import backward, check_input_gradients, text_features
from benchmark.official.parity.check import Checker, Tolerance
from benchmark.official.parity.fixture import Fixture
from benchmark.official.parity.naming import check_state_gradients
from benchmark.official.parity.registry import case
from benchmark.official.vision import DinoV2
from methods.blocks import unit
from methods.clip import CLIP, CLIPConfig
from methods.radzero import RadZero, RadZeroConfig, multi_positive_nce

_STRICT = Tolerance(rtol=1e-5, atol=1e-5)
_LAYERS = Tolerance(rtol=1e-5, atol=2e-5)
_LOSS = Tolerance(rtol=1e-5, atol=1e-6)
_MODEL = Tolerance(rtol=1e-4, atol=1e-4)
_TEMPERATURE = "loss_fns.RadZeroLoss.loss_temperature"


def _tokens(tokens: Tensor) -> ImageFeatures:
    """(I, 1 + P, D), class token first."""
    return ImageFeatures(tokens[:, 0], tokens[:, 1:], (tokens.shape[1] - 1,))


def _positives(groups: Tensor, images: int) -> Tensor:
    return groups[None] == torch.arange(images)[:, None]


def _options(state: dict[str, Tensor], settings: dict[str, Any]) -> dict[str, Any]:
    options = RadZero.official_options(state)
    options |= {
        "width": settings["hidden_dim"],
        "sim_op": settings["sim_op"],
        "row_sum": settings["mpnce_row_sum"],
        "column_sum": settings["mpnce_col_sum"],
        "text_l2_norm": settings["text_features_l2_norm"],
        "features": "both" if settings.get("use_vision_cls_token", True) else "local",
        "layer_norm": settings.get("use_layer_norm", True),
    }
    return options


@case("radzero/vlcabs", arrays=("in/vision_tokens", "in/text_features", "in/group_map"))
def vlcabs(fixture: Fixture, checker: Checker) -> None:
    state = fixture.state()
    for name in ("hidden_dim", "sim_op", "mpnce_row_sum", "mpnce_col_sum", "text_features_l2_norm"):
        fixture.setting(name)
    options = _options(state, dict(fixture.info)) | {"align": "identity"}
    config = RadZeroConfig.model_validate(options)
    method = RadZero(config, config.width, config.width).eval()
    method.load_state_dict(RadZero.import_official(state))
    leaves = {name: fixture.tensor(f"in/{name}", grad=True) for name in ("vision_tokens", "text_features")}
    image, text = _tokens(leaves["vision_tokens"]), text_features(leaves["text_features"])
    prepared = method.prepare_image(image), method.prepare_text(text)
    checker.close("out/scores", method.token_scores(*prepared), _STRICT)
    pairs = method.interact(*prepared, scoring=False)
    checker.close("out/logits", pairs["cosine"].T, _STRICT)
    checker.close("out/logits_over_temperature", method.score_pairs(pairs).T, _STRICT)
    total = method.loss(image, text, _positives(fixture.tensor("in/group_map"), len(image))).total
    checker.close("out/loss", total, _STRICT)
    backward(total)
    check_input_gradients(checker, leaves, "grad/", _STRICT)
    check_state_gradients(checker, method, RadZero.import_official, state, "grad/", _STRICT)


@case("radzero/mpnce", arrays=("in/logits", "in/group_map", "in/temperature"))
def multi_positive_loss(fixture: Fixture, checker: Checker) -> None:
    groups, temperature = fixture.tensor("in/group_map"), fixture.tensor("in/temperature")
    for name in fixture.under("out/"):
        found = re.fullmatch(r"row_sum=([01]),col_sum=([01])/loss", name)
        if found is None:
            continue
        place = name.removesuffix("/loss")
        logits = fixture.tensor("in/logits", grad=True)  # (N, B)
        positives = _positives(groups, logits.shape[1])
        rows, columns = multi_positive_nce(
            logits.T / temperature, positives, found[1] == "1", found[2] == "1"
        )
        total = (rows.mean() + columns.mean()) / 2
        checker.close(f"out/{place}/row_loss", rows, _LOSS)
        checker.close(f"out/{place}/col_loss", columns, _LOSS)
        checker.close(f"out/{place}/loss", total, _LOSS)
        backward(total)
        checker.close(f"grad/{place}/logits", logits.grad, _LOSS)
    if "extreme/logits" in fixture:
        _extreme(fixture, checker)


def _extreme(fixture: Fixture, checker: Checker) -> None:
    """Small temperatures: the official code overflows to NaN, ours has to stay finite."""
    logits = fixture.tensor("extreme/logits")
    positives = _positives(fixture.tensor("extreme/group_map"), logits.shape[1])
    for name in [n for n in fixture.arrays if re.fullmatch(r"extreme/T=.*/loss", n)]:
        temperature = float(name.split("/")[1].removeprefix("T="))
        rows, columns = multi_positive_nce(logits.T / temperature, positives, False, False)
        total = (rows.mean() + columns.mean()) / 2
        if not bool(torch.isfinite(total)):
            checker.ratio(name, math.inf, 0.0, "ours overflows")
        elif math.isnan(float(fixture.array(name))):
            checker.unchecked(name, f"official overflow (NaN); ours is finite, {float(total):.3g} (Q7)")
        else:
            checker.close(name, total, _STRICT)


@case("radzero/align_transformer", arrays=("in/tokens", "in/probe", "out/tokens"))
def align_transformer(fixture: Fixture, checker: Checker) -> None:
    state = fixture.state() | {_TEMPERATURE: torch.zeros(1)}
    options = RadZero.official_options(state) | {"align_heads": fixture.setting("num_attention_heads")}
    config = RadZeroConfig.model_validate(options)
    method = RadZero(config, config.width, config.width).eval()
    method.load_state_dict(RadZero.import_official(state))
    tokens = fixture.tensor("in/tokens", grad=True)
    out = method.align(tokens)
    checker.close("out/tokens", out, _LAYERS)
    backward((out * fixture.tensor("in/probe")).sum())
    checker.close("grad/tokens", tokens.grad, _LAYERS)


@case("radzero/global_baselines", arrays=("in/image_tokens", "out/clip_loss", "out/siglip_loss"))
@torch.no_grad()
def global_baselines(fixture: Fixture, checker: Checker) -> None:
    state = fixture.state()
    tokens, text = fixture.tensor("in/image_tokens"), text_features(fixture.tensor("in/text_features"))
    image, prompts = _tokens(tokens), fixture.tensor("in/prompt_text_features")
    width, positives = 2 * tokens.shape[2], torch.eye(len(tokens), dtype=torch.bool)
    options = {**CLIP.settings("official"), "width": width, "project": "never", "image_pool": "pooled+mean"}
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "clip": ("OpenClipLoss", {"loss": "softmax"}),
        "siglip": ("OpenSigLipLoss", {"loss": "sigmoid", "logit_bias": -10.0}),
    }
    for name, (official, extra) in kinds.items():
        method = CLIP(CLIPConfig.model_validate(options | extra), tokens.shape[2], width).eval()
        method.logit_scale.copy_(state[f"loss_fns.{official}.logit_scale"][0])
        if method.logit_bias is not None:
            method.logit_bias.copy_(state[f"loss_fns.{official}.logit_bias"][0])
        checker.close(f"out/{name}_loss", method.loss(image, text, positives).total, _STRICT)
    embedding = method.prepare_image(image).tensors["embedding"]
    checker.close("out/image_features", embedding, _STRICT)
    checker.close("out/global_alignment_logits", embedding @ prompts.T, _STRICT)
    local = torch.einsum("ipd,td->itp", tokens[:, 1:], prompts[:, tokens.shape[2] :])
    checker.close("out/global_alignment_similarity_scores", local, _STRICT)


@case("radzero/text_pooling", arrays=("in/input_ids", "in/attention_mask", "out/text_features_wo_l2_norm"))
@torch.no_grad()
def text_pooling(fixture: Fixture, checker: Checker) -> None:
    encoder = mpnet_from_state(fixture.state("state/text_model."))
    mask = fixture.tensor("in/attention_mask")
    states = encoder(input_ids=fixture.tensor("in/input_ids"), attention_mask=mask).last_hidden_state
    checker.close("mid/token_embeddings", states, _STRICT)
    pooled = mean_pool(states, mask)
    checker.close("out/text_features_wo_l2_norm", pooled, _STRICT)
    checker.close("out/text_features", unit(pooled), _STRICT)


@case("radzero/full_model", arrays=("in/pixel_values", "in/input_ids", "in/prompt_input_ids"))
def full_model(fixture: Fixture, checker: Checker) -> None:
    state = fixture.state()
    vision = DinoV2.from_state(
        fixture.state("state/vision_model."),
        heads=fixture.setting("vision")["heads"],
        position_resize="scale_plus_0.1",
    ).eval()
    language = mpnet_from_state(fixture.state("state/text_model."))
    options = _options(state, fixture.setting("loss")) | {"align_heads": fixture.setting("align")["heads"]}
    config = RadZeroConfig.model_validate(options)
    method = RadZero(config, config.width, config.width).eval()
    method.load_state_dict(RadZero.import_official(state))

    def sentences(prefix: str) -> Tensor:
        mask = fixture.tensor(f"in/{prefix}attention_mask")
        ids = fixture.tensor(f"in/{prefix}input_ids")
        return mean_pool(language(input_ids=ids, attention_mask=mask).last_hidden_state, mask)

    pixels = fixture.tensor("in/pixel_values", grad=True)
    encoded = vision.tokens(pixels)
    checker.close("mid/vision_encoder_tokens", encoded, _MODEL)
    aligned = method.align(encoded)
    checker.close("mid/vision_tokens", aligned, _MODEL)
    both = torch.cat([aligned[:, 0], aligned[:, 1:].mean(1)], -1)
    checker.close("mid/image_features", unit(both), _MODEL)
    image = _tokens(encoded)
    counts = fixture.tensor("in/sentences_per_image")
    groups = torch.repeat_interleave(torch.arange(len(counts)), counts)
    total = method.loss(image, text_features(sentences("")), _positives(groups, len(counts))).total
    checker.close("out/loss", total, _MODEL)
    backward(total)
    checker.close("grad/pixel_values", pixels.grad, _MODEL)
    with torch.no_grad():
        prompts = text_features(sentences("prompt_"))
        logits = method(image, prompts)
        checker.close("out/prompt_logits", logits, _MODEL)
        checker.close("out/prompt_probability", logits.sigmoid(), _MODEL)
        prepared = method.prepare_image(image), method.prepare_text(prompts)
        checker.close(
            "out/prompt_raw_logits_NxB", method.interact(*prepared, scoring=True)["cosine"].T, _MODEL
        )
        maps = method.similarity_map(image, prompts)
        assert maps is not None
        checker.close("out/similarity_scores", maps, _MODEL)
