"""RAD-ChestCT: volumes as numpy archives and labels by abnormality and place.

    trn00001.npz … val… tst…                                   anywhere below the root, array `ct`
    img{train,valid,test}_Abnormality_and_Location_Labels.csv  NoteAcc_DEID and abnormality*location columns
    CT_Scan_Metadata_Complete_35747.csv                        optional: patient, sex, age

An abnormality is present where it is at any place. Columns are found by name: `nodule*lung` counts for
`nodule`. Which abnormalities make a class is the card's first label rule; each other rule gives a second set
of labels, `<class>@<rule>`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.core.errors import DataError
from benchmark.core.tables import Manifest
from benchmark.data.cards import Card
from benchmark.data.readers import READERS
from benchmark.data.readers.common import Log, manifest, read_csv, require_ids, rounded, zeros_and_ones
from benchmark.data.readers.files import find, image_index, only, relative, require_root
from benchmark.data.readers.people import ages, sexes

KEY = "NoteAcc_DEID"
SPLITS = {"trn": "train", "val": "validate", "tst": "test"}
TABLES = {"imgtrain": "trn", "imgvalid": "val", "imgtest": "tst"}
SEPARATOR = "*"
"""Between abnormality and place in the names of columns."""
METADATA = "CT_Scan_Metadata*.csv"
PATIENTS = ("PatientID_DEID", "Patient_DEID", "MRN_DEID")


@READERS.register("rad_chestct")
def read(root: Path, card: Card) -> Manifest:
    """Raises DataError where no label table is there, lacks a column of the card, or names a scan twice."""
    root = require_root(root, card)
    log = Log()
    paths = find(root, [f"{prefix}*Labels.csv" for prefix in TABLES], 2)
    if not paths:
        raise DataError(f"{root}: no table img*_Abnormality_and_Location_Labels.csv. Check --data-root.")
    first, *others = card.label_rules
    wanted = {c: card.label_rules[first].terms[c] for c in card.classes}
    for rule in others:
        wanted |= {f"{c}@{rule}": terms for c, terms in card.label_rules[rule].terms.items()}
    known = {a for terms in wanted.values() for a in terms}
    frames, values = [], []
    for path in paths:
        table = read_csv(path, [KEY])
        require_ids(table, KEY, path)
        table[KEY] = table[KEY].str.strip()
        log.files[path.stem] = relative(path, root)
        found = _columns(table)
        log.labels.unknown.update(sorted(set(found) - known))
        frames.append(table[[KEY]])
        values.append(_present(table, wanted, found, path))
    scans = pd.concat(frames, ignore_index=True)[KEY]
    labels = pd.concat(values, ignore_index=True)
    index = {name[: -len(".npz")]: p for name, p in image_index(root, (".npz",)).items()}
    places = scans.map({name: only(root, name, index[name]) for name in set(scans) & set(index)})
    here = places.notna().to_numpy()
    log.drop("image file is absent", scans[~here])
    log.see("image file without a row in the label tables", sorted(set(index) - set(scans)))
    odd = sorted({s for s in scans[here] if s[:3] not in SPLITS})
    if odd:
        raise DataError(
            f"{paths[0]}: scan '{odd[0]}' begins with none of {', '.join(SPLITS)}. Use the official file."
        )
    if not here.any():
        raise DataError(f"{root}: none of the volumes of {paths[0].name} is here. Check --data-root.")
    patients, sex, age = _metadata(root, log)
    scans, labels, places = scans[here], labels[here], places[here]
    log.see("scan without a patient in the metadata", scans[~scans.isin(list(patients))] if patients else [])
    meta = pd.DataFrame(
        {
            "image_id": scans,
            "path": places,
            "patient_id": scans.map(patients) if patients else None,
            "study_id": scans,
            "split": scans.str[:3].map(SPLITS),
            "sex": scans.map(sex),
            "age": scans.map(age),
        }
    )
    chosen = {str(c): labels[c].array for c in labels}
    return manifest(root, card, meta, chosen, log, table=paths[0])


def _columns(table: pd.DataFrame) -> dict[str, list[str]]:
    """Abnormality → its columns, one a place."""
    out: dict[str, list[str]] = {}
    for column in table.columns:
        if column != KEY:
            out.setdefault(column.partition(SEPARATOR)[0].strip(), []).append(column)
    return out


def _present(
    table: pd.DataFrame, wanted: Mapping[str, Sequence[str]], found: Mapping[str, list[str]], path: Path
) -> pd.DataFrame:
    """Class → 1 where it is at any place."""
    needed = sorted({a for terms in wanted.values() for a in terms})
    missing = [a for a in needed if a not in found]
    if missing:
        raise DataError(f"{path}:1: no column of '{missing[0]}' ({len(missing)} of {len(needed)} lack one).")
    anywhere = {}
    for abnormality in needed:
        places = zeros_and_ones(table, {c: c for c in found[abnormality]}, path)
        anywhere[abnormality] = (places == 1).to_numpy(dtype=bool).any(axis=1)
    return pd.DataFrame(
        {
            name: pd.array(np.any([anywhere[a] for a in terms], axis=0).astype(np.int8), dtype="Int8")
            for name, terms in wanted.items()
        }
    )


def _metadata(root: Path, log: Log) -> tuple[dict[str, str], dict[str, str], dict[str, float]]:
    """Scan → patient, sex, age, as far as the table has them."""
    patients: dict[str, str] = {}
    sex: dict[str, str] = {}
    age: dict[str, float] = {}
    for path in find(root, [METADATA], 1):
        table = read_csv(path, [KEY], [*PATIENTS, "PatientSex", "PatientAge"])
        log.files[path.stem] = relative(path, root)
        scans = table[KEY].str.strip()
        column = next((c for c in PATIENTS if c in table), None)
        if column:
            rounded(table, column, path)
            for row, (scan, who) in enumerate(zip(scans, table[column].str.strip(), strict=True), 1):
                if patients.setdefault(scan, who) != who:
                    raise DataError(
                        f"{path}: row {row}: scan {scan} has two patients. Use the official file."
                    )
        if "PatientSex" in table:
            known = sexes(table["PatientSex"].set_axis(scans), log).dropna()
            sex |= {str(n): str(s) for n, s in known.items()}
        if "PatientAge" in table:
            years = ages(table["PatientAge"].set_axis(scans), log).dropna()
            age |= {str(n): float(a) for n, a in years.items()}
    return patients, sex, age
