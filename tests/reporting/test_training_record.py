"""What a training recorded is read in one place, which takes it whole or refuses it in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmark.core.errors import DataError
from benchmark.reporting.on_disk import RECORDED, SINCE_LATER, training_record


@pytest.fixture
def record(project: Path) -> dict[str, object]:
    value: dict[str, object] = json.loads(next(project.glob("runs/*/seed-0/run.json")).read_text())
    return value


@pytest.mark.parametrize("wrong", ["lost", [], "x", {"a": 1}])
def test_every_field_is_there_in_its_type(record: dict[str, object], tmp_path: Path, wrong: object) -> None:
    path = tmp_path / "run.json"
    for name, kind in RECORDED.items():
        changed = {k: v for k, v in record.items() if k != name} | ({} if wrong == "lost" else {name: wrong})
        path.write_text(json.dumps(changed))
        fits = name in SINCE_LATER if wrong == "lost" else kind in (str, bool) or isinstance(wrong, kind)
        if fits or (kind is dict and wrong == []):
            assert training_record(path).get(name) == (None if wrong == "lost" else kind(wrong))  # type: ignore[call-overload]
            continue
        with pytest.raises(DataError, match=r"run\.json: ") as refused:
            training_record(path)
        assert "\n" not in str(refused.value)


def test_an_installed_package_stands_by_its_version(record: dict[str, object], tmp_path: Path) -> None:
    own = record | {"commit": None, "versions": {"cxr-alignbench": "1.2.3"}}
    (tmp_path / "run.json").write_text(json.dumps(own))
    assert training_record(tmp_path / "run.json")["commit"] == "v1.2.3"


@pytest.mark.parametrize("text", ["[]", "3", "null", "{", "{}"])
def test_what_is_no_record_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(DataError, match=r"run\.json"):
        training_record(tmp_path / "run.json")
