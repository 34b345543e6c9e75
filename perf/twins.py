"""Twin images, or CT volumes, per second on one core with files, for every dataset or those named.

    python perf/twins.py [DATASET ...] [--images 200] [--size 224] [--least 60] [--json]
    python perf/twins.py ct_rate --images 4 --size 160 --least 0.34

One process, no workers: the figure is per core. Wall clock and processor time of `build_twin` are both given,
since other work on the machine disturbs only the first. Exit 1 where processor time allows less than --least.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from benchmark.twins.build import WRITERS, TwinSpec, build_twin
from benchmark.twins.ct.build import CTSpec, build_ct_twin
from benchmark.twins.ct.catalogue import SITES
from perf.options import described, machine


def measure(dataset: str, images: int, size: int) -> tuple[float, float]:
    """Images per second of wall clock and of processor time, after a short run that fills the caches."""

    def build(root: Path, count: int, seed: int) -> None:
        if dataset in SITES:
            build_ct_twin(dataset, root, CTSpec(images=count, side=size), seed, workers=1)
        else:
            build_twin(dataset, root, TwinSpec(images=count, size=size), seed, workers=1)

    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / dataset
        build(root, min(8, images), 1)
        wall, spent = time.perf_counter(), time.process_time()
        build(root, images, 0)
        return images / (time.perf_counter() - wall), images / (time.process_time() - spent)


def main() -> int:
    parser = described(__doc__)
    parser.add_argument("datasets", nargs="*", metavar="DATASET")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--least", type=float, default=60.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = {}
    for dataset in options.datasets or WRITERS.names():
        wall, spent = measure(dataset, options.images, options.size)
        rows[dataset] = {"images_per_second": wall, "images_per_cpu_second": spent}
        if not options.json:
            print(f"{dataset:<18} {wall:6.2f} images/s  {spent:6.2f} by processor time", flush=True)
    if not options.json:
        print(machine())
    else:
        sys.stdout.write(json.dumps({"size": options.size, "images": options.images, **rows}) + "\n")
    return 0 if all(row["images_per_cpu_second"] >= options.least for row in rows.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
