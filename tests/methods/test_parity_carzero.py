"""CARZero against the official implementation."""

from __future__ import annotations

import pytest
import torch
from official_cases import check, image_features, leaf, read_case, state_of, text_features

from methods.carzero import CARZero

CASES = [
    "mlp_gl_init", "mlp_gl_random", "linear_gl_init", "linear_gl_random", "linear_local_random",
    "linear_global_random", "selfattn_linear_gl_random",
]  # fmt: skip
MEMORY = {"gl": "both", "local": "local", "global": "global"}


def model(state, features="both", **changes):
    keep = bool(changes.get("query_self_attention"))
    cosine = changes.get("head") == "cosine"
    options = CARZero.official_options(state) | {"features": features, "text_columns": None} | changes
    width = options["width"]
    method = CARZero(CARZero.Config(**options), width, width).eval()
    imported = CARZero.import_official(state, self_attention=keep)
    method.load_state_dict({n: t for n, t in imported.items() if not (cosine and n.startswith("head."))})
    return method


@pytest.mark.parametrize("case", CASES)
def test_training_step(shared, case):
    arrays, info = read_case(shared / "parity/carzero", case)
    extra = {"query_self_attention": True} if case.startswith("selfattn") else {}
    method = model(state_of(arrays), MEMORY[info["memory"]], **extra)
    names = ("img_emb_g", "img_emb_l", "text_emb_g", "text_emb_l")
    inputs = {name: leaf(arrays[f"in/{name}"]) for name in names}
    image = image_features(inputs["img_emb_g"], inputs["img_emb_l"])
    text = text_features(inputs["text_emb_g"], inputs["text_emb_l"], arrays["in/text_lens"])
    pairs = method.interact(method.prepare_image(image), method.prepare_text(text), scoring=False)
    check("i2t", pairs["image_memory"], arrays["out/i2t_logits"])
    check("t2i", pairs["text_memory"].T, arrays["out/t2i_logits"])
    losses = method.loss(image, text, torch.eye(len(image), dtype=torch.bool))
    check("loss", losses.total, arrays["out/loss"])
    check("loss_i2t", losses.parts["image_memory"], arrays["out/loss_i2t"])
    check("loss_t2i", losses.parts["text_memory"], arrays["out/loss_t2i"])
    maps = method.attention(image, text)
    for ours, theirs in (("image_memory", "out/attn_i2t"), ("text_memory", "out/attn_t2i")):
        if theirs in arrays:
            check(ours, maps[ours], arrays[theirs])
    losses.total.backward()
    for name, value in inputs.items():
        got = torch.zeros_like(value) if value.grad is None else value.grad
        check(f"grad {name}", got, arrays[f"grad_in/{name}"])
    gradients = {n.removeprefix("grad_state/"): g for n, g in arrays.items() if n.startswith("grad_state/")}
    probe = {n: torch.zeros_like(t) for n, t in state_of(arrays).items()}
    keys = CARZero.import_official(
        {n: t.fill_(i) for i, (n, t) in enumerate(probe.items()) if "decoder.norm." not in n},
        self_attention=bool(extra),
    )
    index = list(probe)
    seen = 0
    for ours, marker in keys.items():
        official = index[int(marker.flatten()[0])]
        if official in gradients:
            check(f"grad {ours}", method.get_parameter(ours).grad, gradients[official])
            seen += 1
    assert seen >= 10


@pytest.mark.parametrize("grad", [True, False])
def test_inference(shared, grad):
    folder = shared / "parity/carzero"
    arrays, _ = read_case(folder, "mlp_gl_inference")
    method = model(state_of(read_case(folder, "mlp_gl_random")[0]))
    image = image_features(arrays["in/img_emb_g"], arrays["in/img_emb_l"])
    text = text_features(arrays["in/text_emb_g"], arrays["in/text_emb_l"], arrays["in/text_lens"])
    with torch.set_grad_enabled(grad):
        scores = method(image, text)
        check("scores", scores, arrays["out/scores"])
        check("scores_fast", scores, arrays["out/scores_fast"])
        check(
            "words", method.attention(image, text)["text_memory"][-4:].mean(0), arrays["out/word_attention"]
        )
        ground = image_features(arrays["in/ground_img_emb_g"], arrays["in/ground_img_emb_l"])
        check("map", method.similarity_map(ground, text), arrays["out/ground_map_14x14"])


def test_cosine_of_projected_pair(shared):
    folder = shared / "parity/carzero"
    arrays, _ = read_case(folder, "cos_proj")
    method = model(state_of(read_case(folder, "linear_gl_random")[0]), head="cosine")
    names = ("img_emb_g", "img_emb_l", "text_emb_g", "text_emb_l")
    inputs = {name: leaf(arrays[f"in/{name}"]) for name in names}
    image = image_features(inputs["img_emb_g"], inputs["img_emb_l"])
    text = text_features(inputs["text_emb_g"], inputs["text_emb_l"], arrays["in/text_lens"])
    check("scores", method(image, text), arrays["out/scores"])
    batch = len(image)
    losses = method.loss(image, text[:batch], torch.eye(batch, dtype=torch.bool))
    check("loss", losses.total, arrays["out/loss0"] + arrays["out/loss1"])
    losses.total.backward()
    for name, value in inputs.items():
        check(f"grad {name}", value.grad, arrays[f"grad_in/{name}"])
