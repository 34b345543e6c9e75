"""The claims ledger: what papers claim, as data (reports/claims.yaml)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from benchmark.core.errors import BenchError, UnknownName, closest
from benchmark.core.files import stamp
from benchmark.core.located import read_located
from benchmark.grid.layout import Project
from benchmark.grid.strict import Strict

CLAIMS = "claims.yaml"
CT_FAMILY = "volumes"
"""The family whose claims are judged by results on CT volumes."""
KINDS = ("paired", "interaction", "absolute", "gap", "task")
Datasets = Literal["all", "each"] | tuple[str, ...]


class ClaimSource(Strict):
    """paper and where in it; values: the printed numbers behind the claim."""

    paper: str
    where: str
    values: dict[str, Any] = Field(default_factory=dict)


class PromptPair(Strict):
    """Inference prompts of the two sides; the cell's own where the name is its own style."""

    a: str
    b: str


class Contrast(Strict):
    """What all kinds share. metric: auroc_macro, or the name of a metric of another task."""

    a: str
    metric: str = "auroc_macro"
    stratum: str = "all"
    datasets: Datasets
    margin: float = Field(0.0, ge=0)

    @field_validator("datasets")
    @classmethod
    def _each_once(cls, value: Datasets) -> Datasets:
        if not value:
            raise ValueError("names no set; give a list, all or each")
        twice = next((name for name in value if isinstance(value, tuple) and value.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice} stands twice; name each set once")
        return value

    def _two_sides(self, a: object, b: object) -> None:
        if a == b:
            raise ValueError(f"holds {self.a} against itself; name two")


class Paired(Contrast):
    kind: Literal["paired"]
    b: str
    prompts: PromptPair | None = None

    @model_validator(mode="after")
    def _differ(self) -> Self:
        own = self.prompts
        self._two_sides((self.a, own and own.a), (self.b, own and own.b))
        return self


class Interaction(Contrast):
    kind: Literal["interaction"]
    b: str
    against: str

    @model_validator(mode="after")
    def _differ(self) -> Self:
        self._two_sides(self.a, self.b)
        if self.stratum == self.against:
            raise ValueError(f"names one stratum, {self.stratum}, on both sides; name two")
        if self.metric != "auroc_macro":
            raise ValueError(f"an interaction is of auroc_macro, not of {self.metric}")
        return self


class Absolute(Contrast):
    kind: Literal["absolute"]
    published: float
    margin: float = Field(gt=0)

    @model_validator(mode="after")
    def _of_one_set(self) -> Self:
        if not isinstance(self.datasets, tuple) or len(self.datasets) != 1:
            raise ValueError("a published value is of one set; name the one set in a list")
        return self


class Gap(Contrast):
    """metric_b: what `b` is measured by, where its score lies in another space than that of `a`."""

    kind: Literal["gap"]
    b: str
    metric_b: str = ""

    @model_validator(mode="after")
    def _differ(self) -> Self:
        self._two_sides((self.a, self.metric), (self.b, self.metric_b or self.metric))
        return self


class TaskMetric(Contrast):
    """A metric of another task, larger being better. metric_b: what `b` is measured by, where that is another
    metric, as that of a map that reads no image."""

    kind: Literal["task"]
    b: str
    metric_b: str = ""

    @model_validator(mode="after")
    def _differ(self) -> Self:
        self._two_sides((self.a, self.metric), (self.b, self.metric_b or self.metric))
        return self


class Claim(Strict):
    """needs: the weakest evidence that settles it. family: the claims that its p is corrected with, one of
    the ledger's. required: `bench verify` exits 1 where contradicted."""

    id: str
    statement: str
    source: ClaimSource
    contrast: Annotated[Paired | Interaction | Absolute | Gap | TaskMetric, Field(discriminator="kind")]
    needs: Literal["official", "twin"]
    family: str
    required: bool = False


class PredictedSet(Strict):
    """order: cells, best first, as `a > b > c`. seed_sd: how far printed values of one method lie apart over
    trainings, as the paper measured it."""

    dataset: str
    stratum: str = "all"
    order: Annotated[str, Field(pattern=r"^[\w-]+( > [\w-]+)+$")]
    seed_sd: float = Field(gt=0)

    @property
    def cells(self) -> tuple[str, ...]:
        return tuple(self.order.split(" > "))


class Prediction(Strict):
    """An order of cells that a paper leads one to expect. published: the source of its values in
    published.yaml. rows: cell → the method that it stands for there."""

    id: str
    statement: str
    source: ClaimSource
    published: str
    rows: dict[str, str]
    sets: tuple[PredictedSet, ...] = Field(min_length=1)

    @field_validator("sets")
    @classmethod
    def _each_once(cls, value: tuple[PredictedSet, ...]) -> tuple[PredictedSet, ...]:
        """A set or a cell that stands twice would count its signs twice."""
        places = [(at.dataset, at.stratum) for at in value]
        for at, place in zip(value, places, strict=True):
            if places.count(place) > 1:
                raise ValueError(f"{at.dataset} ({at.stratum}) stands twice; keep one order of it")
            if len(set(at.cells)) < len(at.cells):
                raise ValueError(f"{at.order} names a cell twice")
        return value


class Ledger(Strict):
    """families: name → what question its claims ask together. All claims of a family count in the correction
    of each, run or not, so that no p depends on which results are there. predictions: each a family of its
    own."""

    families: dict[str, str]
    claims: tuple[Claim, ...]
    predictions: tuple[Prediction, ...] = ()


def load_claims(path: Path) -> tuple[Claim, ...]:
    """The claims of a ledger. Raises as `load_ledger`."""
    return load_ledger(path).claims


def load_ledger(path: Path) -> Ledger:
    """Raises BenchError in one line that names the file, the line, the claim and the key."""
    return _ledger(path, stamp(path.stat()) if path.exists() else "")


@lru_cache(maxsize=2)
def _ledger(path: Path, _stamp: str) -> Ledger:
    """As it was read of a file of this state: a command that names a claim reads the ledger before its answer
    does."""
    file = read_located(path, BenchError)
    try:
        ledger = Ledger.model_validate(file.value)
    except ValidationError as error:
        place, loc, reason = file.first_fault(error, KINDS)
        where = ".".join(map(str, loc))
        if len(loc) > 1 and loc[0] in ("claims", "predictions"):
            item = file.value[loc[0]][int(loc[1])]
            name = item.get("id", f"number {int(loc[1]) + 1}") if isinstance(item, dict) else loc[1]
            kind = str(loc[0]).removesuffix("s")
            where = f"{kind} '{name}': {'.'.join(map(str, loc[2:])) or 'entry'}"
        raise BenchError(f"{place}: {where or 'file'}: {reason}.") from None
    seen: set[str] = set()
    for number, claim in enumerate(ledger.claims):
        if claim.id in seen:
            raise BenchError(f"{file.place(('claims', number, 'id'))}: two claims have the id '{claim.id}'.")
        seen.add(claim.id)
        if claim.family not in ledger.families:
            near = closest(claim.family, ledger.families)
            guess = f" Did you mean '{near}'?" if near else ""
            place = file.place(("claims", number, "family"))
            raise BenchError(
                f"{place}: claim '{claim.id}' is of family '{claim.family}', not one of families.{guess}"
            )
    for number, own in enumerate(ledger.predictions):
        place = file.place(("predictions", number, "id"))
        if own.id in seen:
            raise BenchError(f"{place}: two entries have the id '{own.id}'.")
        seen.add(own.id)
        for at in own.sets:
            if unknown := sorted(set(at.cells) - set(own.rows)):
                raise BenchError(f"{place}: the order on {at.dataset} names '{unknown[0]}', not one of rows.")
    return ledger


def source_file(project: Project, name: str) -> Path:
    """reports/<name> of the project, or the one beside the code (a project elsewhere has none)."""
    own = project.reports / name
    shipped = Path(__file__).resolve().parents[2] / "reports" / name
    return own if own.is_file() or not shipped.is_file() else shipped


def claims_of(project: Project, wanted: Sequence[str]) -> Ledger:
    """The whole ledger of a project. Raises UnknownName for a wanted claim or prediction that it does not
    hold."""
    ledger = load_ledger(source_file(project, CLAIMS))
    known = [claim.id for claim in ledger.claims] + [own.id for own in ledger.predictions]
    for name in wanted:
        if name not in known:
            raise UnknownName("claim", name, known, "See reports/claims.yaml.")
    return ledger
