"""Stages twin and prepare: official files, or their synthetic twin, become one manifest."""

from __future__ import annotations

import os
import re
import tempfile
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.core.errors import DataError
from benchmark.core.files import read_yaml, write_text
from benchmark.core.hashing import derive_seed, hash_value
from benchmark.core.kept_value import kept_value
from benchmark.core.reuse import Key, Reused, changes, is_made, key_of, record, reuse, source
from benchmark.core.states import state_of
from benchmark.core.tables import TWIN_NOTICE, Manifest, Origin
from benchmark.grid.layout import Project, source_name
from benchmark.grid.params import Params, TwinParams

if TYPE_CHECKING:
    from benchmark.twins.build import TwinSummary

OFFICIAL_NOTE = "NO-TWIN.txt"
FEW = 200
"""Images of a twin that are drawn (10 ms each) before worker processes have started."""


@dataclass(frozen=True)
class Source:
    """Where a dataset is read from. name: of the folders of what is made from it, which official files, the
    configured twin and any other twin never share."""

    dataset: str
    origin: Origin
    root: Path
    name: str


@dataclass(frozen=True)
class PreparedDataset:
    """Where a manifest lies and what to tell the user about it."""

    folder: Path
    source: Source
    message: str

    def load(self) -> Manifest:
        return Manifest.load(self.folder, self.source.root)


def source_of(project: Project, params: Params, dataset: str) -> Source:
    """The data root of a dataset and whether it holds official files or the twin.

    A configured root may name an environment variable. A twin of another size, number or seed than the file
    params.yaml says has a folder of its own. Raises DataError where a variable is unset or a root no folder.
    """
    root = params.data.roots.get(dataset)
    if root is None:
        name = source_name(dataset, "twin")
        if params.twins.of(dataset) != _configured(project).of(dataset):
            name += f"-{hash_value(params.twins.of(dataset))[:8]}"
        return Source(dataset, "twin", project.twin(name), name)
    text = os.path.expandvars(root)
    unset = re.search(r"\$\{?(\w+)", text)
    if unset:
        raise DataError(
            f"{dataset}: data root {root}: ${unset[1]} is not set. Export it as the folder of the official "
            f"files, or correct data.roots.{dataset} in params.yaml."
        )
    path = Path(text).expanduser()
    path = path if path.is_absolute() else project.root / path
    if not path.is_dir():
        raise DataError(f"{dataset}: data root {text} is not a folder. Correct --data-root or data.roots.")
    return Source(dataset, "official", path, source_name(dataset, "official"))


def _configured(project: Project) -> TwinParams:
    status = project.params.stat()
    return _read_twins(project.params, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=8)
def _read_twins(path: Path, size: int, mtime_ns: int) -> TwinParams:
    """Of a file that was read and validated as a whole before, as these parameters come from it."""
    return TwinParams.model_validate(read_yaml(path)["twins"])


def twin_key(params: Params, dataset: str) -> Key:
    """Key of a twin: its settings, the card it follows and the source that draws, reports and writes it."""
    from benchmark.data.cards import load_card
    from benchmark.prompts.lexicon import load_lexicon

    return key_of(
        settings=params.twins.of(dataset),
        card=load_card(dataset).model_dump(mode="json"),
        lexicon=load_lexicon().hash,
        source=source(*_drawn_by(dataset)),
        **({"catalogue": _volume_catalogue()} if _volumes(dataset) else {}),
    )


def _volumes(dataset: str) -> bool:
    """Whether the twin of a dataset holds CT volumes."""
    from benchmark.twins.ct.catalogue import SITES

    return dataset in SITES


def _drawn_by(dataset: str) -> tuple[str, ...]:
    """The modules that draw, report and write a twin."""
    if _volumes(dataset):
        return "benchmark.twins.ct.build", "benchmark.twins.ct.findings.*"
    from benchmark.twins.build import WRITERS

    return "benchmark.twins.build", "benchmark.twins.findings.*", WRITERS.get(dataset).__module__


def _volume_catalogue() -> str:
    """Content of the catalogue of findings on CT, which no source file shows."""
    from benchmark.twins.ct.catalogue import catalogue

    return hash_value([concept.model_dump(mode="json") for concept in catalogue().values()])


def build_twin_of(
    project: Project, params: Params, dataset: str, out: Path | None = None, workers: int | None = None
) -> TwinSummary:
    """Draw a twin into its folder, or into `out`, whatever is there. Equal settings give equal bytes.

    workers: processes; by default this one alone where it is done before others have started.
    """
    seed = derive_seed(params.twins.seed, "twin", dataset)
    if out is not None:
        return _build(params, dataset, out, seed, workers)
    at = source_of(project, params, dataset)
    mark = project.mark("twins", at.name)
    mark.unlink(missing_ok=True)
    summary = _build(params, dataset, at.root, seed, workers)
    record(mark, twin_key(params, dataset), [summary.truth])
    return summary


def _build(params: Params, dataset: str, root: Path, seed: int, workers: int | None) -> TwinSummary:
    if _volumes(dataset):
        from benchmark.twins.ct.build import CTSpec, build_ct_twin

        drawn = params.twins.of(dataset)
        volumes = CTSpec(images=drawn["images"], side=params.twins.side)
        return build_ct_twin(dataset, root, volumes, seed, workers or 2)
    from benchmark.twins.build import TwinSpec, build_twin

    images = params.twins.images.get(dataset)
    workers = workers or (2 if images is None or images > FEW else 1)
    return build_twin(dataset, root, TwinSpec(images=images, size=params.twins.size), seed, workers)


def note_official(project: Project, dataset: str) -> None:
    """Say in the folder of the twin that there is none, as official files are configured."""
    write_text(project.twin(dataset) / OFFICIAL_NOTE, f"{dataset} is read from data.roots; no twin.\n")


def make_twin(project: Project, params: Params, dataset: str) -> str:
    """The twin of a dataset, drawn where it is missing or was drawn under another key.

    Files of a twin that were edited by hand stay; what is read from them is read again.
    """
    from benchmark.twins.build import truth_path

    at = source_of(project, params, dataset)
    mark, key = project.mark("twins", at.name), twin_key(params, dataset)
    where = f"{project.relative(at.root)} ({TWIN_NOTICE})"
    noted = (at.root / OFFICIAL_NOTE).exists()
    if at.root.is_dir() and not noted and is_made(mark, key, [truth_path(at.root)]):
        return f"{dataset}: twin reused, {where}"
    (at.root / OFFICIAL_NOTE).unlink(missing_ok=True)
    done = Reused(False, changes(mark, key))
    summary = build_twin_of(project, params, dataset)
    return f"{dataset}: {summary.images} images {done}, {where}"


def prepare_dataset(project: Project, params: Params, dataset: str) -> PreparedDataset:
    """The manifest of a dataset, read where it is missing or its files, card or reader changed. Makes the
    twin first where it is needed.

    Raises DataError for a missing root, files that are not in the official layout or change while they are
    read: a table that was put back later would find the other table's manifest under its own key.
    """
    from benchmark.data.cards import load_card
    from benchmark.data.dataset import read_dataset, remarks

    at = source_of(project, params, dataset)
    if at.origin == "twin":
        make_twin(project, params, dataset)
    folder, key = project.prepared(at.name), manifest_key(project, at)

    def read() -> None:
        before = state_of([at.root])
        manifest = read_dataset(dataset, at.root, at.origin)
        if state_of([at.root]) != before or manifest_key(project, at) != key:
            raise DataError(
                f"{at.root}: changed while {dataset} was read. Run again once nothing writes there."
            )
        manifest.save(folder)

    done = reuse(
        folder / "made.json",
        key,
        lambda: [p for p in (folder / "manifest.parquet", folder / "regions.parquet") if p.is_file()],
        read,
    )
    prepared = PreparedDataset(folder, at, "")
    manifest = prepared.load()
    noticed = remarks(manifest, load_card(dataset))
    if done.reused:
        return PreparedDataset(
            folder, at, "; ".join([f"{dataset}: reused {len(manifest):,} images", *noticed])
        )
    notice = f" ({TWIN_NOTICE})" if at.origin == "twin" else " (official files)"
    patients = manifest.frame["patient_id"].nunique()
    known = f"of {patients:,} patients" if patients else "without patient ids"
    again = f", {done}" if done.why else ""
    text = f"{dataset}: {len(manifest):,} images {known}{notice}{again}"
    return PreparedDataset(folder, at, "; ".join([text, *noticed]))


def _read_anew(root: Path) -> str:
    """Fingerprint of a folder of which something changed: no table counts as known by its size and time of
    change, which `cp -p` and `rsync -t` put back."""
    from benchmark.data.contents import fingerprint

    with tempfile.TemporaryDirectory() as index:
        return fingerprint(root, index)


def manifest_key(project: Project, at: Source) -> Key:
    """Key of a manifest: the files below the root, the card, and the reader with what it calls."""
    from benchmark.data.cards import load_card
    from benchmark.data.readers import READERS

    card = load_card(at.dataset)

    def state() -> Key | None:
        now, found = time.time_ns(), state_of([at.root])
        return key_of(files=found.digest) if found.settled(now) else None

    place = project.cache / "roots" / f"{hash_value(str(at.root.absolute()))[:16]}.json"
    return key_of(
        data=kept_value(place, state, lambda: _read_anew(at.root)),
        origin=at.origin,
        card=card.model_dump(mode="json"),
        source=source("benchmark.data.dataset", READERS.get(card.reader).__module__),
    )
