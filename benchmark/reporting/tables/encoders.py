"""The encoder as an axis: each method under each pair of encoders, and with encoders that are trained."""

from __future__ import annotations

from collections.abc import Iterable

from benchmark.grid.parts import ENCODERS, TRAINED_ENCODERS
from benchmark.reporting import columns as common
from benchmark.reporting.evidence import CellInfo, Evidence
from benchmark.reporting.numbers import percent
from benchmark.reporting.table import Measured, Row, Table, Value, change, count, estimate, words
from benchmark.reporting.tables import Material
from benchmark.reporting.tables.ablation import to_main

PLACE = 11


def tables(material: Material) -> Iterable[Table | None]:
    return [by_method(material.evidence), trained(material.evidence)]


def by_method(evidence: Evidence) -> Table | None:
    """One row a dataset and pair of encoders, one column a method. None without cells that have their own."""
    cells = _cells(evidence, ENCODERS)
    with_own = {cell.method for cell in cells}
    mains = [cell for n in evidence.mains if (cell := evidence.cells[n]).method in with_own]
    every = [*mains, *cells]
    rows = [
        row
        for dataset in evidence.datasets
        for pair in dict.fromkeys(cell.encoders for cell in every)
        if (row := _pair(evidence, dataset, [cell for cell in every if cell.encoders == pair]))
    ]
    if not cells or not rows:
        return None
    methods = {cell.method: cell.title for cell in every}
    return Table(
        name=f"{ENCODERS}_by_method",
        title="Encoder x method: macro AUROC under each pair of frozen encoders",
        columns=(
            common.DATASET, words("image", "Image encoder"), words("text", "Text encoder"),
            count("seeds", "Seeds"), common.SEEN,
            *(estimate(method, title, f"{method}_") for method, title in methods.items()),
            common.ORIGIN,
        ),
        rows=tuple(rows),
        notes=(
            f"Brackets hold {percent(evidence.level)} intervals over patients, and over seeds where there "
            "are several. A pair with "
            "one seed has no letters: what another seed would change is not known.",
        ),
        synthetic=evidence.synthetic(),
    )  # fmt: skip


def _pair(evidence: Evidence, dataset: str, cells: list[CellInfo]) -> Row | None:
    """None where no cell has a value on the dataset."""
    found = {c.method: value for c in cells if (value := evidence.value(c.name, dataset)) is not None}
    if not found:
        return None
    image, text = cells[0].encoders
    own: dict[str, Value] = {method: common.measured(value) for method, value in found.items()}
    seeds = min(_seeds(evidence, cell.name) for cell in cells if cell.method in found)
    return own | {
        "dataset": dataset, "image": image, "text": text, "seeds": seeds,
        "seen": evidence.seen(cells[0].name, dataset), "origin": evidence.origin(dataset),
    }  # fmt: skip


def trained(evidence: Evidence) -> Table | None:
    """One row a dataset, method and what is trained; differences to the frozen cell of the same table."""
    cells = _cells(evidence, TRAINED_ENCODERS)
    frozen = {cell.method: cell.name for cell in cells if not cell.trains}
    rows: list[Row] = []
    for dataset in evidence.datasets:
        for cell in cells:
            ours = evidence.value(cell.name, dataset)
            if ours is None:
                continue
            row: dict[str, Value] = {
                "dataset": dataset, "method": cell.title, "cell": cell.name, "trained": cell.row,
                "seeds": _seeds(evidence, cell.name), "parameters": _parameters(evidence, cell.name),
                "seen": evidence.seen(cell.name, dataset),
                "ours": common.measured(ours), **common.counts(evidence.sets[dataset], ours),
            }  # fmt: skip
            if cell.trains and cell.method in frozen:
                effect, untested = to_main(evidence, cell.name, frozen[cell.method], dataset)
                row["difference"] = (
                    untested if effect is None else Measured(effect.value, effect.low, effect.high)
                )
            rows.append(row)
    if not rows:
        return None
    return Table(
        name=TRAINED_ENCODERS,
        title="Encoders that train: macro AUROC",
        columns=(
            common.METHOD, common.DATASET, words("cell"), words("trained", "Trained"), count("seeds",
            "Seeds"), common.SEEN, count("parameters", "Weights trained"), common.OURS,
            change("difference", "Difference to frozen"), *common.COUNTS, common.ORIGIN,
        ),
        rows=tuple(sorted(rows, key=lambda row: (str(row["method"]), str(row["dataset"])))),
        notes=(
            "Every row of a method has the same images, texts, steps and batch; frozen: no weight of an "
            "encoder is trained. With one seed nothing is tested: what another would change is not known.",
        ),
        synthetic=evidence.synthetic(),
    )  # fmt: skip


def _cells(evidence: Evidence, table: str) -> list[CellInfo]:
    present = set(evidence.metrics["name"])
    return [cell for name, cell in evidence.cells.items() if name in present and cell.table == table]


def _seeds(evidence: Evidence, name: str) -> int:
    return int(evidence.seeds.loc[evidence.seeds["name"] == name, "seed"].nunique())


def _parameters(evidence: Evidence, name: str) -> int | None:
    """Of the method and the encoders together."""
    runs = evidence.runs[evidence.runs["cell"] == name] if len(evidence.runs) else evidence.runs
    return int(runs["parameters_trained"].iloc[0]) if len(runs) else None
