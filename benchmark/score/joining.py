"""Join predictions with labels by image id and class name, under stated policies, and evaluate them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from benchmark.core.cells import age_in_years
from benchmark.core.errors import DataError, UnknownName
from benchmark.data.card_faults import AVERAGES
from benchmark.score.predictions_file import ClassTable

if TYPE_CHECKING:
    from benchmark.core.tables import Manifest
    from benchmark.data.cards import Card
    from benchmark.data.dataset import EvaluationSet

Match = Literal["strict", "common"]
Rows = Literal["strict", "common", "by-order"]


@dataclass(frozen=True)
class Truth:
    """Labels that predictions are held against.

    ids (N,), classes C, labels (N, C) in {1, 0, -1}, patients (N,) or None, strata: name → classes,
    columns: subgroup columns by name, each (N,). aside: those that might have been meant as classes.
    named: whether images have ids. source: what the report calls it.
    """

    source: str
    ids: np.ndarray
    classes: tuple[str, ...]
    labels: np.ndarray
    patients: np.ndarray | None
    patient_column: str | None = None
    strata: Mapping[str, Sequence[str]] = field(default_factory=dict)
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    aside: tuple[str, ...] = ()
    named: bool = True


@dataclass(frozen=True)
class Joined:
    """One file's scores (N, C) in the order of `truth`; counts: what every policy did."""

    truth: Truth
    scores: np.ndarray
    counts: dict[str, int]


def truth_of_table(
    table: ClassTable,
    uncertain: Literal["ignore", "positive", "negative"],
    blank: Literal["ignore", "negative"],
) -> Truth:
    """Labels of a file: 1, 0, empty, -1. Raises DataError, naming row and class, on any other value."""
    values = table.values
    empty = np.isnan(values)
    valid = empty | (values == 0) | (values == 1) | (values == -1)
    if not valid.all():
        row, column = map(int, np.argwhere(~valid)[0])
        raise DataError(
            f"{table.path}: image '{table.ids[row]}', class '{table.classes[column]}': label "
            f"{values[row, column]:g} ({int((~valid).sum()):,} such); use 1, 0, -1 or an empty cell."
        )
    unsure = values == -1
    filled = np.where(empty, {"ignore": -1, "negative": 0}[blank], values)
    filled[unsure] = {"ignore": -1, "positive": 1, "negative": 0}[uncertain]
    counts = {"uncertain labels": int(unsure.sum()), "empty labels": int(empty.sum())}
    return Truth(
        str(table.path),
        table.ids,
        table.classes,
        filled.astype(np.int8),
        table.patients,
        table.patient_column,
        columns=table.others,
        counts=counts,
        aside=table.aside,
        named=table.named,
    )


def join(
    truth: Truth, table: ClassTable, *, rows: Rows, classes: Match, bad_scores: Literal["error", "ignore"]
) -> Joined:
    """Scores of `table` in the order of `truth`.

    `strict` refuses images or classes that only one side has; `common` keeps what both have and counts the
    rest; `by-order` pairs the rows of both files in their order. bad_scores `ignore` treats a NaN,
    infinite or missing score as an ignored label and counts it. Raises DataError or UnknownName.
    """
    truth, order, row_counts = _rows(truth, table, rows)
    truth, columns, class_counts = _classes(truth, table, classes)
    scores = table.values[np.ix_(order, columns)]
    present = table.present[np.ix_(order, columns)]
    bad = ~np.isfinite(scores)
    counts = {**truth.counts, **row_counts, **class_counts}
    if bad.any():
        if bad_scores == "error":
            i, j = map(int, np.argwhere(bad)[0])
            what = "is missing" if not present[i, j] else f"is {scores[i, j]:g}"
            raise DataError(
                f"{table.path}: image '{truth.ids[i]}', class '{truth.classes[j]}': the score {what} "
                f"({int(bad.sum()):,} such); correct it, or leave those out with --bad-scores ignore."
            )
        counts["bad scores left out"] = int(bad.sum())
        truth = replace(truth, labels=np.where(bad, np.int8(-1), truth.labels))
        scores = np.where(bad, 0.0, scores)
    return Joined(truth, scores, counts)


def _rows(truth: Truth, table: ClassTable, match: Rows) -> tuple[Truth, np.ndarray, dict[str, int]]:
    if match == "by-order":
        return truth, _by_order(truth, table), {"rows paired by order": len(truth.ids)}
    place = {name: i for i, name in enumerate(table.ids)}
    order = np.array([place.get(name, -1) for name in truth.ids], dtype=int)
    found = order >= 0
    if not found.any():
        raise DataError(
            f"{table.path}: no image in common with {truth.source} (ids like '{table.ids[0]}' against "
            f"'{truth.ids[0]}'); {_advice(table.ids, truth.ids)}."
        )
    surplus = len(table.ids) - int(found.sum())
    lacking = int((~found).sum())
    if match == "strict" and lacking:
        first = truth.ids[np.flatnonzero(~found)[0]]
        left = ~np.isin(table.ids, truth.ids)
        alike = _would_meet(table.ids[left], truth.ids[~found])
        raise DataError(
            f"{table.path}: no scores for {lacking:,} of {len(found):,} images of {truth.source}, the first "
            f"'{first}'; {alike or 'add them, or score the common images with --rows common'}."
        )
    if match == "strict" and surplus:
        known = set(truth.ids)
        first = next(name for name in table.ids if name not in known)
        raise DataError(
            f"{table.path}: {surplus:,} images have no labels in {truth.source}, the first '{first}'; "
            "remove them, or score the common images with --rows common."
        )
    kept = np.flatnonzero(found)
    if lacking:
        truth = replace(
            truth,
            ids=truth.ids[kept],
            labels=truth.labels[kept],
            patients=None if truth.patients is None else truth.patients[kept],
            columns={k: v[kept] for k, v in truth.columns.items()},
        )
    counts = {"images scored": len(kept), "images without scores": lacking, "images without labels": surplus}
    return truth, order[kept], counts


def _by_order(truth: Truth, table: ClassTable) -> np.ndarray:
    """Rows 0..N-1. Raises DataError where the counts differ, or ids that both files have contradict it."""
    if len(table.ids) != len(truth.ids):
        raise DataError(
            f"{table.path}: {len(table.ids):,} rows against {len(truth.ids):,} of {truth.source}; "
            "--rows by-order needs the same images in the same order."
        )
    if table.named and truth.named and set(table.ids) & set(truth.ids):
        other = np.flatnonzero(table.ids != truth.ids)
        if len(other):
            i = int(other[0])
            raise DataError(
                f"{table.path}: image {i + 1} is '{table.ids[i]}', but '{truth.ids[i]}' in {truth.source}; "
                "both files name their images, so join them by name, without --rows by-order."
            )
    return np.arange(len(truth.ids))


def _would_meet(ids: np.ndarray, wanted: np.ndarray) -> str | None:
    """How ids that do not meet would, if they were written alike; None where they would not."""
    steps: tuple[tuple[str, Callable[[str], str]], ...] = (
        ("spaces around them", str.strip),
        ("letter case", str.lower),
        ("folders", lambda text: re.split(r"[/\\]", text)[-1]),
        ("file endings", lambda text: re.sub(r"(\.nii\.gz|\.[A-Za-z]{1,5})$", "", text)),
        ("leading zeros or a decimal point", lambda text: text.removesuffix(".0").lstrip("0") or "0"),
    )
    ours, theirs = list(map(str, ids)), list(map(str, wanted))
    done: list[str] = []
    for name, step in steps:
        before = ours, theirs
        ours, theirs = [step(i) for i in ours], [step(i) for i in theirs]
        if before != (ours, theirs):
            done.append(name)
        meet = len(set(ours) & set(theirs))
        if meet:
            return f"{meet:,} would meet but for {' and '.join(done)}: write the ids alike in both files"
    return None


def _advice(ids: np.ndarray, wanted: np.ndarray) -> str:
    """What to do about ids of which none meet."""
    if alike := _would_meet(ids, wanted):
        return alike
    study = sum(any(j.startswith(f"{i}/") for j in map(str, wanted[:200])) for i in map(str, ids[:200]))
    if study:
        return "one file has studies and the other images: give scores for each image"
    return "choose the id column of each file with --id"


def _classes(truth: Truth, table: ClassTable, match: Match) -> tuple[Truth, np.ndarray, dict[str, int]]:
    place = {name: i for i, name in enumerate(table.classes)}
    known = set(truth.classes)
    surplus = [c for c in table.classes if c not in known]
    lacking = [c for c in truth.classes if c not in place]
    if match == "strict" and surplus:
        count = _renaming(table, len(surplus))
        raise UnknownName("class", surplus[0], truth.classes, count)
    if match == "strict" and lacking:
        raise DataError(
            f"{table.path}: no column for {len(lacking)} of {len(truth.classes)} classes, the first "
            f"'{lacking[0]}'; add them, or score the common classes with --classes common."
        )
    kept = [c for c in truth.classes if c in place]
    taken = next((c for c in kept if c in AVERAGES), None)
    if taken is not None:
        raise DataError(
            f"{table.path}: class '{taken}' has the name of an average ({', '.join(AVERAGES)}), whose row it "
            "would be taken for. Rename it in both files."
        )
    if not kept:
        raise UnknownName("class", table.classes[0], truth.classes, f"{table.path} shares no class name.")
    if lacking:
        columns = [truth.classes.index(c) for c in kept]
        truth = replace(
            truth,
            classes=tuple(kept),
            labels=truth.labels[:, columns],
            strata={k: [c for c in v if c in place] for k, v in truth.strata.items()},
        )
    counts = {
        "classes scored": len(kept),
        "classes without scores": len(lacking),
        "classes without labels": len(surplus),
    }
    return truth, np.array([place[c] for c in kept], dtype=int), counts


def _renaming(table: ClassTable, count: int) -> str:
    if table.unnamed or all(name.isdecimal() for name in table.classes):
        return f"{table.path} has no class names; give them by position with --columns positional."
    return f"{table.path} has {count} such columns; rename them, or use --classes common, or --columns affix."


def same_patients(ids: np.ndarray, source: str, ours: np.ndarray, other: str, theirs: np.ndarray) -> None:
    """Raises DataError where two sources, "" where unknown, put the images into other patients: intervals
    would be those of whichever comes first. Names may differ."""
    if len(ours) != len(theirs):
        return  # by order, which `join` refuses
    forth: dict[str, str] = {}
    back: dict[str, str] = {}
    for image, one, two in zip(ids, ours, theirs, strict=True):
        known = one != "" and two != ""
        if known and (forth.setdefault(one, two) != two or back.setdefault(two, one) != one):
            raise DataError(
                f"{other}: image '{image}': puts the images into other patients than {source}; correct one "
                "of them, or choose with --patients: another column, a file, or none."
            )


def check_another_training(path: Path, scores: np.ndarray, others: Mapping[Path, np.ndarray]) -> None:
    """Raises DataError where a file of a row holds the scores of another one: taken for two trainings, they
    would say that trainings do not differ."""
    for other, own in others.items():
        if np.array_equal(scores, own):
            raise DataError(
                f"{path}: the scores of {other} again, so no other training; give one file a training."
            )


def age_bands(values: np.ndarray) -> np.ndarray:
    """Ages of cells → the bands of the suite's own subgroups; empty where unknown."""
    import pandas as pd

    from benchmark.evaluation.evaluation_data import subgroups_of as own_subgroups

    years = [age_in_years(str(value)) for value in values]
    frame = pd.DataFrame({"age": years, "sex": "", "view": "", "site": ""})
    return own_subgroups(frame).get("age", np.full(len(values), "", dtype=object))


def is_age(name: str) -> bool:
    """Whether a column is one of ages: `age`, `Patient Age`."""
    return name.strip().lower().replace("_", " ").removeprefix("patient ") == "age"


def subgroups_of(truth: Truth, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Levels (N,) of the asked columns; ages become bands. Raises DataError where one is missing."""
    chosen = {}
    for name in names:
        if name not in truth.columns:
            have = ", ".join(truth.columns) or "none"
            raise DataError(f"{truth.source}: no subgroup column '{name}' (it has: {have}).")
        values = truth.columns[name]
        chosen[name] = age_bands(values) if is_age(name) else values
    return chosen


def dataset_truth(name: str, root: Path, protocol: str | None) -> Truth:
    """Labels of a dataset's official files under a protocol of its card."""
    from benchmark.data.card_faults import check_own_card
    from benchmark.data.cards import load_card
    from benchmark.data.chosen import chosen_set
    from benchmark.data.dataset import read_dataset
    from benchmark.score.raw_table import frame_columns

    check_own_card(name)
    card = load_card(name)
    manifest = read_dataset(name, root, "official")
    chosen = chosen_set(manifest, card, protocol)
    known = set(chosen.classes)
    named: dict[str, Any] = {**card.subsets, **card.strata()}
    strata = {k: [c for c in v if c in known] for k, v in named.items()}
    return Truth(
        f"{name} ({chosen.info.protocol})",
        chosen.frame["image_id"].astype(str).to_numpy(dtype=object),
        chosen.classes,
        chosen.labels,
        chosen.patients,
        strata={k: v for k, v in strata.items() if v},
        columns=frame_columns(chosen.frame, ("sex", "age", "view", "site")),
        counts={
            "official images": chosen.info.official_images or 0,
            **_unknown(manifest, card, chosen),
        },
    )


def _unknown(manifest: Manifest, card: Card, chosen: EvaluationSet) -> dict[str, int]:
    """Labels that are no class of the card, which count as negatives, and images without a known patient."""
    from benchmark.data.dataset import said_unknown

    unknown = manifest.info.unknown_labels
    counts = {f"labels of no class ({said_unknown(unknown, card)})": sum(unknown.values())} if unknown else {}
    nameless = chosen.info.unknown_patients
    if 0 < nameless < len(chosen):
        counts["images of unknown patients, each its own cluster"] = nameless
    return counts
