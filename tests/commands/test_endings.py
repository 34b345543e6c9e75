"""How a command ends: exit codes, one line, JSON of errors, a closed or full standard output."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from benchmark import cli
from benchmark.core.errors import BenchError, in_parts


class Failed(BenchError):
    """A cell that ran and failed carries another code."""

    exit_code = 1


def ends(monkeypatch, capsys, problem: BaseException, *arguments: str) -> tuple[int, str, str]:
    def app(**_options):
        raise problem

    monkeypatch.setattr(cli, "app", app)
    code = cli.main(["score", *arguments])
    out = capsys.readouterr()
    return code, out.out, out.err


@pytest.mark.parametrize(
    ("problem", "code", "text"),
    [
        (BenchError("a.csv: bad"), 2, "a.csv: bad"),
        (Failed("no"), 1, "no"),
        (KeyboardInterrupt(), 130, "Interrupted"),
        (KeyError("secret"), 70, "unexpected KeyError at test_endings.py:"),
        (RecursionError("secret"), 70, "unexpected RecursionError"),
        (AssertionError("secret\nsecond line"), 70, "unexpected AssertionError"),
        (
            PermissionError(13, "Permission denied", "b.csv"),
            2,
            "b.csv: cannot be read or written",
        ),
        (OSError(28, "No space left on device"), 2, "No space left on device"),
        (FileNotFoundError(2, "No such file", "lost"), 70, "unexpected FileNotFoundError"),
        (FileNotFoundError(2, "No usable temporary directory found in ['/tmp']"), 2, "set TMPDIR"),
        (EOFError(), 70, "unexpected EOFError"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("as_json", [False, True])
def test_exit_codes_mean_what_they_say(monkeypatch, capsys, problem, code, text, as_json) -> None:
    found, out, err = ends(monkeypatch, capsys, problem, *(["--json"] if as_json else []))
    assert found == code
    assert err.count("\n") == 1
    assert text in err
    assert "secret" not in err
    if as_json:
        assert json.loads(out)["error"] == err.strip()
    else:
        assert out == ""


def test_an_end_of_file_that_typer_takes_for_an_interrupt(monkeypatch, capsys) -> None:
    import typer

    problem = typer.Abort()
    problem.__cause__ = EOFError()
    code, _, err = ends(monkeypatch, capsys, problem)
    assert code == 70
    assert "Interrupted" not in err
    assert ends(monkeypatch, capsys, typer.Abort())[0] == 130


def test_an_interrupt_inside_a_command_says_that_it_can_be_resumed(monkeypatch, capsys, tmp_path) -> None:
    def interrupted(_request) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmark.score.files.score_files", interrupted)
    scores = tmp_path / "a.csv"
    scores.write_text("image,Edema\n")
    assert cli.main(["score", str(scores), "--labels", str(scores)]) == 130
    assert "Run the same command again" in capsys.readouterr().err


def test_the_version_is_printed(capsys) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == cli.__version__


def test_debug_shows_where_an_error_came_from(monkeypatch, capsys) -> None:
    code, _, err = ends(monkeypatch, capsys, KeyError("x"), "--debug")
    assert code == 70
    assert "Traceback" in err


@pytest.mark.parametrize(
    ("message", "file", "step"),
    [
        ("a/b.csv:7: row 3 is odd; correct it.", "a/b.csv", "correct it"),
        ("p.csv: no such file. Give a CSV.", "p.csv", "Give a CSV"),
        ("unknown method 'carzer'. Did you mean 'carzero'?", None, "Did you mean 'carzero'?"),
        ("--output x.csv: is a folder; give the name of a file.", None, "give the name of a file"),
        ("nothing", None, None),
    ],
)
def test_parts_of_a_message(message, file, step) -> None:
    assert in_parts(message) == {"error": message, "file": file, "next": step}


@pytest.mark.parametrize(
    "arguments",
    [
        ["score", "none.csv", "--labels", "x.csv"],
        ["score", "a", "--rows", "sideways"],
        ["score"],
        ["explain", "clip", "nowhere"],
        ["verify", "no-such-claim"],
        ["parity", "nowhere"],
        ["frobnicate"],
    ],
)
def test_errors_are_one_json_object_with_the_code_unchanged(tmp_path, monkeypatch, capsys, arguments) -> None:
    monkeypatch.chdir(tmp_path)
    plain = cli.main(arguments)
    capsys.readouterr()
    assert cli.main([*arguments, "--json"]) == plain == 2
    out = capsys.readouterr()
    value = json.loads(out.out)
    assert set(value) == {"error", "file", "next"}
    assert value["error"]


def leaves(group: typer.core.TyperGroup, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield from leaves(command, (*path, name)) if hasattr(command, "commands") else [(*path, name)]


LEAVES = list(leaves(typer.main.get_command(cli.app)))


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_takes_json_and_says_its_errors_in_it(tmp_path, monkeypatch, capsys, path) -> None:
    """The error is that of the command, not that it knows no --json."""
    monkeypatch.chdir(tmp_path)
    assert cli.main([*path, "--json", "--no-such-option"]) == 2
    value = json.loads(capsys.readouterr().out)
    assert set(value) == {"error", "file", "next"}
    assert "--no-such-option" in value["error"]


def test_there_are_as_many_commands_as_the_help_lists() -> None:
    assert len(LEAVES) > 30
    assert {path[0] for path in LEAVES} == {*cli.COMMANDS, *cli.GROUPS}


@pytest.mark.parametrize(
    "arguments", [["prepare", "nowhere"], ["profile", "none"], ["summarise", "some"], ["cell", "x"]]
)
def test_stages_say_their_errors_in_json(tmp_path, monkeypatch, capsys, arguments) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(Path(__file__).parents[2] / "params.yaml", tmp_path)
    assert cli.main(["stage", *arguments, "--json"]) == 2
    assert set(json.loads(capsys.readouterr().out)) == {"error", "file", "next"}


def bench(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmark", *arguments]
    return subprocess.run(command, text=True, stderr=subprocess.PIPE, **options)


@pytest.mark.parametrize("arguments", [["--help"], ["ls", "methods", "--json"]])
def test_a_reader_that_has_gone_is_no_error(arguments) -> None:
    read, write = os.pipe()
    os.close(read)
    done = bench(*arguments, stdout=write)
    os.close(write)
    assert done.returncode == 0
    assert done.stderr == ""


def test_a_reader_that_has_gone_does_not_turn_no_into_yes(monkeypatch) -> None:
    import typer

    from benchmark.commands.common import emit

    def app(**_options):
        emit({}, "no", True)
        raise typer.Exit(1)

    class Gone:
        def write(self, _text: str) -> int:
            raise BrokenPipeError

        def fileno(self) -> int:
            raise ValueError

        def flush(self) -> None:
            pass

    monkeypatch.setattr(cli, "app", app)
    monkeypatch.setattr(sys, "stdout", Gone())
    assert cli.main(["verify"]) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")  # noqa: PTH110
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_standard_output_is_one_line(monkeypatch, unbuffered) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with open("/dev/full", "w") as full:
        for arguments in (["ls", "methods"], ["ls", "methods", "--json"], ["--version"]):
            done = bench(*arguments, stdout=full)
            assert done.returncode == 2
            assert done.stderr.count("\n") == 1
            assert "No space left" in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")  # noqa: PTH110
@pytest.mark.parametrize("end", ["2>/dev/full", "2>&-", ">/dev/full 2>/dev/full"])
@pytest.mark.parametrize("arguments", ["score no.csv --labels no.csv --json", "score --nothing"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_error_that_cannot_be_said_keeps_its_exit_code(monkeypatch, unbuffered, end, arguments) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    done = subprocess.run(f"{sys.executable} -m benchmark {arguments} {end}", shell=True, capture_output=True)
    assert done.returncode == 2


NOT_A_BYTE = """
import contextlib, io, resource, sys
from pathlib import Path
from benchmark.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
sys.stderr = open("err", "w")
codes = [main(["ls", "methods"])]  # standard output is a pipe, which has no size
for command in (["score", "p.csv", "--labels", "l.csv"], ["doctor"], ["init", "new"], ["ls", "nothing"],
                ["prompts", "align", "r.txt", "--out", "a.parquet"], ["data", "twin", "openi"]):
    with contextlib.redirect_stdout(open("out", "w")):
        codes.append(main([*command, "--json"]))
with contextlib.suppress(OSError):
    sys.stderr.close()
print(codes, sorted(p.name for p in Path().rglob("*") if p.is_file()))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are those of Unix")
def test_where_no_byte_may_be_written_the_exit_code_still_says_so(tmp_path) -> None:
    """Not standard error, not a temporary file: the code is all that is left to tell."""
    for name, text in (("p.csv", "image_id,A\na,1\nb,0\n"), ("l.csv", "image_id,A\na,1\nb,0\n")):
        (tmp_path / name).write_text(text)
    (tmp_path / "r.txt").write_text("FINDINGS: No pneumothorax.")
    (tmp_path / "out").touch()
    (tmp_path / "err").touch()
    shutil.copy(Path(__file__).parents[2] / "params.yaml", tmp_path)
    before = sorted(p.name for p in tmp_path.iterdir())
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", NOT_A_BYTE], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{[0, *[2] * 6]} {before}", done.stdout


def test_a_closed_standard_output_is_no_traceback() -> None:
    done = subprocess.run(
        f"{sys.executable} -m benchmark ls methods >&-", shell=True, text=True, stderr=subprocess.PIPE
    )
    assert "Traceback" not in done.stderr


BOMB = "a: &a0 [x,x,x,x,x,x,x,x,x]\n" + "\n".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)
)


@pytest.mark.parametrize(
    "value", ["!!int x", "[" * 2000, "&a [*a]", BOMB, "{a: 1, a: 2}", "a: b: c", "!!python/name:os.system x"]
)
def test_a_value_of_set_that_is_no_plain_yaml_is_one_line(capsys, value) -> None:
    assert cli.main(["check", "method", "clip", "--set", f"width={value}"]) == 2
    out = capsys.readouterr()
    assert out.out == ""
    assert out.err.startswith("--set width")
    assert out.err.count("\n") == 1


@pytest.mark.parametrize("asked", [["--help"], [], ["--json"]])
def test_a_locale_without_a_character_loses_no_answer(tmp_path, asked: list[str]) -> None:
    """The table of a finished run holds × and the name of a class may hold é: it ended with exit code 70."""
    words = f"""
import sys
from benchmark import cli
from benchmark.commands.common import emit
if {asked!r} == ["--help"]:
    sys.exit(cli.main(["--help"]))
cli._run = lambda arguments: emit({{"title": "8 × 8 é →"}}, "8 × 8 é →", "--json" in arguments) or 0
sys.exit(cli.main({asked!r}))
"""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = done.stdout.decode("ascii")
    if asked == ["--json"]:
        assert json.loads(said) == {"title": "8 × 8 é →"}
    elif not asked:
        assert said == "8 \\xd7 8 \\xe9 \\u2192\n"
