"""The record behind one AUROC, as JSON and in lines for people."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmark.prompts.settings import TextParams
from benchmark.reporting.numbers import count_text, interval_text, p_text, signed_text


@dataclass(frozen=True)
class SeedValue:
    """The AUROC of one seed."""

    seed: int
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Compared:
    """The AUROC minus that of another row. mde_undefined: why there is no minimum detectable effect."""

    other: str
    delta: float
    low: float | None
    high: float | None
    p: float | None
    mde: float | None
    mde_undefined: str


@dataclass(frozen=True)
class SavedScores:
    """The predictions of one seed: first digits of the hashes of what they rest on; how they were made."""

    seed: int
    prompt_hash: str
    data_hash: str
    weights_hash: str
    precision: str | None
    device: str | None


@dataclass(frozen=True)
class SetStory:
    """What all classes of a cell on a set share. trained_on: dataset → official, or the notice of twins.
    trainings: what identifies each training, as text."""

    notice: str
    protocol: str
    labels: Mapping[str, Any]
    images: int
    protocol_notes: Sequence[str]
    encoder: str
    trained_on: Mapping[str, str]
    texts: TextParams
    trainings: Sequence[Mapping[str, str]]
    predictions: Sequence[SavedScores]
    reproduce: str


@dataclass(frozen=True)
class Story:
    """Everything behind the AUROC of one cell on one set. cls: a class, or macro. counts: n_pos, n_neg,
    n_ignored and n_patients. training_studies: how many name the class; None for the mean."""

    cell: str
    dataset: str
    cls: str
    value: float | None
    low: float | None
    high: float | None
    counts: Mapping[str, int | None]
    note: str
    seeds: Sequence[SeedValue]
    interval: str
    comparisons: Sequence[Compared]
    strata: Sequence[str]
    training_studies: int | None
    prompt: str
    of_set: SetStory

    @property
    def reproduce(self) -> str:
        """The commands of the set, of which the last asks for this very number."""
        asked = "" if self.cls == "macro" else f" {shlex.quote(self.cls)}"
        return self.of_set.reproduce + asked

    def to_json(self) -> dict[str, Any]:
        at = self.of_set
        return {
            "cell": self.cell,
            "dataset": self.dataset,
            "class": self.cls,
            "metric": "auroc",
            "notice": at.notice,
            "value": self.value,
            "low": self.low,
            "high": self.high,
            **self.counts,
            "note": self.note,
            "seeds": [asdict(seed) for seed in self.seeds],
            "interval": self.interval,
            "comparisons": [asdict(other) for other in self.comparisons],
            "strata": self.strata,
            "training_studies": self.training_studies,
            "prompt": self.prompt,
            "protocol": at.protocol,
            "labels": at.labels,
            "images": at.images,
            "protocol_notes": at.protocol_notes,
            "encoder": at.encoder,
            "trained_on": at.trained_on,
            "texts": at.texts.model_dump(),
            "trainings": at.trainings,
            "predictions": [asdict(saved) for saved in at.predictions],
            "reproduce": self.reproduce,
        }


def explain_lines(story: Story) -> list[tuple[str, str]]:
    """What a record says, as (what, text), for people; what it does not have is left out."""
    at, counted = story.of_set, story.counts
    kinds = {"n_pos": "positives", "n_neg": "negatives", "n_ignored": "ignored"}
    counts = " · ".join(f"{count_text(counted[k])} {title}" for k, title in kinds.items())
    policy = ", ".join(f"{k} {v}" for k, v in at.labels.items() if v is not None)
    named = story.training_studies
    lines = [
        ("AUROC", interval_text(story.value, story.low, story.high) + f"  {at.notice}"),
        ("note", story.note),
        ("seeds", ", ".join(f"{s.seed}: {s.value:.4f}" for s in story.seeds if s.value is not None)),
        ("interval", story.interval),
        ("labels", f"{counts} · {count_text(counted['n_patients'])} patients · {at.images:,} images"),
        ("protocol", f"{at.protocol} ({policy})"),
        ("strata", ", ".join(story.strata)),
        ("named", "" if named is None else f"in {named:,} training studies"),
        ("prompt", story.prompt),
        ("encoders", at.encoder),
        ("trained on", ", ".join(f"{d} ({o})" for d, o in at.trained_on.items())),
        ("texts", f"{at.texts.wording} {at.texts.unit}, {at.texts.rule}"),
    ]
    for other in story.comparisons:
        delta = signed_text(other.delta, other.low, other.high)
        mde = "" if other.mde is None else f", MDE {other.mde:.3f}"
        mde = f", {other.mde_undefined}" if other.mde_undefined else mde
        lines.append(("against", f"{other.other}: {delta}, p {p_text(other.p)}{mde}"))
    for run in at.trainings:
        facts = [f"{k} {v}" for k, v in run.items() if k != "seed"]
        lines.append((f"seed {run['seed']}", ", ".join(facts)))
    for made in at.predictions:
        hashes = f"prompt {made.prompt_hash}, data {made.data_hash}, weights {made.weights_hash}"
        lines.append(("scores", f"seed {made.seed}: {hashes}"))
    lines.append(("reproduce", at.reproduce))
    return [(what, text) for what, text in lines if text]


def explain_text(story: Story) -> str:
    """The same as one text."""
    (_, number), *rest = explain_lines(story)
    rest = [(what, story.reproduce if what == "reproduce" else text) for what, text in rest]
    lines = [f"{story.cell} on {story.dataset}, {story.cls}: AUROC {number}"]
    return "\n".join([*lines, *(f"  {what:<12}{text}" for what, text in rest)])
