"""What is read of methods and tasks is what importing them gives; the rest is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmark.core.errors import BenchError, ParamsError
from benchmark.core.tasks import TASKS
from benchmark.grid import declared as module
from benchmark.grid.declared import NeedsImport, _Declarations, _read, configure, declared, task_settings
from methods.base import METHODS

LOOKS = ("name", "title", "order", "marker", "dash", "colour", "MAP_IS_ATTENTION", "__doc__", "__module__")


@pytest.mark.parametrize("name", METHODS.names())
def test_a_method_is_declared_as_it_is(name) -> None:
    real = METHODS.get(name)
    read = _read(real.__module__).registered("METHODS", name)
    assert read is not real
    assert read.Config.model_json_schema() == real.Config.model_json_schema()
    assert [getattr(read, look) for look in LOOKS] == [getattr(real, look) for look in LOOKS]
    for setting in ("official", "equal-budget"):
        assert read.settings(setting) == real.settings(setting)
        assert read.recipe(setting) == real.recipe(setting)
    options = read.Config(**read.settings("official"))
    assert real.Config.model_validate(options.model_dump()) == real.Config(**real.settings("official"))
    assert _read(real.__module__).doc == sys.modules[real.__module__].__doc__.strip()


@pytest.mark.parametrize("name", TASKS.names())
def test_a_task_is_declared_as_it_is(name) -> None:
    real = TASKS.get(name)
    read = _read(real.__module__).registered("TASKS", name)
    assert read.Settings.model_json_schema() == real.Settings.model_json_schema()
    for value in ("name", "title", "order", "shown", "headlines", "needs", "file"):
        assert getattr(read, value) == getattr(real, value)


def test_what_importing_would_say_is_said(monkeypatch, tmp_path) -> None:
    """A file that does more than declare, or lacks what it imports, is left to the import."""
    monkeypatch.syspath_prepend(tmp_path)
    for number, text in enumerate(
        ("import no_such_package\n", "raise RuntimeError\n", "for x in 'a':\n    y = x\n")
    ):
        (tmp_path / f"declared_{number}.py").write_text(text)
        with pytest.raises(NeedsImport):
            _Declarations(f"declared_{number}")
    (tmp_path / "declared_9.py").write_text("import torch\nX = torch.zeros(1)\nclass A:\n    x = X\n")
    with pytest.raises(NeedsImport):
        _Declarations("declared_9").value("A")
    monkeypatch.setattr(module, "_read", lambda name: 1 / 0)
    assert declared("clip") is METHODS.get("clip")
    assert module.declared_task("retrieval") is TASKS.get("retrieval")


def test_wrong_settings_are_one_line() -> None:
    with pytest.raises(ParamsError, match="clip: unknown option 'widht'.*width"):
        configure("clip", {"widht": 3})
    with pytest.raises(BenchError, match="carzer"):
        declared("carzer")
    with pytest.raises(ValueError, match=r"tasks\.retrieval\.pair: unknown key"):
        task_settings({"retrieval": {"datasets": ["padchest"], "pair": "all"}})
    (own,) = task_settings({"retrieval": ["padchest"]}).values()
    assert own.datasets == ("padchest",)


def test_the_settings_of_the_project_are_read_without_torch(root) -> None:
    code = (
        "import sys; from pathlib import Path; from benchmark.grid.params_file import load_params; "
        "load_params(Path(sys.argv[1])); print('torch' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(root / "params.yaml")], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "False"
