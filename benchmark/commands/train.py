"""`bench train`: one method on prepared training data, on one process or under torchrun."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.commands.common import JsonOption, emit

EPILOG = (
    "bench train data/training/mimic_cxr --method clip · "
    "bench train data/training/mimic_cxr --method carzero --seed 1 --option layers=2 --set epochs=20 · "
    "torchrun --nproc-per-node 2 -m benchmark train data/training/mimic_cxr --method radzero"
)


def command(
    data: Annotated[
        Path, typer.Argument(help="Folder of prepared training data (training.json, index.npz).")
    ],
    method: Annotated[str, typer.Option("--method", help="Method; see `bench ls methods`.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Decides initial weights and data order.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", help="Run folder; default runs/<method>-main/seed-<n>.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="Hyper-parameter of the method, as in layers=2.")
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="Training switch, as in epochs=20 or tile=[32,32].")
    ] = None,
    recipe: Annotated[str, typer.Option("--recipe", help="equal-budget or official.")] = "equal-budget",
    as_json: JsonOption = False,
) -> int:
    """Train one method; under torchrun the processes share each batch and give the same numbers as one.

    A finished run is reused, an unfinished one goes on from its last saved state.
    """
    from benchmark.core.progress import watched
    from benchmark.training.config import train_config
    from benchmark.training.data import TrainingData
    from benchmark.training.distributed import process_group
    from benchmark.training.loop import seeded_method, train
    from methods.base import METHODS

    kind = METHODS.get(method)
    config = train_config(_options(setting, "--set"), kind.recipe(recipe))
    options = {**kind.settings(recipe), **_options(option, "--option")}
    folder = out or Path("runs") / f"{method}-main" / f"seed-{seed}"
    with process_group() as group:
        examples = TrainingData.load(data)
        model = seeded_method(method, options, examples.images.width, examples.text.width, seed)
        with watched(f"train {method}") as report:
            result = train(model, examples, config, folder, seed, group=group, observer=Bar(report))
        if not group.first:
            return 0
    state = "reused" if result.reused else f"trained in {result.seconds:.0f} s"
    text = (
        f"{method} seed {seed}: {state}, {result.run['parameters_trained']:,} parameters, "
        f"best epoch {result.best_epoch} of {result.run['epochs']}, "
        f"validation loss {result.val_loss:.4f}, {result.run['peak_memory_bytes'] / 2**20:,.0f} MiB\n{folder}"
    )
    emit({"folder": str(folder), "reused": result.reused, **result.run}, text, as_json)
    return 0


class Bar:
    """Shows steps; the loop calls it on the first process only."""

    def __init__(self, report: Any) -> None:
        self.report = report

    def step(self, done: int, total: int) -> None:
        self.report(done, total)

    def epoch(self, row: dict[str, float]) -> None:
        pass


def _options(items: list[str] | None, flag: str) -> dict[str, Any]:
    import yaml

    from benchmark.core.errors import ParamsError

    found: dict[str, Any] = {}
    for item in items or ():
        key, sep, value = item.partition("=")
        if not sep:
            raise ParamsError(f"{flag} {item}: expected key=value, as in {flag} epochs=5.")
        found[key] = yaml.safe_load(value)
    return found
