"""`bench`: options and calls, nothing else. Errors become one line and an exit code here, and only here."""

from __future__ import annotations

import importlib
import sys
import traceback

import typer

from benchmark import __version__
from benchmark.core.errors import BenchError

COMMANDS = ("run", "train", "evaluate", "score", "verify", "parity", "explain", "ls", "doctor")
GROUPS = ("check", "data", "prompts", "report", "stage")

UsageError: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
"""click's base of usage errors; typer carries its own copy of click, so it cannot be imported."""

app = typer.Typer(
    name="bench",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Fair, reproducible comparison of image-text alignment methods in radiology.\n\n"
    "Results go to stdout, progress to stderr. Exit 0: done; 1: ran, and the answer is no; 2: bad input.",
    epilog="bench run --method carzero --dataset padchest · "
    "bench score predictions.csv --labels labels.csv · bench verify",
)


@app.callback()
def options(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
    version: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True),
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def _mount() -> None:
    for name in COMMANDS:
        module = importlib.import_module(f"benchmark.commands.{name}")
        app.command(name, epilog=getattr(module, "EPILOG", None))(module.command)
    for name in GROUPS:
        app.add_typer(importlib.import_module(f"benchmark.commands.{name}").app, name=name)


_mount()


def main(argv: list[str] | None = None) -> int:
    """Run and return the exit code. A closed pipe and Ctrl-C are not tracebacks either."""
    arguments = sys.argv[1:] if argv is None else argv
    debug = "--debug" in arguments
    if debug and arguments[0] != "--debug":
        arguments = ["--debug", *[a for a in arguments if a != "--debug"]]
    try:
        result = app(args=arguments, prog_name="bench", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except typer.Exit as stop:
        return stop.exit_code
    except UsageError as error:
        error.show()  # type: ignore[attr-defined]
        return 2
    except BenchError as error:
        if debug:
            traceback.print_exc()
        sys.stderr.write(f"{' '.join(str(error).split())}\n")
        return error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        sys.stderr.write("Interrupted. Run the same command again to resume.\n")
        return 130
    except BrokenPipeError:
        return 0


def entry() -> None:
    """Console script."""
    sys.exit(main())
