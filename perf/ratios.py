"""Ratios within one run against those recorded in perf/ratios.json; `make perf-check`.

    python perf/ratios.py [--record] [--only WORD]

Every ratio is that of the suite's work to a reference that the same script times beside it, so that another
load of the machine moves both. The recorded ones are of a kind of processor: on a kind that has none, there
is nothing to hold against, and --record writes down what was found. Exit 1 where a ratio is more than 20%
below what was recorded.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import torch

from benchmark.core.files import read_json, write_json
from benchmark.training.provenance import device_name
from perf.options import described

RECORDED = Path(__file__).with_name("ratios.json")
ALLOWED = 0.8
SCRIPTS = {
    "scoring tile to torch.mm": ("roofline.py --device cpu", r"scoring tile .*?(\d+)%"),
    "training step to torch.mm": ("roofline.py --device cpu", r"training step .*?(\d+)%"),
    "scoring to CARZero's released loop": (
        "scoring_scale.py --device cpu --images 512 --methods carzero",
        r"per-image loop: ([\d.]+) times",
    ),
    "decoding to Pillow, 8-bit PNG": (
        "decode.py --view 224 --images 16 --repeats 2",
        r"8-bit PNG.*by CPU time ([\d.]+)",
    ),
}
"""Ratio, larger is better → the script that measures it, and where its output holds it."""


def measured(wanted: str) -> dict[str, float]:
    """Every ratio whose name holds `wanted`; a script runs once."""
    said: dict[str, str] = {}
    found = {}
    for name, (script, pattern) in SCRIPTS.items():
        if wanted not in name:
            continue
        if script not in said:
            words = [sys.executable, *script.split()]
            done = subprocess.run(words, cwd=RECORDED.parent, capture_output=True, text=True, check=False)
            said[script] = done.stdout or done.stderr[-500:]
        number = re.search(pattern, said[script])
        if number is None:
            raise SystemExit(f"perf/{script} does not say '{name}': {said[script]}")
        found[name] = float(number[1])
    return found


def worse(found: dict[str, float], known: dict[str, float]) -> list[str]:
    """The ratios that are more than 20% below what was recorded."""
    return [name for name, value in found.items() if name in known and value < ALLOWED * known[name]]


def main() -> int:
    parser = described(__doc__)
    parser.add_argument("--record", action="store_true", help="write down what is found")
    parser.add_argument("--only", default="", help="a part of the names of the ratios wanted")
    options = parser.parse_args()
    kind = device_name(torch.device("cpu"))
    recorded = read_json(RECORDED)
    known = recorded.get(kind, {})
    found = measured(options.only)
    slow = worse(found, known)
    for name, value in found.items():
        beside = f"recorded {known[name]:g}" if name in known else "nothing recorded"
        print(f"{value:8.2f}  {beside:<18}{'SLOWER  ' if name in slow else ''}{name}")
    print(f"on {kind}")
    if options.record:
        write_json(RECORDED, {**recorded, kind: {**known, **found}})
        return 0
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
