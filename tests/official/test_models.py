"""Models of two towers as rows: the library's own similarities and steps, one line for what is none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from benchmark.core.errors import BenchError
from benchmark.encoders.factory import image_encoder
from benchmark.official.models import load_model
from tests.encoders import tiny_models as tiny

TEXTS = ["there is no effusion", "edema"]


def noise() -> torch.Tensor:
    return torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["clip", "siglip", "siglip2", "altclip", "pair"])
def test_a_folder_of_transformers(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "tiny.model"
    model = tiny.pair(folder) if kind == "pair" else getattr(tiny, kind)(folder)
    found = load_model(f"hf:{folder}")
    assert found.name == "tiny-model"
    pixels = found.image.normalise(noise())
    batch = found.text.tokenizer(TEXTS, padding="max_length", max_length=12, return_tensors="pt")
    pooled_by_attention = kind.startswith("siglip")
    mask = {} if pooled_by_attention else {"attention_mask": batch["attention_mask"]}
    seen = {"pixel_values": pixels}
    if kind == "siglip2":  # as the library's own processor gives a square image to the network
        from transformers.models.siglip2.image_processing_siglip2 import convert_image_to_patches

        seen = {"pixel_values": torch.stack([convert_image_to_patches(image, 8) for image in pixels]),
                "pixel_attention_mask": torch.ones(3, 16, dtype=torch.int64),
                "spatial_shapes": torch.full((3, 2), 4)}  # fmt: skip
    with torch.no_grad():
        said = model(**seen, input_ids=batch["input_ids"], **mask).logits_per_image
        image, text = found.image.encode(noise()), found.text.encode(TEXTS)
        scores = found.method(image, text)
        maps = found.method.similarity_map(image, text)
    torch.testing.assert_close(scores, said, rtol=1e-3, atol=1e-4)
    assert (maps is None) == pooled_by_attention, "SigLIP pools by attention: its tokens are elsewhere"
    if kind == "clip":
        with torch.no_grad():
            tower = model.vision_model
            tokens = tower.post_layernorm(tower(pixel_values=pixels).last_hidden_state)[:, 1:]
            patches = F.normalize(model.visual_projection(tokens), dim=-1)
            words = model.text_model(input_ids=batch["input_ids"], **mask).pooler_output
            words = F.normalize(model.text_projection(words), dim=-1)
        own = torch.einsum("ipd,td->itp", patches, words).unflatten(-1, (4, 4))
        torch.testing.assert_close(maps, own, rtol=1e-3, atol=1e-4)
    assert load_model(f"hf:{folder}").identity == found.identity


def test_a_folder_and_a_file_of_open_clip(tmp_path: Path) -> None:
    model = tiny.open_clip_folder(tmp_path / "oc")
    found = load_model(f"open_clip:{tmp_path / 'oc'}")
    import open_clip

    with torch.no_grad():
        u = F.normalize(model.encode_image(found.image.normalise(noise())), dim=-1)
        v = F.normalize(model.encode_text(open_clip.tokenize(TEXTS, context_length=20)), dim=-1)
        scores = found.method(found.image.encode(noise()), found.text.encode(TEXTS))
    torch.testing.assert_close(scores, model.logit_scale.exp() * u @ v.T, rtol=1e-3, atol=1e-4)
    steps = found.image.preprocessing
    assert (steps.fit, steps.interpolation, steps.mean, steps.std) == (
        "crop", "bicubic", tuple(tiny.MEAN), tuple(tiny.STD),
    )  # fmt: skip

    bare = tmp_path / "bare.pt"
    torch.save(load_file(tmp_path / "oc" / "open_clip_model.safetensors"), bare)
    with pytest.raises(BenchError, match="a bare file does not say its network .* give --architecture"):
        load_model(f"open_clip:{bare}")
    with pytest.raises(BenchError, match="unknown architecture of open_clip 'ViT-B-3'"):
        load_model(f"open_clip:{bare}", "ViT-B-3")
    for spec in (f"open_clip:{tmp_path / 'oc'}", f"hf:{tmp_path / 'oc'}"):
        with pytest.raises(BenchError, match="--architecture goes with --model open_clip:FILE"):
            load_model(spec, "ViT-B-32")
    config = json.loads((tmp_path / "oc" / "open_clip_config.json").read_text())["model_cfg"]
    for name, quick in (("tiny-plain", False), ("tiny-quick", True)):
        (tmp_path / f"{name}.json").write_text(json.dumps({**config, "quick_gelu": quick}))
        open_clip.add_model_config(tmp_path / f"{name}.json")
    plain, quick = (load_model(f"open_clip:{bare}", name) for name in ("tiny-plain", "tiny-quick"))
    with torch.no_grad():
        torch.testing.assert_close(
            plain.text.encode(TEXTS).pooled, found.text.encode(TEXTS).pooled, rtol=1e-4, atol=1e-5
        )
        one, other = (m.image.encode(noise()).pooled for m in (plain, quick))
    assert not torch.allclose(one, other, atol=1e-4), "the flag decides the activation"
    assert plain.image.preprocessing.mean != tuple(tiny.MEAN), "OpenAI's, as open_clip takes them"


def test_a_type_whose_own_features_are_others_is_refused(tmp_path: Path) -> None:
    """ALIGN projects the first token of a text, though its text tower has a pooler like BERT's."""
    tiny.align(tmp_path)
    with pytest.raises(BenchError, match="get_text_features of a AlignModel is not the pooled output"):
        load_model(f"hf:{tmp_path}")


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    """The end of a text is where CLIP reads it; with an id that no text has that is its first token, which
    sees nothing of the others."""
    tiny.clip(tmp_path / "end")
    config = json.loads((tmp_path / "end" / "config.json").read_text())
    config["text_config"]["eos_token_id"] = 4
    (tmp_path / "end" / "config.json").write_text(json.dumps(config))
    with pytest.raises(BenchError, match="every text has one vector under this tokenizer"):
        load_model(f"hf:{tmp_path / 'end'}")
    from transformers import PreTrainedTokenizerFast

    tiny.clip(tmp_path / "bare")
    rules = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "bare" / "tokenizer.json"))
    for file in (*(tmp_path / "bare").glob("tokenizer*"), tmp_path / "bare" / "vocab.txt"):
        file.unlink()
    rules.save_pretrained(tmp_path / "bare")
    with pytest.raises(BenchError, match="a tokenizer without a token for padding"):
        load_model(f"hf:{tmp_path / 'bare'}")


def test_the_scale_is_that_of_the_weights_that_are_read(tmp_path: Path) -> None:
    """A folder of training holds other torch files, and open_clip reads endings of its own."""
    model = tiny.clip(tmp_path / "hf")
    state = load_file(tmp_path / "hf" / "model.safetensors")
    (tmp_path / "hf" / "model.safetensors").unlink()
    torch.save(state, tmp_path / "hf" / "pytorch_model.bin")
    torch.save({"state": {}, "param_groups": []}, tmp_path / "hf" / "optimizer.pt")
    found = load_model(f"hf:{tmp_path / 'hf'}").method.logit_scale.item()
    assert found == pytest.approx(model.logit_scale.item())
    tiny.open_clip_folder(tmp_path / "oc")
    state = load_file(tmp_path / "oc" / "open_clip_model.safetensors")
    (tmp_path / "oc" / "open_clip_model.safetensors").unlink()
    torch.save(state, tmp_path / "oc" / "model.pth")
    found = load_model(f"open_clip:{tmp_path / 'oc'}").method.logit_scale.item()
    assert found == pytest.approx(state["logit_scale"].item())


def test_a_folder_of_open_clip_without_weights_is_refused(tmp_path: Path) -> None:
    """open_clip makes a random model of it and only logs that: as of a training's epoch_32.pt, an ending it
    does not look for."""
    tiny.open_clip_folder(tmp_path)
    weights = tmp_path / "open_clip_model.safetensors"
    torch.save(load_file(weights), tmp_path / "epoch_32.pt")
    weights.unlink()
    with pytest.raises(BenchError, match="open_clip cannot build"):
        load_model(f"open_clip:{tmp_path}")


@pytest.mark.parametrize(
    ("part", "name", "size", "said"),
    [
        ("text_cfg", "context_length", 12, "20 positions in the weights, 12 in its configuration"),
        ("text_cfg", "context_length", 32, "20 positions in the weights, 32 in its configuration"),
        ("vision_cfg", "image_size", 64, "17 positions in the weights, 65 in its configuration"),
    ],
)
def test_a_folder_of_open_clip_whose_configuration_is_of_other_weights_is_refused(
    tmp_path: Path, part: str, name: str, size: int, said: str
) -> None:
    """open_clip interpolates the positions and only logs that, so that another model would be read."""
    tiny.open_clip_folder(tmp_path)
    path = tmp_path / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"][part][name] = size
    path.write_text(json.dumps(config))
    with pytest.raises(BenchError, match=said) as caught:
        load_model(f"open_clip:{tmp_path}")
    assert "\n" not in str(caught.value)


def test_a_card_may_ask_open_clip_for_images_of_another_size(tmp_path: Path) -> None:
    tiny.open_clip_folder(tmp_path)
    image = load_model(f"open_clip:{tmp_path}").image.card
    steps = image.preprocessing.model_copy(update={"size": 64})
    assert image_encoder(image.model_copy(update={"preprocessing": steps})).grid == (8, 8)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ({"std": [0.0, 0.5, 0.5]}, "no std is 0"),
        ({"std": [float("nan")] * 3}, "no std is 0"),
        ({"mean": [0.5, 0.5]}, "one number, or one a colour"),
        ({"resize_mode": "longest", "fill_color": 128}, "a fill_color other than 0"),
    ],
)
def test_steps_of_open_clip_that_would_be_others_here_are_refused(
    tmp_path: Path, steps: dict[str, object], said: str
) -> None:
    tiny.open_clip_folder(tmp_path)
    path = tmp_path / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["preprocess_cfg"].update(steps)
    path.write_text(json.dumps(config))
    with pytest.raises(BenchError, match=said):
        load_model(f"open_clip:{tmp_path}")


def test_what_is_no_model_of_two_towers_is_one_line(tmp_path: Path) -> None:
    tiny.vision(tmp_path / "dino", "Dinov2")
    tiny.clip(tmp_path / "clip")
    tiny.open_clip_folder(tmp_path / "oc")
    shutil.copytree(tmp_path / "clip", tmp_path / "blind")
    (tmp_path / "blind" / "preprocessor_config.json").unlink()
    shutil.copytree(tmp_path / "clip", tmp_path / "mute")
    for file in (*(tmp_path / "mute").glob("tokenizer*"), tmp_path / "mute" / "vocab.txt"):
        file.unlink()
    (tmp_path / "empty").mkdir()
    shutil.copytree(tmp_path / "oc", tmp_path / "short")
    state = load_file(tmp_path / "oc" / "open_clip_model.safetensors")
    kept = {name: tensor for name, tensor in state.items() if name != "ln_final.bias"}
    save_file(kept, tmp_path / "short" / "open_clip_model.safetensors")
    for spec, said in (
        (f"hf:{tmp_path / 'dino'}", "a model of type 'dinov2' has no vision and text tower"),
        (f"hf:{tmp_path / 'oc'}", "give open_clip:"),
        (f"open_clip:{tmp_path / 'clip'}", "give hf:"),
        (f"open_clip:{tmp_path / 'short'}", r'Missing key\(s\) in state_dict: ".*ln_final\.bias"'),
        (f"hf:{tmp_path / 'empty'}", r"no config\.json"),
        (f"hf:{tmp_path / 'blind'}", r"no preprocessor_config\.json"),
        (f"hf:{tmp_path / 'mute'}", "has no vocabulary"),
        (f"hf:{tmp_path / 'clip' / 'model.safetensors'}", "give the folder"),
        ("hf:someone/model", "unknown model 'someone/model'.*downloaded first"),
        ("hf:biomedclip", "is of source 'open_clip'"),
        ("hf:medsiglip-448", "is not pinned"),
        ("keras:x", "expected hf:FOLDER"),
        ("hf:", "expected hf:FOLDER"),
    ):
        with pytest.raises(BenchError, match=said) as caught:
            load_model(spec)
        assert "\n" not in str(caught.value)
