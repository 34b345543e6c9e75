"""Build a twin: an official tree filled with synthetic patients, and the truth beside it."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from benchmark.core.errors import BenchError, DataError
from benchmark.core.files import remove_left, temporary_prefix
from benchmark.core.registry import Registry
from benchmark.core.tables import write_table
from benchmark.core.workers import worker_pool
from benchmark.twins.case import Finding, TwinStudy
from benchmark.twins.population import Visit, findings_of, generator, visits
from benchmark.twins.render import render
from benchmark.twins.reports import write_report
from benchmark.twins.sites import SITES, Site, site

DEFAULT_SIZE = 256
DEFAULT_IMAGES: dict[str, int] = {
    "mimic_cxr": 4000,
    "padchest": 2000,
    "chestxray14": 1500,
    "openi": 800,
    "chexpert": 668,
    "chexpert5x200": 1000,
    "chestxdet10": 542,
    "rsna_pneumonia": 500,
    "siim_pneumothorax": 500,
    "ms_cxr": 500,
    "vindr_cxr": 500,
    "cxr_lt": 500,
    "cxr_align": 500,
    "padchest_gr": 500,
    "cxr_lt_2026": 500,
}

Writer = Callable[[Path, Iterable[TwinStudy], Any, np.random.Generator], Mapping[int, str] | None]
"""write(root, studies, card, rng); may return image number → image id of the official files."""
WRITERS: Registry[Writer] = Registry(
    "twin writer",
    {name: f"benchmark.twins.writers.{name}:write" for name in SITES},
    "See `bench ls datasets`.",
)


class TwinSpec(BaseModel, frozen=True, extra="forbid"):
    """images: how many, None for the default of the dataset. size: side in pixels.
    site: fields of the dataset's Site to replace, e.g. {"healthy": 0.5}."""

    images: int | None = Field(default=None, gt=0)
    size: int = Field(default=DEFAULT_SIZE, ge=64, le=2048)
    site: dict[str, Any] = {}


@dataclass(frozen=True)
class TwinSummary:
    """What `build_twin` made. seconds: wall clock, writing included."""

    dataset: str
    root: Path
    truth: Path
    images: int
    studies: int
    patients: int
    findings: dict[str, int]
    """Concept → images that show or belong to it."""
    seconds: float


def twin_site(dataset: str, spec: TwinSpec) -> Site:
    """The dataset's site with the spec's overrides. Raises UnknownName, or BenchError for a bad override."""
    base = site(dataset)
    try:
        return Site.model_validate({**base.model_dump(), **spec.site})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BenchError(f"twin site '{dataset}': {where}: {first['msg']}; correct the override.") from None


def make_study(visit: Visit, place: Site, size: int, seed: int) -> TwinStudy:
    """Draw and report one visit; a pure function of its arguments."""
    findings = findings_of(visit, place, seed)
    sentences, sections = write_report(visit, findings, place, seed)
    images = tuple(render(visit, i, findings, place, size, seed) for i in range(len(visit.views)))
    return TwinStudy(visit.patient, visit.number, visit.days, images, findings, sentences, sections)


def generate(dataset: str, spec: TwinSpec, seed: int, workers: int = 2) -> Iterator[TwinStudy]:
    """Studies in order. The number of workers changes nothing but the time."""
    place = twin_site(dataset, spec)
    plan = visits(place, spec.images or DEFAULT_IMAGES[dataset], seed)
    if workers <= 1:
        yield from (make_study(visit, place, spec.size, seed) for visit in plan)
        return
    with worker_pool(workers) as pool:
        pending: list[Any] = []
        for batch in _batches(plan, 16):
            pending.append(pool.submit(_make_batch, batch, place, spec.size, seed))
            if len(pending) > 2 * workers:
                yield from pending.pop(0).result()
        for future in pending:
            yield from future.result()


def _batches(plan: Iterable[Visit], length: int) -> Iterator[list[Visit]]:
    batch: list[Visit] = []
    for visit in plan:
        batch.append(visit)
        if len(batch) == length:
            yield batch
            batch = []
    if batch:
        yield batch


def _make_batch(batch: list[Visit], place: Site, size: int, seed: int) -> list[TwinStudy]:
    return [make_study(visit, place, size, seed) for visit in batch]


def build_twin(
    dataset: str,
    root: Path | str,
    spec: TwinSpec | None = None,
    seed: int = 0,
    workers: int = 2,
    card: Any = None,
) -> TwinSummary:
    """Write the twin of `dataset` to `root` and its truth to `<root>.truth.parquet`.

    The tree is complete or absent, and its truth lies there before it does: both are written under temporary
    names and renamed. A twin at `root` is replaced; another folder is not. card: the dataset's card, loaded
    where it is not given.
    Raises UnknownName for a dataset without a site, DataError where `root` holds something else.
    """
    spec = spec or TwinSpec()
    root = Path(root)
    place = twin_site(dataset, spec)
    writer = WRITERS.get(dataset)
    if card is None:
        from benchmark.data.cards import load_card

        card = load_card(dataset)
    truth = truth_path(root)
    if root.exists() and any(root.iterdir()) and not truth.exists():
        raise DataError(f"{root}: holds files and is no twin; name another folder.")
    start = time.perf_counter()
    root.parent.mkdir(parents=True, exist_ok=True)
    remove_left(root.parent)
    staging = Path(tempfile.mkdtemp(prefix=temporary_prefix(root.name), dir=root.parent))
    log = _Truth()
    try:
        tree = staging / "tree"
        tree.mkdir()
        rng = generator(seed, place.name, "writer")
        ids = writer(tree, log.watch(generate(dataset, spec, seed, workers)), card, rng)
        known = staging / "truth.parquet"
        log.save(known, ids or {}, {"dataset": dataset, "seed": seed, "spec": spec.model_dump()})
        if root.exists():
            os.replace(root, staging / "old")
        os.replace(known, truth)
        os.replace(tree, root)  # last, so that wherever this ends no tree lies there without its own truth
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return TwinSummary(
        dataset,
        root,
        truth,
        log.images,
        log.studies,
        len(log.patients),
        dict(sorted(log.counts.items())),
        time.perf_counter() - start,
    )


def truth_path(root: Path | str) -> Path:
    """`<root>.truth.parquet`, beside the tree."""
    root = Path(root)
    return root.parent / f"{root.name}.truth.parquet"


_NO_BOX: tuple[Any, ...] = (None,) * 4
_NO_TEXT: tuple[Any, ...] = (None,) * 3
_NOTHING: tuple[Any, ...] = (None,) * 5


def _stated(finding: Finding) -> tuple[Any, ...]:
    return finding.concept, finding.presence, finding.side, finding.location, finding.severity


class _Truth:
    """Rows of what is drawn and what is said, gathered while a writer consumes the studies."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.patients: set[int] = set()
        self.images = self.studies = 0
        self.counts: dict[str, int] = {}

    def watch(self, studies: Iterable[TwinStudy]) -> Iterator[TwinStudy]:
        for study in studies:
            self._note(study)
            yield study

    def _note(self, study: TwinStudy) -> None:
        self.studies += 1
        self.images += len(study.images)
        self.patients.add(study.patient.number)
        key = (study.patient.number, study.number)
        for finding in study.findings:
            self.counts[finding.concept] = self.counts.get(finding.concept, 0) + len(study.images)
            for image in study.images:
                boxes = [r.box for r in image.regions if r.concept == finding.concept]
                for box in boxes or [_NO_BOX]:
                    self.rows.append((*key, image.number, "image", *_NO_TEXT, *_stated(finding), *box))
        for i, sentence in enumerate(study.sentences):
            said = (i, sentence.section, sentence.text)
            for row in [_stated(f) for f in sentence.findings] or [_NOTHING]:
                self.rows.append((*key, None, "sentence", *said, *row, *_NO_BOX))

    def save(self, path: Path, ids: Mapping[int, str], meta: dict[str, Any]) -> None:
        import pandas as pd

        columns = [
            "patient",
            "study",
            "image",
            "source",
            "sentence",
            "section",
            "text",
            "concept",
            "presence",
            "side",
        ]
        columns += ["location", "severity", "x", "y", "w", "h"]
        frame = pd.DataFrame(self.rows, columns=columns)
        frame = frame.astype({"image": "Int64", "sentence": "Int64"} | dict.fromkeys("xywh", "Float64"))
        frame.insert(
            3, "image_id", frame["image"].map(lambda n: ids.get(n) if pd.notna(n) else None).astype("string")
        )
        write_table(path, frame, meta)
