"""The complete listings of the CT sets, from the counts and oddities of their cards, pass their check."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.data.cards import card_names, load_card
from tests.data.official import checked, listing

UNREAD = {"cxr_align", "cxr_lt_2026"}
"""Cards whose counts could not be read at their source, so that there is no listing to build."""

PARTS = {"train": (47_149, 24_128, 20_000), "valid": (3_039, 1_564, 1_304)}
"""Volumes, scans and patients of CT-RATE's two parts."""


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """Cleared at once: large tables would fill the disk of the sessions that come after."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def volumes(part: str) -> list[tuple[str, str]]:
    """Scan and name of every volume; a patient has up to two scans, a scan two reconstructions."""
    count, scans, patients = PARTS[part]
    found = []
    for i in range(count):
        scan = i % scans
        own = f"{part}_{scan % patients + 1}_{'ab'[scan // patients]}"
        found.append((own, f"{own}_{i // scans + 1}"))
    return found


def place(part: str, name: str, tree: str = "_fixed") -> str:
    patient, scan = "_".join(name.split("_")[:2]), "_".join(name.split("_")[:3])
    return f"dataset/{part}{tree}/{patient}/{scan}/{name}.nii.gz"


def test_ct_rate(tmp_path: Path) -> None:
    """50,188 volumes of 25,692 scans; some lie in the older tree too, and one only there."""
    classes = load_card("ct_rate").classes
    listed = []
    for part, metadata in (("train", "train"), ("valid", "validation")):
        known = volumes(part)
        scans, names = zip(*known, strict=True)
        order = {scan: k for k, scan in enumerate(dict.fromkeys(scans))}
        of = np.array([order[scan] for scan in scans])
        labels = pd.DataFrame({c: (of % (len(classes) + 1) == k).astype(int) for k, c in enumerate(classes)})
        labels.insert(0, "VolumeName", [f"{n}.nii.gz" for n in names])
        folder = tmp_path / "dataset"
        for kind in ("multi_abnormality_labels", "radiology_text_reports", "metadata"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        labels.to_csv(folder / "multi_abnormality_labels" / f"{part}_predicted_labels.csv", index=False)
        said = pd.DataFrame({"VolumeName": labels["VolumeName"], "ClinicalInformation_EN": "Not given."})
        said["Technique_EN"], said["Findings_EN"] = "Not given.", [f"Trachea, both lungs {k}." for k in of]
        said["Impressions_EN"] = np.where(of % 5, "Normal.", "Not given.")
        said.to_csv(folder / "radiology_text_reports" / f"{metadata}_reports.csv", index=False)
        about = pd.DataFrame({"VolumeName": labels["VolumeName"], "Manufacturer": "A", "PatientSex": "F"})
        about["PatientAge"], about["XYSpacing"], about["ZSpacing"] = "051Y", "[0.75, 0.75]", 1.5
        about["RescaleSlope"], about["RescaleIntercept"], about["StudyDate"] = 1, -1024, 20200101
        about.iloc[::-1].to_csv(folder / "metadata" / f"{metadata}_metadata.csv", index=False)
        listed += [place(part, n, "" if k == 0 else "_fixed") for k, n in enumerate(names)]
        listed += [place(part, n, "") for n in names[1:100]]
    report = checked("ct_rate", tmp_path, *listing(tmp_path / "volumes.txt", listed))
    counted = report["counts"]
    assert [counted["all"][k] for k in ("images", "studies", "patients")] == [
        [50_188, 50_188],
        [25_692, 25_692],
        [21_304, 21_304],
    ]
    assert report["protocols"]["first"]["images"] == 1_564
    for protocol in ("volumes", "ct-clip", "brgsa"):
        assert report["protocols"][protocol]["images"] == 3_039
    seen = {note["what"]: note["count"] for note in report["notes"]}
    assert seen["volume with an older header: spacing and rescale are those of the metadata"] == 2


def test_ct_rate_lt(tmp_path: Path) -> None:
    """Volumes of the validation part; columns in another order than the prompts, a table not to be read."""
    classes = load_card("ct_rate_lt").classes
    known = volumes("valid")
    order = {scan: k for k, scan in enumerate(dict.fromkeys(scan for scan, _ in known))}
    of = np.array([order[scan] for scan, _ in known])
    labels = pd.DataFrame({"VolumeName": [f"{name}.nii.gz" for _, name in known]})
    for k, name in enumerate([classes[0], *reversed(classes[1:])]):
        labels[name] = (of % 40 == k).astype(int)
    labels.sample(frac=1, random_state=0).to_csv(tmp_path / "CT-RATE-LT-label.csv", index=False)
    labels.assign(**{classes[1]: 1}).to_csv(tmp_path / "CT-RATE-LT-label_uncorrect.csv", index=False)
    names = listing(tmp_path / "volumes.txt", (place("valid", name) for _, name in known))
    report = checked("ct_rate_lt", tmp_path, *names)
    assert report["counts"]["test"]["images"] == [3_039, 3_039]
    assert report["protocols"]["first"]["images"] == 1_564


def test_rad_chestct(tmp_path: Path) -> None:
    """3,630 scans in three tables, whose rows are in another order; metadata of all 35,747 scans."""
    card = load_card("rad_chestct")
    terms = sorted({a for rule in card.label_rules.values() for own in rule.terms.values() for a in own})
    names = []
    for table, part, count in (("train", "trn", 2_286), ("valid", "val", 344), ("test", "tst", 1_000)):
        scans = [f"{part}{i:05d}" for i in range(1, count + 1)]
        names += [f"{scan}.npz" for scan in scans]
        labels = {f"{a}*{where}": np.zeros(count, int) for a in terms for where in ("right_lung", "other")}
        for k, a in enumerate(terms):
            labels[f"{a}*right_lung"][k % 40 :: 40] = 1
        frame = pd.DataFrame({"NoteAcc_DEID": scans[::-1], **labels, "other_path*lung": 0})
        frame.to_csv(tmp_path / f"img{table}_Abnormality_and_Location_Labels.csv", index=False)
    about = pd.DataFrame(
        {"NoteAcc_DEID": [n[:-4] for n in names] + [f"trn{i}" for i in range(50_000, 82_117)]}
    )
    about["PatientSex"], about["PatientAge"] = "Male", "063Y"
    about.to_csv(tmp_path / "CT_Scan_Metadata_Complete_35747.csv", index=False)
    report = checked("rad_chestct", tmp_path, *listing(tmp_path / "volumes.txt", names))
    assert report["counts"]["all"]["images"] == [3_630, 3_630]
    for protocol in ("single", "multi", "hlip", "rest"):
        assert report["protocols"][protocol]["images"] == 3_630


def test_every_card_has_a_complete_listing() -> None:
    """A card that is added needs a test of its whole listing, here or in a file beside this one, unless it
    says that its counts could not be read at their source."""
    here = Path(__file__).parent
    tests = "".join(p.read_text() for p in here.glob("test_official_listings*.py"))
    newer = (here / "test_readers_2026.py").read_text()
    lacking = [
        name
        for name in card_names()
        if f"def test_{name}(" not in tests and f"def test_{name}_listing(" not in newer
    ]
    assert set(lacking) == UNREAD
    for name in UNREAD:
        card = load_card(name)
        assert not card.counts
        assert any(note.startswith("Unread:") for note in card.notes)
