"""Official checkpoints: built, loaded strictly, and scored as the official inference does."""

from __future__ import annotations

import json
from pathlib import Path

import official_checkpoints as made
import pytest
import torch
from plain_official import PlainFusion
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet50

from benchmark.core.errors import BenchError
from benchmark.encoders.base import fingerprint
from benchmark.encoders.cache import image_features
from benchmark.official.checkpoints import load_official
from benchmark.official.images import OfficialResNet
from benchmark.official.settings import CheckpointSettings
from benchmark.official.texts import load_tokenizer

VOCABULARY = 40
COLUMNS = CheckpointSettings(text_columns=40)
PROMPTS = ["There is Pleural Effusion", "There is cardiomegaly.", "no edema"]


@pytest.fixture(scope="module")
def carzero(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(checkpoint with pickled configuration, tokenizer)."""
    omegaconf = pytest.importorskip("omegaconf")
    folder = tmp_path_factory.mktemp("carzero")
    content = {
        "state_dict": made.carzero_state(VOCABULARY),
        "hyper_parameters": omegaconf.OmegaConf.create({"model": {"text": {"word_num": 97}}}),
        "epoch": 3,
    }
    torch.save(content, folder / "best_model.ckpt")
    return folder / "best_model.ckpt", made.tokenizer(folder / "tokenizer", VOCABULARY)


def official_text_loop(model: nn.Module, tokenizer, texts: list[str], columns: int) -> tuple[Tensor, Tensor]:  # type: ignore[no-untyped-def]
    """GLoRIA's aggregation as loops: (sentence (T, d), words (T, columns, d))."""
    sentences, words = [], []
    for text in texts:
        batch = tokenizer(text, padding="max_length", max_length=columns, return_tensors="pt")
        hidden = model(**batch, output_hidden_states=True).hidden_states[-4:]
        pieces = tokenizer.convert_ids_to_tokens(batch["input_ids"][0].tolist())
        layers = []
        for layer in hidden:
            rows: list[Tensor] = []
            for piece, vector in zip(pieces, layer[0], strict=True):
                if piece.startswith("##"):
                    rows[-1] = rows[-1] + vector
                else:
                    rows.append(vector)
                if piece == "[SEP]":
                    break
            rows += [torch.zeros_like(rows[0])] * (columns - len(rows))
            layers.append(torch.stack(rows))
        words.append(sum(layers))
        sentences.append(sum(layer.mean(0) for layer in layers))
    return torch.stack(sentences), torch.stack(words)


def test_carzero_scores_as_the_official_loop(carzero: tuple[Path, Path]) -> None:
    checkpoint, tokenizer = carzero
    model = load_official("carzero", checkpoint, tokenizer=tokenizer, settings=COLUMNS)
    pixels = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        scores = model.method(model.image.encode(pixels), model.text.encode(PROMPTS))

        state = made.carzero_state(VOCABULARY)
        fusion = PlainFusion(64, 4, 4, 48, "linear")
        fusion.mlp_head = nn.Sequential(
            nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 24), nn.ReLU(), nn.Dropout(0.1),
            nn.Linear(24, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 1),
        )  # fmt: skip
        prefix = "CARZero.fusion_module."
        fusion.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        fusion.eval()
        clean = ["there is pleural effusion", "there is cardiomegaly", "no edema"]
        sentence, words = official_text_loop(model.text.model, model.text.tokenizer, clean, 40)
        text_memory = torch.cat([sentence[:, None], words], 1)
        expected = []
        for image in pixels:  # one image at a time, as released
            x = ((image.float() / 255 - 0.4978) / 0.2449).expand(1, 3, -1, -1)
            tokens = model.image.network.forward_features(x)
            i2t = fusion(tokens, sentence)[0]
            t2i = fusion(text_memory, tokens[:, 0])[0]
            expected.append((i2t + t2i.T) / 2)
    torch.testing.assert_close(scores, torch.cat(expected), rtol=1e-5, atol=1e-5)
    assert scores.std(0).min() > 1e-4  # images differ, so the comparison says something


def test_carzero_scores_do_not_depend_on_the_chunk(carzero: tuple[Path, Path]) -> None:
    checkpoint, tokenizer = carzero
    model = load_official("carzero", checkpoint, tokenizer=tokenizer, settings=COLUMNS)
    pixels = torch.randint(0, 256, (4, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        text = model.text.encode(PROMPTS)
        whole = model.method(model.image.encode(pixels), text)
        single = torch.cat([model.method(model.image.encode(p[None]), text) for p in pixels])
        one_prompt = torch.cat(
            [model.method(model.image.encode(pixels), model.text.encode([p])) for p in PROMPTS], 1
        )
    torch.testing.assert_close(single, whole, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(one_prompt, whole, rtol=1e-5, atol=1e-5)


def test_carzero_description(carzero: tuple[Path, Path]) -> None:
    checkpoint, tokenizer = carzero
    model = load_official("carzero", checkpoint, tokenizer=tokenizer, settings=COLUMNS)
    assert (model.preprocessing.mean, model.preprocessing.std) == ((0.4978,), (0.2449,))
    assert (model.preprocessing.fit, model.preprocessing.depth) == ("pad", "high-byte")
    assert model.image.grid == (4, 4)
    assert not model.method.config.mask_padding
    text = model.text.encode(PROMPTS)
    assert text.words is not None
    assert text.words[0] == ("[CLS]", "there", "is", "pleural", "effusion", "[SEP]")
    assert text.words[1][3] == "cardiomegaly"
    assert text.mask.sum(1).tolist() == [6, 5, 4]
    assert (text.local[~text.mask] == 0).all()
    assert all("self_attn" in n or "norm1" in n or "logit_scale" in n for n in model.unused)
    assert len(model.unused) == 4 * (4 + 2) + 1
    assert fingerprint(model.text) != fingerprint(model.image)
    with pytest.raises(BenchError, match="'Edema'.*leaves nothing"):
        model.text.encode(["There is edema", "Edema"])


def test_missing_and_surplus_tensors_are_listed(tmp_path: Path, carzero: tuple[Path, Path]) -> None:
    _, tokenizer = carzero
    lost = {
        "CARZero.img_encoder.model.blocks.1.attn.qkv.bias": "missing: blocks.1.attn.qkv.bias",
        "CARZero.text_encoder.model.encoder.layer.2.output.dense.bias": "encoder.layer.2.output.dense.bias",
        "CARZero.fusion_module.decoder.layers.0.linear1.bias": "decoder.layers.0.linear1.bias",
    }
    for name, message in lost.items():
        state = made.carzero_state(VOCABULARY)
        state.pop(name)
        torch.save({"state_dict": state}, tmp_path / "w.ckpt")
        with pytest.raises(BenchError, match=message):
            load_official("carzero", tmp_path / "w.ckpt", tokenizer=tokenizer)
    for surplus in ("img_encoder.model.extra", "img_encoder.other", "fusion_module.extra", "third.x"):
        state = made.carzero_state(VOCABULARY) | {f"CARZero.{surplus}": torch.ones(1)}
        torch.save({"state_dict": state}, tmp_path / "w.ckpt")
        with pytest.raises(BenchError, match=surplus.rpartition(".")[2]):
            load_official("carzero", tmp_path / "w.ckpt", tokenizer=tokenizer)


def test_tokenizer_must_fit(tmp_path: Path, carzero: tuple[Path, Path]) -> None:
    checkpoint, _ = carzero
    with pytest.raises(BenchError, match="--tokenizer"):
        load_official("carzero", checkpoint)
    other = made.tokenizer(tmp_path / "other", VOCABULARY + 1)
    with pytest.raises(BenchError, match="41 tokens.*40"):
        load_official("carzero", checkpoint, tokenizer=other)
    with pytest.raises(BenchError, match="no such folder"):
        load_tokenizer(tmp_path / "none", 3)


def test_unknown_layout(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="Did you mean 'carzero'"):
        load_official("carzer", tmp_path / "w.ckpt")


@pytest.mark.parametrize(
    ("method", "file", "mode"),
    [
        pytest.param("carzero", "carzero/checkpoint_keys.json", "high-byte", marks=pytest.mark.slow),
        pytest.param("gloria", "gloria/checkpoint_keys.json", "high-byte", marks=pytest.mark.slow),
        pytest.param("medclip", "medclip/checkpoint_keys_vit.json", "full", marks=pytest.mark.slow),
        pytest.param("medclip", "medclip/checkpoint_keys_resnet.json", "full", marks=pytest.mark.slow),
    ],
)
def test_full_size(official: Path, tmp_path: Path, method: str, file: str, mode: str) -> None:
    """Official names and full shapes, random values: loads, encodes and scores one image."""
    shapes = json.loads((official / file).read_text())["keys"]
    torch.save({"state_dict": made.equal_copies(made.filled(shapes))}, tmp_path / "w.ckpt")
    rows = next(v[0] for k, v in shapes.items() if k.endswith("word_embeddings.weight"))
    model = load_official(method, tmp_path / "w.ckpt", tokenizer=made.tokenizer(tmp_path / "t", rows))
    (tmp_path / "w.ckpt").unlink()
    assert model.preprocessing.depth == mode
    side = model.preprocessing.side
    assert side == 224
    pixels = torch.randint(0, 256, (1, side, side), dtype=torch.uint8)
    with torch.no_grad():
        image, text = model.image.encode(pixels), model.text.encode(PROMPTS)
        scores = model.method(image, text)
    assert image.grid == model.image.grid
    assert image.local.shape[1] == model.image.grid[0] * model.image.grid[1]
    assert scores.shape == (1, 3)
    assert torch.isfinite(scores).all()


def test_gloria_images_pass_the_cache(tmp_path: Path) -> None:
    """Tokens (layer 3, 19 x 19 of 1,024) are narrower than the pooled vector (2,048)."""
    network = resnet50(weights=None)
    state = {k: v for k, v in network.state_dict().items() if not k.startswith("fc.")}
    encoder = OfficialResNet(state, "w.ckpt", gloria=True)
    pixels = torch.randint(0, 256, (1, 224, 224), dtype=torch.uint8)
    store = image_features(pixels.numpy(), encoder, tmp_path, precision="float32")
    with torch.no_grad():
        direct = encoder.encode(pixels)
        network.eval()
        x = F.interpolate(
            ((pixels.float() / 255 - 0.5) / 0.5)[:, None].expand(-1, 3, -1, -1),
            size=(299, 299), mode="bilinear", align_corners=True,
        )  # fmt: skip
        x = network.maxpool(network.relu(network.bn1(network.conv1(x))))
        third = network.layer3(network.layer2(network.layer1(x)))
        pooled = network.avgpool(network.layer4(third)).flatten(1)
    torch.testing.assert_close(direct.pooled, pooled, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(direct.local[0].T.reshape(1024, 19, 19), third[0])
    found = store.get([0])
    assert found.grid == (19, 19)
    torch.testing.assert_close(found.local, direct.local)


def test_clip_flat_layout(tmp_path: Path) -> None:
    """CheXzero's file: a flat OpenAI-CLIP state dict, at small width; equal to open_clip's own encoders."""
    import open_clip

    model = open_clip.model.CLIP(
        embed_dim=64,
        vision_cfg=open_clip.CLIPVisionCfg(layers=2, width=64, patch_size=8, image_size=32),
        text_cfg=open_clip.CLIPTextCfg(context_length=77, vocab_size=49408, width=64, heads=1, layers=2),
        quick_gelu=True,
    ).eval()
    state = {k: v for k, v in model.state_dict().items() if k != "attn_mask"}
    torch.save(state, tmp_path / "chexzero.pt")
    official = load_official("clip", tmp_path / "chexzero.pt", layout="chexzero")
    pixels = torch.randint(0, 256, (2, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        image, text = official.image.encode(pixels), official.text.encode(["Pneumonia", "no Pneumonia"])
        normalised = ((pixels.float() - 101.48761) / 83.43944)[:, None].expand(-1, 3, -1, -1)
        u = F.normalize(model.encode_image(normalised), dim=-1)
        v = F.normalize(model.encode_text(open_clip.tokenize(["Pneumonia", "no Pneumonia"])), dim=-1)
        scores = official.method(image, text)
    torch.testing.assert_close(scores, model.logit_scale.exp() * u @ v.T, rtol=1e-4, atol=1e-4)
    assert image.local.shape == (2, 16, 64)
    with pytest.raises(BenchError, match="add --layout chexzero, or give --model open_clip:FILE"):
        load_official("clip", tmp_path / "chexzero.pt")
    state.pop("visual.proj")
    torch.save(state, tmp_path / "chexzero.pt")
    with pytest.raises(BenchError, match="lacks visual.proj"):
        load_official("clip", tmp_path / "chexzero.pt")
