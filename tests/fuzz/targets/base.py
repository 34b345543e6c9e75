"""What a target is, and the table of them."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.fuzz import mutations as m

Input = tuple[str, bytes]
"""Name of the file, which may lie in a folder, and its bytes."""


class Broken(AssertionError):
    """A promise that an input broke."""


@dataclass(frozen=True)
class Target:
    """inputs: made when asked for, as valid files take a moment. read: gets an empty folder, the name of the
    file in it and its bytes."""

    name: str
    inputs: Callable[[], st.SearchStrategy[Input]]
    read: Callable[[Path, str, bytes], object]

    @property
    def weight(self) -> int:
        """Share of the inputs of a campaign."""
        return WEIGHTS.get(self.name, 2 if self.name.startswith("official files") else 10)


WEIGHTS = {
    "params.yaml": 2,
    "cards and prompts": 4,
    "claims.yaml": 4,
    "published.yaml": 1,
    "lexicon.yaml": 1,
    "--set, --seeds, --shard": 3,
    "bench score FILE": 3,
    "bench score options": 1,
    "bench prompts align FILE": 3,
    "model folders": 1,
    "results, runs and claims of a project": 1,
}
"""Those that take longer an input than a parser alone."""

TARGETS: dict[str, Target] = {}


def add(name: str, inputs: Callable[[], st.SearchStrategy[Input]], read: Any) -> None:
    TARGETS[name] = Target(name, inputs, read)


def named(name: str, inputs: m.Inputs) -> st.SearchStrategy[Input]:
    return inputs.map(lambda data: (name, data))


def parser(name: str, file: str, inputs: Callable[[], m.Inputs], read: Callable[[Path], object]) -> None:
    """A function that reads one file."""

    def call(folder: Path, where: str, data: bytes) -> object:
        (folder / where).write_bytes(data)
        return read(folder / where)

    add(name, lambda: named(file, inputs()), call)


def command(arguments: list[str], outputs: tuple[str, ...] = ()) -> int:
    """Run `bench` here. Raises Broken unless it ends with 0, 1 or 2, says what it says in lines that hold no
    traceback, and leaves each of its outputs whole or not at all."""
    from benchmark.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    said = err.getvalue()
    if code not in (0, 1, 2) or "Traceback" in said:
        raise Broken(f"exit code {code}: {said[-2000:]}")
    if code == 2 and not said.strip():
        raise Broken("exit code 2 without a word")
    written = [name for name in outputs if Path(name).exists()]
    if code == 2 and written:
        raise Broken(f"refused, but wrote {written}")
    for name in written:
        if name.endswith(".json"):
            json.loads(Path(name).read_text())
        elif not Path(name).read_bytes().endswith((b"\n", b"PAR1")):
            raise Broken(f"{name} is cut")
    if "--json" in arguments:
        json.loads(out.getvalue())
    return code
