"""The complete official listing of a set, made from the counts and oddities of its card, passes its check.

Every test goes through `bench data check`. Images are small, empty, links to one small file, or names in a
list; PadChest and the sets of MIMIC-CXR are in `test_official_listings_large.py`.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.data.cards import load_card
from benchmark.data.check import check_dataset
from tests.data.official import checked, listing, small_image, touch


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """Cleared at once: a hundred thousand files would slow down the sessions that come after."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def link(folder: Path, names: Iterable[str], source: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        os.link(source, folder / name)


def openi_report(number: int, images: list[str], text: str, terms: Iterable[str]) -> bytes:
    said = f'<AbstractText Label="FINDINGS">{text}</AbstractText>' if text else ""
    found = "".join(f"<automatic>{term}</automatic>" for term in terms)
    shown = "".join(f'<parentImage id="{name}"/>' for name in images)
    head = f'<uId id="CXR{number}"/><Abstract>{said}</Abstract><MeSH>{found}</MeSH>'
    return f"<eCitation>{head}{shown}</eCitation>".encode()


def test_openi(tmp_path: Path) -> None:
    """3,955 report files, 104 of them without image and 25 more without text; 7,470 images."""
    positives = dict(load_card("openi").protocols["carzero"].positives)
    positives["Granuloma"] -= positives["Calcified Granuloma"]
    positives["Mass"] -= positives["Lesion"]
    words = {"Lesion": "mass lesion", "Pleural_Thickening": "pleural thickening"}
    double, single = 3619, 232
    terms: list[list[str]] = [[] for _ in range(3955)]
    for name, count in positives.items():
        term = words.get(name, name.lower())
        apart = name in ("Granuloma", "Mass")  # images that have not the other of the two classes
        start = 1000 if apart else 0
        for row in [*range(start, start + count // 2), *([double + int(apart)] if count % 2 else [])]:
            terms[row].append(term)
    names: list[str] = []
    with tarfile.open(tmp_path / "NLMCXR_reports.tgz", "w:gz") as archive:
        for row in range(3955):
            count = 2 if row < double else 1 if row < double + single else 0
            images = [f"CXR{row + 1}_IM-0001-{4001 + i}" for i in range(count)]
            names += images
            silent = double <= row < double + 25
            data = openi_report(row + 1, images, "" if silent else "XXXX lungs.", terms[row])
            about = tarfile.TarInfo(f"ecgen-radiology/{row + 1}.xml")
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    touch(tmp_path / "NLMCXR_png", [f"{name}.png" for name in names])
    report = checked("openi", tmp_path, "--skip-images")
    assert report["counts"]["all"] == {
        "images": [7470, 7470],
        "studies": [3851, 3851],
        "patients": [3851, None],
        "reports": [3955, 3955],
    }


def test_chexpert5x200(tmp_path: Path) -> None:
    card = load_card("chexpert5x200")
    rows = []
    for i in range(1000):
        path = f"train/patient{i:05d}/study1/view1_frontal.jpg"
        labels = {c: float(c == card.classes[i // 200]) for c in card.classes}
        rows.append({"Path": f"CheXpert-v1.0/{path}", "Sex": "Male", "Age": 60, "Frontal/Lateral": "Frontal"})
        rows[-1] |= {"AP/PA": "AP", **labels}
        small_image(tmp_path / "CheXpert-v1.0" / path, i)
    pd.DataFrame(rows).to_csv(tmp_path / "chexpert_5x200.csv", index=False)
    assert checked("chexpert5x200", tmp_path)["protocols"]["argmax"]["images"] == 1000


def test_rsna_pneumonia(tmp_path: Path) -> None:
    """26,684 images, 6,012 with boxes, some with several; 3,000 unlabelled images of the challenge's test."""
    card = load_card("rsna_pneumonia")
    (positive,) = card.protocols["zero-shot"].positives.values()
    (listed_positive,) = card.protocols["radzero"].positives.values()
    listed = card.protocols["radzero"].images or 0
    names = [f"{i:08x}-0000" for i in range(26684)]
    lines = ["patientId,x,y,width,height,Target"]
    for i, name in enumerate(names):
        boxes = 2 if i < 3000 else 1
        lines += (
            [f"{name},{100.0 + b},200.0,50.0,60.0,1" for b in range(boxes)]
            if i < positive
            else [f"{name},,,,,0"]
        )
    (tmp_path / "stage_2_train_labels.csv").write_text("\n".join(lines) + "\n")
    chosen = [*names[:listed_positive], *names[positive : positive + listed - listed_positive]]
    (tmp_path / "radzero_test_list.txt").write_text("\n".join(chosen) + "\n")
    kinds = ["Lung Opacity" if i < positive else "Normal" for i in range(26684)]
    pd.DataFrame({"patientId": names, "class": kinds}).to_csv(
        tmp_path / "stage_2_detailed_class_info.csv", index=False
    )
    touch(tmp_path / "stage_2_train_images", [f"{name}.dcm" for name in names])
    touch(tmp_path / "stage_2_test_images", [f"{i:08x}-test.dcm" for i in range(3000)])
    assert checked("rsna_pneumonia", tmp_path, "--skip-images")["protocols"]["radzero"]["images"] == listed


def test_siim_pneumothorax(tmp_path: Path) -> None:
    """12,047 images; the second column begins with a space, and an image may have several masks."""
    card = load_card("siim_pneumothorax")
    (positive,) = card.protocols["zero-shot"].positives.values()
    (listed_positive,) = card.protocols["radzero"].positives.values()
    listed = card.protocols["radzero"].images or 0
    names = [f"1.2.276.{i}" for i in range(12047)]
    lines = ["ImageId, EncodedPixels"]
    for i, name in enumerate(names):
        masks = (" 5000 10", " 9000 4 1020 4")[: 2 if i < 600 else 1] if i < positive else (" -1",)
        lines += [f"{name},{mask}" for mask in masks]
    (tmp_path / "train-rle.csv").write_text("\n".join(lines) + "\n")
    chosen = [*names[:listed_positive], *names[positive : positive + listed - listed_positive]]
    (tmp_path / "radzero_test_list.txt").write_text("\n".join(chosen) + "\n")
    touch(tmp_path / "dicom-images-train" / "study" / "series", [f"{name}.dcm" for name in names])
    assert (
        checked("siim_pneumothorax", tmp_path, "--skip-images")["protocols"]["zero-shot"]["images"] == 12047
    )


def test_vindr_cxr(tmp_path: Path) -> None:
    """15,000 images with three readers each, 3,000 with a consensus."""
    card = load_card("vindr_cxr")
    annotations = tmp_path / "annotations"
    annotations.mkdir()
    for part, count, readers in (("train", 15000, 3), ("test", 3000, 1)):
        names = [f"{part}{i:028x}" for i in range(count)]
        ids = np.repeat(names, readers)
        labels = np.zeros((len(ids), len(card.classes)), np.int8)
        labels[np.arange(len(ids)), np.arange(len(ids)) // readers % len(card.classes)] = 1
        table = pd.DataFrame(labels, columns=list(card.classes))
        table.insert(0, "image_id", ids)
        if readers > 1:
            table.insert(1, "rad_id", [f"R{i % readers + 8}" for i in range(len(ids))])
        table.to_csv(annotations / f"image_labels_{part}.csv", index=False)
        touch(tmp_path / part, [f"{name}.dicom" for name in names])
    checked("vindr_cxr", tmp_path, "--skip-images")


def test_chestxdet10(tmp_path: Path) -> None:
    card = load_card("chestxdet10")
    positives = card.protocols["carzero"].positives
    source = small_image(tmp_path / "one.png", 0).rename(tmp_path / "one.dat")
    for part, count in (("train", 3001), ("test", 542)):
        entries = []
        for i in range(count):
            syms = [c for c in card.classes if part == "test" and i < positives[c]]
            entries.append(
                {"file_name": f"{part}{i}.png", "syms": syms, "boxes": [[10, 20, 300, 400]] * len(syms)}
            )
        (tmp_path / f"{part}.json").write_text(json.dumps(entries))
        link(tmp_path / f"{part}_data", [e["file_name"] for e in entries], source)
    assert checked("chestxdet10", tmp_path, "--skip-images")["protocols"]["carzero"]["images"] == 542


@pytest.mark.parametrize("name", ["openi"])
def test_a_report_file_too_few_is_told(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "NLMCXR_reports.tgz", "w:gz") as archive:
        data = openi_report(1, ["CXR1_IM-0001-4001"], "XXXX lungs.", [])
        about = tarfile.TarInfo("ecgen-radiology/1.xml")
        about.size = len(data)
        archive.addfile(about, io.BytesIO(data))
    touch(tmp_path / "NLMCXR_png", ["CXR1_IM-0001-4001.png"])
    report = check_dataset(name, tmp_path, "official", images=False)
    assert "reports: here 1, the card says 3,955 (verified)" in [str(p) for p in report.problems]


def nih_labels(names: list[str]) -> tuple[list[str], dict[str, np.ndarray]]:
    """Label texts of the first images by the positives of the card, and the same as zeros and ones."""
    card = load_card("chestxray14")
    positives = card.protocols["carzero"].positives
    texts, rows = [], {}
    for i, name in enumerate(names):
        present = [c for c in card.classes if i < positives[c]]
        texts.append("|".join(present) or "No Finding")
        rows[name] = np.array([c in present for c in card.classes], dtype=int)
    return texts, rows


@pytest.mark.slow
@pytest.mark.parametrize(
    "lists", [{"nih"}, {"carzero"}, {"nih", "carzero"}, set()], ids=lambda s: "+".join(sorted(s))
)
def test_chestxray14(tmp_path: Path, lists: set[str]) -> None:
    """112,120 images of 30,805 patients; NIH's list of 25,596 images, the CheXNet list of 22,433, or both."""
    blocks = (
        (1, 6188, 22433),
        (6188, 8985, 25596),
        (8985, 30806, 64091),
    )  # of the CheXNet list, of NIH's, others
    patients = np.concatenate([np.sort(np.resize(np.arange(a, b), n)) for a, b, n in blocks])
    number = pd.Series(patients).groupby(patients).cumcount()
    names = [f"{p:08d}_{n:03d}.png" for p, n in zip(patients, number, strict=True)]
    texts, rows = nih_labels(names)
    table = pd.DataFrame({"Image Index": names, "Finding Labels": texts, "Follow-up #": number})
    table["Patient ID"], table["Patient Age"], table["Patient Gender"] = patients, 57, "M"
    table["View Position"] = "PA"
    table.to_csv(tmp_path / "Data_Entry_2017_v2020.csv", index=False)
    if "carzero" in lists:
        folder = tmp_path / "chexnet"
        folder.mkdir()
        lines = [f"images/{n} {' '.join(map(str, rows[n]))}" for n in names[:22433]]
        (folder / "test_list.txt").write_text("\n".join(lines) + "\n")
    if "nih" in lists:
        listed = names[22433 : 22433 + 25596]
        (tmp_path / "test_list.txt").write_text("\n".join(listed) + "\n")
        others = [*names[:22433], *names[22433 + 25596 :]]
        (tmp_path / "train_val_list.txt").write_text("\n".join(others) + "\n")
    images = listing(tmp_path / "images.txt", (f"images/{name}" for name in names))
    report = checked("chestxray14", tmp_path, *images)
    assert ("reason" in report["protocols"]["carzero"]) == ("carzero" not in lists)


@pytest.mark.slow
@pytest.mark.parametrize(("batches", "test"), [(False, False), (True, True)])
def test_chexpert(tmp_path: Path, batches: bool, test: bool) -> None:
    """223,414 training images of 187,641 studies and 64,540 patients, 234 to validate; test or none."""
    card = load_card("chexpert")
    head = tmp_path / ("CheXpert-v1.0 batch 1 (validate & csv)" if batches else "CheXpert-v1.0-small")

    def views(part: str, images: int, studies: int, patients: int, first: int) -> list[str]:
        seen: dict[int, int] = {}
        paths = []
        for i in range(studies):
            patient = first + i % patients
            seen[patient] = seen.get(patient, 0) + 1
            views = 2 if i < images - studies else 1
            paths += [
                f"{part}/patient{patient:05d}/study{seen[patient]}/view{v + 1}_frontal.jpg"
                for v in range(views)
            ]
        return paths

    files: list[str] = []
    parts = {
        "train": views("train", 223414, 187641, 64540, 1),
        "valid": views("valid", 234, 200, 200, 64541),
    }
    for part, paths in parts.items():
        table = pd.DataFrame({"Path": [f"CheXpert-v1.0/{p}" for p in paths], "Sex": "Male", "Age": 60})
        table["Frontal/Lateral"], table["AP/PA"] = "Frontal", "AP"
        table[list(card.classes)] = 0.0
        head.mkdir(exist_ok=True)
        table.to_csv(head / f"{part}.csv", index=False)
        apart = batches and part == "train"
        files += [
            f"CheXpert-v1.0 batch 2 (train 1)/{p.removeprefix('train/')}" if apart else f"{head.name}/{p}"
            for p in paths
        ]
    if test:
        positives, frontal = card.protocols["fourteen"].positives, card.protocols["frontal"].positives
        paths = [f"test/patient{64741 + i}/study1/view1_frontal.jpg" for i in range(500)]
        paths += [f"test/patient{64741 + i}/study1/view2_frontal.jpg" for i in range(18)]
        paths += [f"test/patient{64741 + i}/study1/view3_lateral.jpg" for i in range(150)]
        table = pd.DataFrame({"Path": paths})
        for name in card.classes:
            front = frontal.get(name, min(positives[name], 518))
            table[name] = [
                1.0 if i < front or 518 <= i < 518 + positives[name] - front else 0.0 for i in range(668)
            ]
        (tmp_path / "CheXpert").mkdir()
        table.to_csv(tmp_path / "CheXpert" / "test_labels.csv", index=False)
        files += [f"CheXpert/{path}" for path in paths]
    report = checked("chexpert", tmp_path, *listing(tmp_path / "images.txt", files))
    assert report["counts"]["train"]["images"] == [223414, 223414]
