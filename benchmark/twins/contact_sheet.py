"""Contact sheets: each concept drawn in one patient beside the same patient without it.

python -m benchmark.twins.contact_sheet --out sheet.png --concepts "pleural effusion,pneumothorax"
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmark.core.errors import BenchError, UnknownName
from benchmark.core.files import atomic_path
from benchmark.core.tables import TWIN_NOTICE
from benchmark.twins.case import Finding, TwinImage, TwinPatient
from benchmark.twins.catalogue import catalogue
from benchmark.twins.population import Visit, detail, generator
from benchmark.twins.render import render
from benchmark.twins.sites import site

_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 75]
NOTICE_HEIGHT = 18


def pair(
    concept_id: str, view: str, size: int, seed: int, dataset: str = "padchest"
) -> tuple[TwinImage, TwinImage, Finding]:
    """One patient without and with a concept, everything else equal. Raises UnknownName."""
    concepts = catalogue()
    if concept_id not in concepts:
        raise UnknownName("concept", concept_id, concepts)
    concept = concepts[concept_id]
    rng = generator(seed, "sheet", concept_id)
    age = int(np.clip(rng.normal(60, 10), *concept.age))
    patient = TwinPatient(seed, concept.sex or ("F" if rng.random() < 0.5 else "M"), age)
    visit = Visit(patient, seed, 0, 0, (view,), 0)
    finding = detail(concept, rng)
    place = site(dataset)
    return render(visit, 0, (), place, size, seed), render(visit, 0, (finding,), place, size, seed), finding


def contact_sheet(
    concepts: Sequence[str],
    view: str = "PA",
    size: int = 256,
    columns: int = 4,
    seed: int = 0,
    boxes: bool = False,
    dataset: str = "padchest",
) -> np.ndarray:
    """Grid of pairs in the look of a dataset's site, normal at the left and the finding at the right, under
    its name; uint8."""
    tiles = []
    for name in concepts:
        normal, ill, finding = pair(name, view, size, seed, dataset)
        both = np.hstack([normal.pixels, ill.pixels])
        tile = np.zeros((size + 16, 2 * size), np.uint8)
        tile[16:] = (both * 255).round()
        words = " ".join(filter(None, (name, finding.side, finding.location, finding.severity)))
        cv2.putText(tile, words[: size // 3], (2, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.38, 255, 1, cv2.LINE_AA)
        if boxes:
            for region in ill.regions:
                x, y, w, h = (int(v) for v in region.box)
                cv2.rectangle(tile, (x + size, y + 16), (x + size + w, y + 16 + h), 255, 1)
        tiles.append(tile)
    while len(tiles) % columns:
        tiles.append(np.zeros_like(tiles[0]))
    return np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])


def write_sheet(path: Path | str, sheet: np.ndarray) -> None:
    """PNG or JPEG, atomically, above a line that says SYNTHETIC TWIN. Raises BenchError for
    another ending."""
    options = {".png": [], ".jpg": _JPEG, ".jpeg": _JPEG}.get(Path(path).suffix.lower())
    if options is None:
        raise BenchError(f"{path}: a contact sheet is a .png or .jpg file; name one.")
    line = np.zeros((NOTICE_HEIGHT, sheet.shape[1]), np.uint8)
    cv2.putText(line, TWIN_NOTICE, (2, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.38, 255, 1, cv2.LINE_AA)
    with atomic_path(path) as temporary:
        cv2.imwrite(str(temporary), np.vstack([sheet, line]), options)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line of the module; `--help` lists the options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmark.twins.contact_sheet", description="Draw concepts beside a normal."
    )
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--concepts", default="", help="comma-separated ids; all drawn concepts if left out")
    parser.add_argument("--view", default="PA", choices=["PA", "AP", "L"])
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--boxes", action="store_true", help="draw the regions' boxes")
    options = parser.parse_args(arguments)
    names = [c.strip() for c in options.concepts.split(",") if c.strip()]
    names = names or [c.id for c in catalogue().values() if c.draw]
    sheet = contact_sheet(names, options.view, options.size, options.columns, options.seed, options.boxes)
    write_sheet(options.out, sheet)
    print(f"{options.out}: {len(names)} concepts, {sheet.shape[1]}x{sheet.shape[0]} pixels")


if __name__ == "__main__":
    main()
