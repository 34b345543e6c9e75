"""Official checkpoints as they were released: method, both encoders and preprocessing from one file.

`load_official("carzero", "best_model.ckpt", tokenizer=…)` builds what the official inference builds, at the
sizes of the weights. Every tensor of the file is used, or left out by a rule that names it; everything
else is an error that lists missing and surplus names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from benchmark.core.checkpoints import listed, load_checkpoint, load_strictly, take
from benchmark.core.errors import BenchError, UnknownName
from benchmark.core.files import read_json
from benchmark.core.guard import parsing
from benchmark.core.preprocessing import Preprocessing
from benchmark.encoders.base import ImageEncoder, TextEncoder
from benchmark.encoders.weights import check_finite
from benchmark.official.settings import USUAL, CheckpointSettings
from methods.base import METHODS, Method

CT_CLIP, CT_CLIP_MARK = "ct-clip", "to_visual_latent.weight"
"""The release of a clip checkpoint whose tensors have CT-CLIP's names, and one of them."""
PAIRS = {CT_CLIP: ("{} is present.", "{} is not present.")}
"""Release → the two sentences about a class between which it decides; the others score one sentence."""
PREFIXES = {"carzero": "CARZero.", "gloria": "gloria.", "brgsa": "gloria.", "radzero": "base_model.model."}
"""Lightning and adapter prefixes: what follows the last occurrence is the tensor's name."""
OPTIONS = ("features", "text_columns")
"""Settings of a checkpoint that are options of its method."""


@dataclass(frozen=True)
class OfficialModel:
    """method, image and text encoder in eval mode. release: which published weights these are, a name of
    `official.seen`. unused: tensors of the file that the official inference does not use either, by name.
    pair: the two sentences about a class, {} for its name, between which the release decides; None where it
    scores one sentence, the dataset's official one."""

    method: Method
    image: ImageEncoder
    text: TextEncoder
    release: str
    unused: tuple[str, ...] = field(default=())
    pair: tuple[str, str] | None = None

    @property
    def preprocessing(self) -> Preprocessing:
        return self.image.preprocessing


@dataclass(frozen=True)
class _Released:
    """What a builder gets: tensors, where they came from and how they are read."""

    state: dict[str, Tensor]
    path: Path
    tokenizer: Path | str | None
    layout: str | None
    heads: int | None
    settings: CheckpointSettings


_Builder = Callable[[_Released], tuple[ImageEncoder, TextEncoder, set[str]]]


def load_official(
    method: str,
    checkpoint: Path | str,
    *,
    tokenizer: Path | str | None = None,
    layout: str | None = None,
    heads: int | None = None,
    settings: CheckpointSettings = USUAL,
) -> OfficialModel:
    """Method and encoders of an official checkpoint.

    method: carzero, gloria, medclip, radzero, brgsa or clip (CheXzero's flat layout, or CT-CLIP). checkpoint:
    as `load_checkpoint` reads it. tokenizer: folder (not for CheXzero). layout: `chexzero` (clip), since the
    tensors of open_clip and CheXzero have the same names, and differ in activation and preprocessing. heads:
    attention heads of the encoders, width / 64 where not given. settings: what the file does not say; its
    `member` and `head` are of `official.ensemble.load_with`.
    Raises BenchError where the file does not fit, listing missing and surplus names.
    """
    if method not in _BUILDERS:
        raise UnknownName("official checkpoint layout", method, _BUILDERS)
    path = Path(checkpoint)
    state = load_checkpoint(path, PREFIXES.get(method, ""))
    check_finite(state.items(), str(path))
    source = _Released(state, path, tokenizer, layout, heads, settings)
    release = CT_CLIP if method == "clip" and CT_CLIP_MARK in state else method
    build = _ct_clip if release == CT_CLIP else _BUILDERS[method]
    with parsing(path, f"an official {release} checkpoint", "Check the file and --method.", error=BenchError):
        image, text, unused = build(source)
        module = official_method(method, state, image.width, text.width, settings)
    return OfficialModel(
        module.eval(), image.eval(), text.eval(), release, tuple(sorted(unused)), PAIRS.get(release)
    )


def official_method(
    name: str,
    state: dict[str, Tensor],
    image_width: int,
    text_width: int,
    settings: CheckpointSettings = USUAL,
) -> Method:
    """The method of a checkpoint with its weights loaded, for encoders of these widths."""
    kind = METHODS.get(name)
    if name == "clip":
        from benchmark.official.models import DualEncoder

        options = {**kind.settings("official"), "width": image_width, "project": "never"}
        volumes = CT_CLIP_MARK in state  # whose tokens are no vectors of the joint space: no similarity maps
        module = (DualEncoder if volumes else kind)(kind.Config(**options), image_width, text_width)
        module.load_state_dict({"logit_scale": state["temperature" if volumes else "logit_scale"]})
        return module
    options = kind.official_options(state)
    options |= {own: getattr(settings, own) for own in settings.changed() if own in OPTIONS}
    module = kind(kind.Config(**options), image_width, text_width)
    module.load_state_dict(kind.import_official(state))
    return module


def _carzero(source: _Released) -> tuple[ImageEncoder, TextEncoder, set[str]]:
    from benchmark.official.images import OfficialViT
    from benchmark.official.texts import WordBert

    state, heads = source.state, source.heads
    image = OfficialViT(take(state, "img_encoder.model."), str(source.path), heads)
    text = WordBert(
        take(state, "text_encoder.model."), source.tokenizer, str(source.path), "carzero-bert", heads
    )
    known = ("img_encoder.model.", "text_encoder.model.", "fusion_module.")
    _refuse_others(state, known, source.path)
    unused = {
        name
        for name in state
        if name == "fusion_module.logit_scale" or ".self_attn." in name or ".norm1." in name
        if name.startswith("fusion_module.")
    }
    return image, text, unused | _old_buffers(state)


def _gloria(source: _Released) -> tuple[ImageEncoder, TextEncoder, set[str]]:
    from benchmark.official.images import OfficialResNet
    from benchmark.official.texts import WordBert

    state = source.state
    image = OfficialResNet(take(state, "img_encoder.model."), str(source.path), gloria=True)
    text = WordBert(
        take(state, "text_encoder.model."),
        source.tokenizer,
        str(source.path),
        "gloria-bert",
        source.heads,
    )
    known = (
        "img_encoder.model.",
        "text_encoder.model.",
        "img_encoder.global_embedder.",
        "img_encoder.local_embedder.",
    )
    _refuse_others(state, known, source.path)
    return image, text, _old_buffers(state)


def _medclip(source: _Released) -> tuple[ImageEncoder, TextEncoder, set[str]]:
    from benchmark.official.images import OfficialResNet, OfficialSwin
    from benchmark.official.texts import MedCLIPText

    state, where = source.state, str(source.path)
    vision = take(state, "vision_model.model.")
    classifier = vision.pop("fc.weight", None)  # the ResNet's projection, which the method takes
    image: ImageEncoder
    if classifier is None:
        image = OfficialSwin(vision, where)
    else:
        image = OfficialResNet(vision, where, gloria=False)
    language = take(state, "text_model.model.")
    text = MedCLIPText(language, source.tokenizer, where, source.settings.pooling, source.heads)
    known = (
        "vision_model.model.",
        "vision_model.projection_head.",
        "text_model.model.",
        "text_model.projection_head.",
        "logit_scale",
    )
    _refuse_others(state, known, source.path)
    return image, text, _old_buffers(state)


def _radzero(source: _Released) -> tuple[ImageEncoder, TextEncoder, set[str]]:
    from benchmark.official.images import OfficialDino
    from benchmark.official.texts import MPNetText

    state, where = source.state, str(source.path)
    mean, std = _processor(source)
    size = source.settings.size
    image = OfficialDino(
        take(state, "vision_model."),
        where,
        mean,
        std,
        size,
        source.heads,
    )
    if size % image.network.patch:
        raise BenchError(
            f"{where}: images of {size} px are no multiple of its patches of {image.network.patch} px."
        )
    text = MPNetText(take(state, "text_model."), source.tokenizer, where)
    known = ("vision_model.", "text_model.", "align_transformer.", "loss_fns.RadZeroLoss.")
    _refuse_others(state, known, source.path)
    return image, text, {n for n in state if n == "vision_model.embeddings.mask_token" or ".pooler." in n}


def _processor(source: _Released) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of RadZero's image processor, which the weights do not hold."""
    file = source.path.with_name("preprocessor_config.json")
    if not file.is_file():
        raise BenchError(
            f"{file}: not found. RadZero's weights do not hold the image mean and std; put the vision "
            "encoder's preprocessor_config.json beside the checkpoint."
        )
    content = read_json(file)
    with parsing(file, "an image processor", "It needs image_mean and image_std.", error=BenchError):
        return tuple(content["image_mean"]), tuple(content["image_std"])


def _brgsa(source: _Released) -> tuple[ImageEncoder, TextEncoder, set[str]]:
    from benchmark.official.images import OfficialVolumes
    from benchmark.official.texts import WordBert

    state, where, heads = source.state, str(source.path), source.heads
    image = OfficialVolumes(take(state, "img_encoder.model."), where, heads)
    text = WordBert(take(state, "text_encoder.model."), source.tokenizer, where, "brgsa-bert", heads)
    known = (
        "img_encoder.model.",
        "img_encoder.global_embedder.",
        "img_encoder.local_embedder.",
        "text_encoder.model.",
        "text_encoder.emb_global.",
        "text_encoder.emb_local.",
        "dictionarylearning.dictionary.",
    )
    _refuse_others(state, known, source.path)
    unused = {name for name in state if ".local_embedder." in name or ".emb_local." in name}
    return image, text, unused | _old_buffers(state)


def _clip(source: _Released) -> tuple[ImageEncoder, TextEncoder, set[str]]:
    from open_clip.model import build_model_from_openai_state_dict

    from benchmark.official.images import OfficialClipImage
    from benchmark.official.texts import ClipText

    needed = (
        "visual.conv1.weight",
        "visual.proj",
        "text_projection",
        "token_embedding.weight",
        "logit_scale",
    )
    missing = [name for name in needed if name not in source.state]
    if missing:
        raise BenchError(f"{source.path}: no flat CLIP state dict, it lacks {listed(missing)}.")
    if source.layout != "chexzero":
        raise BenchError(
            f"{source.path}: its tensors are those of CheXzero and of open_clip alike, which differ in "
            "activation and preprocessing; add --layout chexzero, or give --model open_clip:FILE "
            "--architecture NAME."
        )
    extra = {"input_resolution", "context_length", "vocab_size"}
    state = {name: value for name, value in source.state.items() if name not in extra}
    with parsing(source.path, "a CLIP vision transformer", error=BenchError):
        model = build_model_from_openai_state_dict(dict(state), cast_dtype=torch.float32).float()
    load_strictly(model, state, "CLIP model")  # again: the builder rounds weights to half precision
    unused = {name for name in source.state if name in extra}
    return OfficialClipImage(model.visual, str(source.path)), ClipText(model, str(source.path)), unused


def _ct_clip(source: _Released) -> tuple[ImageEncoder, TextEncoder, set[str]]:
    from benchmark.official import ctclip

    state, where = source.state, str(source.path)
    _refuse_others(state, (*ctclip.PARTS, *ctclip.COPIES, "temperature"), source.path)
    if source.layout is not None:
        raise BenchError(f"{where}: a CT-CLIP checkpoint, which its tensors say; leave out --layout.")
    image = ctclip.CtClipVolumes(state, where)
    text = ctclip.CtClipText(state, source.tokenizer, where, source.heads)
    if "temperature" not in state or image.width != text.width:
        raise BenchError(
            f"{where}: no CT-CLIP checkpoint: it needs a temperature, and volumes ({image.width}) and texts "
            f"({text.width}) of one width."
        )
    unused = {name for name in state if name.startswith(ctclip.COPIES)}
    return image, text, unused | ctclip.unused(state) | _old_buffers(state)


_BUILDERS: dict[str, _Builder] = {
    "brgsa": _brgsa,
    "carzero": _carzero,
    "clip": _clip,
    "gloria": _gloria,
    "medclip": _medclip,
    "radzero": _radzero,
}


def _refuse_others(state: Mapping[str, Tensor], known: tuple[str, ...], path: Path) -> None:
    surplus = sorted(name for name in state if not name.startswith(known))
    if surplus:
        raise BenchError(
            f"{path}: tensors that belong to no part of the model: {listed(surplus)}. "
            "Check the file and --method."
        )


def _old_buffers(state: Mapping[str, Tensor]) -> set[str]:
    """Integer buffers that old library releases stored."""
    return {n for n in state if n.endswith(("embeddings.position_ids", "relative_position_index"))}
