"""What portable numerics cost, and which bits this processor and others compute.

    python perf/numerics.py [--methods clip carzero radzero gloria] [--rounds 3] [--images 600]
    python perf/numerics.py --fingerprint [--emulate Haswell EPYC]

The first trains each method's main cell for one epoch on a small twin, portable and native in turn, each in a
fresh process on one thread, and prints processor seconds and their ratio (median of the rounds). The second
prints the fingerprint under both settings; --emulate repeats it on processors that qemu-user emulates
(Debian's package qemu-user; about a minute each), exact in every bit but slow.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from perf.options import described, machine

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = ("portable", "native")


def main() -> None:
    parser = described(__doc__)
    parser.add_argument("--methods", nargs="*", default=["clip", "carzero", "radzero", "gloria"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--fingerprint", action="store_true")
    parser.add_argument("--emulate", nargs="*", default=[], metavar="CPU", help="see qemu-x86_64 -cpu help")
    parser.add_argument("--worker", nargs="*", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker:
        work(*chosen.worker)
    elif chosen.fingerprint:
        fingerprints(chosen.emulate)
    else:
        costs(chosen.methods, chosen.rounds, chosen.images)


def fingerprints(processors: list[str]) -> None:
    rows = {f"this one, {numerics}": start(numerics, "fingerprint") for numerics in SETTINGS}
    for cpu in processors:
        for numerics in SETTINGS:
            rows[f"{cpu} (emulated), {numerics}"] = start(numerics, "fingerprint", emulate=cpu)
    kinds = list(next(iter(rows.values())))
    print(f"{'':<32}" + "".join(f"{kind:<22}" for kind in kinds))
    for name, row in rows.items():
        print(f"{name:<32}" + "".join(f"{row[kind]:<22}" for kind in kinds))


def costs(methods: list[str], rounds: int, images: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        text = (ROOT / "params.yaml").read_text(encoding="utf-8")
        (Path(place) / "params.yaml").write_text(text, encoding="utf-8")
        start("portable", "prepare", place, str(images))
        for method in methods:
            seconds: dict[str, list[float]] = {numerics: [] for numerics in SETTINGS}
            for _ in range(rounds):
                for numerics in SETTINGS:
                    seconds[numerics].append(start(numerics, "train", place, str(images), method)["seconds"])
            portable, native = (statistics.median(seconds[numerics]) for numerics in SETTINGS)
            print(
                f"{method:<10} portable {portable:6.1f} s  native {native:6.1f} s  "
                f"ratio {portable / native:.2f}"
            )
        shutil.rmtree(place, ignore_errors=True)
    print(machine())


def start(numerics: str, *what: str, emulate: str | None = None) -> dict[str, Any]:
    """One worker in a process of its own, as kernels are chosen when torch is loaded."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
    }
    program = [os.path.realpath(sys.executable)] if emulate else [sys.executable]
    if emulate:
        qemu = shutil.which("qemu-x86_64")
        if qemu is None:
            raise SystemExit("--emulate needs qemu-x86_64 (Debian: apt-get install qemu-user)")
        program = [qemu, "-cpu", emulate, *program]
    done = subprocess.run(
        [*program, __file__, "--worker", numerics, *what], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr.strip().splitlines()[-1])
    found: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def work(setting: str, what: str, *more: str) -> None:
    from benchmark.core import numerics

    chosen: numerics.Numerics = "portable" if setting == "portable" else "native"
    numerics.pin(chosen)
    import torch

    torch.set_num_threads(1)
    numerics.apply(chosen)
    if what == "fingerprint":
        from benchmark.core.processor import fingerprint

        print(json.dumps(fingerprint()))
        return
    place, images, *method = more
    print(json.dumps({"seconds": one_epoch(setting, Path(place), int(images), *method)}))


def one_epoch(setting: str, place: Path, images: int, method: str | None = None) -> float:
    """Processor seconds of one epoch of training; without a method, of making twin and features."""
    from benchmark.core.settings import train_config
    from benchmark.grid.layout import Project
    from benchmark.grid.params import cell_named
    from benchmark.grid.params_file import load_params
    from benchmark.stages.run import Session
    from benchmark.stages.train import untrained
    from benchmark.training.loop import train

    project = Project(place)
    params = load_params(
        project.params, sets=[f"twins.images.mimic_cxr={images}", "twins.size=128", f"numerics={setting}"]
    )
    session = Session(project, params, lambda line: None)
    cell = cell_named(params, method or params.methods[0])
    data = session.inputs(cell)
    if method is None:
        return 0.0
    config = train_config({**cell.training.model_dump(), "device": "cpu", "epochs": 1})
    module = untrained(cell, 0, data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    with tempfile.TemporaryDirectory() as folder:
        train(module, data, config, Path(folder), 0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime - before


if __name__ == "__main__":
    main()
