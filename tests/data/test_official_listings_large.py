"""PadChest, MIMIC-CXR and the label sets on its images: the complete listings pass `bench data check`.

Tables and reports are written whole, with the oddities of the official files. Of the images only MS-CXR's are
written; of the others the command is given the names, as before a download.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.data.cards import load_card
from tests.data.official import checked, listing, small_image

PADCHEST_COLUMNS = (
    " ImageID ImageDir StudyDate_DICOM StudyID PatientID PatientBirth PatientSex_DICOM ViewPosition_DICOM "
    "Projection MethodProjection Pediatric Modality_DICOM Manufacturer_DICOM PhotometricInterpretation_DICOM "
    "PixelRepresentation_DICOM PixelAspectRatio_DICOM SpatialResolution_DICOM BitsStored_DICOM "
    "WindowCenter_DICOM WindowWidth_DICOM Rows_DICOM Columns_DICOM XRayTubeCurrent_DICOM Exposure_DICOM "
    "ExposureInuAs_DICOM ExposureTime RelativeXRayExposure_DICOM ReportID Report MethodLabel Labels "
    "Localizations LabelsLocalizationsBySentence labelCUIS LocalizationsCUIS"
)
"""In their order; the first has no name."""
IMAGES, STUDIES, PATIENTS = 377_110, 227_835, 65_379
"""Of MIMIC-CXR."""


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """Cleared at once, not three sessions later."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def padchest_images(images: int, studies: int, first: int) -> tuple[list[str], list[str]]:
    """Names of the four official forms and the study of each: the part before the last underscore."""
    numbers = [f"2168403661366401{first + i:020d}" for i in range(studies)]
    forms = ("{0}", "{0}_1", "{0}-{0}", "{0}")
    ids = [forms[i % 20 if i % 20 < 4 else 0].format(n) for i, n in enumerate(numbers)]
    study = [ids[i % studies] for i in range(images)]
    ends = ("k6ga{0}", "-4ja{0}", "00-163-{0}")
    names = [f"{s}_{ends[i % 9 if i % 9 < 3 else 0].format(i // studies)}.png" for i, s in enumerate(study)]
    return names, study


def padchest_labels() -> list[list[str]]:
    """Labels of the 39,053 images that physicians read, by the positives of the card. `normal` and `exclude`
    are always alone."""
    positives = dict(load_card("padchest").protocols["carzero"].positives)
    excluded, normal = positives.pop("exclude"), 12_694
    rest = 39_053 - normal - excluded
    found: list[list[str]] = [[] for _ in range(rest)]
    place = 0
    for name, count in positives.items():
        for i in range(place, place + count):
            found[i % rest].append(name)
        place += count
    return [*found, *[["exclude"]] * excluded, *[["normal"]] * normal]


@pytest.mark.slow
def test_padchest(tmp_path: Path) -> None:
    """160,868 images of 109,931 studies; 39,053 of 26,413 read by physicians, with and without their list."""
    card = load_card("padchest")
    manual, manual_study = padchest_images(39_053, 26_413, 0)
    other, other_study = padchest_images(160_868 - 39_053, 109_931 - 26_413, 26_413)
    damaged = next(issue.images for issue in card.known_issues if issue.images)
    other[-len(damaged) :] = damaged
    names, studies, labels = [*manual, *other], [*manual_study, *other_study], padchest_labels()
    number = pd.factorize(pd.Series(studies))[0]
    rows = np.arange(len(names))
    table = pd.DataFrame(dict.fromkeys(PADCHEST_COLUMNS, ""), index=rows)
    table[""], table["ImageID"], table["ImageDir"], table["StudyID"] = rows, names, rows % 55, studies
    table["StudyDate_DICOM"], table["PatientSex_DICOM"] = 20140915, np.resize(["F", "M", ""], len(rows))
    table["PatientID"] = [f"8422394{n % 67_000:031d}7" for n in number]
    table["PatientBirth"] = [f"{1930 + n % 67_000 % 70}.0" if n % 67_000 % 50 else "" for n in number]
    table["Projection"] = np.resize(["PA", "L", "AP", "AP_horizontal", "COSTAL", "EXCLUDE"], len(rows))
    table["Report"] = "torax normal . sin hallazg patolog ."
    table["MethodLabel"] = ["Physician"] * len(manual) + ["RNN_model"] * len(other)
    printed = [str([*given, f" {given[0]}", "", f"{given[-1]} "]) for given in labels]
    mined = ["['normal']", "[' pleural effusion', 'cardiomegaly', 'cardiomegaly']", ""]
    table["Labels"] = [*printed, *(mined[i % 3] for i in range(len(other)))]
    table["Localizations"] = "['loc right', 'loc basal']"
    table["LabelsLocalizationsBySentence"] = "[['pleural effusion', 'loc right'], ['normal']]"
    table["labelCUIS"] = "['C0032227' 'C2073625'\n 'C1302773']"
    table.to_csv(tmp_path / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz", index=False)
    images = listing(tmp_path / "images.txt", (f"{i % 55}/{name}" for i, name in enumerate(names)))
    for listed in (False, True):
        if listed:
            by_name = dict(zip(manual, labels, strict=True))
            (tmp_path / "manual_image.json").write_text(json.dumps(by_name))
        report = checked("padchest", tmp_path, *images)
        assert report["counts"]["all"]["studies"] == [109_931, 109_931]
        assert report["counts"]["test"]["images"] == [39_053, 39_053]
        seen = {note["what"]: note["count"] for note in report["notes"]}
        assert seen["listed as missing or truncated by torchxrayvision"] == len(damaged)
        assert "labels of manual_image.json differ from the table; the former are used" not in seen


def mimic_ids(count: int, studies: int = STUDIES, patients: int = PATIENTS) -> pd.DataFrame:
    """dicom_id, subject_id, study_id and split of the first images; several images a study, and a patient."""
    study = np.arange(count) % studies
    patient = study % patients
    subject = 10_000_032 + 150 * patient
    frame = pd.DataFrame({"dicom_id": [f"{i:08x}-2fb5f1a4-0d3c8a1e-9e7b6c5d-{i:08x}" for i in range(count)]})
    frame["subject_id"], frame["study_id"] = subject, 50_000_000 + study
    frame["split"] = np.where(patient < 293, "test", np.where(patient < 793, "validate", "train"))
    return frame


def mimic_paths(frame: pd.DataFrame) -> list[str]:
    """The official path of every image, below the folder of the images."""
    return [
        f"files/p{subject // 1_000_000}/p{subject}/s{study}/{dicom}.jpg"
        for dicom, subject, study in zip(
            frame["dicom_id"], frame["subject_id"], frame["study_id"], strict=True
        )
    ]


def write_metadata(folder: Path, ids: pd.DataFrame) -> None:
    """The twelve columns of the metadata table; every fifth image has no view."""
    folder.mkdir(parents=True, exist_ok=True)
    table = ids[["dicom_id", "subject_id", "study_id"]].copy()
    table["PerformedProcedureStepDescription"] = "CHEST (PA AND LAT)"
    table["ViewPosition"] = np.resize(["AP", "PA", "LATERAL", "LL", ""], len(ids))
    table["Rows"], table["Columns"], table["StudyDate"], table["StudyTime"] = 3056, 2544, 21800506, 213014.531
    for column in ("Procedure", "View", "PatientOrientation"):
        table[f"{column}CodeSequence_CodeMeaning"] = "CHEST (PA AND LAT), two views"
    table.to_csv(folder / "mimic-cxr-2.0.0-metadata.csv.gz", index=False)


@pytest.mark.slow
def test_mimic_cxr(tmp_path: Path) -> None:
    """377,110 images, 227,835 studies, of which 227,827 have labels, 65,379 patients; reports as packed."""
    card = load_card("mimic_cxr")
    ids = mimic_ids(IMAGES)
    folder = tmp_path / "mimic-cxr-jpg"
    write_metadata(folder, ids)
    split = ids[["dicom_id", "study_id", "subject_id", "split"]]
    split.to_csv(folder / "mimic-cxr-2.0.0-split.csv.gz", index=False)
    studies = ids.drop_duplicates("study_id")[["subject_id", "study_id"]]
    labels = studies.iloc[:-8].copy()
    for i, name in enumerate(sorted(card.classes)):
        labels[name] = np.roll(np.resize(["1.0", "", "0.0", "", "-1.0"], len(labels)), i)
    for kind in ("chexpert", "negbio"):
        labels.to_csv(folder / f"mimic-cxr-2.0.0-{kind}.csv.gz", index=False)
    labels.head(687).to_csv(folder / "mimic-cxr-2.1.0-test-set-labeled.csv", index=False)
    texts = [
        "FINAL REPORT\n IMPRESSION:\n No ___.\n",
        "WET READ: ___\n",
        "FINDINGS AND IMPRESSION: Normal.\n",
    ]
    (tmp_path / "mimic-cxr").mkdir()
    with zipfile.ZipFile(tmp_path / "mimic-cxr" / "mimic-cxr-reports.zip", "w") as archive:
        for i, (subject, study) in enumerate(studies.itertuples(index=False)):
            archive.writestr(f"files/p{subject // 1_000_000}/p{subject}/s{study}.txt", texts[i % 3])
    images = listing(tmp_path / "images.txt", (f"mimic-cxr-jpg/{path}" for path in mimic_paths(ids)))
    report = checked("mimic_cxr", tmp_path, *images)
    assert report["counts"]["all"] == {
        "images": [IMAGES, IMAGES],
        "studies": [STUDIES, STUDIES],
        "patients": [PATIENTS, PATIENTS],
        "reports": [STUDIES, None],
    }
    seen = {note["what"]: note["count"] for note in report["notes"]}
    assert seen["study without a label row"] == 8
    assert seen["no view given"] == IMAGES // 5


def cxr_lt_labels(ids: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Ids, path and view of the images, then 0/1 columns: every class is positive in one study of 45."""
    table = ids[["dicom_id", "subject_id", "study_id"]].copy()
    table["path"] = mimic_paths(ids)
    table["ViewPosition"] = np.resize(["AP", "PA", "LATERAL"], len(ids))
    of = ids["study_id"].to_numpy() % 45
    order = sorted(load_card("cxr_lt").classes)
    for name in names:
        table[name] = (of == order.index(name)).astype(int)
    return table


@pytest.mark.slow
def test_cxr_lt(tmp_path: Path) -> None:
    """258,871 images to train, 39,293 of development in three tasks, a test part without labels."""
    card = load_card("cxr_lt")
    tasks = {number: list(card.protocol_classes(f"task{number}")) for number in (1, 2, 3)}
    ids = mimic_ids(258_871 + 39_293 + 1_000, studies=180_000, patients=50_000)
    by_patient = ids.sort_values("subject_id", kind="stable").reset_index(drop=True)
    # Whole patients on either side: those that a border cuts get a number of their own.
    by_patient["side"] = np.repeat([0, 1, 2], [258_871, 39_293, 1_000])
    by_patient["subject_id"] += by_patient["side"]
    by_patient["study_id"] += 200_000 * by_patient["side"]
    train, develop, test = (by_patient[by_patient["side"] == side] for side in (0, 1, 2))
    folder = tmp_path / "cxr-lt-2024"
    folder.mkdir()
    named = cxr_lt_labels(train, tasks[1])
    named.to_csv(folder / "train_labeled.csv", index=False)
    for number, names in tasks.items():
        part = cxr_lt_labels(develop, names)
        old = part.rename(columns={"Round(ed) Atelectasis": "Rounded Atelectasis"})
        old.to_csv(folder / f"development_labeled_task{number}.csv", index=False)
        test[["dicom_id", "subject_id", "study_id"]].to_csv(folder / f"test_task{number}.csv", index=False)
    images = listing(tmp_path / "images.txt", (f"mimic-cxr-jpg/{path}" for path in mimic_paths(by_patient)))
    report = checked("cxr_lt", tmp_path, *images)
    assert report["counts"]["train"]["images"] == [258_871, 258_871]
    assert report["counts"]["validate"]["images"] == [39_293, 39_293]
    assert report["protocols"]["task1-development"]["images"] == 39_293
    assert "reason" in report["protocols"]["task1"]


def test_ms_cxr(tmp_path: Path) -> None:
    """1,162 phrases with images of 851 patients, two releases together; 167 test images with one box each.

    The images are here and opened, without the list and without `--skip-images`.
    """
    card = load_card("ms_cxr")
    count, patients, test = 1_047, 851, 167
    ids = mimic_ids(count, studies=1_000, patients=patients)
    patient = [*range(337), *(337 + i % (patients - 337) for i in range(count - 337))]
    ids["subject_id"], ids["study_id"] = [10_000_032 + 150 * p for p in patient], 50_000_000 + ids.index
    paths = mimic_paths(ids)
    folder = tmp_path / "mimic-cxr-jpg"
    write_metadata(folder, ids)
    for i, path in enumerate(paths):
        small_image(folder / path, i, side=16)
    rows = []
    for i, (dicom, path) in enumerate(zip(ids["dicom_id"], paths, strict=True)):
        split = "test" if i < test else "val" if i < 337 else "train"
        phrases = 2 if count - (1_162 - count) <= i else 1
        for phrase in range(phrases):
            category = card.classes[(i + phrase) % len(card.classes)]
            for box in range(2 if split == "train" and i % 5 == 0 else 1):
                place = (100 + 600 * box, 200, 500, 700, 2544, 3056)
                rows.append((dicom, category, f"phrase {phrase}, ___ of {category}", path, *place, split))
    columns = ["dicom_id", "category_name", "label_text", "path", "x", "y", "w", "h"]
    table = pd.DataFrame(rows, columns=[*columns, "image_width", "image_height", "split"])
    table.to_csv(tmp_path / "MS_CXR_Local_Alignment_v1.1.0.csv", index=False)
    table.drop(columns="split").to_csv(tmp_path / "MS_CXR_Local_Alignment_v1.0.0.csv", index=False)
    (tmp_path / "MS_CXR_Local_Alignment_v1.1.0.json").write_text('{"images": [], "annotations": []}')
    assert len(table.drop_duplicates(["dicom_id", "category_name", "label_text"])) == 1_162
    report = checked("ms_cxr", tmp_path)
    assert report["counts"]["all"]["patients"] == [851, 851]
    assert report["counts"]["test"]["images"] == [test, test]
    assert report["protocols"]["radzero"]["images"] == test
    assert report["images"]["opened"] == count
