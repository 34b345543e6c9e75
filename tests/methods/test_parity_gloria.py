"""GLoRIA against the official implementation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from official_cases import check, image_features, leaf, read_case, state_of, text_features

from methods.blocks import class_scores
from methods.gloria import GLoRIA, pool_words, retrieval_scores, standardise_over_images, word_similarity


def test_training(shared):
    arrays, info = read_case(shared / "parity/gloria", "train")
    state = state_of(arrays)
    options = GLoRIA.official_options(state)
    inputs = {n: leaf(arrays[f"in/{n}"]) for n in ("img_feat_g", "img_feat_l", "text_emb_g", "text_emb_l")}
    image = image_features(inputs["img_feat_g"], inputs["img_feat_l"])
    lengths = torch.tensor([sum(word != "[PAD]" for word in row) for row in info["sents"]])
    text = text_features(inputs["text_emb_g"], inputs["text_emb_l"], lengths)
    text = replace(text, words=tuple(map(tuple, info["sents"])))
    models = {
        rule: GLoRIA(GLoRIA.Config(**options, aggregate=rule), image.pooled.shape[1], info["d"])
        for rule in ("sum", "mean")
    }
    for method in models.values():
        method.load_state_dict(GLoRIA.import_official(state))
    method = models["sum"]
    prepared_image, prepared_text = method.prepare_image(image), method.prepare_text(text)
    assert (prepared_text.tensors["training"].sum(1) == arrays["in/cap_lens"]).all()
    check("global", prepared_image.tensors["global"], arrays["out/img_emb_g"])
    check("regions", prepared_image.tensors["regions"].transpose(1, 2), arrays["out/img_emb_l"].flatten(2))
    eye = torch.eye(len(image), dtype=torch.bool)
    pairs = method.interact(prepared_image, prepared_text, scoring=False)
    check("global logits", pairs["global"], arrays["out/global_logits"])
    check("local logits", pairs["local"], arrays["out/local_logits"])
    mean = models["mean"].interact(prepared_image, prepared_text, scoring=False)["local"]
    check("local mean logits", mean, arrays["out/local_mean_logits"])
    losses = method.loss(image, text, eye)
    for name in ("global", "local"):
        check(name, losses.parts[f"{name}_rows"], arrays[f"out/{name}_loss0"])
        check(name, losses.parts[f"{name}_columns"], arrays[f"out/{name}_loss1"])
    check("loss", losses.total, arrays["out/loss"])
    longest = arrays["out/attn"].shape[1]
    attention = method.attention(image, text)[eye][:, :longest].unflatten(-1, image.grid)
    check("attention", attention, arrays["out/attn"])
    losses.total.backward()
    for name, value in inputs.items():
        check(f"grad {name}", value.grad, arrays[f"grad_in/{name}"])
    for official, ours in (
        ("global_embedder.weight", "image_global.weight"),
        ("global_embedder.bias", "image_global.bias"),
        ("local_embedder.weight", "image_local.weight"),
    ):
        expected = arrays[f"grad_state/img_encoder.{official}"]
        check(
            f"grad {ours}",
            method.get_parameter(ours).grad,
            expected.reshape(method.get_parameter(ours).shape),
        )


@pytest.mark.parametrize("tag", ["words", "official"])
def test_inference(shared, tag):
    arrays, info = read_case(shared / "parity/gloria", "inference")
    d, columns = info["d"], info["text_tokens"]
    rule = {"words": "words", "official": "characters"}[tag]
    options = {"width": d, "project": "never", "normalise_inputs": "none", "text_columns": columns}
    method = GLoRIA(GLoRIA.Config(**options, caption_length=rule), d, d).eval()
    prompts = [prompt for group in info["prompts"].values() for prompt in group]
    words = []
    for prompt in prompts:
        row = ["[CLS]", *prompt.lower().strip(" .").split(), "[SEP]"]
        words.append(tuple(row + ["[PAD]"] * (columns - len(row))))
    lengths = torch.tensor([sum(word != "[PAD]" for word in row) for row in words])
    image = image_features(arrays["in/img_emb_g"], arrays["in/img_emb_l"])
    text = replace(
        text_features(arrays["in/text_emb_g"], arrays["in/text_emb_l"], lengths), words=tuple(words)
    )
    prepared = method.prepare_text(text)
    lengths = arrays[f"in/cap_lens_{tag}"]
    clean = [i for i, prompt in enumerate(prompts) if prompt == prompt.strip(" .")]
    assert (prepared.tensors["scoring"].sum(1) == lengths)[clean].all()
    if tag == "official":  # the official count is of the raw string, with its blanks and full stops
        position = torch.arange(columns)
        mask = (position >= 1) & (position <= lengths[:, None])
        prepared = replace(
            prepared, tensors=prepared.tensors | {"words": text.local, "scoring": mask, "training": mask}
        )
    pairs = method.interact(method.prepare_image(image), prepared, scoring=True)
    check("global", pairs["global"], arrays["out/global_sim"])
    check("local", pairs["local"], arrays[f"out/local_sim_{tag}"])
    check("both", method.score_pairs(pairs), arrays[f"out/both_sim_{tag}"])
    scores = class_scores(method.score_pairs(pairs), arrays["in/class_of_prompt"], "max")
    check("classes", standardise_over_images(scores), arrays[f"out/class_scores_{tag}"])


def test_retrieval(shared):
    arrays, info = read_case(shared / "parity/gloria", "inference")
    image = image_features(arrays["in/img_emb_g"], arrays["in/img_emb_l"])[:1]
    picked = arrays["in/retriever_prompts"]
    lengths = torch.tensor([len(info["cleaned"][int(i)].split()) for i in picked])
    words = arrays["in/text_emb_l"][picked].transpose(1, 2)
    position = torch.arange(words.shape[1])
    mask = (position >= 2) & (position < 2 + lengths[:, None])  # the released off-by-one (Q-G10)
    similarity = 5 * word_similarity(image.local, words, mask, 4.0)
    local = 10 * pool_words(similarity, mask, "sum")[0]
    check("local", local, arrays["out/retriever_local_sim"])
    both = retrieval_scores(local, arrays["out/global_sim"][0, picked])
    for name, values in (("local", local), ("both", both)):
        assert (
            picked[values.argsort(descending=True)].tolist() == arrays[f"out/retriever_order_{name}"].tolist()
        )
