"""What a training recorded is read in one place, which takes it whole or refuses it in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmark.core.errors import DataError
from benchmark.stages.run_record import RunRecord, read_run


@pytest.fixture
def record(project: Path) -> dict[str, object]:
    value: dict[str, object] = json.loads(next(project.glob("runs/*/seed-0/run.json")).read_text())
    return value | {"versions": {"cxr-alignbench": "0.1.0"}}


@pytest.mark.parametrize("wrong", ["lost", None, [], 3.5, {"a": 1}])
def test_every_field_is_there_in_its_type(record: dict[str, object], tmp_path: Path, wrong: object) -> None:
    path = tmp_path / "run.json"
    for name in record.keys() & RunRecord.model_fields.keys():
        changed = {k: v for k, v in record.items() if k != name} | ({} if wrong == "lost" else {name: wrong})
        path.write_text(json.dumps(changed))
        field = RunRecord.model_fields[name]
        if wrong == "lost":
            fits, value = not field.is_required(), field.default
        else:
            empty = name == "commit" or (not field.is_required() and field.default is None)
            fits, value = empty if wrong is None else type(wrong) is type(record[name]), wrong
        if fits and (name, wrong) != ("versions", {"a": 1}):
            assert getattr(read_run(path), name) == value
            continue
        with pytest.raises(DataError, match=rf"run\.json: .*{name}") as refused:
            read_run(path)
        assert "\n" not in str(refused.value)


def test_an_installed_package_stands_by_its_version(record: dict[str, object], tmp_path: Path) -> None:
    own = record | {"commit": None, "versions": {"cxr-alignbench": "1.2.3"}}
    (tmp_path / "run.json").write_text(json.dumps(own))
    assert read_run(tmp_path / "run.json").code == "v1.2.3"


@pytest.mark.parametrize("text", ["[]", "3", "null", "{", "{}"])
def test_what_is_no_record_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(DataError, match=r"run\.json"):
        read_run(tmp_path / "run.json")


def test_what_evaluations_read_is_as_it_was_written(record: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(record))
    read = read_run(tmp_path / "run.json").model_dump(exclude_unset=True)
    assert read == {name: record[name] for name in read}
    assert {"identity", "model_sha256", "options", "commit", "device", "versions"} <= read.keys()
