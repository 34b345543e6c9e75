"""reports/tuning/: what the search of each method found, from its record; the evaluation sets beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from benchmark.core.errors import BenchError
from benchmark.core.files import read_yaml
from benchmark.core.settings import EQUAL_BUDGET
from benchmark.grid.declared import declared
from benchmark.reporting import columns as common
from benchmark.reporting.table import Row, Table, count, real, words

COMMAND = "bench report search"
RATE, WIDTH = "training.learning_rate", "options.width"

APART = (
    "THE SEARCHES ARE NOT ALIKE, so that rows say nothing of which method is better or was tuned as well; "
    "`bench stage tune METHOD` makes a record again."
)
DIVERGED = "A seed of a chosen trial diverged: its means are of the others, while the choice counted it as 0."


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Limits(_Record):
    """Of one setting of the space: a range has low and high, a choice has values."""

    kind: str
    low: float | None = None
    high: float | None = None


class TrialRecord(_Record):
    """As `benchmark.training.tuning.Trial` writes it."""

    number: int
    values: dict[str, float | str]
    score: float | None
    repeats: tuple[float | None, ...] = ()
    sealed: dict[str, tuple[float | None, ...]] = {}

    @property
    def all_scores(self) -> tuple[float | None, ...]:
        """Of every seed, None where it diverged."""
        return (self.score, *self.repeats)

    @property
    def scores(self) -> list[float]:
        """Of the seeds that finished."""
        return [s for s in self.all_scores if s is not None]

    def says(self, name: str) -> float | str | None:
        """The value of `training.<field>` or `options.<field>`; None where the trial took the default."""
        return self.values.get(name)

    @property
    def rate(self) -> float:
        """The learning rate, of the recipe where the trial drew none."""
        drawn = self.values.get(RATE)
        return drawn if isinstance(drawn, float) else EQUAL_BUDGET.learning_rate


class SearchRecord(_Record):
    """reports/tuning/<method>.yaml."""

    method: str
    space: dict[str, Limits]
    trials: tuple[TrialRecord, ...]
    chosen: int
    fixed: dict[str, bool | int | float | str | None]
    in_use: tuple[float, ...]
    origins: dict[str, str]
    criterion: str = ""
    seed: int | None = None
    train_images: int | None = None
    val_images: int | None = None

    @model_validator(mode="after")
    def _whole(self) -> SearchRecord:
        if RATE not in self.space:
            raise ValueError(f"the space has no {RATE}")
        if [trial.number for trial in self.trials] != list(range(len(self.trials))):
            raise ValueError("the trials are not numbered from 0 on")
        if not 0 <= self.chosen < len(self.trials):
            raise ValueError(f"trial {self.chosen} was chosen of {len(self.trials)}")
        return self

    @property
    def terms(self) -> dict[str, object]:
        """What every method has alike in a fair search: name → value. Options are a method's own, but for
        the width."""
        shared = {k: v for k, v in self.fixed.items() if k == WIDTH or k.startswith("training.")}
        space = {f"range of {name}": limits.model_dump_json() for name, limits in self.space.items()}
        about = {n: getattr(self, n) for n in ("criterion", "seed", "train_images", "val_images")}
        read = {f"origin of {name}": origin for name, origin in self.origins.items()}
        return {**shared, **space, **about, **read, "trials": len(self.trials)}

    @property
    def best(self) -> TrialRecord:
        return self.trials[self.chosen]

    @property
    def sets(self) -> list[str]:
        return list(dict.fromkeys(name for trial in self.trials for name in trial.sealed))

    @property
    def edge(self) -> str:
        """`low` or `high` where the chosen rate lies in the outermost of the parts that its range was cut
        into, one a drawn trial; else empty. Of fewer than three parts each is an outermost one: empty too."""
        limits = self.space[RATE]
        if limits.low is None or limits.high is None or len(self.trials) < 4:
            return ""
        share = math.log(self.best.rate / limits.low) / math.log(limits.high / limits.low)
        part = 1 / (len(self.trials) - 1)
        return "low" if share < part else "high" if share > 1 - part else ""

    def tracking(self, dataset: str) -> float | None:
        """Spearman correlation over the trials of first-seed score and macro AUROC on an evaluation set; None
        with fewer than three."""
        from scipy.stats import spearmanr

        pairs = [(t.score, *t.sealed.get(dataset, ())[:1]) for t in self.trials if t.score is not None]
        known = [pair for pair in pairs if len(pair) == 2 and pair[1] is not None]
        return float(spearmanr(*zip(*known, strict=True)).statistic) if len(known) > 2 else None


def read_search(folder: Path, methods: Sequence[str]) -> list[SearchRecord]:
    """The records of these methods that are there. Raises BenchError where there is none or one is another
    file."""
    found = []
    for path in (folder / f"{method}.yaml" for method in methods):
        if not path.is_file():
            continue
        try:
            own = SearchRecord.model_validate(read_yaml(path))
        except ValidationError as error:
            first = error.errors()[0]
            at = ".".join(map(str, first["loc"]))
            raise BenchError(
                f"{path}: {at}: {first['msg']}. `bench stage tune {path.stem}` makes the record again."
            ) from error
        if own.method != path.stem:
            raise BenchError(
                f"{path}: the record of {own.method}. `bench stage tune {path.stem}` makes its own."
            )
        found.append(own)
    if not found:
        raise BenchError(f"{folder}: no record of a search. `bench stage tune METHOD` makes one.")
    return found


def on_twins(records: Sequence[SearchRecord]) -> bool:
    """Whether anything was trained or evaluated on a twin."""
    return any(origin == "twin" for record in records for origin in record.origins.values())


def unlike(records: Sequence[SearchRecord]) -> list[str]:
    """What differs between the searches that all methods should share, a line each: its values, and whose
    they are. Sets that one search read and another did not are columns of the table, and no difference."""
    found = []
    terms = {declared(record.method).title: record.terms for record in records}
    for name in dict.fromkeys(name for own in terms.values() for name in own):
        methods: dict[str, list[str]] = {}
        for title, own in terms.items():
            if name in own or not name.startswith("origin of "):
                methods.setdefault(str(own.get(name, "not stated")), []).append(title)
        if len(methods) > 1:
            said = "; ".join(f"{value} ({', '.join(titles)})" for value, titles in methods.items())
            found.append(f"{name.removeprefix('training.').removeprefix('options.')}: {said}")
    return found


def search_table(records: Sequence[SearchRecord]) -> Table:
    """One row a method: what was chosen, and how well the criterion tracks the evaluation sets."""
    sets = list(dict.fromkeys(name for record in records for name in record.sets))
    differing = unlike(records)
    apart = (f"{APART} {'. '.join(differing)}.",) if differing else ()
    lost = any(None in record.best.all_scores for record in records)
    return Table(
        name="search",
        title="Search of each method's settings",
        columns=(
            common.METHOD, count("trials", "Trials"), count("failed", "Diverged"),
            real("rate", "Learning rate", 5), words("decay", "Weight decay"), words("inputs", "Inputs"),
            words("edge", "Edge"), real("chosen", "Held-out, chosen"), real("spread", "Its spread", 4),
            real("in_use", "Held-out, in use"), real("untuned", "Held-out, untuned"),
            *(real(f"sealed_{name}", f"{name}, chosen") for name in sets),
            *(real(f"tracking_{name}", f"{name}, Spearman", 2) for name in sets),
        ),
        rows=tuple(_row(record, sets) for record in records),
        notes=(
            *apart,
            *((DIVERGED,) if lost else ()),
            "Held-out: macro AUROC of held-out sentences on training patients that do not train, mean over "
            "the seeds of a trial; the criterion of trials and of epochs. Its spread: standard deviation "
            "over the seeds of the chosen trial. In use: the main cell as params.yaml had it before this "
            "search, over its seeds. Untuned: trial 0, which takes the recipe and the method as they are.",
            "Edge: whether the chosen rate lies in the outermost part of the range, of as many parts as "
            "trials were drawn.",
            "The evaluation sets were read after the choice and take no part in it: macro AUROC of the "
            "chosen trial, mean over its seeds, and the correlation of every trial's held-out AUROC with it.",
        ),
        synthetic=on_twins(records),
        command=COMMAND,
    )  # fmt: skip


def _row(record: SearchRecord, sets: Sequence[str]) -> Row:
    best = record.best
    row: dict[str, str | int | float | None] = {
        "method": declared(record.method).title,
        "trials": len(record.trials),
        "failed": sum(None in trial.all_scores for trial in record.trials),
        "rate": best.rate,
        "decay": _said(best.says("training.weight_decay")),
        "inputs": _said(best.says("options.normalise_inputs")),
        "edge": record.edge or "no",
        "chosen": _mean(best.scores),
        "spread": _deviation(best.scores),
        "in_use": _mean(record.in_use),
        "untuned": _mean(record.trials[0].scores),
    }
    for name in sets:
        row[f"sealed_{name}"] = _mean([v for v in best.sealed.get(name, ()) if v is not None])
        row[f"tracking_{name}"] = record.tracking(name)
    return row


def _said(value: float | str | None) -> str:
    return "default" if value is None else f"{value:g}" if isinstance(value, float) else value


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _deviation(values: Sequence[float]) -> float | None:
    """With one less than their number below."""
    from statistics import stdev

    return stdev(values) if len(values) > 1 else None
