"""ViT-B/16 on ImageNet."""

from __future__ import annotations

from benchmark.core.preprocessing import Preprocessing
from benchmark.encoders.cards import ENCODERS, ImageCard, Seen

CXR_VIT_B16 = ENCODERS.register("vit-b16")(
    ImageCard(
        name="vit-b16",
        source="timm",
        architecture="vit_base_patch16_224",
        weights="hub:timm/vit_base_patch16_224.augreg2_in21k_ft_in1k",
        licence="Apache-2.0",
        seen=(
            Seen(
                dataset="imagenet-21k",
                split="train",
                what=("images", "labels"),
                source="huggingface.co/timm/vit_base_patch16_224.augreg2_in21k_ft_in1k",
            ),
            Seen(
                dataset="imagenet-1k",
                split="train",
                what=("images", "labels"),
                source="huggingface.co/timm/vit_base_patch16_224.augreg2_in21k_ft_in1k",
            ),
        ),
        note="ImageNet ViT-B/16: 196 tokens of 768 channels at 224 px; needs the network once.",
        preprocessing=Preprocessing(size=224),
        pooling="cls",
    )
)
