"""`bench`: options and calls, nothing else. Errors become one line and an exit code here, and only here."""

from __future__ import annotations

import errno
import gc
import importlib
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path

import typer

from benchmark import __version__
from benchmark.commands.common import discard, emit, stdout_errors
from benchmark.core import numerics
from benchmark.core.errors import BenchError, in_parts, printable
from benchmark.core.files import FULL

COMMANDS = (
    "init",
    "run",
    "score",
    "map",
    "plan",
    "verify",
    "parity",
    "explain",
    "export",
    "paper",
    "sign",
    "submit",
    "ls",
    "doctor",
)
GROUPS = ("check", "data", "prompts", "report", "stage")

INTERRUPTED = "Interrupted. Run the same command again to resume."
GARBAGE = (100_000, 50, 100)
"""Objects, and rounds of each kind, between two searches for garbage in cycles, of which imports and rows of
tables leave little: with Python's own measure the searches take up to a fifth of an answer."""
UNEXPECTED = 70
"""EX_SOFTWARE of sysexits.h: an error that bench did not foresee."""
OUTSIDE = FULL | {
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.EMFILE,
    errno.ELOOP,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
}
"""What a disk or its rights refuse, wherever it happens."""

QUOTES_NO_DATA = (BenchError, OSError, ImportError, NameError, AttributeError, TypeError, MemoryError)
"""Errors whose messages name files, modules and types."""

UsageError: type[Exception] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")
"""click's base of usage errors; typer carries its own copy of click, so it cannot be imported."""

app = typer.Typer(
    name="bench",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Fair, reproducible comparison of image-text alignment methods in radiology.\n\n"
    "Results go to stdout, progress to stderr. Exit 0: done; 1: ran, and the answer is no; 2: bad input, "
    "or a file that cannot be read or written; 70: an error that bench did not foresee; 130: interrupted.",
    epilog="bench run --method carzero --dataset padchest · "
    "bench score predictions.csv --labels labels.csv · bench verify",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", is_eager=True, callback=_version
    ),
) -> None:
    pass


def _mount() -> None:
    for name in COMMANDS:
        module = importlib.import_module(f"benchmark.commands.{name}")
        app.command(name, epilog=getattr(module, "EPILOG", None))(module.command)
    for name in GROUPS:
        app.add_typer(importlib.import_module(f"benchmark.commands.{name}").app, name=name)


_mount()


def main(argv: list[str] | None = None) -> int:
    """Run and return the exit code; the only place where an error becomes a line.

    Nothing is a traceback: what bench did not foresee is one line too, with the exit code UNEXPECTED, and
    `--debug` shows where it came from. With `--json` the error is also the one object on stdout.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    numerics.pin(numerics.wanted(arguments, Path.cwd()))  # before a command loads torch or numpy
    if "--debug" in arguments:
        arguments = ["--debug", *[a for a in arguments if a != "--debug"]]
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (it stands for a closed standard output)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    with suppress(AttributeError):  # of a stream that stands in for standard output
        # a locale without × or → is no reason to lose a table
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        return _run(arguments)
    except UsageError as error:
        with suppress(OSError):  # nobody can be told, but for the exit code
            error.show()  # type: ignore[attr-defined]
        return _failed(error.format_message(), 2, arguments)  # type: ignore[attr-defined]
    except BenchError as error:
        line, code = str(error), error.exit_code
    except OSError as error:
        if "No usable temporary directory" in str(error):  # tempfile's word for a disk that takes nothing
            line, code = (
                "no folder takes temporary files. Free the disk, or set TMPDIR to a folder with room.",
                2,
            )
        elif error.errno not in OUTSIDE:
            line, code = _unforeseen(error)
        else:
            name = f"{error.filename}: " if error.filename else ""
            line, code = f"{name}cannot be read or written ({error.strerror}). Check it and the disk.", 2
    except typer.Abort as error:
        if isinstance(error.__cause__, EOFError):  # typer takes an unexpected end of a file for Ctrl-D
            line, code = _unforeseen(error.__cause__)
        else:
            line, code = INTERRUPTED, 130
    except KeyboardInterrupt:
        line, code = INTERRUPTED, 130
    except Exception as error:
        line, code = _unforeseen(error)
    with suppress(OSError):
        sys.stderr.write(f"{printable(' '.join(line.split()))}\n")
    return _failed(line, code, arguments)


def _run(arguments: list[str]) -> int:
    try:
        try:
            result = app(args=arguments, prog_name="bench", standalone_mode=False)
        except typer.Exit as stop:
            result = stop.exit_code
        with stdout_errors():
            sys.stdout.flush()
    except SystemExit as stop:  # typer ends like this where the reader of standard output has gone
        if not isinstance(stop.__context__, BrokenPipeError):
            raise
        discard(sys.stdout)
        return 0
    except UsageError:
        raise
    except BaseException as error:
        if arguments[:1] == ["--debug"]:
            sys.stderr.write(_traceback(error))
        raise
    if result == 130:  # typer's own answer to Ctrl-C, without a word
        raise KeyboardInterrupt
    return result if isinstance(result, int) else 0


def _traceback(error: BaseException) -> str:
    """Where an error came from, and what it came from. Messages that may quote a cell or a report are left
    out: a traceback is what people paste into a public thread."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    before = "" if cause is None else f"{_traceback(cause)}\nwhich led to:\n\n"
    places = "".join(traceback.format_tb(error.__traceback__))
    said = str(error) if isinstance(error, QUOTES_NO_DATA) else "(message left out: it may quote data)"
    return f"{before}Traceback (most recent call last):\n{places}{type(error).__name__}: {said}\n"


def _failed(line: str, code: int, arguments: list[str]) -> int:
    """Print the error as an object where JSON was asked for."""
    if "--json" in arguments:
        with suppress(BenchError):
            emit(in_parts(line), "", as_json=True)
    return code


def _unforeseen(error: BaseException) -> tuple[str, int]:
    """Kind and place, without the message, which may quote a report."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" at {Path(last[0].filename).name}:{last[0].lineno}" if last else ""
    line = f"unexpected {type(error).__name__}{place}: a fault of bench; run again with --debug."
    return line, UNEXPECTED


def entry() -> None:
    """Console script."""
    gc.set_threshold(*GARBAGE)
    code = main()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # said already, or nobody can be told but by the exit code
            discard(stream)
    gc.freeze()  # the process ends: nothing is searched for garbage once more, a sixth of a finished run
    sys.exit(code)
