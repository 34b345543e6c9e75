"""`bench check`: whether something of one's own keeps what the benchmark relies on."""

from __future__ import annotations

import textwrap
from typing import Annotated, Any

import typer

from benchmark.commands.common import JsonOption, emit

EPILOG = (
    "bench check method carzero · bench check method carzero --set head=linear --set layers=1 · "
    "bench check method clip --json"
)
app = typer.Typer(
    no_args_is_help=True,
    help="Check that a method keeps what training, scoring and reuse rely on.",
    epilog=EPILOG,
)


@app.callback()
def group() -> None:
    """A group, though it has one command so far: what is checked is named."""


@app.command("method")
def method(
    name: Annotated[str, typer.Argument(help="A method; see `bench ls methods`.")],
    sets: Annotated[
        list[str] | None, typer.Option("--set", help="An option of the method: layers=2. Repeatable.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Run the contract of methods on one: small random features, a few seconds, no data, no training.

    Exit 0: it keeps every promise; 1: it breaks one; 2: there is no such method, or it cannot be loaded.
    """
    from benchmark.core.errors import ParamsError
    from methods.base import METHODS, Method
    from methods.contract import check_method

    kind = METHODS.get(name)
    parts = [part for part, made in vars(Method).items() if getattr(made, "__isabstractmethod__", False)]
    lacking = [part for part in parts if getattr(kind, part, None) is getattr(Method, part)]
    if lacking:
        raise ParamsError(f"method '{name}' does not define {', '.join(lacking)}. See docs/add-a-method.md.")
    outcomes = check_method(name, _options(sets or []))
    broken = [o for o in outcomes if not o.holds]
    value = {
        "method": name,
        "verdict": "broken" if broken else "ok",
        "checks": [
            {"check": o.check, "promise": o.promise, "holds": o.holds, "reason": o.reason or None}
            for o in outcomes
        ],
    }
    lines = [f"{'ok    ' if o.holds else 'BROKEN'}  {o.promise}" + _because(o.reason) for o in outcomes]
    lines.append(f"{name}: {len(outcomes) - len(broken)} of {len(outcomes)} promises kept")
    emit(value, "\n".join(lines), as_json)
    return int(bool(broken))


def _because(reason: str) -> str:
    """The first words of a reason: gradcheck's own goes on with every number of two matrices."""
    return f"\n        {textwrap.shorten(reason, 200, placeholder=' …')}" if reason else ""


def _options(sets: list[str]) -> dict[str, Any]:
    from benchmark.core.errors import ParamsError
    from benchmark.core.guard import parse_yaml

    options: dict[str, Any] = {}
    for item in sets:
        key, sign, value = item.partition("=")
        if not sign:
            raise ParamsError(f"--set {item}: expected OPTION=VALUE, as in layers=2.")
        options[key.strip()] = parse_yaml(value, f"--set {key.strip()}")
    return options
