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

pytestmark = pytest.mark.slow


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


@pytest.mark.slow
@pytest.mark.parametrize("place", ["installed", "in_repository"])
def test_one_file_and_one_entry(
    place: str, fresh_copy: Path, root: Path, request: pytest.FixtureRequest
) -> None:
    folders = request.getfixturevalue(place)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CXR_ALIGNBENCH")}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, folders))}

    def bench(*arguments: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "benchmark", *arguments]
        done = subprocess.run(
            command, cwd=fresh_copy, env=environment, capture_output=True, text=True, timeout=500
        )
        assert done.returncode == code, f"{arguments}: {done.stderr[-3000:]}"
        return done.stdout

    def compare() -> str:
        bench("run", "--method", "all", "--dataset", "main")
        bench("stage", "summarise", "main")
        bench("report", "tables", "--part", "main")
        return (fresh_copy / "reports" / "tables" / "zero_shot.md").read_text(encoding="utf-8")

    shutil.copytree(root / "reports", fresh_copy / "reports", ignore=shutil.ignore_patterns("t*", "grid"))
    params = yaml.safe_load((fresh_copy / "params.yaml").read_text())
    params["methods"], params["seeds"], params["training"]["epochs"] = ["clip"], [0], 1
    (fresh_copy / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    assert "Sharp" not in compare()
    before = contents(fresh_copy / "runs")
    assert any(name.endswith(".safetensors") for name in before)

    found = json.loads(bench("ls", "methods", "sharp", "--json"))["methods"]["sharp"]
    assert found["title"].startswith("Sharp: cosine alignment")
    assert json.loads(bench("check", "method", "sharp", "--json"))["verdict"] == "ok"

    params["methods"].append("sharp")
    (fresh_copy / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    table = compare()
    assert re.search(r"\| Sharp \| [^\n]*0\.\d{3}", table), table
    assert "CLIP" in table
    after = contents(fresh_copy / "runs")
    assert {name: after[name] for name in before} == before
    assert any("sharp-main" in name for name in set(after) - set(before))


def contents(folder: Path) -> dict[str, tuple[int, str]]:
    """File → its hash, and of weights when they were written: what is trained again is written again."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns if path.suffix == ".safetensors" else 0,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
