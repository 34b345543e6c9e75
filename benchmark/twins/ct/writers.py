"""The official trees of CT-RATE, CT-RATE-LT and RAD-ChestCT, filled with scans of the phantom."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.core.registry import Registry
from benchmark.data.cards import Card
from benchmark.prompts.lexicon import load_lexicon
from benchmark.prompts.report_labels import label_concepts
from benchmark.twins.case import TwinStudy
from benchmark.twins.ct.nifti import write_nifti
from benchmark.twins.ct.scan import Reconstruction, TwinScan
from benchmark.twins.writers.common import Convention, base_seed, share, shuffled, spread, write_csv

CTWriter = Callable[[Path, Iterable[TwinScan], Card, np.random.Generator], Mapping[int, str]]
"""write(root, scans, card, rng) → volume number → image id of the official files."""
CT_WRITERS: Registry[CTWriter] = Registry("CT twin", hint="See `bench ls datasets`.")
OLD_HEADER = 0.04
"""Share of the scans of CT-RATE that lie in the older tree alone: wrong spacing, rescale not applied."""
VALID = 0.32
LT_COLUMNS = (
    "Pneumonia", "Atherosclerosis", "Spondylosis", "Pneumothorax", "Bronchial thickening", "Osteophyte",
    "Empyema", "Lung cyst", "Lung mass", "Pericardial calcification", "Pneumomediastinum",
    "Pulmonary fibrosis", "Tuberculosis", "Pleural calcification", "Rib fracture",
)  # fmt: skip
"""The order of the official table, which is not that of the prompts."""
METADATA = (
    "VolumeName", "Manufacturer", "PatientSex", "PatientAge", "ConvolutionKernel", "RescaleIntercept",
    "RescaleSlope", "RescaleType", "NumberofSlices", "XYSpacing", "ZSpacing", "StudyDate",
)  # fmt: skip
PLACES = ("lung", "heart", "great_vessel", "mediastinum", "bone")
_WHERE = {
    "cardiomegaly": "heart", "pericardial effusion": "heart", "pericardial calcification": "heart",
    "coronary calcification": "heart", "aortic atheromatosis": "great_vessel", "adenopathy": "mediastinum",
    "lymph node": "mediastinum", "hiatal hernia": "mediastinum", "pneumomediastinum": "mediastinum",
    "osteophyte": "bone", "spinal spondylosis": "bone", "rib fracture": "bone",
}  # fmt: skip


def _study(scan: TwinScan) -> TwinStudy:
    """What the conventions of labels read of a scan."""
    return TwinStudy(scan.patient, scan.number, scan.days, (), scan.findings, scan.sentences)


@CT_WRITERS.register("ct_rate")
def write_ct_rate(
    root: Path, scans: Iterable[TwinScan], card: Card, rng: np.random.Generator
) -> dict[int, str]:
    """Both parts, with reports, labels by a classifier of reports, and metadata."""
    base, convention = base_seed(rng), Convention(card)
    tree = _Tree(root / "dataset", base)
    labels: dict[str, list[list[Any]]] = {"train": [], "valid": []}
    for scan in scans:
        part = "valid" if share(base, "part", scan.patient.number) < VALID else "train"
        states = convention.mined(_study(scan), np.random.default_rng([base, scan.number, 7]))
        for name in tree.add(scan, part):
            labels[part].append([f"{name}.nii.gz", *(int(states[c] == 1) for c in card.classes)])
    for part, rows in labels.items():
        if rows:
            path = tree.root / "multi_abnormality_labels" / f"{part}_predicted_labels.csv"
            write_csv(path, ("VolumeName", *card.classes), shuffled(rows, base, part))
    tree.finish()
    return tree.ids


@CT_WRITERS.register("ct_rate_lt")
def write_ct_rate_lt(
    root: Path, scans: Iterable[TwinScan], card: Card, rng: np.random.Generator
) -> dict[int, str]:
    """CT-RATE's validation part with the table of rarer labels, by what is drawn, and the file of prompts."""
    base, convention = base_seed(rng), Convention(card)
    tree = _Tree(root / "dataset", base)
    rows = []
    for scan in scans:
        drawn = convention.drawn(_study(scan))
        rows += [[f"{n}.nii.gz", *(drawn[c] for c in LT_COLUMNS)] for n in tree.add(scan, "valid")]
    write_csv(root / "CT-RATE-LT-label.csv", ("VolumeName", *LT_COLUMNS), shuffled(rows, base, "lt"))
    prompts = [f"There is {c}" for c in card.classes]
    (root / "CT-RATE-LT-text.json").write_text(json.dumps(prompts, indent=1) + "\n", encoding="utf-8")
    tree.finish()
    return tree.ids


class _Tree:
    """Volumes, reports and metadata of CT-RATE."""

    def __init__(self, root: Path, base: int) -> None:
        self.root, self.base = root, base
        self.ids: dict[int, str] = {}
        self._reports: dict[str, list[list[Any]]] = {"train": [], "valid": []}
        self._metadata: dict[str, list[list[Any]]] = {"train": [], "valid": []}

    def add(self, scan: TwinScan, part: str) -> list[str]:
        """Names of the scan's volumes."""
        patient = f"{part}_{spread(scan.patient.number, 10_000) + 1}"
        name = f"{patient}_{chr(ord('a') + scan.order)}"
        names = [f"{name}_{i}" for i in range(1, len(scan.volumes) + 1)]
        old = share(self.base, "older header", scan.number) < OLD_HEADER
        tree = part if old else f"{part}_fixed"
        sections = dict(scan.sections)
        for own, volume in zip(names, scan.volumes, strict=True):
            self.ids[volume.number] = own
            path = self.root / tree / patient / name / f"{own}.nii.gz"
            if old:
                write_nifti(path, volume.hu + np.int16(1024), scan.spacing, stated=(1.0, 1.0, 1.0))
            else:
                write_nifti(path, volume.hu, scan.spacing)
            self._metadata[part].append(self._about(own, scan, volume))
            if sections:
                said = [sections[s] for s in ("clinical", "technique", "findings", "impression")]
                self._reports[part].append([f"{own}.nii.gz", *said])
        return names

    def _about(self, name: str, scan: TwinScan, volume: Reconstruction) -> list[Any]:
        z, y, x = scan.spacing
        when = date(2020, 1, 1) + timedelta(days=scan.patient.number % 700 + scan.days)
        kernel = {"soft": "B31f", "sharp": "B70f", "thick": "B30f"}[volume.kernel]
        age = f"{scan.patient.age:03d}Y"
        return [
            f"{name}.nii.gz", "SyntheticTwin", scan.patient.sex, age, kernel, -1024, 1, "HU",
            volume.hu.shape[0], f"[{x:.6f}, {y:.6f}]", f"{z:.6f}", f"{when:%Y%m%d}",
        ]  # fmt: skip

    def finish(self) -> None:
        heads = ("VolumeName", "ClinicalInformation_EN", "Technique_EN", "Findings_EN", "Impressions_EN")
        for part, name in (("train", "train"), ("valid", "validation")):
            if self._reports[part]:
                path = self.root / "radiology_text_reports" / f"{name}_reports.csv"
                write_csv(path, heads, shuffled(self._reports[part], self.base, f"reports {part}"))
            if self._metadata[part]:
                write_csv(self.root / "metadata" / f"{name}_metadata.csv", METADATA, self._metadata[part])


@CT_WRITERS.register("rad_chestct")
def write_rad_chestct(
    root: Path, scans: Iterable[TwinScan], card: Card, rng: np.random.Generator
) -> dict[int, str]:
    """Archives from head to feet, and tables of abnormality and place."""
    base = base_seed(rng)
    named = label_concepts("rad_chestct")
    lexicon = load_lexicon()
    covered = {
        column: frozenset().union(*(lexicon.descendants(i) for i in ids if i in lexicon))
        for column, ids in named.items()
    }
    asked = {t for rule in card.label_rules.values() for terms in rule.terms.values() for t in terms}
    columns = sorted({*covered, *asked})
    heads = [f"{c}*{place}" for c in columns for place in PLACES]
    rows: dict[str, list[list[Any]]] = {"train": [], "valid": [], "test": []}
    about: list[list[Any]] = []
    ids: dict[int, str] = {}
    for scan in scans:
        lot = share(base, "part", scan.patient.number)
        part = "test" if lot < 0.6 else "valid" if lot < 0.8 else "train"
        prefix = {"train": "trn", "valid": "val", "test": "tst"}[part]
        name = f"{prefix}{spread(scan.number, 100_000):05d}"
        volume = scan.volumes[0]
        ids[volume.number] = name
        _write_npz(root / f"{name}.npz", volume.hu, scan.spacing)
        at = {
            c: {_WHERE.get(f.concept, "lung") for f in scan.findings if f.concept in covered.get(c, ())}
            for c in columns
        }
        rows[part].append([name, *(int(place in at[c]) for c in columns for place in PLACES)])
        about.append(
            [
                name,
                f"p{spread(scan.patient.number, 100_000):05d}",
                scan.patient.sex,
                f"{scan.patient.age:03d}Y",
            ]
        )
    for part, own in rows.items():
        if own:
            path = root / f"img{part}_Abnormality_and_Location_Labels.csv"
            write_csv(path, ("NoteAcc_DEID", *heads), shuffled(own, base, part))
    write_csv(
        root / "CT_Scan_Metadata_Complete_35747.csv",
        ("NoteAcc_DEID", "PatientID_DEID", "PatientSex", "PatientAge"),
        about,
    )
    return ids


def _write_npz(path: Path, hu: np.ndarray, spacing: tuple[float, float, float]) -> None:
    """The array `ct`, (Z, Y, X) from head to feet. Real archives have voxels of 0.8 mm and do not say so;
    those of the twin are larger, and say so in an array `spacing`."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, values in (("ct", np.ascontiguousarray(hu[::-1])), ("spacing", np.array(spacing))):
            raw = io.BytesIO()
            np.lib.format.write_array(raw, values, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), raw.getvalue())
