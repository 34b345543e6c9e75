"""CARZero: training step, inference, grounding and word maps, the cosine ablation, initialisation, pixels."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmark.official.parity.cases.features import (
    backward,
    check_input_gradients,
    image_features,
    text_features,
)
from benchmark.official.parity.check import GRADIENT, Checker
from benchmark.official.parity.fixture import Fixture
from benchmark.official.parity.naming import NameMap, check_state_gradients
from benchmark.official.parity.registry import case
from methods.blocks import contrast
from methods.carzero import CARZero, CARZeroConfig

_FEATURES = {"gl": "both", "local": "local", "global": "global"}
_INPUTS = ("img_emb_g", "img_emb_l", "text_emb_g", "text_emb_l")


def _config(state: dict[str, Tensor], info: Any, columns: int, **more: Any) -> CARZeroConfig:
    options = CARZero.official_options(state)
    options |= {"heads": info.get("num_heads", 4), "text_columns": columns, "project": "never", **more}
    return CARZeroConfig.model_validate(options)


def _without_copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out the second name of the shared LayerNorm: marked tensors under two names would disagree."""
    return {name: value for name, value in state.items() if not name.startswith("decoder.norm.")}


@case("carzero/train", method="carzero", arrays=("out/i2t_logits", "out/loss"))
def train(fixture: Fixture, checker: Checker) -> None:
    state = fixture.state()
    leaves = {name: fixture.tensor(f"in/{name}", grad=True) for name in _INPUTS}
    lengths = fixture.tensor("in/text_lens")
    dead = fixture.setting("params_without_grad")
    self_attention = not any("self_attn" in name for name in dead)
    importer = partial(CARZero.import_official, self_attention=self_attention)
    memory = _FEATURES.get(fixture.setting("memory"), fixture.setting("memory"))
    config = _config(
        state,
        fixture.info,
        leaves["text_emb_l"].shape[-1],
        features=memory,
        query_self_attention=self_attention,
    )
    method = CARZero(config, config.width, config.width).eval()
    method.load_state_dict(importer(state))
    image = image_features(leaves["img_emb_g"], leaves["img_emb_l"])
    text = text_features(leaves["text_emb_g"], leaves["text_emb_l"], lengths)
    pairs = method.interact(method.prepare_image(image), method.prepare_text(text), scoring=False)
    checker.close("out/i2t_logits", pairs["image_memory"])
    checker.close("out/t2i_logits", pairs["text_memory"].T)
    losses = method.loss(image, text, torch.eye(len(image), dtype=torch.bool))
    checker.close("out/loss", losses.total)
    checker.close("out/loss_i2t", losses.parts["image_memory"])
    checker.close("out/loss_t2i", losses.parts["text_memory"])
    maps = method.attention(image, text)
    checker.close("out/attn_i2t", maps["image_memory"])
    checker.close("out/attn_t2i", maps["text_memory"])
    backward(losses.total)
    check_input_gradients(checker, leaves)
    check_state_gradients(checker, method, importer, _without_copy(state))
    for name in sorted(fixture.under("grad_state/decoder.norm.")):
        # The two names are one module; its gradient stands under the first.
        checker.values(
            f"grad_state/decoder.norm.{name}",
            method.decoder_norm.get_parameter(name).grad,
            fixture.array(f"grad_state/decoder.norm.{name}"),
            GRADIENT,
        )


@case("carzero/inference", method="carzero", arrays=("out/scores", "out/scores_fast"))
@torch.no_grad()
def inference(fixture: Fixture, checker: Checker) -> None:
    state = fixture.sibling(fixture.setting("state_from")).state()
    local = fixture.tensor("in/text_emb_l")
    text = text_features(fixture.tensor("in/text_emb_g"), local, fixture.tensor("in/text_lens"))
    image = image_features(fixture.tensor("in/img_emb_g"), fixture.tensor("in/img_emb_l"))
    config = _config(state, fixture.info, local.shape[-1])
    method = CARZero(config, config.width, config.width).eval()
    method.load_state_dict(CARZero.import_official(state))
    checker.close("out/scores_fast", method(image, text))
    with torch.enable_grad():  # another way through the decoder, which keeps what backward needs
        checker.close("out/scores", method(image, text))
    pairs = method.interact(method.prepare_image(image), method.prepare_text(text), scoring=True)
    checker.close("out/i2t_logits", pairs["image_memory"])
    checker.close("out/t2i_logits", pairs["text_memory"].T)
    checker.close("out/word_attention", method.attention(image, text)["text_memory"][-4:].mean(0))
    ground = image_features(fixture.tensor("in/ground_img_emb_g"), fixture.tensor("in/ground_img_emb_l"))
    for name in fixture.under("out/ground_map_"):
        checker.close(f"out/ground_map_{name}", method.similarity_map(ground, text))


@case("carzero/cos_proj", method="carzero", arrays=("out/proj_i2t", "out/proj_t2i"))
def cosine_of_projections(fixture: Fixture, checker: Checker) -> None:
    state = fixture.sibling(fixture.setting("state_from")).state()
    leaves = {name: fixture.tensor(f"in/{name}", grad=True) for name in _INPUTS}
    config = _config(state, fixture.info, leaves["text_emb_l"].shape[-1], head="cosine")
    method = CARZero(config, config.width, config.width).eval()
    imported = CARZero.import_official(state)
    method.load_state_dict({name: value for name, value in imported.items() if not name.startswith("head.")})
    image = image_features(leaves["img_emb_g"], leaves["img_emb_l"])
    text = text_features(leaves["text_emb_g"], leaves["text_emb_l"], fixture.tensor("in/text_lens"))
    checker.close("out/scores", method(image, text))
    paired, diagonal = text[: len(image)], torch.eye(len(image), dtype=torch.bool)
    for name, axis in (("proj_i2t", 1), ("proj_t2i", 0)):
        count = fixture.array(f"out/{name}").shape[axis]
        sides = [method.prepare_image(image), method.prepare_text(text[:count])]
        memory, query = sides if axis else sides[::-1]
        checker.close(f"out/{name}", method._decode(memory, query))
    rows, columns = contrast(method(image, paired), diagonal)
    checker.close("out/loss0", columns)
    checker.close("out/loss1", rows)
    total = method.loss(image, paired, diagonal).total
    checker.values("out/loss0 + out/loss1", total, fixture.array("out/loss0") + fixture.array("out/loss1"))
    backward(total)
    check_input_gradients(checker, leaves)


@case("carzero/init_stats", settings=("stats", "d_model"))
def initialisation(fixture: Fixture, checker: Checker) -> None:
    """Our constructors against the statistics of the official ones, tensor by tensor.

    Constants must be equal; random tensors must agree in mean and standard deviation within six standard
    errors of both samples, and in their largest value within three standard deviations.
    """
    for variant, stats in fixture.setting("stats").items():
        state = {name: torch.zeros(entry["shape"]) for name, entry in stats.items()}
        self_attention = "selfattn" in variant
        importer = partial(CARZero.import_official, self_attention=self_attention)
        config = _config(state, fixture.info, 1, query_self_attention=self_attention)
        own = CARZero(config, config.width, config.width).state_dict()
        names = NameMap(importer, {n: v.shape for n, v in _without_copy(state).items()})
        for name, entry in stats.items():
            row = f"json/stats/{variant}/{name}"
            official = name.replace("decoder.norm.", "decoder_norm.")
            values = names.gather(official, own)
            if values is None:
                checker.unchecked(row, "stored and never used officially; not created here (Q-Z3)")
                continue
            gap, limit = _statistics_gap(values.double(), entry, _fan_in(official, stats))
            checker.ratio(row, gap, limit, "statistics of the draw")


def _fan_in(name: str, stats: dict[str, Any]) -> int:
    weight = stats.get(f"{name.rpartition('.')[0]}.weight")
    return weight["shape"][-1] if weight else 1


def _statistics_gap(values: Tensor, entry: dict[str, Any], fan_in: int) -> tuple[float, float]:
    """(gap, limit) of the statistic nearest to or beyond its limit."""
    count = values.numel()
    std = entry["std"]
    if count == 1 and entry["min"] not in (0.0, 1.0):
        return float(values.abs()), 1 / math.sqrt(fan_in)  # one uniform draw tells its bound only
    if std == 0:
        return float((values - entry["mean"]).abs().max()), 0.0
    error = 6 * std * math.sqrt(2 / count)
    spread = max(abs(entry["min"]), abs(entry["max"]))
    top = float(values.abs().max())
    checks = [
        (abs(float(values.mean()) - entry["mean"]), error),
        (abs(float(values.std(correction=0)) - std), error),
        (abs(top - spread), 3 * std),
    ]
    return max(checks, key=lambda pair: pair[0] / pair[1])
