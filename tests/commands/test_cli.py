"""The command line: every command is there, --help teaches, nothing heavy is imported for it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.cli import COMMANDS, GROUPS, main


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "benchmark", *arguments], capture_output=True, text=True)


def test_help_names_every_command_and_imports_no_heavy_package() -> None:
    code = "import sys, benchmark.cli; print([m for m in ('torch', 'pandas', 'mlflow') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
    shown = run("--help")
    assert shown.returncode == 0
    for name in (*COMMANDS, *GROUPS):
        assert name in shown.stdout


@pytest.mark.parametrize("name", [*COMMANDS, *GROUPS])
def test_each_command_explains_itself(name, capsys) -> None:
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Usage: bench" in text
    if name in COMMANDS:
        assert f"bench {name}" in text.split("Options")[-1], "ends with real commands"


def test_unknown_option_is_exit_2_without_traceback() -> None:
    done = run("run", "--method", "clip", "--datset", "padchest")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def commands_in(path: Path) -> list[list[str]]:
    """`bench …` lines of fenced blocks, and of inline code."""
    text = path.read_text(encoding="utf-8")
    lines = [line for block in re.findall(r"```\w*\n(.*?)```", text, re.S) for line in block.splitlines()]
    lines += re.findall(r"`(bench [^`]+)`", text)
    return [line.split("#")[0].split() for line in lines if line.strip().startswith("bench ")]


def all_commands(root: Path) -> list[list[str]]:
    pages = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
    return [words for page in pages for words in commands_in(page)]


def test_every_command_of_the_docs_exists_with_its_options(root) -> None:
    """Each documented command line names a real command and real options."""
    import typer.main

    from benchmark.cli import app

    tree = typer.main.get_command(app)
    found = all_commands(root)
    assert len(found) > 30
    for words in found:
        command, rest = tree, words[1:]
        while rest and rest[0] in getattr(command, "commands", {}):
            command, rest = command.commands[rest[0]], rest[1:]
        known = {option for parameter in command.params for option in parameter.opts} | {"--help", "--debug"}
        for word in rest:
            if word.startswith("--"):
                assert word.partition("=")[0] in known, f"{' '.join(words)}: {word}"
        assert command is not tree or rest[:1] in ([], ["--help"], ["--version"]) or rest[0].isupper(), (
            " ".join(words)
        )


def test_every_test_of_the_reliability_page_exists(root) -> None:
    text = (root / "docs" / "reliability.md").read_text(encoding="utf-8")
    files = set(re.findall(r"\btests/[\w/]+\.py", text))
    assert files
    written = "".join((root / name).read_text(encoding="utf-8") for name in files)
    for name in set(re.findall(r"\btest_\w+(?!\w|\.py)", text)):
        assert f"def {name}(" in written, name
