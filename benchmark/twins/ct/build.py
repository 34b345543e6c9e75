"""Build a CT twin: an official tree of volumes, with truth and masks beside it."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from benchmark.core.errors import DataError
from benchmark.core.files import remove_left, temporary_prefix
from benchmark.core.tables import write_table
from benchmark.core.workers import worker_pool
from benchmark.data.cards import Card, load_card
from benchmark.twins.build import TwinSummary, truth_path
from benchmark.twins.case import Finding
from benchmark.twins.ct.catalogue import DEFAULT_VOLUMES, CTSite, ct_site, findings_of
from benchmark.twins.ct.reports import write_report
from benchmark.twins.ct.scan import TwinScan, scan
from benchmark.twins.ct.writers import CT_WRITERS
from benchmark.twins.population import Visit, generator, visits

DEFAULT_SIDE = 112
COLUMNS = (
    "patient", "study", "image", "image_id", "source", "sentence", "section", "text", "concept", "presence",
    "side", "location", "severity", "mask", "x", "y", "z", "w", "d", "h",
)  # fmt: skip


class CTSpec(BaseModel, frozen=True, extra="forbid"):
    """images: how many volumes, None for the default of the dataset. side: voxels of a slice on each axis."""

    images: int | None = Field(default=None, gt=0)
    side: int = Field(default=DEFAULT_SIDE, ge=24, le=512)


def masks_path(root: Path | str) -> Path:
    """`<root>.masks.zip`, beside the tree: packed bits of each lesion, named in the truth."""
    root = Path(root)
    return root.parent / f"{root.name}.masks.zip"


def make_scan(visit: Visit, site: CTSite, side: int, seed: int) -> TwinScan:
    """Draw and report one visit; a pure function of its arguments."""
    findings = findings_of(visit, site, seed)
    made = scan(visit, findings, site, side, seed)
    if not site.reports:
        return made
    sentences, sections = write_report(visit, findings, site, made.enhanced, seed)
    return replace(made, sentences=sentences, sections=tuple(sections.items()))


def generate(dataset: str, spec: CTSpec, seed: int, workers: int = 2) -> Iterator[TwinScan]:
    """Scans in order. The number of workers changes nothing but the time."""
    site = ct_site(dataset)
    plan = visits(site.people, spec.images or DEFAULT_VOLUMES[dataset], seed)
    if workers <= 1:
        yield from (make_scan(visit, site, spec.side, seed) for visit in plan)
        return
    with worker_pool(workers) as pool:
        pending: list[Any] = []
        for visit in plan:
            pending.append(pool.submit(make_scan, visit, site, spec.side, seed))
            if len(pending) > 2 * workers:
                yield pending.pop(0).result()
        for future in pending:
            yield future.result()


def build_ct_twin(
    dataset: str,
    root: Path | str,
    spec: CTSpec | None = None,
    seed: int = 0,
    workers: int = 2,
    card: Card | None = None,
) -> TwinSummary:
    """Write the twin of `dataset` to `root`, its truth and masks beside it.

    The tree is complete or absent, and truth and masks lie there before it does. A twin at `root` is
    replaced; another folder is not. Raises UnknownName for a dataset without a site, DataError where `root`
    holds something else.
    """
    spec, root = spec or CTSpec(), Path(root)
    site, writer = ct_site(dataset), CT_WRITERS.get(dataset)
    truth = truth_path(root)
    if root.exists() and any(root.iterdir()) and not truth.exists():
        raise DataError(f"{root}: holds files and is no twin; name another folder.")
    start = time.perf_counter()
    root.parent.mkdir(parents=True, exist_ok=True)
    remove_left(root.parent)
    staging = Path(tempfile.mkdtemp(prefix=temporary_prefix(root.name), dir=root.parent))
    try:
        tree = staging / "tree"
        tree.mkdir()
        with zipfile.ZipFile(staging / "masks.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=6) as masks:
            log = _ScanTruth(masks)
            rng = generator(seed, site.people.name, "writer")
            scans = log.watch(generate(dataset, spec, seed, workers))
            ids = writer(tree, scans, card or load_card(dataset), rng)
        log.save(
            staging / "truth.parquet", ids, {"dataset": dataset, "seed": seed, "spec": spec.model_dump()}
        )
        if root.exists():
            os.replace(root, staging / "old")
        os.replace(staging / "masks.zip", masks_path(root))
        os.replace(staging / "truth.parquet", truth)
        os.replace(tree, root)  # last, so that wherever this ends no tree lies there without its own truth
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return TwinSummary(
        dataset, root, truth, log.volumes, log.scans, len(log.patients), dict(sorted(log.counts.items())),
        time.perf_counter() - start,
    )  # fmt: skip


class _ScanTruth:
    """Rows of what is drawn and what is said, gathered while a writer consumes the scans."""

    def __init__(self, masks: zipfile.ZipFile) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.patients: set[int] = set()
        self.volumes = self.scans = 0
        self.counts: dict[str, int] = {}
        self._masks = masks

    def watch(self, scans: Iterable[TwinScan]) -> Iterator[TwinScan]:
        for own in scans:
            self._note(own)
            yield own

    def _note(self, own: TwinScan) -> None:
        self.scans += 1
        self.volumes += len(own.volumes)
        self.patients.add(own.patient.number)
        key = (own.patient.number, own.number)
        for finding in own.findings:
            self.counts[finding.concept] = self.counts.get(finding.concept, 0) + len(own.volumes)
            lesions = [(i, n) for i, n in enumerate(own.lesions) if n.concept == finding.concept]
            for number, lesion in lesions:
                name = f"{own.number}/{number}"
                packed = np.packbits(lesion.mask).tobytes()
                self._masks.writestr(
                    zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), packed, zipfile.ZIP_DEFLATED, 6
                )
            drawn: list[tuple[Any, ...]] = [(f"{own.number}/{i}", *n.box) for i, n in lesions]
            drawn = drawn or [(None,) * 7]
            for volume in own.volumes:
                for row in drawn:
                    self.rows.append(
                        (*key, volume.number, None, "image", None, None, None, *_stated(finding), *row)
                    )
        for i, sentence in enumerate(own.sentences):
            for row in [_stated(f) for f in sentence.findings] or [(None,) * 5]:
                said = (i, sentence.section, sentence.text)
                self.rows.append((*key, None, None, "sentence", *said, *row, None, *[None] * 6))

    def save(self, path: Path, ids: Mapping[int, str], meta: dict[str, Any]) -> None:
        import pandas as pd

        frame = pd.DataFrame(self.rows, columns=list(COLUMNS))
        frame["image_id"] = frame["image"].map(lambda n: ids.get(n) if pd.notna(n) else None).astype("string")
        numbers = ("image", "sentence", "x", "y", "z", "w", "d", "h")
        write_table(path, frame.astype(dict.fromkeys(numbers, "Int64")), meta)


def _stated(finding: Finding) -> tuple[Any, ...]:
    return finding.concept, finding.presence, finding.side, finding.location, finding.severity
