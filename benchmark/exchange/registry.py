"""results-registry/: rows that others computed, one folder a row, and under which evidence they stand.

recomputed   every number was computed again here from the scores and labels
signed       the labels may not leave their site; the bundle is signed by a key of results-registry/keys
quoted       neither; the numbers are the site's word

Rows are never ranked or tested against those of the main tables, whose budgets are equal by construction.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmark.core.errors import BenchError, DataError
from benchmark.core.files import read_json
from benchmark.core.hashing import hash_file
from benchmark.exchange.bundle import RECORD, Bundle, BundleRecord, read_bundle
from benchmark.exchange.recompute import headline

EvidenceClass = Literal["recomputed", "signed", "quoted"]
ENTRY, BUNDLE, KEYS = "entry.json", "bundle", "keys"


class Entry(BaseModel):
    """entry.json. labels: whose labels the numbers were recomputed with. key: of the signature, if known.
    bundle: sha256 of its bundle.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    evidence: EvidenceClass
    labels: Literal["here", "bundle", "none"]
    key: str | None
    bundle: str


@dataclass(frozen=True)
class SubmittedRow:
    """One row as tables show it. values: metric → (value, low, high) of the macro mean over seeds."""

    place: str
    entry: Entry
    record: BundleRecord
    values: dict[str, tuple[float, float, float]]
    patients: int | None
    positives: int | None

    @property
    def evidence(self) -> str:
        return f"signed by {self.entry.key}" if self.entry.evidence == "signed" else self.entry.evidence


def registry_folder(root: Path) -> Path:
    return root / "results-registry"


def row_folders(root: Path) -> list[Path]:
    return sorted(p.parent for p in registry_folder(root).glob(f"*/{ENTRY}"))


def read_entry(folder: Path) -> tuple[Entry, Bundle]:
    """Raises DataError where the row was changed after it was added."""
    try:
        entry = Entry.model_validate(read_json(folder / ENTRY))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise DataError(
            f"{folder / ENTRY}: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}. Add it again."
        ) from None
    bundle = read_bundle(folder / BUNDLE)
    if hash_file(bundle.folder / RECORD) != entry.bundle:
        raise DataError(f"{folder}: its bundle is not the one that was added. Submit it again.")
    return entry, bundle


def submitted_rows(root: Path) -> list[SubmittedRow]:
    """Every row of the registry, by dataset and name. Raises DataError for one that was changed."""
    rows = []
    for folder in row_folders(root):
        entry, bundle = read_entry(folder)
        metrics = bundle.metrics()
        values = {}
        for metric in ("auroc", "average_precision"):
            found = headline(bundle.record, metrics, metric)
            values[metric] = (found["value"], found["low"], found["high"])
        own = metrics[(metrics["class"] == "macro") & (metrics["stratum"] == "all") & metrics["seed"].isna()]
        counts = own[["n_patients", "n_pos"]].astype("Int64").iloc[0]
        patients, positives = (None if v != v else int(v) for v in counts.astype("float64"))
        rows.append(SubmittedRow(folder.name, entry, bundle.record, values, patients, positives))
    return sorted(rows, key=lambda r: (r.record.dataset, r.record.origin, r.record.name, r.place))


def row_name(bundle: Bundle) -> str:
    record = bundle.record
    return f"{record.dataset}-{record.origin}-{record.name}-{bundle.digest[:8]}"


def same_cell(root: Path, bundle: Bundle) -> list[Path]:
    """Folders of rows of the same name, set, protocol and seeds."""
    keys = ("name", "dataset", "origin", "protocol", "seeds")
    found = []
    for folder in row_folders(root):
        _, other = read_entry(folder)
        if all(getattr(other.record, k) == getattr(bundle.record, k) for k in keys):
            found.append(folder)
    return found


def check_free(folder: Path) -> None:
    if folder.exists():
        raise BenchError(f"{folder}: this very bundle is in the registry already. There is nothing to add.")
