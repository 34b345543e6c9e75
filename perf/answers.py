"""Seconds of processor time until `bench` answers, a process each, against what was set.

    python perf/answers.py [--project FOLDER] [--times 3] [--run] [--first] [--json]

--project: a folder with results of the main tables; default: the one around the working folder. The scores
that `bench score` reads are drawn here: 1,900 images, 13 classes. --run: also a finished `bench run`, which
the first call trains where it is not finished. The smallest of the times counts: processor time grows where
other work shares the cores, and `verify`, `explain` and a finished run find their answer in the first call
after what it rests on changed, and keep it. The first time is given too. --first: these alone, each call as
a first one: without its kept answer; also without the kept hashes of code; then without the parts of an
answer that are kept too, rows and interactions, or of a run the summary and what is known of its encoders,
trainings, texts and data. What is taken away is made again by the call. The code that is timed is that of
this checkout. Exit 1 where an answer takes longer than was set.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from perf.options import described, machine

CHECKOUT = Path(__file__).resolve().parents[1]
IMAGES, CLASSES = 1900, 13
FINISHED = "bench run --method carzero --dataset padchest"
KEEP_ANSWERS = ("bench verify", "bench explain carzero padchest", FINISHED)
ROWS, SUMMARY = "answer, code, rows, interactions", "answer, code, all that is kept of a run"
TAKEN_AWAY = {
    "answer": ("answers",),
    "answer, code": ("answers", "code.json"),
    ROWS: ("answers", "code.json", "rows", "interactions"),
    SUMMARY: ("answers", "code.json", "summaries", "encoders", "runs", "roots", "findings"),
}
"""What a first call lacks → its places below .cache."""


def commands(folder: Path) -> dict[str, float]:
    """Command → seconds that it may take."""
    rng = np.random.default_rng(0)
    names = [f"class {k}" for k in range(CLASSES)]
    ids = {"image_id": [f"i{n}" for n in range(IMAGES)]}
    labels = (rng.random((IMAGES, CLASSES)) < 0.1).astype(int)
    scores = rng.random((IMAGES, CLASSES)) + 0.5 * labels
    pd.DataFrame({**ids, **dict(zip(names, labels.T, strict=True))}).to_csv(
        folder / "labels.csv", index=False
    )
    pd.DataFrame({**ids, **dict(zip(names, scores.T, strict=True))}).to_csv(
        folder / "scores.csv", index=False
    )
    return {
        f"bench score {folder}/scores.csv --labels {folder}/labels.csv --patients none": 2.0,
        "bench verify": 2.0,
        "bench explain carzero padchest": 2.0,
        "bench ls methods": 1.0,
        "bench run --method carzer --dataset padchest": 1.0,
        "bench run --method carzero --dataset padchst": 1.0,
        "bench run --method carzero --dataset padchest --set training.epoch=3": 1.0,
        "bench explain carzer padchest": 1.0,
        "bench verify no-such-claim": 1.0,
        "bench ls methods carzer": 1.0,
        f"bench score {folder}/no-such-file.csv --labels {folder}/labels.csv": 1.0,
    }


def seconds(command: str, project: Path) -> float:
    """Processor time of one call, user and system."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "CXR_ALIGNBENCH_HOME": str(project)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # it lets each call compile the suite
    words = [sys.executable, "-m", "benchmark", *command.split()[1:]]
    done = subprocess.run(words, capture_output=True, env=environment, cwd=CHECKOUT)
    assert done.returncode in (0, 1, 2), done.stderr.decode()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def first(command: str, project: Path, lacks: str) -> float:
    """Processor time of one call that lacks what other calls kept."""
    for place in (project / ".cache" / name for name in TAKEN_AWAY[lacks]):
        if place.is_dir():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)
    return seconds(command, project)


def main() -> int:
    parser = described(__doc__)
    parser.add_argument("--project", type=Path, default=Path.cwd())
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--run", action="store_true")
    parser.add_argument("--first", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    project = options.project.resolve()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        asked = commands(Path(place))
        if options.run:
            asked[FINISHED] = 4.0
        for command, most in asked.items():
            calls = {command.replace(place, "…"): partial(seconds, command, project)}
            if options.first:
                states = [k for k in TAKEN_AWAY if k != (ROWS if command == FINISHED else SUMMARY)]
                own = states if command in KEEP_ANSWERS else []
                calls = {f"{command}, without {k}": partial(first, command, project, k) for k in own}
            for name, call in calls.items():
                taken = [call() for _ in range(options.times)]
                row = {"seconds": round(min(taken), 2), "first": round(taken[0], 2), "most": most}
                rows.append({"command": name, **row})
    if options.json:
        print(json.dumps(rows))
    else:
        for row in rows:
            met = "met" if row["seconds"] <= row["most"] else "MISSED"
            took = f"{row['seconds']:6.2f} of {row['most']:.0f} s, first {row['first']:.2f}"
            print(f"{took:<29}{met:<7}{row['command']}")
        print(machine())
    return 0 if all(row["seconds"] <= row["most"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
