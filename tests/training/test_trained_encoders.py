"""Encoders that are trained with a method: which weights move, at which rates, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from benchmark.core.errors import ParamsError
from benchmark.core.settings import train_config
from benchmark.encoders.base import fingerprint
from benchmark.encoders.store import FeatureStore, TextStore
from benchmark.encoders.trainable import depth, make_trainable, merge_low_rank, stages
from benchmark.training.augment import OFFICIAL, Augmentation, augmentation_of, augmented
from benchmark.training.data import epoch_batches, training_data
from benchmark.training.live import PixelStore, SentenceStore
from benchmark.training.loop import seeded_method
from benchmark.training.step import Step
from benchmark.training.trained_encoders import TrainedEncoders, encoded_now, load_encoder
from tests.encoders.tiny import Blocks, Layers

pytestmark = pytest.mark.filterwarnings("ignore")


def reads(image: str | None, text: str | None, **more: object) -> TrainedEncoders:
    """40 images of two kinds with a sentence each; encoders trained as named, frozen where None."""
    rng = np.random.default_rng(0)
    kind = np.arange(40) // 4 % 2
    pixels = rng.integers(0, 100, (40, 8, 8)).astype(np.uint8) + (kind * 120).astype(np.uint8)[:, None, None]
    sentences = [["lungs are clear" if k else "there is a large effusion"] for k in kind]
    distinct = sorted({s for own in sentences for s in own})
    blocks, layers = Blocks(), Layers()
    with torch.no_grad():
        images = FeatureStore.of(blocks.encode(torch.from_numpy(pixels)))
        texts = TextStore.of(distinct, layers.encode(distinct))
    split = ["val" if n % 4 == 0 else "train" for n in range(40)]
    frozen = training_data(images, sentences, texts, list(map(str, range(40))), split=split)
    live = frozen
    if image:
        make_trainable(blocks, image, rank=2)
        live = replace(live, images=PixelStore.of(pixels, blocks))
    if text:
        make_trainable(layers, text, rank=2, kind="text")
        live = replace(live, text=SentenceStore.of(distinct, layers))
    return TrainedEncoders(live, frozen, **more)


def fitted(of: TrainedEncoders, folder: Path, name: str = "clip", **training: object):
    config = train_config({"epochs": 2, "batch_size": 10, "learning_rate": 0.01, **training})
    options = {"width": 4, "normalise_inputs": "standard"}
    if name == "carzero":
        options |= {"heads": 1, "layers": 1}
    method = seeded_method(name, options, of.live.images.width, of.live.text.width, 0)
    return of.train(method, of.live, config, folder, 0)


@pytest.mark.parametrize("how", ["last stage", "lora", "full"])
def test_only_the_weights_that_were_asked_for_move(how: str, tmp_path: Path) -> None:
    of = reads(how, how)
    before = {k: v.clone() for k, v in of.live.images.encoder.state_dict().items()}
    result = fitted(of, tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    moved = {k for k, v in before.items() if not torch.equal(v, saved[f"encoder.image.{k}"])}
    named = {p for p, v in of.live.images.encoder.named_parameters() if v.requires_grad}
    assert moved == named
    assert result.run["fine_tuned"] == ["image", "text"]
    assert result.run["selected_by"] == "auroc"
    if how == "lora":
        assert all("lora_" in name for name in moved)
    if how == "last stage":
        assert moved == {"blocks.2.0.weight", "blocks.2.0.bias", "norm.weight", "norm.bias"}
    loaded = Blocks()
    make_trainable(loaded, how, rank=2)
    trained = load_encoder(tmp_path, "image", loaded)
    assert set(trained.state_dict()) == set(Blocks().state_dict())
    pixels = torch.from_numpy(of.live.images.pixels[:5])
    of.live.images.encoder.load_state_dict(
        {k.removeprefix("encoder.image."): v for k, v in saved.items() if k.startswith("encoder.image.")}
    )
    with torch.no_grad():
        torch.testing.assert_close(
            trained.encode(pixels).local, of.live.images.encoder.encode(pixels).local, rtol=1e-5, atol=1e-6
        )
    assert fitted(reads(how, how), tmp_path).reused


def test_low_rank_matrices_change_nothing_before_a_step() -> None:
    plain, adapted = Blocks(), Blocks()
    make_trainable(adapted, "lora", rank=2)
    pixels = torch.randint(0, 255, (4, 8, 8), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(plain.encode(pixels).local, adapted.encode(pixels).local)
    merge_low_rank(adapted)
    adapted.requires_grad_(True)
    assert fingerprint(adapted) == fingerprint(plain)


def test_a_layer_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ParamsError, match="has no linear layer or convolution of 1 x 1 'query'; there are 0"):
        make_trainable(Blocks(), "lora", layers=["query"])
    only = Blocks()
    make_trainable(only, "lora", layers=["blocks.1.0"])
    assert {n.partition(".lora")[0] for n, p in only.named_parameters() if p.requires_grad} == {"blocks.1.0"}


def test_depth_counts_from_below_the_first_block_to_above_the_last() -> None:
    encoder = Blocks()
    assert len(stages(encoder)) == 3
    found = {name: depth(encoder, name) for name, _ in encoder.named_parameters()}
    assert (found["stem.weight"], found["blocks.0.0.bias"], found["blocks.2.0.weight"]) == (0, 1, 3)
    assert found["norm.weight"] == 4


def test_rates_fall_by_layer(tmp_path: Path) -> None:
    """SGD, one step, gradients that are the same in both runs: a weight moves by its layer's share of the
    rate."""

    def moved(decay: float) -> dict[str, torch.Tensor]:
        of = reads("full", None, layer_decay=decay)
        start = {k: v.clone() for k, v in of.live.images.encoder.state_dict().items()}
        recipe = {"epochs": 1, "batch_size": 30, "optimiser": "sgd", "weight_decay": 0.0, "clip_norm": None}
        rates = {"encoder_learning_rate": 0.1, "schedule": "constant", "warmup_fraction": 0.0}
        fitted(of, tmp_path / str(decay), **recipe, **rates)
        saved = load_file(tmp_path / str(decay) / "model.safetensors")
        return {k: saved[f"encoder.image.{k}"] - v for k, v in start.items()}

    whole, halved = moved(1.0), moved(0.5)
    for name, power in (
        ("norm.bias", 0),
        ("blocks.2.0.weight", 1),
        ("blocks.0.0.weight", 3),
        ("stem.weight", 4),
    ):
        torch.testing.assert_close(halved[name], whole[name] * 0.5**power, rtol=1e-2, atol=1e-7)
        assert whole[name].abs().max() > 0


def test_gradient_caching_trains_as_the_whole_batch_does(tmp_path: Path) -> None:
    found = []
    for chunk in (None, 3):
        of = reads("full", "full", augment=Augmentation("test", flip=0.5, shift=0.2))
        fitted(of, tmp_path / str(chunk), encoder_chunk=chunk)
        found.append(load_file(tmp_path / str(chunk) / "model.safetensors"))
    for name, one in found[0].items():
        torch.testing.assert_close(one, found[1][name], rtol=1e-3, atol=1e-5)


def stepped(name: str, **training: object) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of one batch through both encoders, from the same weights."""
    of = reads("full", "full")
    options = {"heads": 1, "layers": 1, "head": "linear"} if name == "carzero" else {}
    method = seeded_method(name, options | {"width": 8}, of.live.images.width, of.live.text.width, 0).eval()
    batch = epoch_batches(of.live, 0, 0, 10, "one", "merge", None)[0]
    losses = Step(method, of.live, train_config(training), torch.device("cpu")).backward(batch)
    parts = {"method": method, "image": of.live.images.encoder, "text": of.live.text.encoder}
    named = [(f"{k}.{n}", p) for k, m in parts.items() for n, p in m.named_parameters() if p.requires_grad]
    assert {p.dtype for _, p in named} == {torch.float32}
    return float(losses.total), {n: p.grad for n, p in named}


@pytest.mark.parametrize("name", ["clip", "carzero"])
def test_gradient_caching_gives_the_gradients_of_the_whole_batch(name: str) -> None:
    loss, whole = stepped(name)
    assert whole["image.stem.weight"].abs().max() > 0
    for chunk in (1, 4):
        again, cached = stepped(name, encoder_chunk=chunk)
        assert again == pytest.approx(loss, rel=1e-5)
        for key, gradient in whole.items():
            # A bias that shifts every logit alike has no gradient but rounding, of which nothing is asked.
            own, all_of_it = (float(g.abs().max()) for g in (gradient, whole["image.stem.weight"]))
            near = max(1e-4 * own, 1e-5 * all_of_it)
            torch.testing.assert_close(cached[key], gradient, rtol=1e-4, atol=near)


@pytest.mark.parametrize("chunk", [None, 4])
@pytest.mark.parametrize("precision", ["bfloat16", "float16 mixed"])
def test_mixed_precision_gives_nearly_the_step_of_float32(precision: str, chunk: int | None) -> None:
    """On the CPU, by the autocast that a GPU goes through too; weights and their gradients stay float32."""
    loss, whole = stepped("clip")
    near, mixed = stepped("clip", precision=precision, encoder_chunk=chunk)
    assert near != loss, "the precision acts"
    assert near == pytest.approx(loss, rel=0.05)
    one, other = (torch.cat([g.flatten() for n, g in sorted(own.items())]) for own in (whole, mixed))
    assert other.dtype == torch.float32
    assert torch.cosine_similarity(one, other, dim=0) > 0.99


def test_a_killed_training_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch) -> None:
    training = {"checkpoint_seconds": 0.0}
    fitted(reads("lora", "last stage"), tmp_path / "whole", name="carzero", **training)
    from benchmark.training.trained_encoders import _EncoderRun

    updates, plain = [], _EncoderRun._update

    def stopping(self, batch, loaded):
        updates.append(1)
        if len(updates) == 5:
            raise KeyboardInterrupt
        return plain(self, batch, loaded)

    monkeypatch.setattr(_EncoderRun, "_update", stopping)
    with pytest.raises(KeyboardInterrupt):
        fitted(reads("lora", "last stage"), tmp_path / "cut", name="carzero", **training)
    fitted(reads("lora", "last stage"), tmp_path / "cut", name="carzero", **training)
    whole, cut = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert len(updates) == 4 + 1 + 2
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_what_is_held_out_is_encoded_anew() -> None:
    of = reads("full", "full")
    now = encoded_now(of.live, of.frozen)
    held = of.frozen.image_rows[of.frozen.val]
    before, after = of.frozen.images.get(held), now.images.get(now.image_rows[now.val])
    torch.testing.assert_close(before.local, after.local)
    rows = np.unique(np.concatenate([of.live.sentences(n) for n in of.live.val]))
    torch.testing.assert_close(of.frozen.text.get(rows).local, now.text.get(rows).local)
    torch.testing.assert_close(of.frozen.text.get(rows).pooled, now.text.get(rows).pooled)
    assert now.text.lengths(rows).tolist() == of.frozen.text.lengths(rows).tolist()


def test_augmentation_is_drawn_from_step_and_row() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 16, 16)).astype(np.uint8)
    rows = np.array([4, 5, 6])
    torch.manual_seed(7)
    one = augmented(pixels, rows, OFFICIAL["carzero"])
    assert one.shape == pixels.shape
    assert one.dtype == np.uint8
    assert not np.array_equal(one, pixels)
    assert np.array_equal(augmented(pixels[1:], rows[1:], OFFICIAL["carzero"]), one[1:])
    torch.manual_seed(8)
    assert not np.array_equal(augmented(pixels, rows, OFFICIAL["carzero"]), one)
    still = augmented(pixels, rows, Augmentation("nothing"))
    assert np.array_equal(still, pixels)
    with pytest.raises(ParamsError, match=r"encoders\.train\.augment: clip has none of its own"):
        augmentation_of("clip")


def test_keys_tell_settings_apart() -> None:
    def key(of: TrainedEncoders) -> str:
        method = seeded_method("clip", {"width": 4}, of.live.images.width, of.live.text.width, 0)
        return of.key(method, train_config({}), 0).digest

    every = [
        reads("full", None), reads("lora", None), reads("full", "full"), reads("full", None, layer_decay=0.5),
        reads("full", None, augment=OFFICIAL["gloria"]), reads("last stage", None, settings="last stage"),
    ]  # fmt: skip
    assert len({key(of) for of in every}) == len(every)
    assert key(reads("full", None)) == key(reads("full", None))
