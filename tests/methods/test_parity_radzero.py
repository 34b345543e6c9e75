"""RadZero against the official implementation."""

from __future__ import annotations

import pytest
import torch
from official_cases import check, leaf, read_case, state_of, text_features

from benchmark.core.features import ImageFeatures
from methods.clip import CLIP
from methods.radzero import RadZero, multi_positive_nce

CASES = [
    "default", "dot", "patch_only", "no_layernorm", "text_l2_norm", "attn_temperature", "row_sum", "col_sum",
    "single_positive",
]  # fmt: skip


def tokens_as_features(tokens):
    return ImageFeatures(tokens[:, 0], tokens[:, 1:], (tokens.shape[1] - 1, 1))


@pytest.mark.parametrize("case", CASES)
def test_vlcabs(shared, case):
    arrays, info = read_case(shared / "parity/radzero", f"vlcabs_{case}")
    state = state_of(arrays)
    options = RadZero.official_options(state) | {
        "align": "identity", "width": info["hidden_dim"], "sim_op": info["sim_op"],
        "row_sum": info["mpnce_row_sum"], "column_sum": info["mpnce_col_sum"],
        "text_l2_norm": info["text_features_l2_norm"],
        "features": "both" if info.get("use_vision_cls_token", True) else "local",
    }  # fmt: skip
    method = RadZero(RadZero.Config(**options), info["hidden_dim"], info["hidden_dim"])
    imported = RadZero.import_official(state)
    method.load_state_dict(imported)
    tokens, sentences = leaf(arrays["in/vision_tokens"]), leaf(arrays["in/text_features"])
    image, text = tokens_as_features(tokens), text_features(sentences)
    positives = arrays["in/group_map"][None] == torch.arange(len(tokens))[:, None]
    prepared_image, prepared_text = method.prepare_image(image), method.prepare_text(text)
    check("scores", method.token_scores(prepared_image, prepared_text), arrays["out/scores"])
    pairs = method.interact(prepared_image, prepared_text, scoring=False)
    check("logits", pairs["cosine"].T, arrays["out/logits"])
    check("over temperature", method.score_pairs(pairs).T, arrays["out/logits_over_temperature"])
    losses = method.loss(image, text, positives)
    check("loss", losses.total, arrays["out/loss"])
    losses.total.backward()
    check("grad tokens", tokens.grad, arrays["grad/vision_tokens"])
    check("grad text", sentences.grad, arrays["grad/text_features"])
    for official, ours in (
        ("loss_temperature", "log_temperature"), ("attn_temperature", "log_attention_temperature"),
        ("layer_norm.weight", "norm.weight"), ("layer_norm.bias", "norm.bias"),
    ):  # fmt: skip
        if f"grad/loss_fns.RadZeroLoss.{official}" in arrays:
            expected = arrays[f"grad/loss_fns.RadZeroLoss.{official}"]
            check(f"grad {ours}", method.get_parameter(ours).grad, expected)


def test_align_transformer(shared):
    arrays, info = read_case(shared / "parity/radzero", "align_transformer")
    state = state_of(arrays) | {"loss_fns.RadZeroLoss.loss_temperature": torch.zeros(1)}
    options = RadZero.official_options(state) | {"align_heads": info["num_attention_heads"]}
    method = RadZero(RadZero.Config(**options), options["width"], options["width"])
    method.load_state_dict(RadZero.import_official(state))
    tokens = leaf(arrays["in/tokens"])
    out = method.align(tokens)
    check("tokens", out, arrays["out/tokens"])
    (out * arrays["in/probe"]).sum().backward()
    check("grad", tokens.grad, arrays["grad/tokens"])


@pytest.mark.parametrize("row_sum", [False, True])
@pytest.mark.parametrize("column_sum", [False, True])
def test_multi_positive_loss(shared, row_sum, column_sum):
    arrays, _ = read_case(shared / "parity/radzero", "mpnce")
    logits = leaf(arrays["in/logits"])
    positives = arrays["in/group_map"][None] == torch.arange(logits.shape[1])[:, None]
    rows, columns = multi_positive_nce(logits.T / arrays["in/temperature"], positives, row_sum, column_sum)
    tag = f"row_sum={int(row_sum)},col_sum={int(column_sum)}"
    check("rows", rows, arrays[f"out/{tag}/row_loss"])
    check("columns", columns, arrays[f"out/{tag}/col_loss"])
    ((rows.mean() + columns.mean()) / 2).backward()
    check("grad", logits.grad, arrays[f"grad/{tag}/logits"])


@pytest.mark.parametrize("temperature", ["0.07", "0.02", "0.0112"])
def test_no_overflow(shared, temperature):
    arrays, _ = read_case(shared / "parity/radzero", "mpnce")
    logits = arrays["extreme/logits"]
    positives = arrays["extreme/group_map"][None] == torch.arange(logits.shape[1])[:, None]
    rows, columns = multi_positive_nce(logits.T / float(temperature), positives, False, False)
    loss = (rows.mean() + columns.mean()) / 2
    official = arrays[f"extreme/T={temperature}/loss"]
    assert torch.isfinite(loss)
    if torch.isfinite(official):
        check("loss", loss, official)


@pytest.mark.parametrize("loss", ["clip", "siglip"])
def test_global_baselines(shared, loss):
    arrays, _ = read_case(shared / "parity/radzero", "global_baselines")
    tokens = arrays["in/image_tokens"]
    sigmoid = loss == "siglip"
    extra = {"loss": "sigmoid", "logit_bias": -10.0} if sigmoid else {"loss": "softmax"}
    width = 2 * tokens.shape[2]
    options = {"width": width, "project": "never", "normalise_inputs": "none", "image_pool": "pooled+mean"}
    method = CLIP(CLIP.Config(**options, **extra), tokens.shape[2], width)
    name = "state/loss_fns.OpenSigLipLoss" if sigmoid else "state/loss_fns.OpenClipLoss"
    method.logit_scale.data.copy_(arrays[f"{name}.logit_scale"][0])
    if sigmoid:
        method.logit_bias.data.copy_(arrays[f"{name}.logit_bias"][0])
    image, text = tokens_as_features(tokens), text_features(arrays["in/text_features"])
    check("image", method.prepare_image(image).tensors["embedding"], arrays["out/image_features"])
    positives = torch.eye(len(tokens), dtype=torch.bool)
    check("loss", method.loss(image, text, positives).total, arrays[f"out/{loss}_loss"])
