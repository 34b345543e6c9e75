"""Image and text features of a dataset from the shared cache."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmark.core import numerics
from benchmark.core.errors import DataError
from benchmark.core.progress import Report, watched
from benchmark.core.tables import Manifest
from benchmark.grid.layout import Project
from benchmark.grid.params import Params

if TYPE_CHECKING:
    import numpy as np

    from benchmark.encoders.base import ImageEncoder, TextEncoder
    from benchmark.encoders.cards import ImageCard, TextCard
    from benchmark.encoders.fingerprints import KnownEncoder
    from benchmark.encoders.store import FeatureStore, TextStore


@lru_cache(maxsize=4)
def shared_image_encoder(spec: str | ImageCard) -> ImageEncoder:
    from benchmark.encoders.factory import image_encoder

    return image_encoder(spec)


@lru_cache(maxsize=4)
def shared_text_encoder(spec: str | TextCard) -> TextEncoder:
    from benchmark.encoders.factory import text_encoder

    return text_encoder(spec)


def known_image_encoder(project: Project, spec: str | ImageCard) -> ImageEncoder | KnownEncoder[ImageEncoder]:
    """A shared image encoder whose network is built only where its fingerprint is not known.

    Raises BenchError for one that does not exist or cannot be built.
    """
    found: ImageEncoder | KnownEncoder[ImageEncoder] = _known(project.cache, "image", spec, numerics.state())
    return found


def known_text_encoder(project: Project, spec: str | TextCard) -> TextEncoder | KnownEncoder[TextEncoder]:
    """A shared text encoder, likewise."""
    found: TextEncoder | KnownEncoder[TextEncoder] = _known(project.cache, "text", spec, numerics.state())
    return found


@lru_cache(maxsize=8)
def _known(cache: Path, kind: Literal["image", "text"], spec: Any, _state: str) -> Any:
    from benchmark.encoders.fingerprints import known_encoder

    shared: Any = shared_image_encoder if kind == "image" else shared_text_encoder
    return known_encoder(spec, kind, cache, partial(shared, spec))


def image_store(project: Project, params: Params, manifest: Manifest) -> FeatureStore:
    """Features of every image of a manifest, in its order, under the run's shared image encoder.

    Raises DataError naming the first unreadable image; the card's known issues were left out by the reader.
    """
    return encode_images(project, known_image_encoder(project, params.encoders.image), params, manifest)


def encode_images(
    project: Project,
    encoder: ImageEncoder | KnownEncoder[ImageEncoder],
    params: Params,
    manifest: Manifest,
) -> FeatureStore:
    """Features of every image of a manifest under any image encoder."""
    from benchmark.encoders.cache import image_features

    if not len(manifest):
        raise DataError(f"{manifest.dataset}: no images in {manifest.root}.")
    with watched(f"decode {manifest.dataset}") as report:
        pixels, key = _decode(project, encoder, manifest, report)
    with watched(f"encode {manifest.dataset}") as report:
        return image_features(
            pixels,
            encoder,
            project.cache / "features",
            precision=params.encoders.precision,
            pixels_key=key,
            device=device(),
            report=report,
        )


def _decode(
    project: Project,
    encoder: ImageEncoder | KnownEncoder[ImageEncoder],
    manifest: Manifest,
    report: Report,
) -> tuple[np.ndarray, str]:
    """What the encoder reads of every image, and its content key."""
    from benchmark.encoders.volume_encoder import VolumeEncoder

    if isinstance(encoder, VolumeEncoder):
        from benchmark.data.decoded_volumes import decoded_volumes, volume_sources

        sources = volume_sources(manifest)
        volumes = decoded_volumes(sources, encoder.steps, project.cache / "decoded", on_progress=report)
        return volumes.voxels, volumes.key
    from benchmark.data.decoded import decoded

    paths = [os.path.join(manifest.root, path) for path in manifest.frame["path"]]  # noqa: PTH118  (thousands)
    found = decoded(paths, encoder.preprocessing, project.cache / "decoded", on_progress=report)
    return found.pixels, found.key


def text_store(project: Project, params: Params, texts: Sequence[str]) -> TextStore:
    """Features of distinct texts under the run's shared text encoder."""
    return encode_texts(project, known_text_encoder(project, params.encoders.text), texts)


def texts_cut(store: TextStore, card: TextCard) -> str | None:
    """How many texts are as long as the encoder reads, as one line; None where none is.

    store: features of the distinct texts. A text of just this length is counted, though none of it is lost.
    """
    import numpy as np

    limit = card.max_length - (2 if card.specials == "drop" else 0)
    full = int((np.diff(store.offsets) >= limit).sum())
    if not full:
        return None
    return (
        f"{full:,} of {len(store):,} texts fill the {card.max_length} tokens that {card.name} reads; "
        "what stands behind does not train"
    )


def encode_texts(
    project: Project, encoder: TextEncoder | KnownEncoder[TextEncoder], texts: Sequence[str]
) -> TextStore:
    """Features of distinct texts under any text encoder."""
    from benchmark.encoders.cache import text_features

    with watched("encode texts") as report:
        return text_features(texts, encoder, project.cache / "features", device=device(), report=report)


def device() -> str:
    """CUDA, then MPS, then the CPU."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
