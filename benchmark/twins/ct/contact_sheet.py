"""Contact sheets of the CT twin: each finding in its window, beside the same patient without it.

python -m benchmark.twins.ct.contact_sheet --out sheet.jpg --findings "pleural effusion,pneumothorax"
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmark.core.errors import UnknownName
from benchmark.twins.case import TwinPatient
from benchmark.twins.contact_sheet import write_sheet
from benchmark.twins.ct.catalogue import catalogue, ct_site
from benchmark.twins.ct.scan import draw, reconstruct
from benchmark.twins.population import detail, generator

WINDOWS = {"lung": (-1350.0, 150.0), "mediastinum": (-160.0, 240.0), "bone": (-450.0, 1050.0)}
_BONE = (
    "osteophyte", "spinal spondylosis", "rib fracture", "pacemaker", "suture material",
    "aortic endoprosthesis", "artificial heart valve", "central venous catheter",
    "reservoir central venous catheter", "calcified granuloma",
)  # fmt: skip
_SOFT = (
    "cardiomegaly", "pericardial effusion", "pericardial calcification", "coronary calcification",
    "adenopathy", "aortic atheromatosis", "lymph node", "hiatal hernia", "pleural effusion", "empyema",
    "calcified pleura", "pulmonary mass",
)  # fmt: skip
_ALONG = ("emphysema", "osteophyte", "spinal spondylosis", "fibrotic sequelae", "pacemaker")
"""Shown in a coronal or sagittal plane beside the axial one."""


def window_of(concept: str) -> str:
    return "bone" if concept in _BONE else "mediastinum" if concept in _SOFT else "lung"


def windowed(hu: np.ndarray, name: str) -> np.ndarray:
    """Hounsfield units → uint8 grey values of a window."""
    low, high = WINDOWS[name]
    grey: np.ndarray = (np.clip((hu.astype(np.float32) - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    return grey


def pair(
    concept_id: str, side: int, seed: int, dataset: str = "ct_rate"
) -> tuple[np.ndarray, np.ndarray, str]:
    """One patient without and with a finding: grey pictures of the slice that shows it best, and its words.

    Raises UnknownName.
    """
    concepts = catalogue()
    if concept_id not in concepts:
        raise UnknownName("finding of the CT twin", concept_id, concepts)
    concept, site = concepts[concept_id], ct_site(dataset)
    rng = generator(seed, "sheet", concept_id)
    patient = TwinPatient(
        seed, "F" if rng.random() < 0.4 else "M", int(np.clip(rng.normal(62, 8), *concept.age))
    )
    finding = detail(concept, rng)
    planes = []
    phantom, lesions, _ = draw(patient, (finding,), site, side, seed, seed)
    healthy, _, _ = draw(patient, (), site, side, seed, seed)
    masks = (
        np.stack([lesion.mask for lesion in lesions])
        if lesions
        else np.zeros((1, *phantom.space.shape), bool)
    )
    best = int(np.argmax(masks.any(0).sum((1, 2))))
    for own in (healthy, phantom):
        hu = reconstruct(own.hu, own.space, "soft", generator(seed, "sheet noise"))
        grey = windowed(hu[best], window_of(concept_id))
        if concept_id in _ALONG:
            where = masks.any(0)
            if window_of(concept_id) == "bone" and concept_id != "pacemaker":
                grey = windowed(hu[::-1, :, int(np.argmax(where.sum((0, 1))))], "bone")
            else:
                grey = windowed(hu[::-1, int(np.argmax(where.sum((0, 2))))], window_of(concept_id))
        planes.append(cv2.resize(grey, (side, side), interpolation=cv2.INTER_LINEAR))
    words = " ".join(filter(None, (concept_id, finding.side, finding.location, finding.severity)))
    return planes[0], planes[1], words


def contact_sheet(findings: Sequence[str], side: int = 160, columns: int = 6, seed: int = 0) -> np.ndarray:
    """Grid of pairs, healthy at the left and with the finding at the right, under its name; uint8."""
    tiles = []
    for name in findings:
        normal, ill, words = pair(name, side, seed)
        tile = np.zeros((side + 14, 2 * side), np.uint8)
        tile[14:] = np.hstack([normal, ill])
        cv2.putText(tile, words[: side // 3], (2, 11), cv2.FONT_HERSHEY_SIMPLEX, 0.36, 255, 1, cv2.LINE_AA)
        tiles.append(tile)
    while len(tiles) % columns:
        tiles.append(np.zeros_like(tiles[0]))
    return np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line of the module; `--help` lists the options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmark.twins.ct.contact_sheet", description="Draw findings beside a normal chest."
    )
    parser.add_argument("--out", type=Path, required=True, help="PNG or JPEG to write")
    parser.add_argument("--findings", default="", help="comma-separated ids; all of them if left out")
    parser.add_argument("--side", type=int, default=160)
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    names = [f.strip() for f in options.findings.split(",") if f.strip()] or list(catalogue())
    sheet = contact_sheet(names, options.side, options.columns, options.seed)
    write_sheet(options.out, sheet)
    print(f"{options.out}: {len(names)} findings, {sheet.shape[1]}x{sheet.shape[0]} pixels")


if __name__ == "__main__":
    main()
