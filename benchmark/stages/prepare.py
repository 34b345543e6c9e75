"""Stages twin and prepare: official files, or their synthetic twin, become one manifest."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from benchmark.core.errors import DataError
from benchmark.core.files import write_text
from benchmark.core.hashing import derive_seed
from benchmark.core.tables import TWIN_NOTICE, Manifest, Origin
from benchmark.grid.layout import Project
from benchmark.grid.params import Params

OFFICIAL_NOTE = "NO-TWIN.txt"


@dataclass(frozen=True)
class Prepared:
    """Where a manifest lies and what to tell the user about it."""

    folder: Path
    origin: Origin
    message: str

    def load(self) -> Manifest:
        return Manifest.load(self.folder)


def make_twin(project: Project, params: Params, dataset: str) -> str:
    """Generate data/twins/<dataset>. The same parameters give the same bytes.

    A dataset whose official files are configured gets a note there instead.
    """
    if dataset in params.data.roots:
        source_of(project, params, dataset)
        write_text(project.twin(dataset) / OFFICIAL_NOTE, f"{dataset} is read from data.roots; no twin.\n")
        return f"{dataset}: official files are configured, no twin is made"
    from benchmark.twins.build import TwinSpec, build_twin

    spec = TwinSpec(images=params.twins.images.get(dataset), size=params.twins.size)
    seed = derive_seed(params.twins.seed, "twin", dataset)
    summary = build_twin(dataset, project.twin(dataset), spec, seed)
    return f"{dataset}: {summary.images} images in {project.relative(project.twin(dataset))} ({TWIN_NOTICE})"


def source_of(project: Project, params: Params, dataset: str) -> tuple[Path, Origin]:
    """The data root of a dataset and whether it holds official files or the twin.

    A configured root may name an environment variable. Raises DataError where it is unset or no folder.
    """
    root = params.data.roots.get(dataset)
    if root is None:
        return project.twin(dataset), "twin"
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
    return path, "official"


def prepare_dataset(project: Project, params: Params, dataset: str) -> Prepared:
    """Read a dataset into its manifest. Makes the twin first where it is needed and missing.

    Raises DataError for a missing root or files that are not in the official layout.
    """
    from benchmark.data.cards import load_card
    from benchmark.data.dataset import read_dataset, remarks

    root, origin = source_of(project, params, dataset)
    if origin == "twin" and (not root.is_dir() or (root / OFFICIAL_NOTE).exists()):
        make_twin(project, params, dataset)
    manifest = read_dataset(dataset, root, origin)
    folder = project.prepared(dataset, origin)
    manifest.save(folder)
    notice = f" ({TWIN_NOTICE})" if origin == "twin" else " (official files)"
    patients = manifest.frame["patient_id"].nunique()
    known = f"of {patients:,} patients" if patients else "without patient ids"
    text = f"{dataset}: {len(manifest):,} images {known}{notice}"
    text = "; ".join([text, *remarks(manifest, load_card(dataset))])
    return Prepared(folder, origin, text)
