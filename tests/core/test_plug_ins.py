"""Everything that came with a plug-in is in the key of what it makes, wherever its parts lie."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmark.core import plug_ins, registry, reuse
from benchmark.stages.code import packages

POINTS = "[cxr_alignbench.methods]\nours = {module}\n"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Lay out a package that offers a method: by pip, with the list of its files, or run from its sources."""
    before = set(sys.modules)

    def lay_out(module: str, files: dict[str, str], listed: bool, name: str = "guest") -> None:
        place = tmp_path / ("site" if listed else f"sources-{name}")
        info = (place if listed else tmp_path / "site") / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(POINTS.format(module=module).replace("ours", name))
        (info / "RECORD").write_text("".join(f"{file},,\n" for file in files) if listed else "path.pth,,\n")
        for file, text in files.items():
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            (place / file).write_text(text)
        for folder in {place, tmp_path / "site"}:
            monkeypatch.syspath_prepend(folder)

    yield lay_out
    for name in set(sys.modules) - before:
        if name.startswith("guest"):
            del sys.modules[name]
    forget()


def forget() -> None:
    for memo in (reuse._code, reuse._file_of, reuse.source, plug_ins._plug_ins, registry._offered):
        memo.cache_clear()


def source(module: str) -> str:
    """As another process would find it."""
    forget()
    return reuse.source(module)


PARTS = {
    "a module beside it": (
        "guest_method",
        {"guest_method.py": "import guest_help\n", "guest_help.py": "X = 1\n"},
        "guest_help.py",
    ),
    "a package beside it": (
        "guest_method",
        {
            "guest_method.py": "from guest_lab.low import X\n",
            "guest_lab/__init__.py": "",
            "guest_lab/low.py": "X = 1\n",
        },
        "guest_lab/low.py",
    ),
    "the package around it": (
        "guest.own",
        {"guest/__init__.py": "X = 1\n", "guest/own.py": ""},
        "guest/__init__.py",
    ),
    "a file that it reads": (
        "guest.own",
        {"guest/__init__.py": "", "guest/own.py": "", "guest/table/rates.json": "1"},
        "guest/table/rates.json",
    ),
}
"""What lies where → the module that is offered, the files of its package, and the one that is changed."""


@pytest.mark.parametrize("listed", [True, False], ids=["installed", "from its sources"])
@pytest.mark.parametrize(("module", "files", "part"), PARTS.values(), ids=PARTS)
def test_what_came_with_a_plug_in_is_in_its_key(
    install: Callable[..., None], tmp_path: Path, module: str, files: dict[str, str], part: str, listed: bool
) -> None:
    install(module, files, listed)
    before, ours = source(module), source("methods.clip")
    path = tmp_path / ("site" if listed else "sources-guest") / part
    assert any(path.is_relative_to(place) for place in packages().values()), "kept answers would not see it"
    path.write_text(path.read_text().replace("1", "2"))
    assert source(module) != before
    assert source("methods.clip") == ours


def test_a_method_made_from_one_of_another_plug_in_has_its_code_in_the_key(
    install: Callable[..., None], tmp_path: Path
) -> None:
    install("guest_base", {"guest_base.py": "X = 1\n"}, True)
    install("guest_more", {"guest_more.py": "from guest_base import X\n"}, True, "guest_two")
    before = source("guest_more")
    (tmp_path / "site" / "guest_base.py").write_text("X = 2\n")
    assert source("guest_more") != before


def test_other_installed_packages_are_no_part_of_a_plug_in(
    install: Callable[..., None], tmp_path: Path
) -> None:
    install("guest_method", {"guest_method.py": "import guest_stranger\n"}, True)
    (tmp_path / "site" / "guest_stranger.py").write_text("X = 1\n")
    before = source("guest_method")
    (tmp_path / "site" / "guest_stranger.py").write_text("X = 2\n")
    assert source("guest_method") == before
    assert "guest_stranger" not in packages()
