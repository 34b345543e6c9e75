"""Image and text features of a dataset from the shared cache."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from benchmark.core.errors import DataError
from benchmark.core.progress import Report, watched
from benchmark.core.tables import Manifest
from benchmark.grid.layout import Project
from benchmark.grid.params import Params

if TYPE_CHECKING:
    import numpy as np

    from benchmark.encoders.base import ImageEncoder, TextEncoder
    from benchmark.encoders.cards import ImageCard, TextCard
    from benchmark.encoders.store import FeatureStore, TextStore


@lru_cache(maxsize=4)
def shared_image_encoder(spec: str | ImageCard) -> ImageEncoder:
    from benchmark.encoders.factory import image_encoder

    return image_encoder(spec)


@lru_cache(maxsize=4)
def shared_text_encoder(spec: str | TextCard) -> TextEncoder:
    from benchmark.encoders.factory import text_encoder

    return text_encoder(spec)


def image_store(project: Project, params: Params, manifest: Manifest) -> FeatureStore:
    """Features of every image of a manifest, in its order, under the run's shared image encoder.

    Raises DataError naming the first unreadable image; the card's known issues were left out by the reader.
    """
    return encode_images(project, shared_image_encoder(params.encoders.image), params, manifest)


def encode_images(
    project: Project, encoder: ImageEncoder, params: Params, manifest: Manifest
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
    project: Project, encoder: ImageEncoder, manifest: Manifest, report: Report
) -> tuple[np.ndarray, str]:
    """What the encoder reads of every image, and its content key."""
    from benchmark.encoders.volume_encoder import VolumeEncoder

    if isinstance(encoder, VolumeEncoder):
        from benchmark.data.decoded_volumes import decoded_volumes, volume_sources

        sources = volume_sources(manifest)
        volumes = decoded_volumes(sources, encoder.steps, project.cache / "decoded", on_progress=report)
        return volumes.voxels, volumes.key
    from benchmark.data.decoded import decoded

    paths = [manifest.root / path for path in manifest.frame["path"]]
    found = decoded(paths, encoder.preprocessing, project.cache / "decoded", on_progress=report)
    return found.pixels, found.key


def text_store(project: Project, params: Params, texts: Sequence[str]) -> TextStore:
    """Features of distinct texts under the run's shared text encoder."""
    return encode_texts(project, shared_text_encoder(params.encoders.text), texts)


def encode_texts(project: Project, encoder: TextEncoder, texts: Sequence[str]) -> TextStore:
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
