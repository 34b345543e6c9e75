"""A name is found in a folder or an installed package, whatever was imported before."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.core import registry as module
from benchmark.core.errors import BenchError, UnknownName
from benchmark.core.registry import Registry

OURS = "from shop import GADGETS\n"
FILES = {
    "shop/__init__.py": """from benchmark.core.registry import Registry
GADGETS = Registry("gadget", package="shop")
""",
    "shop/lamp.py": OURS
    + """
@GADGETS.register("lamp")
class Lamp: ...
""",
    "shop/pair.py": OURS
    + """
@GADGETS.register("left")
def left(): ...
RIGHT = GADGETS.register("right")(7)
""",
    "shop/parts.py": """
import no_such_package
def helper():
    return GADGETS.register("hidden")
""",
    "shop/torn.py": OURS
    + """
@GADGETS.register("torn"
""",
    "shop/poor.py": OURS
    + """
import no_such_package
@GADGETS.register("poor")
class Poor: ...
""",
    "shop/leaving.py": OURS
    + """
@GADGETS.register("leaving")
class Leaving: ...
raise SystemExit(0)
""",
    "shop/wordy.py": OURS
    + """
@GADGETS.register("wordy")
class Wordy: ...
raise RuntimeError("one\\ntwo" + " more" * 500)
""",
    "shop/rusty.py": OURS
    + """
@GADGETS.register("rusty")
class Rusty: ...
raise type("PanicException", (BaseException,), {})("a panic of Rust code")
""",
    "guest/__init__.py": "from guest.bell import Bell\n",
    "guest/bell.py": OURS
    + """
@GADGETS.register("bell")
class Bell: ...
class Lamp: ...
""",
}
POINTS = "[cxr_alignbench.gadgets]\nbell = guest:Bell\n"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder of gadgets, and a package that offers one more as an installed one does."""
    write(tmp_path, POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [n for n in sys.modules if n.split(".")[0] in ("shop", "guest")]:
        del sys.modules[name]


def write(root: Path, points: str) -> None:
    for name, text in FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    info = root / "guest-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: guest\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)


def gadgets() -> Registry:
    from shop import GADGETS

    return GADGETS


def test_a_file_or_a_package_is_enough_and_nothing_is_imported_for_names(shop: Path) -> None:
    registry = gadgets()
    assert registry.names() == ["bell", "lamp", "leaving", "left", "poor", "right", "rusty", "torn", "wordy"]
    assert not {"shop.lamp", "shop.pair", "guest"} & set(sys.modules)
    assert registry.get("lamp").__name__ == "Lamp"
    assert registry.get("right") == 7
    assert registry.get("bell").__module__ == "guest.bell"


def test_the_packages_are_looked_through_once_for_all_kinds(shop: Path, monkeypatch) -> None:
    looks: list[int] = []
    look = module.entry_points
    monkeypatch.setattr(module, "entry_points", lambda: looks.append(1) or look())
    assert "bell" in gadgets().names()
    assert Registry("thing").names() == []
    assert len(looks) == 1


def test_what_fails_to_import_is_one_line_that_names_it_and_the_others_work(shop: Path) -> None:
    registry = gadgets()
    for name, place, reason in (
        ("torn", "shop/torn.py", "SyntaxError"),
        ("poor", "shop/poor.py", "No module named 'no_such_package'"),
        ("leaving", "shop/leaving.py", "SystemExit: 0"),
        ("wordy", "shop/wordy.py", "RuntimeError: one two more"),
        ("rusty", "shop/rusty.py", "a panic of Rust code"),
    ):
        with pytest.raises(BenchError) as caught:
            registry.get(name)
        message = str(caught.value)
        assert place in message
        assert reason in message
        assert "\n" not in message
        assert len(message) < 500
    assert registry.get("lamp").__name__ == "Lamp"


def test_a_name_of_two_things_belongs_to_neither(shop: Path) -> None:
    (shop / "guest-1.0.dist-info/entry_points.txt").write_text(POINTS + "lamp = guest.bell:Lamp\n")
    registry = gadgets()
    with pytest.raises(BenchError, match=r"registered twice \(shop/lamp.py and package guest .*rename one"):
        registry.get("lamp")
    assert registry.get("left").__name__ == "left"
    assert registry.get("bell").__name__ == "Bell"


def test_a_name_of_two_things_is_told_with_each_place_once(shop: Path) -> None:
    (shop / "guest-1.0.dist-info/entry_points.txt").write_text(POINTS + "lamp = guest.bell:Lamp\n")
    with pytest.raises(BenchError) as caught:
        gadgets().get("lamp")
    file = shop / "guest" / "bell.py"
    assert f"(shop/lamp.py and package guest (guest.bell:Lamp), {file})" in str(caught.value)


def test_a_name_that_stands_for_all_is_one_line_and_the_others_work(shop: Path) -> None:
    """`bench run --method all` trained every method but the one that was called so."""
    (shop / "guest-1.0.dist-info/entry_points.txt").write_text(POINTS + "all = guest:Bell\n")
    registry = gadgets()
    with pytest.raises(BenchError, match="gadget 'all' of package guest .*give it another one"):
        registry.get("all")
    assert registry.get("bell").__name__ == "Bell"


@pytest.mark.parametrize("name", ["a/b", "..", "x~y", "-x", "a:b", "x" * 101])
def test_a_name_that_no_folder_can_have_is_one_line_and_the_others_work(shop: Path, name: str) -> None:
    """A run of such a method failed half-way, in the library that follows it."""
    (shop / "guest-1.0.dist-info/entry_points.txt").write_text(POINTS + f"{name} = guest:Bell\n")
    registry = gadgets()
    with pytest.raises(BenchError, match="package guest .*no folder can have"):
        registry.get(name)
    assert registry.get("bell").__name__ == "Bell"


@pytest.mark.parametrize("points", [POINTS, POINTS + "lamp = guest.bell:Lamp\n"], ids=["apart", "clash"])
def test_the_order_of_imports_does_not_matter(tmp_path: Path, points: str) -> None:
    write(tmp_path, points)
    tell = (
        "from shop import GADGETS\nfrom benchmark.core.errors import BenchError\n"
        "for name in GADGETS.names():\n"
        "    try: print(name, getattr(GADGETS.get(name), '__qualname__', 7))\n"
        "    except BenchError as error: print(name, error)\n"
    )
    said = set()
    for order in itertools.permutations(["shop.lamp", "guest", "shop.pair"]):
        code = "".join(f"import {module}\n" for module in order) + tell
        root = Path(__file__).parents[2]
        environment = {"PYTHONPATH": f"{tmp_path}:{root}", "PATH": ""}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert not done.stderr
        said.add(done.stdout.replace(f"{tmp_path}", ""))
    assert len(said) == 1


def test_registered_by_hand() -> None:
    registry: Registry = Registry("gadget", {"ordered": "collections:OrderedDict"})
    registry.register("mine")(dict)
    registry.register("mine")(dict)
    assert registry.names() == ["mine", "ordered"]
    assert registry.get("ordered").__name__ == "OrderedDict"
    with pytest.raises(UnknownName, match="Did you mean 'mine'"):
        registry.get("mime")
    registry.register("mine")(list)
    with pytest.raises(BenchError, match="registered twice"):
        registry.get("mine")
