"""Stage evaluate: predictions and metrics of one trained cell on one dataset."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.core.hashing import derive_seed, hash_sources, hash_strings, hash_value
from benchmark.core.tables import Manifest, Predictions, write_table
from benchmark.grid.layout import Project, source_name
from benchmark.grid.params import Cell, Params, PromptParams
from benchmark.stages.features import device, encode_images, encode_texts, image_store, text_store
from benchmark.stages.texts import Named

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.data.cards import Card
    from benchmark.data.dataset import EvaluationSet
    from benchmark.encoders.base import ImageEncoder, TextEncoder
    from benchmark.encoders.store import FeatureStore, TextStore
    from benchmark.prompts.class_prompts import PromptSet
    from benchmark.training.distributed import Group
    from methods.base import Method

METRICS = "metrics.parquet"
EVERY_IMAGE = "every-image"
TILE = (64, 64)
"""Images and texts that are scored at once."""


def code_key(method: str, *modules: str) -> str:
    """Hash of the sources that scores and metrics of a method rest on, with `modules`: part of the key of
    what is reused, so that an edited metric is computed again."""
    from methods.base import METHODS

    own = METHODS.get(method).__module__
    shared = ("benchmark.evaluation", "benchmark.prompts.class_prompts", "methods.base", "methods.blocks")
    return hash_sources(*shared, own, *modules)


@dataclass(frozen=True)
class Target:
    """One dataset as a protocol evaluates it, with the features of its images.

    rows: (N,) rows of `images` that the protocol chose. encode: texts → their features under the run's text
    encoder. encoder: names of the two encoders. strata: name → classes.
    """

    card: Card
    manifest: Manifest
    chosen: EvaluationSet
    images: FeatureStore
    rows: np.ndarray
    encode: Callable[[Sequence[str]], TextStore]
    encoder: str
    strata: dict[str, tuple[str, ...]]
    note: str


def target(
    project: Project,
    params: Params,
    manifest: Manifest,
    *,
    protocol: str | None = None,
    trained_on: str | None = None,
    named: Named | None = None,
    encoders: tuple[ImageEncoder, TextEncoder] | None = None,
) -> Target:
    """Choose images, classes and labels by a protocol and find their features.

    encoders: those of an official checkpoint; without them, the run's shared ones.

    Without a protocol the card's default is used; where official files hold only a part of its image list
    and the model was not trained on this dataset, every image of the folder is evaluated and `note` says so.
    """
    from benchmark.data.cards import load_card
    from benchmark.data.dataset import evaluation_set

    card = load_card(manifest.dataset)
    wanted = protocol or params.data.protocols.get(manifest.dataset)
    chosen = evaluation_set(manifest, card, wanted)
    note = ""
    expected = chosen.info["official_images"]
    if manifest.origin == "official" and expected and len(chosen) < expected:
        note = (
            f"{len(chosen):,} of the {expected:,} images of protocol '{chosen.info['protocol']}' are here: "
            "not comparable with published numbers"
        )
        apart = manifest.dataset != trained_on
        if wanted is None and apart and EVERY_IMAGE in card.protocols:
            chosen = evaluation_set(manifest, card, EVERY_IMAGE)
            note += f"; all {len(chosen):,} images of the folder are evaluated (protocol '{EVERY_IMAGE}')"
    if encoders is None:
        images = image_store(project, params, manifest)
        encode = partial(text_store, project, params)
        names = f"{params.encoders.image}+{params.encoders.text}"
    else:
        images = encode_images(project, encoders[0], params, manifest)
        encode = partial(encode_texts, project, encoders[1])
        names = "+".join(e.card.name for e in encoders)
    place = {name: row for row, name in enumerate(manifest.frame["image_id"])}
    rows = np.array([place[name] for name in chosen.frame["image_id"]], dtype=np.int64)
    strata = strata_of(card, chosen.classes, named)
    return Target(card, manifest, chosen, images, rows, encode, names, strata, note)


def strata_of(card: Card, classes: tuple[str, ...], named: Named | None) -> dict[str, tuple[str, ...]]:
    """Named groups of classes beside head, medium and tail: the card's subsets, its findings without
    pseudo-labels, and, where training reports are known, the classes they name and never name."""
    groups = {
        name: tuple(c for c in classes if c in members)
        for name, members in card.subsets.items()
        if set(members) < set(classes)
    }
    if card.pseudo and set(card.pseudo) & set(classes):
        groups["findings"] = tuple(c for c in classes if c not in card.pseudo)
    if named is not None and named.studies:
        seen = {c: any(named.present.get(k) for k in card.concepts.get(c, ())) for c in classes}
        never = tuple(c for c in classes if not seen[c] and c not in card.pseudo)
        if never:
            groups["never-named"] = never
            groups["named"] = tuple(c for c in classes if seen[c] and c not in card.pseudo)
    return {name: members for name, members in groups.items() if members}


def prompt_set(card: Card, protocol: str, prompts: PromptParams) -> PromptSet:
    from benchmark.prompts.class_prompts import class_prompts

    return class_prompts(
        card, protocol, prompts.style, template=prompts.template, aggregation=prompts.aggregation
    )


def predict(method: Method, at: Target, prompts: PromptSet, group: Group | None = None) -> np.ndarray:
    """(N, C) scores of the chosen images against the classes; the processes of `group` share the images."""
    from benchmark.evaluation.prompt_scores import class_scores, pooled_prompts
    from benchmark.evaluation.scoring import score
    from benchmark.training.distributed import Group, local_device, tile_bounds

    group = group or Group()
    store = group.first_then_all(lambda: at.encode(prompts.texts))
    features, reduced = pooled_prompts(store.get(store.rows(prompts.texts)), prompts)
    bounds = tile_bounds(len(at.rows), TILE[0], group)
    own = at.rows[bounds[group.rank] : bounds[group.rank + 1]]
    scores = score(method, at.images, features, TILE, rows=own, device=local_device(device(), group))
    return class_scores(group.join_rows(scores, bounds), reduced)


def evaluate_cell(
    project: Project,
    params: Params,
    cell: Cell,
    seed: int,
    method: Method,
    run: Mapping[str, Any],
    at: Target,
    group: Group | None = None,
) -> pd.DataFrame:
    """Score, save predictions and metrics under results/, return the metric rows of all prompts.

    The first prompts of the cell are its own; further ones are rows of the prompt ablation. The processes of
    `group` share the scoring; rank 0 does the rest, and the others return no rows.
    """
    import pandas as pd

    from benchmark.evaluation.evaluate import evaluate

    folder = project.results(cell.name, seed) / source_name(at.manifest.dataset, at.manifest.origin)
    config = params.statistics
    subgroups = subgroups_of(at.chosen.frame)
    frames = []
    for number, wanted in enumerate(cell.prompts_on(at.manifest.dataset)):
        prompts = prompt_set(at.card, at.chosen.info["protocol"], wanted)
        scores = predict(method, at, prompts, group)
        if group is not None and not group.first:
            continue
        label = prompt_label(prompts)
        identity = {
            "run_id": run["identity"][:16],
            "method": cell.method,
            "variant": cell.variant,
            "encoder": at.encoder,
            "dataset": at.manifest.dataset,
            "origin": at.manifest.origin,
            "split": at.chosen.info["protocol"],
            "prompts": label,
            "seed": seed,
            "task": "classification",
        }
        save_predictions(folder, number, scores, at, identity, prompts.hash, run)
        frames.append(
            evaluate(
                scores,
                at.chosen.labels,
                at.chosen.patients,
                at.chosen.classes,
                strata=at.strata,
                subgroups=subgroups if number == 0 else {},
                identity=identity,
                config=config,
                seed=derive_seed(0, "bootstrap", at.manifest.dataset),
            )
        )
    if not frames:
        return pd.DataFrame()
    metrics = pd.concat(frames, ignore_index=True)
    about = {"cell": cell.name, "notice": at.manifest.origin, "evaluation": at.chosen.info, "note": at.note}
    write_table(folder / METRICS, metrics, about)
    return metrics


def save_predictions(
    folder: Any, number: int, scores: np.ndarray, at: Target, identity: dict[str, Any], prompts: str, run: Any
) -> None:
    """predictions.parquet for the cell's own prompts, predictions-<prompts>.parquet for the others."""
    import pandas as pd

    ids = pd.DataFrame({"image_id": at.chosen.frame["image_id"], "patient_id": at.chosen.patients})
    columns = pd.DataFrame(scores.astype(np.float32), columns=list(at.chosen.classes))
    info = {
        **identity,
        "protocol": identity["split"],
        "prompt_hash": prompts,
        "weights_hash": run["model_sha256"],
        "data_hash": hash_value([at.images.key, hash_strings(at.chosen.frame["image_id"])]),
        "precision": str(at.images.local.dtype),
        "commit": run["commit"],
        "device": run["device"],
        "versions": run["versions"],
        "trained_on": run.get("trained_on"),
    }
    name = "predictions" if number == 0 else f"predictions-{slug(identity['prompts'])}"
    frame = pd.concat([ids.reset_index(drop=True), columns], axis=1)
    Predictions(at.chosen.classes, frame, info).save(folder / f"{name}.parquet")


def subgroups_of(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Level of each image per subgroup, where the dataset has more than one: sex, age band, view, site."""
    import pandas as pd

    groups: dict[str, np.ndarray] = {}
    for name in ("sex", "view", "site"):
        values = frame[name].astype("string").fillna("")
        if values[values != ""].nunique() > 1:
            groups[name] = values.to_numpy(dtype=object)
    ages = pd.to_numeric(frame["age"], errors="coerce")
    if ages.notna().sum() > 1:
        bands = pd.cut(ages, [0, 40, 60, 75, 200], right=False, labels=["<40", "40-59", "60-74", "75+"])
        groups["age"] = bands.astype("string").fillna("").to_numpy(dtype=object)
    return groups


def prompt_label(prompts: PromptSet) -> str:
    """How the `prompts` column names a prompt set."""
    return (
        prompts.style if prompts.aggregation == "mean-score" else f"{prompts.style} ({prompts.aggregation})"
    )


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
