"""BrgSA against the official implementation."""

from __future__ import annotations

import pytest
import torch
from official_cases import check, image_features, leaf, read_case, text_features

from methods.blocks import cosine_matrix
from methods.brgsa import BrgSA


def model(bank, **changes):
    size, width = bank.shape
    options = {"width": width, "bank_size": size, "project": "never", "normalise_inputs": "none"} | changes
    method = BrgSA(BrgSA.Config(**options), width, width)
    method.load_state_dict({"bank": bank})
    return method


@pytest.mark.parametrize("size", ["unit", "large"])
def test_bank(shared, size):
    arrays, _ = read_case(shared / "parity/brgsa", "knowledge_bank")
    bank = arrays[f"{size}/state/dictionarylearning.dictionary.weight"]
    method, x = model(bank), leaf(arrays[f"{size}/in/x"])
    rebuilt = method.reconstruct(x)
    check("codes", method.codes(x), arrays[f"{size}/out/codes"])
    check("reconstruction", rebuilt, arrays[f"{size}/out/reconstruction"])
    scaled = model(bank, scale_codes=True).reconstruct(x)
    check("scaled", scaled, arrays[f"{size}/out/reconstruction_norm_option"])
    (rebuilt * arrays[f"{size}/in/probe"]).sum().backward()
    check("grad x", x.grad, arrays[f"{size}/grad/x"])
    check("grad bank", method.bank.grad, arrays[f"{size}/grad/dictionary"])


def test_losses(shared):
    arrays, _ = read_case(shared / "parity/brgsa", "losses")
    method = model(arrays["state/dictionarylearning.dictionary.weight"])
    v, t = leaf(arrays["in/image_embedding"]), leaf(arrays["in/text_embedding"])
    image, text = image_features(v), text_features(t)
    check("image", method.prepare_image(image).tensors["reconstruction"], arrays["mid/image_reconstruction"])
    check("text", method.prepare_text(text).tensors["reconstruction"], arrays["mid/text_reconstruction"])
    losses = method.loss(image, text, torch.eye(len(v), dtype=torch.bool))
    for ours, theirs in (
        ("direct_rows", "info_i2t"), ("direct_columns", "info_t2i"), ("image_mse", "mse_image"),
        ("reconstructed_rows", "info_recon_i2t"), ("reconstructed_columns", "info_recon_t2i"),
        ("text_mse", "mse_text"),
    ):  # fmt: skip
        check(ours, losses.parts[ours], arrays[f"out/{theirs}"])
    check("loss", losses.total, arrays["out/loss"])
    losses.total.backward()
    check("grad image", v.grad, arrays["grad/image_embedding"])
    check("grad text", t.grad, arrays["grad/text_embedding"])
    check("grad bank", method.bank.grad, arrays["grad/dictionary"])


def test_zero_shot(shared):
    arrays, _ = read_case(shared / "parity/brgsa", "zero_shot_score")
    method = model(arrays["state/dictionarylearning.dictionary.weight"])
    v, t = arrays["in/image_embedding"], arrays["in/text_embedding"]
    pairs = method.interact(
        method.prepare_image(image_features(v)), method.prepare_text(text_features(t)), scoring=True
    )
    check("score", method(image_features(v), text_features(t)), arrays["out/score"])
    check("vt", pairs["direct"], arrays["out/vt"])
    check("vhat_t", pairs["reconstructed"], arrays["out/vhat_t"])
    check("v_that", cosine_matrix(v, method.reconstruct(t)), arrays["out/v_that"])
    check("vhat_that", cosine_matrix(method.reconstruct(v), method.reconstruct(t)), arrays["out/vhat_that"])
