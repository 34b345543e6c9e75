"""`bench ls` shows what the registries hold."""

from __future__ import annotations

import json
import subprocess
import sys

from test_contract import outside  # noqa: F401  (a fixture)

from benchmark.cli import main
from methods.base import METHODS


def listing(capsys, *arguments):
    assert main(["ls", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_switch_with_default_official_value_and_source(capsys):
    found = listing(capsys, "methods")["methods"]
    assert list(found) == METHODS.names()
    for name, row in found.items():
        config = METHODS.get(name).Config
        assert [switch["name"] for switch in row["switches"]] == list(config.model_fields)
        assert all(switch["description"] for switch in row["switches"])
        assert row["official_recipe"]["source"]
    layers = next(s for s in found["carzero"]["switches"] if s["name"] == "layers")
    assert (layers["default"], layers["official"]) == (2, 4)


def test_text_names_the_official_value(capsys):
    assert main(["ls", "methods", "carzero"]) == 0
    out = capsys.readouterr().out
    assert "layers = 2 (official 4)" in out
    assert "head = mlp  [mlp|linear|cosine]" in out


def test_datasets_and_encoders(capsys):
    datasets = listing(capsys, "datasets")["datasets"]
    assert datasets["padchest"]["protocols"]["carzero"] == 192
    encoders = listing(capsys, "encoders")["encoders"]
    assert encoders["minilm-l6"]["kind"] == "text"
    overview = listing(capsys)
    assert set(overview) == {"methods", "datasets", "encoders", "readers", "aligners", "tasks"}
    assert "lies in a box" in listing(capsys, "tasks")["tasks"]["grounding"]["title"]
    assert listing(capsys, "readers")["readers"]["table"]["module"] == "benchmark.data.readers.table"
    assert list(listing(capsys, "aligners")["aligners"]) == ["rules"]


def test_unknown_names_exit_with_two(capsys):
    assert main(["ls", "methods", "carzer"]) == 2
    assert "Did you mean 'carzero'?" in capsys.readouterr().err
    assert main(["ls", "method"]) == 0
    assert main(["ls", "cards"]) == 2


def test_a_method_from_outside_is_listed(capsys, outside):  # noqa: F811
    assert listing(capsys, "methods", "tilted")["methods"]["tilted"]["module"] == "tilted_method"


def test_a_method_that_fails_to_import_is_one_line_beside_the_others(capsys, outside, tmp_path):  # noqa: F811
    (tmp_path / "tilted_method.py").write_text("import no_such_package\n")
    found = listing(capsys, "methods")["methods"]
    assert "package tilted-method" in found["tilted"]["error"]
    assert found["clip"]["title"].startswith("CLIP")
    assert main(["ls", "methods", "tilted"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_import_is_light():
    code = "import sys, benchmark.commands.ls; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
