"""CXR-LT 2026: long-tailed labels, known and unseen classes, on PadChest and NIH images.

    CXRLT_2026_*.csv     ImageID, then a 0/1 column a class; `training`, `DEV` or `TEST` follows in the name
    …/<ImageID>          PNG of PadChest or ChestX-ray14, in any folder

Tables of one part (tasks 1 and 2) are merged by image; a class that no table of an image has stays unknown. A
table without label columns (what participants got of the hidden parts) is counted and left out. Patients are
not released: the first part of the file name, a study of PadChest or a patient of NIH, stands for them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.core.errors import DataError
from benchmark.core.tables import Manifest
from benchmark.data.cards import Card
from benchmark.data.readers import READERS
from benchmark.data.readers.common import Log, manifest, read_csv, require_names, states
from benchmark.data.readers.files import find, image_index, only, relative, require_root
from benchmark.data.readers.padchest import study_of

PARTS = {"train": "train", "dev": "validate", "val": "validate", "test": "test"}


@READERS.register("cxr_lt_2026")
def read(root: Path, card: Card) -> Manifest:
    """Raises DataError for missing tables and columns, and for tables that contradict each other."""
    root = require_root(root, card)
    log = Log()
    parts: dict[str, str] = {}
    known: dict[str, dict[str, int]] = {}
    first: Path | None = None
    for path in find(root, ["CXRLT_2026_*.csv", "cxrlt_2026_*.csv"], 2):
        first = _read_table(path, card, parts, known, log, root) or first
    if first is None:
        raise DataError(f"{root}: no labelled CXRLT_2026_*.csv. Check --data-root; {card.access}")
    index = image_index(root, (".png",))
    names = [name for name in parts if name in index]
    log.drop("image file is absent", [name for name in parts if name not in index])
    if not names:
        raise DataError(f"{root}: none of the {len(parts):,} images of {first.name} is here. {card.access}")
    study = [study_of(name) for name in names]
    meta = pd.DataFrame(
        {
            "image_id": names,
            "path": [only(root, name, index[name]) for name in names],
            "patient_id": study,
            "study_id": study,
            "split": [parts[name] for name in names],
        }
    )
    columns: dict[str, Any] = {
        name: pd.array([known[image].get(name) for image in names], dtype="Int8") for name in card.classes
    }
    lacking = [name for name, values in columns.items() if values.isna().all()]
    if lacking:
        log.note(f"no table has labels for {', '.join(lacking)}")
    return manifest(root, card, meta, columns, log, table=first)


def _read_table(
    path: Path, card: Card, parts: dict[str, str], known: dict[str, dict[str, int]], log: Log, root: Path
) -> Path | None:
    """Adds the rows of one table; None where it has no labels."""
    rest = path.name.lower().removeprefix("cxrlt_2026_")
    part = next((value for key, value in PARTS.items() if rest.startswith(key)), None)
    if part is None:
        raise DataError(f"{path}: the name says no part; expected CXRLT_2026_training, _DEV… or _TEST….")
    table = read_csv(path, ("ImageID",))
    table["ImageID"] = table["ImageID"].str.strip()
    require_names(table, "ImageID", path)
    repeated = table["ImageID"].duplicated()
    if repeated.any():
        row = int(np.flatnonzero(repeated)[0])
        raise DataError(f"{path}: row {row + 1}: ImageID '{table['ImageID'].iloc[row]}' occurs twice.")
    found = {card.aliases.get(column, column): column for column in table.columns}
    columns = {name: found[name] for name in card.classes if name in found}
    if not columns:
        log.see(f"unlabelled image in {path.name}", table["ImageID"])
        return None
    log.files[path.stem] = relative(path, root)
    named = {"ImageID", *columns.values()}
    log.labels.unknown.update(
        c for c in table.columns if c not in named and set(table[c].str.strip()) <= {"0", "1", "0.0", "1.0"}
    )
    read = pd.DataFrame(states(table, columns, path))
    unsaid = ~read.isin([0, 1]).all(axis=1)
    log.see(f"label of 0 or 1 is blank or uncertain in {path.name}", table["ImageID"][unsaid])
    values = {name: read[name].to_numpy(object) for name in columns}
    for row, image in enumerate(table["ImageID"]):
        if parts.setdefault(image, part) != part:
            raise DataError(f"{path}: row {row + 1}: image '{image}' is in another part's table too.")
        own = known.setdefault(image, {})
        for name, array in values.items():
            if not pd.isna(array[row]) and own.setdefault(name, int(array[row])) != array[row]:
                raise DataError(
                    f"{path}: row {row + 1}: '{name}' is not what another table says of '{image}'."
                )
    return path
