"""GLoRIA: training losses and attention, inference with either caption length, retrieval."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmark.core.features import TextFeatures
from benchmark.official.cleaning import clean_prompt, word_caption_length
from benchmark.official.parity.cases.features import (
    backward,
    check_input_gradients,
    image_features,
    text_features,
)
from benchmark.official.parity.check import Checker
from benchmark.official.parity.fixture import Fixture
from benchmark.official.parity.naming import check_state_gradients
from benchmark.official.parity.registry import case
from methods.blocks import class_scores
from methods.gloria import (
    GLoRIA,
    GLoRIAConfig,
    pool_words,
    retrieval_scores,
    standardise_over_images,
    word_similarity,
)

_INPUTS = ("img_feat_g", "img_feat_l", "text_emb_g", "text_emb_l")


@case("gloria/train", method="gloria", arrays=("in/img_feat_g", "in/img_feat_l"))
def train(fixture: Fixture, checker: Checker) -> None:
    state = fixture.state()
    leaves = {name: fixture.tensor(f"in/{name}", grad=True) for name in _INPUTS}
    words = tuple(tuple(row) for row in fixture.setting("sents"))
    lengths = [word_caption_length(row) for row in words]
    checker.equal("in/cap_lens", lengths)
    options = GLoRIA.official_options(state) | {k: fixture.setting(k) for k in ("temp1", "temp2", "temp3")}
    options |= {f"{k}_weight": fixture.setting(f"{k}_loss_weight") for k in ("local", "global")}
    image = image_features(leaves["img_feat_g"], leaves["img_feat_l"])
    columns = torch.tensor([sum(word != "[PAD]" for word in row) for row in words])
    plain = text_features(leaves["text_emb_g"], leaves["text_emb_l"], columns)
    text = TextFeatures(plain.pooled, plain.local, plain.mask, words)
    positives = torch.eye(len(image), dtype=torch.bool)

    def build(aggregate: str) -> GLoRIA:
        config = GLoRIAConfig.model_validate(options | {"aggregate": aggregate})
        method = GLoRIA(config, image.pooled.shape[1], text.pooled.shape[1]).eval()
        method.load_state_dict(GLoRIA.import_official(state))
        return method

    method = build("sum")
    prepared = method.prepare_image(image)
    checker.close("out/img_emb_g", prepared.tensors["global"])
    regions = prepared.tensors["regions"].transpose(1, 2)  # (B, d, P)
    checker.close("out/img_emb_l", regions.reshape(*regions.shape[:2], *image.grid))
    pairs = method.interact(prepared, method.prepare_text(text), scoring=False)
    losses = method.loss(image, text, positives)
    for part in ("global", "local"):
        checker.close(f"out/{part}_logits", pairs[part])
        checker.close(f"out/{part}_loss0", losses.parts[f"{part}_rows"])
        checker.close(f"out/{part}_loss1", losses.parts[f"{part}_columns"])
    checker.close("out/loss", losses.total)
    attention = method.attention(image, text)[range(len(image)), range(len(image))]  # (B, L, P)
    missing = max(lengths) - attention.shape[1]
    attention = functional.pad(attention, (0, 0, 0, max(missing, 0)))[:, : max(lengths)]
    checker.close("out/attn", attention.reshape(*attention.shape[:2], *image.grid))
    mean = build("mean")
    pairs = mean.interact(mean.prepare_image(image), mean.prepare_text(text), scoring=False)
    parts = mean.loss(image, text, positives).parts
    checker.close("out/local_mean_logits", pairs["local"])
    checker.close("out/local_mean_loss0", parts["local_rows"])
    checker.close("out/local_mean_loss1", parts["local_columns"])
    backward(losses.total)
    check_input_gradients(checker, leaves)
    check_state_gradients(checker, method, GLoRIA.import_official, state)


@case("gloria/inference", method="gloria", arrays=("in/img_emb_l", "in/class_of_prompt"))
@torch.no_grad()
def inference(fixture: Fixture, checker: Checker) -> None:
    """Caption lengths are the fixture's: the official count is of characters of the raw string (Q-G1), so
    the columns that score are given to the method as the text's mask. Of a prompt without blanks or full
    stops around it the method's own count has to be the fixture's too."""
    image = image_features(fixture.tensor("in/img_emb_g"), fixture.tensor("in/img_emb_l"))
    pooled, local = fixture.tensor("in/text_emb_g"), fixture.tensor("in/text_emb_l")
    prompts = [prompt for group in fixture.setting("prompts").values() for prompt in group]
    checker.equal("json/cleaned", [clean_prompt(p) for p in prompts], fixture.setting("cleaned"))
    options = {**GLoRIA.settings("official"), "width": pooled.shape[1], "project": "never"}
    options |= {"temp1": fixture.setting("temp1_inference"), "temp2": fixture.setting("temp2_inference")}
    method = GLoRIA(GLoRIAConfig.model_validate(options), pooled.shape[1], pooled.shape[1]).eval()
    class_of_prompt = fixture.tensor("in/class_of_prompt")
    for tag, rule in (("official", "characters"), ("words", "words")):
        _own_lengths(checker, f"in/cap_lens_{tag}", prompts, local, options | {"caption_length": rule})
        mask = _columns(local, fixture.tensor(f"in/cap_lens_{tag}"), first=1)
        text = TextFeatures(pooled, local.transpose(1, 2), mask)
        pairs = method.interact(method.prepare_image(image), method.prepare_text(text), scoring=True)
        both = method.score_pairs(pairs)
        if tag == "official":
            checker.close("out/global_sim", pairs["global"])
        checker.close(f"out/local_sim_{tag}", pairs["local"])
        checker.close(f"out/both_sim_{tag}", both)
        per_class = standardise_over_images(class_scores(both, class_of_prompt, "max"))
        checker.close(f"out/class_scores_{tag}", per_class)
    _retrieval(fixture, checker, image.local[:1], local, method)


def _own_lengths(
    checker: Checker, name: str, prompts: list[str], local: Tensor, options: dict[str, Any]
) -> None:
    """Columns that our method counts as a prompt's caption, against the official count of clean prompts."""
    width, columns = local.shape[1], local.shape[2]
    words = tuple(("[CLS]", *prompt.lower().strip(" .").split(), "[SEP]") for prompt in prompts)
    words = tuple((*row, *["[PAD]"] * (columns - len(row))) for row in words)
    mask = torch.tensor([[word != "[PAD]" for word in row] for row in words])
    config = GLoRIAConfig.model_validate(options | {"text_columns": columns})
    method = GLoRIA(config, width, width).eval()
    text = TextFeatures(local.new_zeros(len(prompts), width), local.transpose(1, 2), mask, words)
    ours = method.prepare_text(text).tensors["scoring"].sum(1)
    clean = [i for i, prompt in enumerate(prompts) if prompt == prompt.strip(" .")]
    checker.equal(name, ours[clean], checker.fixture.array(name)[clean], note="prompts without blanks around")


def _retrieval(fixture: Fixture, checker: Checker, regions: Tensor, local: Tensor, method: GLoRIA) -> None:
    """Image 0 against the candidates; the released code starts one column late (Q-G10), which is the mask."""
    picked = fixture.tensor("in/retriever_prompts")
    cleaned = fixture.setting("cleaned")
    lengths = torch.tensor([len(cleaned[i].split()) for i in picked.tolist()])
    mask = _columns(local[picked], lengths, first=2)
    config = method.config
    similarity = word_similarity(regions, local[picked].transpose(1, 2), mask, config.temp1)
    scores = {"local": config.temp3 * pool_words(config.temp2 * similarity, mask, "sum")[0]}
    scores["global"] = fixture.tensor("out/global_sim")[0, picked]
    scores["both"] = retrieval_scores(scores["local"], scores["global"])
    checker.close("out/retriever_local_sim", scores["local"])
    for name, values in scores.items():
        checker.equal(f"out/retriever_order_{name}", picked[values.argsort(descending=True)])


def _columns(local: Tensor, lengths: Tensor, first: int) -> Tensor:
    """(P, T) bool: `lengths` columns from `first` on. local: (P, d, T)."""
    position = torch.arange(local.shape[-1])
    return (position >= first) & (position < first + lengths[:, None])
