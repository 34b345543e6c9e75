"""Tiny models of the real classes of transformers and open_clip, saved in the layout of the hub."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

SMALL = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
WORDS = ("there", "is", "no", "ef", "##fusion", "edema", ".", "pneumonia", "mass")


def processor(folder: Path, **fields: Any) -> None:
    """preprocessor_config.json of a folder."""
    usual = {"size": {"height": 32, "width": 32}, "resample": 3, "image_mean": MEAN, "image_std": STD}
    (folder / "preprocessor_config.json").write_text(json.dumps({**usual, **fields}))


def word_pieces(folder: Path) -> int:
    """A tokenizer of whole words; returns how many ids it has."""
    from transformers import BertTokenizerFast

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    file = folder / "vocab.txt"
    file.write_text("\n".join(pieces))
    BertTokenizerFast(vocab=str(file), vocab_file=str(file)).save_pretrained(folder)
    return len(pieces)


def vision(folder: Path, kind: str, **changes: Any) -> Any:
    """A vision network alone: Dinov2, DINOv3ViT, ViT, Beit, ConvNext, CLIPVision, SiglipVision."""
    import transformers

    sized = {**SMALL, "image_size": 32, "patch_size": 8}
    if kind == "ConvNext":
        sized = {"hidden_sizes": [8, 8, 12, 16], "depths": [1, 1, 1, 1], "image_size": 64}
    if kind == "DINOv3ViT":
        sized["num_register_tokens"] = 2
    if kind == "Beit":
        sized |= {"use_relative_position_bias": True, "use_mean_pooling": False}
    torch.manual_seed(1)
    config = getattr(transformers, f"{kind}Config")(**{**sized, **changes})
    model = getattr(transformers, f"{kind}Model")(config).eval()
    _stir(model)
    model.save_pretrained(folder)
    processor(folder)
    return model


def bert(folder: Path) -> Any:
    from transformers import BertConfig, BertModel

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(2)
    model = BertModel(BertConfig(**SMALL, vocab_size=word_pieces(folder), max_position_embeddings=20)).eval()
    model.save_pretrained(folder)
    return model


def clip(folder: Path) -> Any:
    from transformers import CLIPConfig, CLIPModel

    return _two_towers(
        folder,
        lambda text, image: CLIPModel(CLIPConfig(text_config=text, vision_config=image, projection_dim=12)),
    )


def siglip(folder: Path) -> Any:
    from transformers import SiglipConfig, SiglipModel

    return _two_towers(
        folder, lambda text, image: SiglipModel(SiglipConfig(text_config=text, vision_config=image))
    )


def siglip2(folder: Path) -> Any:
    """The network of native resolutions, which takes patches; of 4 x 4 positions."""
    from transformers import Siglip2Config, Siglip2Model

    def build(text: dict[str, Any], image: dict[str, Any]) -> Any:
        text["vocab_size"] += 8  # its tokenizer adds words of its own
        image["num_patches"] = (image.pop("image_size") // image["patch_size"]) ** 2
        return Siglip2Model(Siglip2Config(text_config=text, vision_config=image))

    return _two_towers(folder, build)


def altclip(folder: Path) -> Any:
    from transformers import AltCLIPConfig, AltCLIPModel

    def build(text: dict[str, Any], image: dict[str, Any]) -> Any:
        text |= {"project_dim": 12, "max_position_embeddings": 20}
        image["projection_dim"] = 12
        return AltCLIPModel(AltCLIPConfig(text_config=text, vision_config=image, projection_dim=12))

    return _two_towers(folder, build)


def align(folder: Path) -> Any:
    """Of an EfficientNet and a BERT; its text features are not those of the pooler."""
    from transformers import AlignConfig, AlignModel

    def build(text: dict[str, Any], image: dict[str, Any]) -> Any:
        net = {"image_size": 32, "width_coefficient": 0.25, "depth_coefficient": 0.1, "hidden_dim": 16}
        return AlignModel(AlignConfig(text_config=text, vision_config=net, projection_dim=80))

    return _two_towers(folder, build)


def pair(folder: Path) -> Any:
    """A DINOv2 and a BERT with a projection each."""
    from transformers import BertConfig, BertModel, Dinov2Config, Dinov2Model, VisionTextDualEncoderModel

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(5)
    sees = Dinov2Model(Dinov2Config(**SMALL, image_size=32, patch_size=8))
    reads = BertModel(BertConfig(**SMALL, vocab_size=word_pieces(folder), max_position_embeddings=20))
    model = VisionTextDualEncoderModel(vision_model=sees, text_model=reads).eval()
    _stir(model)
    model.save_pretrained(folder)
    processor(folder)
    return model


def open_clip_folder(folder: Path) -> Any:
    """A model as open_clip pushes it to the hub: open_clip_config.json and its weights."""
    import open_clip
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    shape = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 8, "head_width": 16},
        "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }
    steps = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": shape, "preprocess_cfg": steps}))
    torch.manual_seed(4)
    model = open_clip.model.CLIP(**shape).eval()
    save_file({k: v.contiguous() for k, v in model.state_dict().items()},
              folder / "open_clip_model.safetensors")  # fmt: skip
    return model


def biomedclip_folder(folder: Path) -> Any:
    """As BiomedCLIP lies on the hub, by its open_clip_config.json: a ViT of timm and a BERT of transformers
    with a projection of two layers, weights in a torch file; beside them the config.json of the BERT."""
    import open_clip
    from transformers import BertConfig

    folder.mkdir(parents=True, exist_ok=True)
    BertConfig(**SMALL, vocab_size=word_pieces(folder), max_position_embeddings=24).save_pretrained(folder)
    bert = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
    text = {"hf_model_name": bert, "hf_tokenizer_name": bert, "hf_proj_type": "mlp",
            "hf_pooler_type": "cls_last_hidden_state_pooler", "context_length": 20}  # fmt: skip
    image = {"timm_model_name": "test_vit", "timm_model_pretrained": False, "timm_pool": "",
             "timm_proj": "linear", "image_size": 64}  # fmt: skip
    shape = {"embed_dim": 16, "vision_cfg": image, "text_cfg": text}
    steps = {"mean": MEAN, "std": STD}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": shape, "preprocess_cfg": steps}))
    torch.manual_seed(6)
    here = {**text, "hf_model_name": str(folder), "hf_model_pretrained": False}
    model = open_clip.model.CustomTextCLIP(
        16, image, {k: v for k, v in here.items() if k != "context_length"}
    )
    _stir(model.eval())
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    return model


def _two_towers(folder: Path, build: Callable[[dict[str, Any], dict[str, Any]], Any]) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    words = word_pieces(folder)
    text = {**SMALL, "vocab_size": words, "max_position_embeddings": 12, "bos_token_id": 2,
            "eos_token_id": 3, "pad_token_id": 0}  # fmt: skip
    torch.manual_seed(3)
    model = build(text, {**SMALL, "image_size": 32, "patch_size": 8}).eval()
    _stir(model)
    model.save_pretrained(folder)
    processor(folder)
    return model


def _stir(model: Any) -> None:
    """What initialises at a constant, and would hide a step that is left out, gets values."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim == 1:
                value.add_(torch.randn(value.shape) * 0.2)
            elif "position" in name or "embed" in name:
                value.add_(torch.randn(value.shape) * 0.02)
