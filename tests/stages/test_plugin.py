"""docs/add-a-method.md as written, in the repository and as an installed package, up to a row of a table."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchmark.cli import main

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]

COMPARE = [
    ["run", "--method", "all", "--dataset", "main"],
    ["stage", "summarise", "main"],
    ["report", "tables", "--part", "main"],
]
ONE_AFTER_ANOTHER = """
import json, sys
from benchmark.cli import main
for command in json.loads(sys.argv[1]):
    assert main(command) == 0, command
    print(end="\\f", flush=True)
"""
"""Commands in one process, which finds the method as each of them alone would."""


def blocks(root: Path) -> tuple[str, str]:
    """The method and the pyproject.toml of the page."""
    page = (root / "docs" / "add-a-method.md").read_text(encoding="utf-8")
    return (
        re.search(r"```python\n(.*?)```", page, re.DOTALL)[1],
        re.search(r"```toml\n(.*?)```", page, re.DOTALL)[1],
    )


@pytest.fixture
def installed(root: Path, tmp_path: Path) -> list[Path]:
    """Folders for the path of Python, with the page's package installed by pip."""
    package, site = tmp_path / "package", tmp_path / "site"
    package.mkdir()
    code, project = blocks(root)
    (package / "sharp_method.py").write_text(code, encoding="utf-8")
    (package / "pyproject.toml").write_text(project, encoding="utf-8")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--target", str(site), str(package)], check=True, capture_output=True)
    return [site, root]


@pytest.fixture
def in_repository(root: Path, tmp_path: Path) -> list[Path]:
    """Folders for the path of Python: a copy of `methods` with the page's file, then the checkout."""
    shutil.copytree(root / "methods", tmp_path / "copy" / "methods")
    (tmp_path / "copy" / "methods" / "sharp.py").write_text(blocks(root)[0], encoding="utf-8")
    return [tmp_path / "copy", root]


@pytest.fixture(scope="module")
def compared(small_project: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small project with one trained method and its table, before there is a second one. To be copied."""
    home = tmp_path_factory.mktemp("compared") / "project"
    left_out = shutil.ignore_patterns("runs", "results", "mlflow.db", "mlartifacts")
    shutil.copytree(small_project, home, ignore=left_out)
    shutil.copytree(root / "reports", home / "reports", ignore=shutil.ignore_patterns("t*", "grid"))
    params = yaml.safe_load((home / "params.yaml").read_text())
    params["methods"], params["seeds"], params["training"]["epochs"] = ["clip"], [0], 1
    (home / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXR_ALIGNBENCH_HOME", str(home))
        assert [main(command) for command in COMPARE] == [0, 0, 0]
    return home


@pytest.mark.parametrize("place", ["installed", "in_repository"])
def test_one_file_and_one_entry(
    place: str, compared: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folders = request.getfixturevalue(place)
    home = tmp_path / "project"
    shutil.copytree(compared, home)
    table = home / "reports" / "tables" / "zero_shot.md"
    assert "Sharp" not in table.read_text(encoding="utf-8")
    before = contents(home / "runs")
    assert any(name.endswith(".safetensors") for name in before)
    params = yaml.safe_load((home / "params.yaml").read_text())
    params["methods"].append("sharp")
    (home / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))

    environment = {k: v for k, v in os.environ.items() if not k.startswith("CXR_ALIGNBENCH")}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, folders))}
    commands = [["ls", "methods", "sharp", "--json"], ["check", "method", "sharp", "--json"], *COMPARE]
    done = subprocess.run(
        [sys.executable, "-c", ONE_AFTER_ANOTHER, json.dumps(commands)],
        cwd=home, env=environment, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    listed, checked, *_ = done.stdout.split("\f")
    assert json.loads(listed)["methods"]["sharp"]["title"].startswith("Sharp: cosine alignment")
    assert json.loads(checked)["verdict"] == "ok"
    rows = table.read_text(encoding="utf-8")
    assert re.search(r"\| Sharp \| [^\n]*0\.\d{3}", rows), rows
    assert "CLIP" in rows
    after = contents(home / "runs")
    assert {name: after[name] for name in before} == before
    assert any("sharp-main" in name for name in set(after) - set(before))


def contents(folder: Path) -> dict[str, tuple[int, str]]:
    """File → its hash, and of weights when they were written: what is trained again is written again.

    Not `made.json`, which notes when files were last changed, and in a copied project that is now.
    """
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns if path.suffix == ".safetensors" else 0,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "made.json"
    }
