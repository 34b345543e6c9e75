"""An evaluation set with the features of its images, and the groups of its classes and images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from benchmark.core.errors import DataError
from benchmark.core.hashing import hash_array, hash_strings, hash_value
from benchmark.core.tables import Manifest
from benchmark.data.dataset import EvaluationSet, evaluation_set

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.core.preprocessing import Preprocessing
    from benchmark.core.tasks import Need
    from benchmark.data.cards import Card
    from benchmark.data.volume_steps import VolumeSteps
    from benchmark.encoders.store import FeatureStore, TextStore

VALIDATION = "validate"


@dataclass(frozen=True)
class EvaluationData:
    """One dataset as a protocol evaluates it, with the features of its images.

    images: features of every image of the manifest. rows: (N,) rows of `images` that the protocol chose.
    encode: texts → their features under the run's text encoder. encoder: names of the two encoders. steps:
    from the original image to what the image encoder saw. strata: name → classes. report_texts:
    manifest rows → the texts of each one's report, no text without a report. note: what a reader must know
    of the choice. volume_steps: from the original volume to what an encoder of volumes saw.
    """

    card: Card
    manifest: Manifest
    chosen: EvaluationSet
    images: FeatureStore
    rows: np.ndarray
    encode: Callable[[Sequence[str]], TextStore]
    encoder: str
    steps: Preprocessing
    strata: dict[str, tuple[str, ...]]
    report_texts: Callable[[pd.DataFrame], list[list[str]]]
    note: str = ""
    volume_steps: VolumeSteps | None = None

    def __len__(self) -> int:
        return len(self.chosen)

    @cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of every chosen image, from its header."""
        from benchmark.data.pixels import image_size

        return [image_size(self.manifest.root / path) for path in self.chosen.frame["path"]]

    @cached_property
    def reports(self) -> list[list[str]]:
        """Texts of the report of every chosen image."""
        return self.report_texts(self.chosen.frame)

    @cached_property
    def subgroups(self) -> dict[str, np.ndarray]:
        return subgroups_of(self.chosen.frame)

    @cached_property
    def regions(self) -> pd.DataFrame | None:
        """Boxes and masks of the chosen images; None where the dataset has none."""
        regions = self.manifest.regions
        if regions is None:
            return None
        return regions[regions["image_id"].isin(set(self.chosen.frame["image_id"]))]

    @cached_property
    def identity(self) -> str:
        """Hash of the chosen rows as read: images, patients, studies and what else stands beside labels."""
        frame = self.chosen.frame
        plain = frame[[c for c in frame.columns if c not in self.manifest.classes and c != "report"]]
        return hash_value([hash_frame(plain), hash_strings(map(str, self.chosen.patients))])

    def content(self, need: Need) -> str:
        """Hash of what a task reads under this name."""
        if need == "labels":
            groups = {name: hash_strings(map(str, own)) for name, own in self.subgroups.items()}
            strata = {name: list(own) for name, own in self.strata.items()}
            return hash_value(
                [list(self.chosen.classes), hash_array(self.chosen.labels), strata, groups, self.card.pseudo]
            )
        if need == "reports":
            return hash_value(self.reports)
        if need == "maps":
            return hash_value([self.steps.model_dump(mode="json"), list(self.images.grid)])
        kind = {"boxes": "box", "masks": "mask"}[need]
        regions = self.regions
        return "" if regions is None else hash_frame(regions[regions["kind"] == kind])


def hash_frame(frame: pd.DataFrame) -> str:
    """Hash of columns, values and order of the rows; the index does not count."""
    from pandas.util import hash_pandas_object

    columns = {
        str(name): hash_array(hash_pandas_object(column.astype("string"), index=False).to_numpy())
        for name, column in frame.items()
    }
    return hash_value(columns)


def validation_data(data: EvaluationData) -> tuple[EvaluationData | None, str]:
    """The dataset's validation split under the same protocol, without any patient of the evaluation set; or
    None and why there is none. Scoring it needs no new features, as the store holds every image."""
    protocol = data.chosen.protocol
    if not protocol.split and protocol.image_list is None:
        return None, "the protocol evaluates images of every split"
    if VALIDATION in protocol.split:
        return None, "the protocol evaluates the validation split itself"
    name = data.chosen.info.protocol
    other = protocol.model_copy(update={"split": (VALIDATION,), "image_list": None, "images": None})
    card = data.card.model_copy(update={"protocols": {**data.card.protocols, name: other}})
    try:
        found = evaluation_set(data.manifest, card, name)
    except DataError:
        return None, "the dataset has no validation split"
    apart = ~np.isin(found.patients.astype(str), data.chosen.patients.astype(str))
    if not apart.any():
        return None, "every patient of the validation split is in the evaluation set"
    place = {image: row for row, image in enumerate(data.manifest.frame["image_id"])}
    frame = found.frame[apart].reset_index(drop=True)
    chosen = replace(found, frame=frame, labels=found.labels[apart], patients=found.patients[apart])
    rows = np.array([place[image] for image in frame["image_id"]], dtype=np.int64)
    return replace(data, chosen=chosen, rows=rows), ""


def strata_of(
    card: Card, classes: tuple[str, ...], named: Mapping[str, int] | None
) -> dict[str, tuple[str, ...]]:
    """Named groups of classes beside head, medium and tail: the card's subsets, its findings without
    pseudo-labels, and, where training reports are known, the classes they name and never name.

    named: concept → training studies that state it; None without training reports.
    """
    groups = {
        name: tuple(c for c in classes if c in members)
        for name, members in card.subsets.items()
        if set(members) < set(classes)
    }
    if card.pseudo and set(card.pseudo) & set(classes):
        groups["findings"] = tuple(c for c in classes if c not in card.pseudo)
    if named is not None:
        seen = {c: any(named.get(k) for k in card.concepts.get(c, ())) for c in classes}
        never = tuple(c for c in classes if not seen[c] and c not in card.pseudo and nameable(card, c))
        if never:
            groups["never-named"] = never
            groups["named"] = tuple(c for c in classes if seen[c] and c not in card.pseudo)
    return {name: members for name, members in groups.items() if members}


def are_findings(card: Card, classes: Sequence[str]) -> np.ndarray:
    """(C,) bool, whether a class is a finding: not one that the card says is none, nor one such as
    "No Finding" whose every concept is a remark of the lexicon."""
    from benchmark.prompts.lexicon import load_lexicon

    remarks = set(load_lexicon().ids("pseudo"))
    own = [set(card.concepts.get(name, ())) for name in classes]
    return np.array(
        [name not in card.pseudo and not (o and o <= remarks) for name, o in zip(classes, own, strict=True)]
    )


def nameable(card: Card, name: str) -> bool:
    """Whether the lexicon has a concept of a class; of others nobody can tell if the reports name them."""
    from benchmark.prompts.lexicon import load_lexicon

    lexicon = load_lexicon()
    return any(concept in lexicon for concept in card.concepts.get(name, ()))


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
