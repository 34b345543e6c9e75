"""Every shipped card with a tiny random model of the real class, laid out as its authors lay it out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.core.errors import BenchError
from benchmark.encoders.card_files import card_paths, read_encoder_card
from benchmark.encoders.cards import ImageCard, TextCard
from benchmark.encoders.factory import image_encoder, text_encoder
from tests.encoders import tiny_models as tiny
from tests.encoders.spots import brightest

TEXTS = ["There is no effusion.", "edema"]
PACKAGED = {"efficientnet-lite0", "efficientnet-lite0-224", "efficientnet-lite2", "minilm-l6"}
"""Their own weights come with an installed package; `test_encoders.py` and `test_sources.py` run them."""


def _processor(folder: Path, card: ImageCard, side: int) -> None:
    """What the authors' image processor says of mean and deviation, at the tiny size."""
    mean, std = ([*value] * (3 // len(value)) for value in (card.preprocessing.mean, card.preprocessing.std))
    tiny.processor(folder, size={"height": side, "width": side}, image_mean=mean, image_std=std)


def _vision(kind: str, side: int, **changes: Any) -> Callable[[Path, ImageCard], dict[str, Any]]:
    def make(folder: Path, card: ImageCard) -> dict[str, Any]:
        tiny.vision(folder, kind, image_size=side, **changes)
        _processor(folder, card, side)
        return {"weights": f"path:{folder}", "size": side}

    return make


def _siglip(folder: Path, card: ImageCard) -> dict[str, Any]:
    tiny.siglip(folder)
    _processor(folder, card, 32)
    return {"weights": f"path:{folder}", "size": 32}


def _biomedclip(folder: Path, card: ImageCard) -> dict[str, Any]:
    tiny.biomedclip_folder(folder)
    return {"weights": f"path:{folder}", "size": 64}


def _timm(folder: Path, card: ImageCard) -> dict[str, Any]:
    """As timm lays a model out on the hub, with its classifier, at the smallest size that timm has."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(7)
    model = timm.create_model("test_vit", img_size=64, num_classes=1000)
    save_file(model.state_dict(), folder / "model.safetensors")
    return {"weights": f"path:{folder}", "architecture": "test_vit", "size": 64}


def _mrm(folder: Path, card: ImageCard) -> dict[str, Any]:
    """As MRM saves a training: `model` in a torch file, the encoder's names plain, beside its decoders."""
    import timm

    torch.manual_seed(8)
    state = timm.create_model("test_vit", img_size=64, num_classes=0).state_dict()
    others = {"mask_token": torch.zeros(1), "decoder_embed.weight": torch.zeros(1),
              "bert_encoder.embeddings.weight": torch.zeros(1)}  # fmt: skip
    torch.save({"model": {**state, **others}}, folder / "MRM.pth")
    return {"weights": f"path:{folder / 'MRM.pth'}", "architecture": "test_vit", "size": 64}


def _densenet(folder: Path, card: ImageCard) -> dict[str, Any]:
    from safetensors.torch import save_file
    from torchvision.models import densenet121

    torch.manual_seed(0)
    network = densenet121(weights=None)
    network.features.conv0 = torch.nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    save_file(network.eval().state_dict(), folder / "densenet121-res224-all.safetensors")
    return {"weights": f"path:{folder / 'densenet121-res224-all.safetensors'}", "size": 128}


IMAGES: dict[str, Callable[[Path, ImageCard], dict[str, Any]]] = {
    "rad-dino": _vision("Dinov2", 56, patch_size=14),
    "dinov2-base": _vision("Dinov2", 56, patch_size=14),
    "dinov2-small": _vision("Dinov2", 56, patch_size=14),
    "xray-dinov2": _vision("Dinov2", 56, patch_size=14),
    "dinov3-small": _vision("DINOv3ViT", 64, patch_size=16, num_register_tokens=4),
    "medsiglip-448-image": _siglip,
    "biomedclip-image": _biomedclip,
    "mrm-vit-b16": _mrm,
    "vit-b16": _timm,
    "xrv-densenet121": _densenet,
}


def _older(folder: Path) -> None:
    """Weights as a BERT of 2019 has them on the hub: a torch file, names below `bert.`, a head beside them,
    norms with gamma and beta, and a vocabulary without tokenizer.json."""
    from safetensors.torch import load_file

    state = load_file(folder / "model.safetensors")
    old = {
        f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for name, value in state.items()
    }
    torch.save({**old, "cls.predictions.bias": torch.zeros(3)}, folder / "pytorch_model.bin")
    for name in ("model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()


def _bert(folder: Path, card: TextCard) -> dict[str, Any]:
    tiny.bert(folder)
    return {"weights": f"path:{folder}"}


def _bert_of_2019(folder: Path, card: TextCard) -> dict[str, Any]:
    tiny.bert(folder)
    _older(folder)
    return {"weights": f"path:{folder}"}


def _cxr_bert(folder: Path, card: TextCard) -> dict[str, Any]:
    """config.json names a type and Python of its own, and so does its tokenizer's, which is left out."""
    tiny.bert(folder)
    (folder / "words").mkdir()
    tiny.word_pieces(folder / "words")
    state = torch.load(_binary(folder), weights_only=True)
    torch.save({**{f"bert.{k}": v for k, v in state.items()}, "cls_projection_head.dense.weight":
                torch.ones(2)}, folder / "pytorch_model.bin")  # fmt: skip
    config = json.loads((folder / "config.json").read_text())
    own = {"model_type": "cxr-bert", "auto_map": {"AutoModel": "modeling_cxrbert.CXRBertModel"}}
    (folder / "config.json").write_text(json.dumps({**config, **own}))
    return {"weights": f"path:{folder}", "tokenizer": f"path:{folder / 'words'}"}


def _binary(folder: Path) -> Path:
    """model.safetensors of a folder → pytorch_model.bin."""
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder / "pytorch_model.bin"


def _mpnet(folder: Path, card: TextCard) -> dict[str, Any]:
    from transformers import MPNetConfig, MPNetModel

    torch.manual_seed(9)
    words = tiny.word_pieces(folder)
    MPNetModel(MPNetConfig(**tiny.SMALL, vocab_size=words, max_position_embeddings=24)).save_pretrained(
        folder
    )
    return {"weights": f"path:{folder}"}


def _siglip_text(folder: Path, card: TextCard) -> dict[str, Any]:
    tiny.siglip(folder)
    return {"weights": f"path:{folder}"}


def _biomedclip_text(folder: Path, card: TextCard) -> dict[str, Any]:
    tiny.biomedclip_folder(folder)
    return {"weights": f"path:{folder}"}


READERS: dict[str, Callable[[Path, TextCard], dict[str, Any]]] = {
    "cxr-bert": _cxr_bert,
    "bioclinicalbert": _bert_of_2019,
    "carzero-bert": _bert,
    "pubmedbert": _bert_of_2019,
    "sapbert": _bert,
    "mpnet": _mpnet,
    "medsiglip-448-text": _siglip_text,
    "biomedclip-text": _biomedclip_text,
}


def test_no_shipped_card_is_left_out() -> None:
    assert set(card_paths()) == {*IMAGES, *READERS, *PACKAGED}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_card_reads_its_authors_layout(name: str, tmp_path: Path) -> None:
    card = read_encoder_card(card_paths()[name])
    assert isinstance(card, ImageCard)
    encoder = image_encoder({"card": name, **IMAGES[name](tmp_path, card)})
    (rows, columns), side = encoder.grid, encoder.card.preprocessing.side
    assert rows == columns >= 4
    assert (encoder.card.preprocessing.mean, encoder.card.preprocessing.std) == (
        card.preprocessing.mean, card.preprocessing.std,
    )  # fmt: skip
    spots = [(0, 2), (2, 1), (3, 3)]
    assert [brightest(encoder, *spot) for spot in spots] == spots
    with torch.no_grad():
        pooled = encoder.encode(torch.full((1, side, side), 90, dtype=torch.uint8)).pooled
    assert pooled.shape == (1, encoder.width)


@pytest.mark.parametrize("name", READERS)
def test_a_text_card_reads_its_authors_layout(name: str, tmp_path: Path) -> None:
    card = read_encoder_card(card_paths()[name])
    assert isinstance(card, TextCard)
    encoder = text_encoder({"card": name, **READERS[name](tmp_path, card)})
    with torch.no_grad():
        read = encoder.encode(TEXTS)
        alone = encoder.encode(TEXTS[1:])
    assert read.words[0] == ("there", "is", "no", "ef", "##fusion", ".")
    assert read.pooled.shape == (2, encoder.width)
    torch.testing.assert_close(alone.pooled[0], read.pooled[1], rtol=1e-4, atol=1e-5)
    assert (read.pooled[0] - read.pooled[1]).abs().max() > 1e-4


def test_weights_of_2019_are_those_of_today(tmp_path: Path) -> None:
    """Old names of norms are the same tensors, not ones drawn at random."""
    model = tiny.bert(tmp_path)
    _older(tmp_path)
    encoder = text_encoder({"card": "bioclinicalbert", "weights": f"path:{tmp_path}", "layers": 1})
    batch = encoder.tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(encoder.model(**batch).last_hidden_state, model(**batch).last_hidden_state)


def test_a_torch_file_that_would_run_something_is_refused(tmp_path: Path) -> None:
    import pickle

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return (print, ("code ran",))

    tiny.bert(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(BenchError) as caught:
        text_encoder({"card": "bioclinicalbert", "weights": f"path:{tmp_path}"})
    assert "\n" not in str(caught.value)


def test_a_pinned_model_without_network_says_how_it_is_had() -> None:
    pinned = {name for name in card_paths() if read_encoder_card(card_paths()[name]).revision}
    assert pinned == {"rad-dino", "dinov2-small", "mpnet"}
    with pytest.raises(BenchError, match=r"huggingface-cli download .* --revision e8c3b32") as caught:
        text_encoder("mpnet")
    assert "\n" not in str(caught.value)


def test_biomedclip_without_the_sizes_of_its_bert_asks_for_them(tmp_path: Path) -> None:
    tiny.biomedclip_folder(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(BenchError, match=r"put the config\.json of that model of the hub into the folder"):
        text_encoder({"card": "biomedclip-text", "weights": f"path:{tmp_path}"})
