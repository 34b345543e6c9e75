"""Where a model looks in one CT volume when it is asked one text, and how that fits what is drawn there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from benchmark.core.errors import BenchError, DataError
from benchmark.grid.layout import Project
from benchmark.grid.params import Params
from benchmark.stages.features import device, encode_texts
from benchmark.stages.look import KnownPlace, Model, known_of, manifest_of

if TYPE_CHECKING:
    from benchmark.core.tables import Manifest
    from benchmark.data.volume_grid import Volume
    from benchmark.encoders.volume_encoder import VolumeEncoder
    from benchmark.evaluation.localisation import LocalisationMetrics
    from benchmark.evaluation.volume_maps import Drawn, Places


@dataclass(frozen=True)
class LookedVolume:
    """tokens: (*grid) map. places: of each axis' voxels on the map, in tokens. kind: what the map is.
    `known.mask` is of voxels. measures: None where no lesion is drawn."""

    axes: ClassVar[int] = 3
    image: Path
    text: str
    model: str
    kind: str
    score: float
    tokens: np.ndarray
    places: Places
    volume: Volume
    known: KnownPlace | None
    measures: LocalisationMetrics | None


def is_volume(image: Path) -> bool:
    """Whether the path is of a CT volume by its name: NIfTI, a numpy archive, a folder of DICOM slices."""
    from benchmark.data.volumes import SUFFIXES

    return image.is_dir() or image.name.lower().endswith(SUFFIXES)


def look_volume(
    project: Project, params: Params, model: Model, image: Path, text: str, cls: str | None = None
) -> LookedVolume:
    """params: those of CT volumes (`grid.modality.on_volumes`).

    Raises DataError for an unreadable volume, BenchError for a model of radiographs or without maps of three
    dimensions, UnknownName for a class that the volume's set does not know.
    """
    from benchmark.data.decoded_volumes import VolumeSource, decoded_volumes, volume_sources
    from benchmark.data.volumes import read_volume
    from benchmark.encoders.cache import image_features
    from benchmark.encoders.volume_encoder import VolumeEncoder
    from benchmark.evaluation.scoring import score
    from benchmark.evaluation.volume_maps import measured_volume, token_places

    if not isinstance(model.image, VolumeEncoder):
        raise BenchError(f"{model.name}: reads radiographs, and {image.name} is a CT volume.")
    if not text.strip():
        raise DataError('the text is empty. Ask for a finding, as in "There is pleural effusion".')
    manifest = manifest_of(project, params, image)
    if manifest is None:
        source = VolumeSource(image)
    else:
        (source,) = volume_sources(manifest, [_row(manifest, image)])
    volume = read_volume(source.path, source.told)
    decoded = decoded_volumes([source], model.image.steps, project.cache / "decoded")
    features = image_features(
        decoded.voxels,
        model.image,
        project.cache / "features",
        precision=params.encoders.precision,
        pixels_key=decoded.key,
        device=device(),
    )
    texts = encode_texts(project, model.text, [text])
    asked = texts.get(texts.rows([text]))
    value = float(score(model.method, features, asked, device=device())[0, 0])
    maps = None
    if len(features.grid) == 3:
        maps = model.method.similarity_map(features.get(np.array([0])).to(device()), asked.to(device()))
    if maps is None:
        raise BenchError(f"{model.name}: has no map of three dimensions.")
    tokens = maps[0, 0].detach().float().cpu().numpy()
    places = token_places(volume, model.image.steps, tokens.shape)
    attention = model.method.MAP_IS_ATTENTION
    known, measures = known_of(project, params, image, text, cls), None
    if known is not None and known.cls is not None and known.origin == "twin" and manifest is not None:
        lesion = _lesion(manifest, known, volume, model.image, tokens.shape)
        if lesion is not None:
            known = replace(known, mask=lesion.voxels)
            measures = measured_volume(tokens, places, lesion, attention)
    kind = "attention" if attention else "similarity"
    return LookedVolume(image, text, model.name, kind, value, tokens, places, volume, known, measures)


def _row(manifest: Manifest, image: Path) -> int:
    inside = image.resolve().relative_to(manifest.root.resolve()).as_posix()
    return int(np.flatnonzero((manifest.frame["path"] == inside).to_numpy())[0])


def _lesion(
    manifest: Manifest, known: KnownPlace, volume: Volume, encoder: VolumeEncoder, grid: tuple[int, int, int]
) -> Drawn | None:
    """What the twin drew of the class; None where nothing of it, or nothing that the encoder sees."""
    from benchmark.data.cards import load_card
    from benchmark.evaluation.volume_maps import drawn_lesion
    from benchmark.prompts.lexicon import load_lexicon

    lexicon, own = load_lexicon(), load_card(known.dataset).concepts.get(str(known.cls), ())
    concepts = frozenset(own).union(*(lexicon.descendants(c) for c in own if c in lexicon))
    return drawn_lesion(manifest.root, known.image_id, concepts, volume, encoder.steps, grid)
