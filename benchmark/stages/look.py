"""Where a model looks in one image when it is asked one text, and how that fits what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from benchmark.core.cells import is_blank
from benchmark.core.errors import BenchError, DataError, UnknownName
from benchmark.evaluation.localisation import LocalisationMetrics, measured
from benchmark.grid.layout import Project, source_name
from benchmark.grid.params import Params, cell_named, encoders_of
from benchmark.stages.features import (
    device,
    encode_texts,
)
from benchmark.stages.prepare import source_of

if TYPE_CHECKING:
    from benchmark.core.tables import Manifest
    from benchmark.encoders.base import ImageEncoder, TextEncoder
    from methods.base import Method


@dataclass(frozen=True)
class Model:
    """A method with the encoders that it is asked through. name: for titles and file names."""

    name: str
    method: Method
    image: ImageEncoder
    text: TextEncoder


@dataclass(frozen=True)
class KnownPlace:
    """What a prepared set knows of an image. cls: the class that the text asks for, None where it names none.
    positive: its label, None where it is not known or uncertain. mask: (height, width) bool of its boxes and
    masks, None where none is drawn."""

    dataset: str
    origin: str
    redistribute: bool
    image_id: str
    cls: str | None
    positive: bool | None
    mask: np.ndarray | None


@dataclass(frozen=True)
class Looked:
    """pixels: (height, width) map in pixels of the image, UNSEEN where the encoder saw nothing. grey: the
    same size. kind: what the map is. measures: None where no truth is drawn."""

    axes: ClassVar[int] = 2
    image: Path
    text: str
    model: str
    kind: str
    score: float
    pixels: np.ndarray
    grey: np.ndarray
    known: KnownPlace | None
    measures: LocalisationMetrics | None


def trained_model(project: Project, params: Params, name: str, seed: int | None) -> Model:
    """A finished training of this project. Raises BenchError where there is none."""
    from benchmark.stages.trained_encoders import trained_pair
    from benchmark.training.finished import load_method

    cell = cell_named(params, name)
    done = [number for number, _ in project.trainings(cell.name)]
    if not done or (seed is not None and seed not in done):
        which, wanted = ("", "") if seed is None else (f" with seed {seed}", f" --seeds {seed}")
        raise BenchError(
            f"{cell.name}: no finished training{which} in {project.root / 'runs'}. "
            f"Run `bench stage cell {cell.name}{wanted}`."
        )
    chosen = done[0] if seed is None else seed
    method = load_method(project.run(cell.name, chosen))
    encoders = trained_pair(encoders_of(params, cell), cell.method, project.run(cell.name, chosen), chosen)
    return Model(f"{cell.name} seed {chosen}", method, *encoders)


def official_model(method: str, checkpoint: str, tokenizer: str | None, layout: str | None = None) -> Model:
    """An official checkpoint with its own encoders."""
    from benchmark.official.checkpoints import load_official

    found = load_official(method, checkpoint, tokenizer=tokenizer, layout=layout)
    return Model(f"{method}-official", found.method, found.image, found.text)


def dual_model(spec: str, architecture: str | None = None) -> Model:
    """A model of two towers under its own preprocessing (`official.models`). Raises BenchError, before any
    image is read, where its patch tokens do not live in the space of image and text vectors."""
    from benchmark.official.models import load_model

    found = load_model(spec, architecture)
    if not found.method.joint:
        raise BenchError(
            f"--model {spec}: has no map. Its image vector is pooled from patch tokens that do not live in "
            "the space of the texts, as attention pooling makes it."
        )
    return Model(f"{found.name}-model", found.method, found.image, found.text)


def look(
    project: Project, params: Params, model: Model, image: Path, text: str, cls: str | None = None
) -> Looked:
    """Raises DataError for an unreadable image, BenchError for a model without maps, UnknownName for a class
    that the image's set does not know."""
    from benchmark.core.hashing import hash_array
    from benchmark.data.pixels import preprocess, read_pixels
    from benchmark.encoders.cache import image_features
    from benchmark.evaluation.grounding import map_to_pixels
    from benchmark.evaluation.scoring import score

    if model.image.modality != "cxr":
        raise BenchError(f"{model.name}: reads CT volumes, and {image.name} is a radiograph.")
    if not text.strip():
        raise DataError('the text is empty. Ask for a finding, as in "There is pleural effusion".')
    grey = read_pixels(image)
    seen = preprocess(grey, model.image.preprocessing)[None]
    features = image_features(
        seen,
        model.image,
        project.cache / "features",
        precision=params.encoders.precision,
        pixels_key=hash_array(seen),
        device=device(),
    )
    texts = encode_texts(project, model.text, [text])
    asked = texts.get(texts.rows([text]))
    value = float(score(model.method, features, asked, device=device())[0, 0])
    maps = None
    if len(features.grid) == 2:
        maps = model.method.similarity_map(features.get(np.array([0])).to(device()), asked.to(device()))
    if maps is None:
        raise BenchError(f"{model.name}: has no map of two dimensions. `bench ls methods` names the methods.")
    pixels = map_to_pixels(maps[0].detach().float().cpu(), model.image.preprocessing, *grey.shape)[0].numpy()
    known = known_of(project, params, image, text, cls)
    attention = model.method.MAP_IS_ATTENTION
    measures = None
    if known is not None and known.mask is not None and known.mask.any():
        measures = measured(pixels, known.mask, attention)
    kind = "attention" if attention else "similarity"
    return Looked(image, text, model.name, kind, value, pixels, grey, known, measures)


def known_of(project: Project, params: Params, image: Path, text: str, cls: str | None) -> KnownPlace | None:
    """What the prepared sets of the project know of the image; None where it is in none of them."""
    from benchmark.data.cards import load_card
    from benchmark.data.masks import decode_mask
    from benchmark.data.pixels import image_size
    from benchmark.evaluation.grounding import boxes_on_grid

    manifest = manifest_of(project, params, image)
    if manifest is None:
        if cls is not None:
            raise DataError(
                f"{image}: in no prepared set, so nothing is known of '{cls}'. Leave --class out."
            )
        return None
    card = load_card(manifest.dataset)
    if cls is not None and cls not in card.classes:
        raise UnknownName("class", cls, card.classes, f"Classes of {card.name}.")
    inside = image.resolve().relative_to(manifest.root.resolve()).as_posix()
    row = manifest.frame.loc[manifest.frame["path"] == inside].iloc[0]
    mask = None
    regions = manifest.regions
    if regions is not None:
        regions = regions[regions["image_id"] == row["image_id"]]
        spoken = regions[regions["phrase"].fillna("").str.rstrip(".") == text.rstrip(".")]
        if cls is None and len(spoken):
            regions, cls = spoken, str(spoken["class"].iloc[0])
    cls = cls or class_of(text, card.concepts)
    if regions is not None and cls is not None:
        part = regions[regions["class"] == cls]
        x, y, w, h = (part.loc[part["kind"] == "box", c].to_numpy(dtype=float) for c in "xywh")
        height, width = image_size(image)
        space = manifest.info.box_space or (width, height)
        scale = np.tile([width / space[0], height / space[1]], 2)
        mask = boxes_on_grid(np.stack([x, y, x + w, y + h], axis=1) * scale, height, width)
        for rle in part.loc[part["kind"] == "mask", "rle"]:
            mask |= decode_mask(rle)
    label = None if cls is None else row[cls]
    positive = None if label is None or is_blank(label) or int(label) < 0 else int(label) == 1
    return KnownPlace(
        manifest.dataset, manifest.origin, card.redistribute, str(row["image_id"]), cls, positive,
        mask if mask is not None and mask.any() else None,
    )  # fmt: skip


def class_of(text: str, concepts: dict[str, tuple[str, ...]]) -> str | None:
    """The class of a card that a text asks for: the narrowest one that covers the first finding the rules
    read in it, whether it is stated or denied; None where there is none."""
    from benchmark.prompts.lexicon import load_lexicon
    from benchmark.prompts.rules import RuleAligner

    lexicon = load_lexicon()
    wide = {
        name: frozenset().union(*(lexicon.descendants(i) for i in ids if i in lexicon), ids)
        for name, ids in concepts.items()
    }
    for statement in RuleAligner().statements(text):
        covering = [name for name, covered in wide.items() if statement.concept in covered]
        if covering:
            return min(covering, key=lambda name: len(wide[name]))
    return None


def manifest_of(project: Project, params: Params, image: Path) -> Manifest | None:
    """The prepared set that holds this image file, official files before twins."""
    from benchmark.core.tables import Manifest

    place = image.resolve()
    folders = sorted(p.parent for p in (project.root / "data" / "prepared").glob("*/manifest.parquet"))
    for folder in sorted(folders, key=lambda f: not f.name.endswith("-official")):
        dataset = folder.name.removesuffix("-official")
        official = folder.name == source_name(dataset, "official") and dataset in params.data.roots
        root = source_of(project, params, dataset).root if official else project.twin(folder.name)
        if not place.is_relative_to(root.resolve()):
            continue
        manifest = Manifest.load(folder, root)
        if (manifest.frame["path"] == place.relative_to(root.resolve()).as_posix()).any():
            return manifest
    return None
