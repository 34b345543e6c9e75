"""The example images of the page: one picture a set that holds them all, and a list of what each shows."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.core.files import atomic_path, read_json, write_text
from benchmark.core.guard import parsing
from benchmark.stages.examples import EXAMPLE_RULE

if TYPE_CHECKING:
    from benchmark.stages.examples import SetExamples

SIDE = 96
"""Pixels of one image on the page."""
ACROSS = 16
"""Images in a row of the picture of a set."""
QUALITY = 50
FILE = "examples.json"


def write_examples(found: Sequence[SetExamples], folder: Path) -> str:
    """examples.json, and examples-<set>.webp with the images side by side. Returns what to tell the user."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("examples-*.webp"):
        stale.unlink()
    for own in found:
        with atomic_path(folder / f"examples-{own.dataset}.webp") as temporary:
            Image.fromarray(sheet(list(own.pixels.values()))).save(temporary, format="webp", quality=QUALITY)
    value = {
        "rule": EXAMPLE_RULE,
        "side": SIDE,
        "across": ACROSS,
        "sets": {o.dataset: _listed(o) for o in found},
    }
    write_text(folder / FILE, json.dumps(value, separators=(",", ":")) + "\n")
    size = sum(path.stat().st_size for path in folder.glob("examples*"))
    count = sum(len(own.examples) for own in found)
    return f"{count} examples, {folder / FILE} and {len(found)} pictures of {size / 1000:.0f} KB"


def sheet(pixels: Sequence[np.ndarray]) -> np.ndarray:
    """(rows · SIDE, ACROSS · SIDE) uint8 of (S, S) images, in reading order; black where there is none."""
    import cv2

    rows = max(-(-len(pixels) // ACROSS), 1)
    out = np.zeros((rows * SIDE, ACROSS * SIDE), np.uint8)
    for place, image in enumerate(pixels):
        y, x = divmod(place, ACROSS)
        small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        out[y * SIDE : (y + 1) * SIDE, x * SIDE : (x + 1) * SIDE] = small
    return out


def _listed(own: SetExamples) -> dict[str, Any]:
    """classes: class → [kind, place in the picture, image, method → [share below, map]]; a map as `_packed`
    writes it."""
    places = {image: place for place, image in enumerate(own.pixels)}
    classes: dict[str, list[Any]] = {}
    for e in own.examples:
        shown = {
            name: [round(share, 3), *([_packed(e.maps[name])] if name in e.maps else [])]
            for name, share in e.above.items()
        }
        classes.setdefault(e.cls, []).append([e.kind, places[e.image_id], e.image_id, shown])
    return {"origin": own.origin, "seed": own.seed, "weights": dict(own.weights), "classes": classes}


def _packed(values: np.ndarray) -> list[Any]:
    """Height, width, and the base64 of 16 levels, two a byte, the first in the upper half."""
    levels = np.append(values.ravel() >> 4, np.uint8(0))[: values.size + values.size % 2]
    pairs = (levels[0::2] << 4) | levels[1::2]
    return [*map(int, values.shape), base64.b64encode(pairs.astype(np.uint8).tobytes()).decode()]


def read_examples(folder: Path, weights: Mapping[str, Mapping[int, str]]) -> dict[str, Any]:
    """The examples for the page, of the sets whose maps and ranks are those of these weights.

    weights: cell → seed → hash of the weights of the run that is there. Sets that other weights made are
    named under `stale` and not shown. Empty where none were made. Raises DataError for a damaged file.
    """
    if not (folder / FILE).is_file():
        return {}
    known = read_json(folder / FILE)
    sets, stale = {}, []
    with parsing(folder / FILE, "a list of example images", "Run `bench stage gallery`."):
        for name, own in known["sets"].items():
            seed = int(own["seed"])
            if any(weights.get(cell, {}).get(seed) != made for cell, made in own["weights"].items()):
                stale.append(str(name))
                continue
            picture = base64.b64encode((folder / f"examples-{name}.webp").read_bytes()).decode()
            sets[str(name)] = {**own, "picture": f"data:image/webp;base64,{picture}"}
        return {**{k: known[k] for k in ("rule", "side", "across")}, "sets": sets, "stale": stale}
