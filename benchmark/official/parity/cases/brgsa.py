"""BrgSA: knowledge bank, losses, scores, text encoder, the whole model."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from benchmark.official.bert import bert_from_state, last_layers
from benchmark.official.cleaning import clean_prompt
from benchmark.official.parity.cases.features import (
    backward,
    check_input_gradients,
    image_features,
    text_features,
)
from benchmark.official.parity.cases.volumes import build_vit3d, embed_image
from benchmark.official.parity.check import Checker, Tolerance
from benchmark.official.parity.fixture import Fixture
from benchmark.official.parity.registry import case
from benchmark.official.word_aggregation import group_pieces, pool_layers
from methods.base import Prepared
from methods.blocks import cosine_matrix
from methods.brgsa import BrgSA, BrgSAConfig

_STRICT = Tolerance(rtol=1e-5, atol=1e-5)
_TEXT = Tolerance(rtol=1e-5, atol=2e-5)
_SCORE = Tolerance(atol=1e-6)
_MODEL = Tolerance(rtol=1e-4, atol=1e-4)
_BANK = "dictionarylearning.dictionary.weight"
_LAYERS = 4
_USUAL_HEADS = 4

_PARTS = {
    "mse_image": "image_mse",
    "mse_text": "text_mse",
    "info_i2t": "direct_rows",
    "info_t2i": "direct_columns",
    "info_recon_i2t": "reconstructed_rows",
    "info_recon_t2i": "reconstructed_columns",
}


def _bank_only(bank: Tensor, **options: object) -> BrgSA:
    """The method on embeddings that are projected already, with the official bank."""
    settings = {**BrgSA.settings("official"), "bank_size": bank.shape[0], "width": bank.shape[1]}
    config = BrgSAConfig.model_validate(settings | {"project": "never", **options})
    method = BrgSA(config, bank.shape[1], bank.shape[1]).eval()
    method.load_state_dict({"bank": bank})
    return method


@case("brgsa/knowledge_bank", arrays=("*in/probe", "*out/codes", "*out/reconstruction_norm_option"))
def knowledge_bank(fixture: Fixture, checker: Checker) -> None:
    for name in [n for n in fixture.arrays if n.endswith("in/probe")]:
        place = name.removesuffix("in/probe")
        bank = fixture.tensor(f"{place}state/{_BANK}")
        method, scaled = _bank_only(bank), _bank_only(bank, scale_codes=True)
        x = fixture.tensor(f"{place}in/x", grad=True)
        rebuilt = method.reconstruct(x)
        checker.close(f"{place}out/codes", method.codes(x), _STRICT)
        checker.close(f"{place}out/reconstruction", rebuilt, _STRICT)
        checker.close(f"{place}out/reconstruction_norm_option", scaled.reconstruct(x), _STRICT)
        backward((rebuilt * fixture.tensor(name)).sum())
        assert method.bank is not None
        checker.close(f"{place}grad/x", x.grad, _STRICT)
        checker.close(f"{place}grad/dictionary", method.bank.grad, _STRICT)


@case("brgsa/losses", arrays=("in/image_embedding", "out/mse_image"), without=("in/volume",))
def losses(fixture: Fixture, checker: Checker) -> None:
    method = _bank_only(
        fixture.state()[_BANK],
        temperature_scale=fixture.setting("temp3"),
        mse_weight=fixture.setting("mse_loss_weight"),
        direct_weight=fixture.setting("global_loss_weight"),
        reconstructed_weight=fixture.setting("global_recon_loss_weight"),
    )
    leaves = {k: fixture.tensor(f"in/{k}", grad=True) for k in ("image_embedding", "text_embedding")}
    image, text = image_features(leaves["image_embedding"]), text_features(leaves["text_embedding"])
    _check_reconstructions(checker, method.prepare_image(image), method.prepare_text(text), _STRICT)
    result = method.loss(image, text, torch.eye(len(image), dtype=torch.bool))
    checker.close("out/loss", result.total, _STRICT)
    for official, ours in _PARTS.items():
        checker.close(f"out/{official}", result.parts[ours], _STRICT)
    if "out/memory_diversity_loss_unused" in fixture:
        checker.unchecked(
            "out/memory_diversity_loss_unused", "defined upstream, in no loss; our method has no such term"
        )
    backward(result.total)
    check_input_gradients(checker, leaves, "grad/", _STRICT)
    assert method.bank is not None
    checker.close("grad/dictionary", method.bank.grad, _STRICT)


def _check_reconstructions(checker: Checker, image: Prepared, text: Prepared, tolerance: Tolerance) -> None:
    checker.close("mid/image_reconstruction", image.tensors["reconstruction"], tolerance)
    checker.close("mid/text_reconstruction", text.tensors["reconstruction"], tolerance)


@case("brgsa/zero_shot_score", arrays=("in/image_embedding", "out/vhat_that"))
@torch.no_grad()
def zero_shot_score(fixture: Fixture, checker: Checker) -> None:
    bank = fixture.state()[_BANK]
    image = image_features(fixture.tensor("in/image_embedding"))
    text = text_features(fixture.tensor("in/text_embedding"))
    for name, rule in (("score", "both"), ("vt", "direct"), ("vhat_t", "reconstructed")):
        checker.close(f"out/{name}", _bank_only(bank, score=rule)(image, text), _SCORE)
    method = _bank_only(bank)
    v, t = method.prepare_image(image).tensors, method.prepare_text(text).tensors
    checker.close("out/v_that", cosine_matrix(v["embedding"], t["reconstruction"]), _SCORE)
    checker.close("out/vhat_that", cosine_matrix(v["reconstruction"], t["reconstruction"]), _SCORE)


def _encode_text(fixture: Fixture, state: dict[str, Tensor], heads: int) -> tuple[Tensor, ...]:
    """(last layers (B, n, W, d), words (B, W, d), sentence (B, d)) before the projections."""
    own = {k.removeprefix("text_encoder.model."): v for k, v in state.items() if "text_encoder.model." in k}
    model = bert_from_state(own, heads)
    layers = last_layers(model, fixture.tensor("in/input_ids"), fixture.tensor("in/attention_mask"), _LAYERS)
    words, sentence = pool_layers(layers, group_pieces(_pieces(fixture)).index)
    return layers.transpose(0, 1), words, sentence


def _pieces(fixture: Fixture) -> list[list[str]]:
    vocabulary = fixture.strings("in/vocab")
    return [[vocabulary[i] for i in row] for row in fixture.array("in/input_ids").tolist()]


def _fitting_heads(width: int, error: Callable[[int], float]) -> int:
    """The number of heads, which weights do not tell and these fixtures do not state.

    The usual number if it fits, else the divisor of the width whose output is nearest to the official one.
    """
    if width % _USUAL_HEADS == 0 and error(_USUAL_HEADS) < 1e-3:
        return _USUAL_HEADS
    return min((h for h in range(1, width + 1) if width % h == 0), key=error)


def _project(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return functional.linear(x, state[f"text_encoder.{name}.weight"], state[f"text_encoder.{name}.bias"])


@case("brgsa/text_encoder", arrays=("in/raw_text", "in/input_ids", "mid/last4_hidden_states"))
@torch.no_grad()
def text_encoder(fixture: Fixture, checker: Checker) -> None:
    state = fixture.state()
    official = fixture.tensor("mid/last4_hidden_states")

    def error(heads: int) -> float:
        return float((_encode_text(fixture, state, heads)[0] - official).abs().max())

    heads = _fitting_heads(official.shape[-1], error)
    layers, words, sentence = _encode_text(fixture, state, heads)
    checker.equal("out/cleaned_text", [clean_prompt(text) for text in fixture.strings("in/raw_text")])
    checker.equal("out/words", group_pieces(_pieces(fixture)).words)
    checker.close("mid/last4_hidden_states", layers, _TEXT, note=f"{heads} heads")
    checker.close("mid/sentence_before_projection", sentence, _TEXT)
    checker.close("out/text_embedding", _project(state, "emb_global", sentence), _TEXT)
    checker.close("out/word_embedding", _project(state, "emb_local", words).transpose(1, 2), _TEXT)


@case("brgsa/end_to_end", arrays=("in/volume", "in/input_ids", "mid/image_embedding", "out/loss"))
def end_to_end(fixture: Fixture, checker: Checker) -> None:
    state = fixture.state()
    options = {**BrgSA.official_options(state), "project": "always"}
    config = BrgSAConfig.model_validate(options)
    method = BrgSA(config, config.width, config.width).eval()
    method.load_state_dict(BrgSA.import_official(state))
    volume = fixture.tensor("in/volume", grad=True)
    official_image = fixture.tensor("mid/image_embedding")
    official_text = fixture.tensor("mid/text_embedding")

    def text_error(heads: int) -> float:
        sentence = _encode_text(fixture, state, heads)[2]
        return float((_project(state, "emb_global", sentence) - official_text).abs().max())

    def image_error(heads: int) -> float:
        with torch.no_grad():
            tokens = build_vit3d(fixture, state, heads)(volume)
        return float((embed_image(state, tokens.cls) - official_image).abs().max())

    text_heads = _fitting_heads(official_text.shape[-1], text_error)
    image_heads = _fitting_heads(official_image.shape[-1], image_error)
    tokens = build_vit3d(fixture, state, image_heads)(volume)
    image = image_features(tokens.cls)
    text = text_features(_encode_text(fixture, state, text_heads)[2])
    prepared_image, prepared_text = method.prepare_image(image), method.prepare_text(text)
    embedding = prepared_image.tensors["embedding"]
    checker.close("mid/image_embedding", embedding, _MODEL, note=f"{image_heads} heads")
    checker.close(
        "mid/text_embedding", prepared_text.tensors["embedding"], _MODEL, note=f"{text_heads} heads"
    )
    _check_reconstructions(checker, prepared_image, prepared_text, _MODEL)
    result = method.loss(image, text, torch.eye(len(image), dtype=torch.bool))
    checker.close("out/loss", result.total, _MODEL)
    for official, ours in _PARTS.items():
        checker.close(f"out/{official}", result.parts[ours], _MODEL)
    backward(result.total)
    checker.close("grad/volume", volume.grad, _MODEL)
