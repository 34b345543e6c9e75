"""MiniLM-L6 with initial weights: how much of a result comes from what its text encoder has learnt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmark.encoders.cards import ENCODERS, Seen, TextCard

if TYPE_CHECKING:
    from benchmark.encoders.base import TextEncoder


class UntrainedMiniLM:
    """The tokenizer and the sizes of minilm-l6, with weights drawn from one seed."""

    seen: tuple[Seen, ...] = ()

    def __call__(self) -> TextEncoder:
        from benchmark.encoders.card_files import encoder_entry
        from benchmark.encoders.transformers_text import TransformersText
        from benchmark.encoders.weights import weights_path

        trained = encoder_entry("minilm-l6")
        assert isinstance(trained, TextCard)
        path = weights_path(trained)
        assert path is not None
        about = {"name": "minilm-l6-untrained", "weights": "random", "sha256": None, "seen": ()}
        about["note"] = "Initial weights."
        encoder = TransformersText(trained.model_copy(update={**about, "architecture": str(path.parent)}))
        encoder.card = trained.model_copy(update=about)  # where the package lies is no part of what it is
        return encoder


MINILM_L6_UNTRAINED = ENCODERS.register("minilm-l6-untrained")(UntrainedMiniLM())
