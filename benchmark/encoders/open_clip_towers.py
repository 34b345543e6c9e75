"""open_clip towers. Tokens pass the tower's own projection, so pooled vector and tokens share a space."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor, nn

from benchmark.core.features import ImageFeatures
from benchmark.core.guard import parse_json, parsing, read_text
from benchmark.core.hashing import hash_value
from benchmark.core.pretrained import no_remote_code, refuse_code
from benchmark.encoders.base import ImageEncoder, TextEncoder, TokenBatch
from benchmark.encoders.cards import EncoderCard, ImageCard, TextCard
from benchmark.encoders.weights import WeightsError, check_grid, scale_of, weights_path


class OpenClipImage(ImageEncoder):
    """The image tower; pooled is exactly `encode_image` (unnormalised)."""

    def __init__(self, card: ImageCard) -> None:
        super().__init__(card)
        model = _model(card, force_image_size=card.preprocessing.side)
        self.tower, self.scale = model.visual, scale_of(model)
        with torch.no_grad():
            side = card.preprocessing.side
            probe = self(torch.zeros(1, card.preprocessing.channels, side, side))
        self.width, self.grid = probe.local.shape[-1], probe.grid
        check_grid(card.name, probe.local.shape[1], self.grid)
        pools = getattr(getattr(self.tower, "trunk", self.tower), "attn_pool", None)
        self.joint = card.pooling == "model" and pools is None
        """Whether patch tokens live in the space of the pooled vector; attention pooling leaves them out."""

    def forward(self, images: Tensor) -> ImageFeatures:
        if isinstance(self.tower, open_clip.transformer.VisionTransformer):
            self.tower.output_tokens = True
            pooled, tokens = self.tower(images)
            if self.tower.proj is not None:
                tokens = tokens @ self.tower.proj
        elif isinstance(self.tower, open_clip.timm_model.TimmModel):
            states = self.tower.trunk.forward_features(images)
            pooled = self.tower.head(self.tower.trunk.forward_head(states, pre_logits=True))
            tokens = self.tower.head(states[:, getattr(self.tower.trunk, "num_prefix_tokens", 0) :])
        else:
            raise WeightsError(
                f"encoder {self.card.name}: {type(self.tower).__name__} gives no patch tokens."
            )
        if self.card.pooling == "mean":
            pooled = tokens.mean(1)
        side = round(tokens.shape[1] ** 0.5)
        return ImageFeatures(pooled, tokens, (side, tokens.shape[1] // side))


class OpenClipText(TextEncoder):
    """The text tower; with `pooling: model` pooled is exactly `encode_text` (unnormalised)."""

    def __init__(self, card: TextCard) -> None:
        super().__init__(card)
        self.tower: Any = _model(card).text
        self.tower.output_tokens = True
        with parsing(card.architecture, "an open_clip tokenizer", error=WeightsError), no_remote_code():
            self.tokenizer = open_clip.get_tokenizer(_architecture(card))
        self.words = _words(self.tokenizer)
        self.length = min(
            card.max_length, int(getattr(self.tower, "context_length", None) or card.max_length)
        )
        with torch.no_grad():
            self.width = self.hidden(self.tokenize(["a"]))[0].shape[-1]

    def vocabulary(self) -> str:
        return self.words

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        ids = self.tokenizer(list(texts), context_length=self.length)
        inner = getattr(self.tokenizer, "tokenizer", None)
        if inner is not None:  # a Hugging Face tokenizer
            pad, special = inner.pad_token_id, {inner.cls_token_id, inner.sep_token_id, inner.pad_token_id}
            names = inner.convert_ids_to_tokens
        else:
            pad, special = 0, {0, self.tokenizer.sot_token_id, self.tokenizer.eot_token_id}
            names = lambda row: [self.tokenizer.decoder[i] for i in row]  # noqa: E731
        attended = ids != pad
        drop = torch.tensor(sorted(i for i in special if i is not None))
        kept = attended & ~torch.isin(ids, drop) if self.card.specials == "drop" else attended
        words = tuple(tuple(names(row[keep].tolist())) for row, keep in zip(ids, kept, strict=True))
        return TokenBatch(ids, attended, kept, words)

    def hidden(self, tokens: TokenBatch) -> tuple[Tensor, Tensor]:
        pooled, states = self.tower(tokens.ids)
        states = _project(getattr(self.tower, "text_projection", getattr(self.tower, "proj", None)), states)
        if self.card.pooling == "mean":
            weight = tokens.attended.unsqueeze(-1).to(states.dtype)
            pooled = (states * weight).sum(1) / weight.sum(1).clamp(min=1)
        elif self.card.pooling == "cls":
            pooled = states[:, 0]
        return pooled, states


def _words(tokenizer: Any) -> str:
    """A hash of what a tokenizer of a model's folder makes of words; "" for open_clip's own."""
    inner = getattr(tokenizer, "tokenizer", None)
    backend = getattr(inner, "backend_tokenizer", None)
    if backend is None:
        return ""
    rules = json.loads(backend.to_str())
    return hash_value({k: v for k, v in rules.items() if k not in ("padding", "truncation")})


def _project(projection: Any, states: Tensor) -> Any:
    if projection is None:
        return states
    return projection(states) if isinstance(projection, nn.Module) else states @ projection


def _architecture(card: EncoderCard) -> str:
    """open_clip's name of it; a model of the hub is the folder of its pinned files."""
    if card.architecture.startswith("hf-hub:"):
        return f"local-dir:{weights_path(card)}"
    if card.architecture.startswith("local-dir:"):
        refuse_code(card.architecture.removeprefix("local-dir:"))
    return card.architecture


def _text_sizes(name: str, folder: Path) -> dict[str, Any]:
    """Options that give open_clip the sizes of a text tower of transformers from the folder's config.json:
    by itself it would ask the hub for them, in a repository that nothing pins (BiomedCLIP)."""
    path = folder / "open_clip_config.json"
    found = parse_json(read_text(path, "a JSON file"), path)
    with parsing(path, "a configuration of open_clip", error=WeightsError):
        text = dict(found["model_cfg"]["text_cfg"])
    named = text.get("hf_model_name")
    if not named or Path(str(named)).is_dir():
        return {}
    if not (folder / "config.json").is_file():
        raise WeightsError(
            f"encoder {name}: {path} gives its text tower the sizes of {named}; put the config.json of that "
            "model of the hub into the folder."
        )
    return {"text_cfg": {**text, "hf_model_name": str(folder), "hf_model_pretrained": False}}


@contextmanager
def _positions_as_saved(resize: str, key: str) -> Iterator[None]:
    """Within it open_clip refuses weights that have other positions than the configuration: it would
    interpolate them and only log that, so that another model were read. resize: its function that does so;
    key: the weights."""
    plain = getattr(open_clip.factory, resize)

    def checked(state: dict[str, Tensor], model: nn.Module) -> None:
        before = state.get(key)
        plain(state, model)
        if before is not None and len(before) != len(state[key]):
            raise ValueError(
                f"{len(before)} positions in the weights, {len(state[key])} in its configuration"
            )

    setattr(open_clip.factory, resize, checked)
    try:
        yield
    finally:
        setattr(open_clip.factory, resize, plain)


def _checked_positions(card: EncoderCard, architecture: str) -> AbstractContextManager[None]:
    """`_positions_as_saved` of the tower that a card is of; of images none where the card has another side
    than the configuration, which is what interpolation is for."""
    if isinstance(card, TextCard):
        return _positions_as_saved("resize_text_pos_embed", "text.positional_embedding")
    if architecture.startswith("local-dir:"):
        path = Path(architecture.removeprefix("local-dir:")) / "open_clip_config.json"
        found = parse_json(read_text(path, "a JSON file"), path)
        with parsing(path, "a configuration of open_clip", error=WeightsError):
            vision = dict(found["model_cfg"]["vision_cfg"])
    else:
        vision = (open_clip.get_model_config(architecture) or {}).get("vision_cfg", {})
    if isinstance(card, ImageCard) and vision.get("image_size", 224) != card.preprocessing.side:
        return nullcontext()
    return _positions_as_saved("resize_pos_embed", "visual.positional_embedding")


def _model(card: EncoderCard, **options: Any) -> Any:
    path = weights_path(card)
    architecture = _architecture(card)
    if architecture.startswith("local-dir:"):
        options |= _text_sizes(card.name, Path(architecture.removeprefix("local-dir:")))
    positions = _checked_positions(card, architecture)
    pretrained = None if path is None or architecture.startswith("local-dir:") else str(path)
    try:
        with no_remote_code(), positions, torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return open_clip.create_model(
                architecture,
                pretrained=pretrained,
                load_weights=path is not None,
                require_pretrained=path is not None,
                weights_only=True,
                force_custom_text=True,
                pretrained_text=False,
                **options,
            ).eval()
    except Exception as error:  # open_clip and the hub raise many kinds; each means the same here
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise WeightsError(
            f"encoder {card.name}: open_clip cannot build '{card.architecture}' ({reason}). Check its files; "
            "weights of a folder end in .safetensors, .bin or .pth."
        ) from None
