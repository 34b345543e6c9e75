"""Both towers of BiomedCLIP."""

from __future__ import annotations

from benchmark.core.preprocessing import Preprocessing
from benchmark.encoders.cards import ENCODERS, ImageCard, Seen, TextCard

SEEN = (
    Seen(
        dataset="pmc-15m",
        split="train",
        what=("images", "reports"),
        source="Zhang et al. 2023, arXiv:2303.00915: figures of PubMed Central with their captions",
    ),
)

BIOMEDCLIP_IMAGE = ENCODERS.register("biomedclip-image")(
    ImageCard(
        name="biomedclip-image",
        source="open_clip",
        architecture="hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
        weights="hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
        licence="MIT",
        seen=SEEN,
        note="Tokens pass the tower's own projection; needs the network once.",
        preprocessing=Preprocessing(
            size=224,
            mean=(0.48145466, 0.4578275, 0.40821073),
            std=(0.26862954, 0.26130258, 0.27577711),
            interpolation="bicubic",
        ),
        pooling="model",
    )
)

BIOMEDCLIP_TEXT = ENCODERS.register("biomedclip-text")(
    TextCard(
        name="biomedclip-text",
        source="open_clip",
        architecture="hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
        weights="hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
        licence="MIT",
        seen=SEEN,
        note="Needs the network once.",
        max_length=256,
        pooling="model",
    )
)
