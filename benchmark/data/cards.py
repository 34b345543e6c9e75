"""Dataset cards: what a dataset is, how its files are read and how it is evaluated. YAML only, no code.

A dataset is a folder with `card.yaml` and, where it has classes, `prompts.yaml`. The folders are looked
for in $CXR_ALIGNBENCH_DATASETS (one or more folders, first one wins), in `datasets/` of the checkout and
in the copy that an installed wheel carries. Unknown keys are errors that name file and line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from benchmark.core.errors import CardError, UnknownName, closest
from benchmark.core.located import Located, read_located
from benchmark.core.tasks import CLASSIFICATION, check_task
from benchmark.data.table_options import LabelColumns, TableOptions

Policy = Literal["positive", "negative", "ignore"]
View = Literal["PA", "AP", "L", "frontal"]
Model = TypeVar("Model", bound="_Frozen")

VARIABLE = "CXR_ALIGNBENCH_DATASETS"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=False)


class Counts(_Frozen):
    """Published size of a split, or of the whole set under `all`. `source` says how sure it is."""

    images: int | None = Field(None, ge=0)
    studies: int | None = Field(None, ge=0)
    patients: int | None = Field(None, ge=0)
    reports: int | None = Field(None, ge=0)
    source: Literal["verified", "read", "published"] = "published"


class KnownIssue(_Frozen):
    """A fault of the official files. `images`: the names it touches, where they are known.

    action: `drop` leaves the named images out and counts them; `keep` leaves them in; `list` reports
    them; `fail` stops the reading.
    """

    issue: str
    action: Literal["drop", "keep", "list", "fail"]
    images: tuple[str, ...] = ()
    source: str = ""


class LabelPolicy(_Frozen):
    """What the two states that are neither yes nor no count as; both must be said.

    uncertain: one policy, or one per class. source: a second set of labels of the same images; the
    manifest holds it in columns `<class>@<source>`.
    """

    uncertain: Policy | dict[str, Policy]
    missing: Policy
    source: str | None = None

    def uncertain_of(self, name: str) -> Policy:
        return self.uncertain[name] if isinstance(self.uncertain, dict) else self.uncertain


class Protocol(_Frozen):
    """One named way to evaluate the dataset.

    classes: in evaluation order; `all`, the name of a subset, or a list. split: values of the manifest's
    `split` column, empty for every image. image_list: only images that an official list holds (manifest
    column `list:<name>`). views: `all` or normalised views. prompts: a set of prompts.yaml.
    images, positives: what the official files give, for checks and for frequency groups. headline: the metric
    by which the protocol ranks; `bench run` shows it first.
    """

    official: bool
    title: str = ""
    task: str = CLASSIFICATION
    headline: Literal["auroc", "average_precision"] = "auroc"
    classes: Literal["all"] | str | tuple[str, ...]
    split: tuple[str, ...] = ()
    image_list: str | None = None
    views: Literal["all"] | tuple[View, ...] = "all"
    labels: LabelPolicy
    prompts: str = "official"
    images: int | None = Field(None, gt=0)
    patients: int | None = Field(None, gt=0)
    positives: dict[str, int] = {}
    notes: tuple[str, ...] = ()

    @field_validator("task")
    @classmethod
    def _known_task(cls, name: str) -> str:
        check_task(name)
        return name

    @model_serializer(mode="wrap")
    def _without_the_usual(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the usual headline, so that the content of a card that says none stays what it was."""
        found: dict[str, Any] = plain(self)
        if self.headline == "auroc":
            del found["headline"]
        return found


class StrataRule(_Frozen):
    """Frequency groups from the positives of one protocol: head = more than the percentile of the class
    counts, tail = at most `tail_at_most`, medium = the rest (CARZero, inference.py)."""

    protocol: str
    head_percentile: float = Field(65.0, gt=0, lt=100)
    tail_at_most: int = Field(10, ge=0)


class LabelRule(_Frozen):
    """How label terms of the files become classes: a class is positive if one of its terms is a
    substring of the joined terms, or equals one of them. All terms are lower case."""

    match: Literal["substring", "exact"]
    terms: dict[str, tuple[str, ...]]


class ClassPrompt(_Frozen):
    """Texts of one class. prompt, negative: of the official evaluation. display: for tables and the
    house template. synonyms: other names of the same finding."""

    prompt: str
    negative: str
    display: str
    synonyms: tuple[str, ...] = ()
    note: str = ""

    @model_validator(mode="after")
    def _differ(self) -> ClassPrompt:
        if self.prompt.casefold() == self.negative.casefold():
            raise ValueError(f"`prompt` and `negative` are both '{self.prompt}'; write what denies the class")
        return self


class PromptBook(_Frozen):
    """prompts.yaml. sets: named variants, class → prompt; a class that a set lacks keeps the official
    prompt."""

    source: str = ""
    classes: dict[str, ClassPrompt] = {}
    sets: dict[str, dict[str, str]] = {}

    def text(self, name: str, prompts: str = "official") -> str:
        """The positive prompt of one class. Raises UnknownName for a class or a set that is not there."""
        if name not in self.classes:
            raise UnknownName("class", name, self.classes, "prompts.yaml has no prompt for it.")
        if prompts != "official" and prompts not in self.sets:
            raise UnknownName("prompt set", prompts, ["official", *self.sets])
        return self.sets.get(prompts, {}).get(name, self.classes[name].prompt)


class Card(_Frozen):
    """One dataset.

    concepts: class → ids of datasets/lexicon.yaml, in the order of the manifest's columns. aliases: a
    label string in the files → class. pseudo: classes that are no findings. views: a view as the files
    write it → PA, AP or L. overlaps: datasets that hold images of the same patients under the same ids.
    """

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    title: str
    version: str
    role: Literal["training", "evaluation", "both"]
    modality: Literal["cxr", "ct"] = "cxr"
    reader: str
    table: TableOptions | None = None
    licence: str
    access: str
    citation: str
    redistribute: bool
    remote_llm: Literal["allowed", "forbidden"]
    cluster_unit: Literal["patient", "study", "report", "image"]
    cluster_note: str = ""
    counts: dict[str, Counts] = {}
    views: dict[str, View] = {}
    known_issues: tuple[KnownIssue, ...] = ()
    notes: tuple[str, ...] = ()
    concepts: dict[str, tuple[str, ...]] = {}
    aliases: dict[str, str] = {}
    pseudo: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    """Label strings that are no class; an image that has only these is negative everywhere."""
    unknown_labels_at_most: float = Field(0.01, ge=0, le=1)
    """Share of the labels read that may be neither class nor alias nor removed. Above it reading stops,
    because labels that are not understood count as negatives; 1 only counts them."""
    label_rules: dict[str, LabelRule] = {}
    label_noise: dict[str, float] = {}
    """Published or assumed error rates of mined labels, used by the twin: `missed`, `spurious`."""
    subsets: dict[str, tuple[str, ...]] = {}
    strata_rule: StrataRule | None = None
    protocols: dict[str, Protocol] = {}
    default_protocol: str | None = None
    overlaps: tuple[str, ...] = ()
    prompts: PromptBook = PromptBook()

    @property
    def classes(self) -> tuple[str, ...]:
        """Class columns of the manifest, in order."""
        return tuple(self.concepts)

    def protocol(self, name: str | None = None) -> Protocol:
        """A protocol by name, or the default one. Raises UnknownName, or CardError where there is none."""
        name = name or self.default_protocol
        if name is None:
            raise CardError(f"{self.name}: the card has no evaluation protocol; it is for training only.")
        if name not in self.protocols:
            raise UnknownName(
                "protocol", name, self.protocols, f"{self.name} has: {', '.join(self.protocols)}."
            )
        return self.protocols[name]

    def protocol_classes(self, name: str | None = None) -> tuple[str, ...]:
        """Classes of a protocol, in evaluation order."""
        wanted = self.protocol(name).classes
        if wanted == "all":
            return self.classes
        return self.subsets[wanted] if isinstance(wanted, str) else wanted

    def strata(self) -> dict[str, tuple[str, ...]]:
        """head, medium, tail → classes, from the official counts of the card; empty without a rule."""
        rule = self.strata_rule
        if rule is None:
            return {}
        counts = self.protocols[rule.protocol].positives
        cut = _percentile(sorted(counts.values()), rule.head_percentile)
        groups: dict[str, list[str]] = {"head": [], "medium": [], "tail": []}
        for name, count in counts.items():
            group = "head" if count > cut else "tail" if count <= rule.tail_at_most else "medium"
            groups[group].append(name)
        return {group: tuple(names) for group, names in groups.items()}

    @model_validator(mode="after")
    def _consistent(self) -> Card:
        known = set(self.concepts)
        if (self.reader == "table") != (self.table is not None):
            raise ValueError("`table` options go with `reader: table`, and only with it")
        for where, names in self._class_mentions():
            for name in names:
                if name not in known:
                    raise ValueError(f"{where} names class '{name}', which `concepts` lacks")
        for key, protocol in self.protocols.items():
            wanted = protocol.classes
            if isinstance(wanted, str) and wanted != "all" and wanted not in self.subsets:
                raise ValueError(f"protocol '{key}': no subset is called '{wanted}'")
            uncertain = protocol.labels.uncertain
            if isinstance(uncertain, dict) and set(uncertain) != set(self.protocol_classes(key)):
                raise ValueError(f"protocol '{key}': `uncertain` must name every class of the protocol once")
            if protocol.prompts != "official" and protocol.prompts not in self.prompts.sets:
                raise ValueError(f"protocol '{key}': prompts.yaml has no set '{protocol.prompts}'")
        if self.protocols and self.default_protocol not in self.protocols:
            raise ValueError("`default_protocol` must name one of `protocols`")
        if self.role != "training" and not self.protocols:
            raise ValueError("a card for evaluation needs at least one protocol")
        if self.strata_rule and not self.protocols[self.strata_rule.protocol].positives:
            raise ValueError("`strata_rule` names a protocol without `positives`")
        return self

    def _class_mentions(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        yield "aliases", tuple(self.aliases.values())
        yield "pseudo", self.pseudo
        yield "prompts.yaml", tuple(self.prompts.classes)
        if self.table is not None and isinstance(self.table.labels, LabelColumns):
            yield "table.labels.columns", tuple(self.table.labels.columns)
        for key, prompts in self.prompts.sets.items():
            yield f"prompts.yaml, set '{key}'", tuple(prompts)
        for key, names in self.subsets.items():
            yield f"subset '{key}'", names
        for key, rule in self.label_rules.items():
            yield f"label rule '{key}'", tuple(rule.terms)
        for key, protocol in self.protocols.items():
            yield f"protocol '{key}'", protocol.classes if isinstance(protocol.classes, tuple) else ()
            yield f"protocol '{key}'", tuple(protocol.positives)


def datasets_folder() -> Path:
    """The folder of built-in datasets: of the checkout, or of an installed wheel."""
    package = Path(__file__).resolve().parents[1]
    # in an installed tree a folder `datasets` beside the package may be the PyPI package of that name
    for folder in (package / "_datasets", package.parent / "datasets"):
        if (folder / "lexicon.yaml").is_file():
            return folder
    raise CardError(f"no datasets folder beside {package}. Set ${VARIABLE} to the folder of the cards.")


def card_folders() -> dict[str, Path]:
    """Dataset name → folder, sorted by name. A folder of $CXR_ALIGNBENCH_DATASETS hides a built-in one."""
    extra = [Path(p).expanduser() for p in os.environ.get(VARIABLE, "").split(os.pathsep) if p]
    found: dict[str, Path] = {}
    for place in extra:
        if not place.is_dir():
            raise CardError(f"${VARIABLE}: {place} is not a folder.")
    for place in [*extra, datasets_folder()]:
        for card in sorted(place.glob("*/card.yaml")):
            found.setdefault(card.parent.name, card.parent)
    return dict(sorted(found.items()))


def card_names() -> list[str]:
    return list(card_folders())


def load_card(name: str) -> Card:
    """The card of a dataset. Raises UnknownName with the nearest name, CardError with file and line."""
    folders = card_folders()
    if name not in folders:
        raise UnknownName("dataset", name, folders, "See `bench ls datasets`.")
    folder = folders[name]
    stamps = tuple(_stamp(folder / f) for f in ("card.yaml", "prompts.yaml"))
    return _cached(folder, stamps)


def read_card(folder: Path | str) -> Card:
    """The card in one folder, outside the registry of names."""
    folder = Path(folder)
    path, prompts_path = folder / "card.yaml", folder / "prompts.yaml"
    file = read_located(path, CardError)
    if "prompts" in file.value:
        raise CardError(f"{file.place(['prompts'])}: prompts belong into prompts.yaml beside the card.")
    if os.path.lexists(prompts_path):
        file.value["prompts"] = _build(PromptBook, read_located(prompts_path, CardError))
    card = _build(Card, file)
    if card.name != folder.name:
        raise CardError(f"{file.place(['name'])}: name '{card.name}' is not the folder's name.")
    return card


@lru_cache(maxsize=64)
def _cached(folder: Path, _stamps: tuple[Any, ...]) -> Card:
    return read_card(folder)


def _stamp(path: Path) -> tuple[int, int] | None:
    return (path.stat().st_mtime_ns, path.stat().st_size) if path.exists() else None


def _build(model: type[Model], file: Located) -> Model:
    try:
        return model.model_validate(file.value)
    except ValidationError as error:
        found = error.errors()
        first = next((e for e in found if e["type"] == "extra_forbidden"), found[0])
        where = ".".join(str(part) for part in first["loc"]) or "the card"
        what = first["msg"].removeprefix("Value error, ") + "."
        if first["type"] == "extra_forbidden":
            lacking = [
                e["loc"][-1] for e in found if e["type"] == "missing" and e["loc"][:-1] == first["loc"][:-1]
            ]
            near = closest(str(first["loc"][-1]), [str(k) for k in lacking])
            what = f"unknown key. Did you mean '{near}'?" if near else "unknown key."
        raise CardError(f"{file.place(first['loc'])}: {where}: {what}") from None


def _percentile(values: list[int], percent: float) -> float:
    """Linear interpolation between order statistics, as numpy's default."""
    position = (len(values) - 1) * percent / 100
    low = int(position)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (position - low)
