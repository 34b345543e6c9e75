"""Seconds of `bench data check padchest` on a table of the official size, images not opened.

    python perf/check.py [--rows 160868] [--most 120] [--json]

The table is a twin's, its rows repeated under new image, study and patient ids; the images are empty files,
so that the reader finds every one. Time and peak memory are those of the check, in a process of its own.
Exit 1 where it takes more than --most seconds.
"""

from __future__ import annotations

import csv
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmark.twins.build import TwinSpec, build_twin
from benchmark.twins.writers.padchest import COLUMNS, TABLE
from perf.options import described, machine

IMAGE, FOLDER, STUDY, PATIENT = (COLUMNS.index(c) for c in ("ImageID", "ImageDir", "StudyID", "PatientID"))


def tree(root: Path, rows: int) -> None:
    """A PadChest folder of so many rows and empty image files."""
    twin = root.parent / "twin"
    build_twin("padchest", twin, TwinSpec(images=1000, size=64), 0)
    with open(twin / TABLE, encoding="utf-8", newline="") as handle:
        header, *known = csv.reader(handle)
    root.mkdir()
    folders: set[str] = set()
    with open(root / TABLE, "w", encoding="utf-8", newline="") as handle:
        table = csv.writer(handle, lineterminator="\n")
        table.writerow(header)
        for number, fields in zip(range(rows), itertools.cycle(known), strict=False):
            turn = f"{number // len(known):04d}"
            row = list(fields)
            row[0] = str(number)
            row[IMAGE] = f"{turn}{fields[IMAGE]}"
            row[STUDY], row[PATIENT] = fields[STUDY] + turn, fields[PATIENT] + turn
            table.writerow(row)
            folder = root / row[FOLDER]
            if row[FOLDER] not in folders:
                folder.mkdir()
                folders.add(row[FOLDER])
            (folder / row[IMAGE]).touch()


def main() -> int:
    parser = described(__doc__)
    parser.add_argument("--rows", type=int, default=160_868)
    parser.add_argument("--most", type=float, default=120.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "PadChest"
        tree(root, options.rows)
        command = ["data", "check", "padchest", "--data-root", str(root), "--skip-images", "--json"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begin = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "benchmark", *command], capture_output=True, text=True)
        seconds = time.perf_counter() - begin
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = json.loads(done.stdout)
    assert found["counts"]["all"]["images"][0] == options.rows, found["counts"]
    value = {
        "rows": options.rows,
        "seconds": seconds,
        "cpu_seconds": used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime,
        "peak_mb": used.ru_maxrss / 1024,
    }
    shown = f"{options.rows:,} rows: {seconds:.0f} s ({value['cpu_seconds']:.0f} s of processor time), "
    print(json.dumps(value) if options.json else f"{shown}{value['peak_mb']:.0f} MB; {machine()}")
    return 0 if seconds <= options.most else 1


if __name__ == "__main__":
    sys.exit(main())
