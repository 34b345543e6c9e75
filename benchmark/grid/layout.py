"""Where the files of a project lie."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from benchmark.core.errors import ParamsError

METRICS = "metrics.parquet"
"""The rows of classification, in the folder of an evaluation."""


@dataclass(frozen=True)
class Project:
    """A checkout (or any folder with a params.yaml) and the places its stages write to."""

    root: Path

    @classmethod
    def find(cls, start: Path | None = None) -> Project:
        """The nearest folder upwards with a params.yaml, or $CXR_ALIGNBENCH_HOME. Raises ParamsError."""
        home = os.environ.get("CXR_ALIGNBENCH_HOME")
        if home:
            root = Path(home).resolve()
            if not os.path.lexists(root / "params.yaml"):
                raise ParamsError(
                    f"CXR_ALIGNBENCH_HOME {home}: no params.yaml there. Name a project's folder, or start "
                    f"one by `bench init {home}`."
                )
            return cls(root)
        here = (start or Path.cwd()).resolve()
        for folder in (here, *here.parents):
            if os.path.lexists(folder / "params.yaml"):
                return cls(folder)
        raise ParamsError(
            f"{here}: no params.yaml here or above. Run inside a project, start one by `bench init DIR`, or "
            "set CXR_ALIGNBENCH_HOME."
        )

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def cache(self) -> Path:
        return self.root / ".cache"

    @property
    def code(self) -> Path:
        """What is known of the code of modules (`core.kept_code`)."""
        return self.cache / "code.json"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    def file(self, name: str) -> Path:
        """A file that the parameters name, relative to the project wherever the command runs."""
        path = Path(name).expanduser()
        return path if path.is_absolute() else self.root / path

    def twin(self, name: str) -> Path:
        return self.root / "data" / "twins" / name

    def prepared(self, name: str) -> Path:
        """name: `source_name` of the dataset."""
        return self.root / "data" / "prepared" / name

    def texts(self, name: str, rule: str) -> Path:
        """name: `source_name` of the dataset. rule: which sections of its reports are read."""
        return self.root / "data" / "texts" / name / rule

    def mark(self, *names: str) -> Path:
        """Where the rule of reuse notes what was made, for outputs whose own folder DVC tracks."""
        return self.cache.joinpath("made", *names[:-1], f"{names[-1]}.json")

    def run(self, cell: str, seed: int) -> Path:
        """Where a cell is trained. What stands after `~` in its name is of its evaluation alone."""
        return self.root / "runs" / cell.partition("~")[0] / f"seed-{seed}"

    def results(self, cell: str, seed: int) -> Path:
        return self.root / "results" / cell / f"seed-{seed}"

    def summary(self, part: str) -> Path:
        """Means, comparisons and ranks of a part, `main` or `all`."""
        return self.root / "results" / "summary" / part

    def sources(self, part: str) -> Path:
        """Path → sha256 of the results that a summary rests on; a report reads no others. It lies beside the
        tracked folder of the summary, as results record the processor that made them."""
        return self.root / "results" / "summary" / f"{part}.sources.json"

    def seeds(self, room: str, cell: str) -> list[tuple[int, Path]]:
        """(seed, folder) of a cell in `runs` or `results`, by seed; empty where it has none."""
        found = []
        for folder in (self.root / room / cell).glob("seed-*"):
            seed = folder.name.removeprefix("seed-")
            if seed.isdecimal() and folder.is_dir():
                found.append((int(seed), folder))
        return sorted(found)

    def trainings(self, cell: str) -> list[tuple[int, Path]]:
        """(seed, folder) of every finished training of a cell."""
        return [(seed, f) for seed, f in self.seeds("runs", cell) if (f / "run.json").is_file()]

    def evaluations(self, cell: str) -> list[tuple[int, Path]]:
        """(seed, folder) of the results of a cell; inside are folders by evaluation set."""
        return self.seeds("results", cell)

    def evaluated_cells(self, pattern: str) -> list[str]:
        """Cells of this pattern that have predictions."""
        files = (self.root / "results").glob(f"{pattern}/seed-*/*/predictions.parquet")
        return sorted({path.parents[2].name for path in files})

    def relative(self, path: Path) -> str:
        """`path` as it may be printed: relative to the project where it lies inside."""
        try:
            return str(path.relative_to(self.root))
        except ValueError:
            return str(path)


def source_name(dataset: str, origin: str) -> str:
    """Folder name of what was made from a dataset; official files and the twin never share one."""
    return dataset if origin == "twin" else f"{dataset}-official"


def slug(text: str) -> str:
    """A text in the name of a file."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
