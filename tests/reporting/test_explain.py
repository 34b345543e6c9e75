from __future__ import annotations

import json
from dataclasses import replace

import pytest

from benchmark.cli import main
from benchmark.core.files import write_json
from benchmark.core.tables import read_table
from benchmark.evaluation.statistics.reach import WITHHELD
from benchmark.grid.layout import Project
from benchmark.grid.params import main_cell
from benchmark.grid.params_file import load_params
from benchmark.reporting.explain import explain
from benchmark.reporting.provenance import reproduce
from benchmark.reporting.story import explain_text


def test_one_class(inside, capsys):
    assert main(["explain", "carzero", "chexpert", "Edema", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["notice"] == "SYNTHETIC TWIN"
    frame, _ = read_table(inside / "results" / "carzero-main" / "seed-1" / "chexpert" / "metrics.parquet")
    own = frame[(frame["class"] == "Edema") & (frame["metric"] == "auroc") & (frame["prompts"] != "name")]
    assert value["seeds"][1]["value"] == own["value"].item()
    assert value["value"] == pytest.approx(sum(s["value"] for s in value["seeds"]) / 3, abs=1e-6)
    assert value["prompt"] == "There is pulmonary edema"
    assert {run["seed"] for run in value["trainings"]} == {"0", "1", "2"}
    assert value["training_studies"] is not None
    (against,) = [c for c in value["comparisons"] if c["other"] == "clip-main"]
    assert against["delta"] > 0
    assert "bench stage cell carzero" in value["reproduce"]
    assert value["reproduce"].endswith("bench explain carzero-main chexpert Edema")


def test_the_command_of_a_number_asks_for_its_class(inside, capsys):
    assert main(["explain", "carzero", "chexpert", "Pleural Effusion"]) == 0
    assert "bench explain carzero-main chexpert 'Pleural Effusion'\n" in capsys.readouterr().out
    assert main(["explain", "carzero", "chexpert"]) == 0
    assert "bench explain carzero-main chexpert\n" in capsys.readouterr().out


def test_a_checkpoint_is_made_again_under_the_settings_that_it_had(root, tmp_path):
    name = "radzero-official@ensemble-3-ab-size-224"
    cell = main_cell(load_params(root / "params.yaml"), "radzero")
    cell = cell.model_copy(update={"name": name, "variant": "official"})
    write_json(
        Project(tmp_path).run(name, 0) / "source.json", {"settings": {"member": ["a", "b"], "size": 224}}
    )
    options = "--official member=FILE --official member=FILE --official size=224"
    assert f"--checkpoint FILE {options} &&" in reproduce(Project(tmp_path), cell)


def test_text(inside, capsys):
    assert main(["explain", "carzero-global", "chestxray14"]) == 0
    text = capsys.readouterr().out
    for part in (
        "SYNTHETIC TWIN",
        "seeds",
        "interval",
        "protocol",
        "trained on",
        "bench stage cell carzero-global",
    ):
        assert part in text


def test_an_effect_that_cannot_be_is_withheld_with_the_reason(inside):
    story = explain(Project.find(), "carzero", "chexpert")
    printed = explain_text(story)
    assert ", MDE 0." in printed
    none = [replace(other, mde=None, mde_undefined=WITHHELD) for other in story.comparisons]
    withheld = explain_text(replace(story, comparisons=none))
    assert f", {WITHHELD}" in withheld
    assert "MDE 0." not in withheld


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["carzeroo", "chexpert"], "Did you mean"),
        (["carzero", "chexprt"], "Did you mean 'chexpert'?"),
        (["carzero", "chexpert", "Edma"], "Did you mean 'Edema'?"),
        (
            ["carzero", "openi"],
            "carzero-main: no value on openi in these tables, but on chestxray14, chexpert",
        ),
    ],
)
def test_unknown_names_are_one_line(inside, capsys, arguments, hint):
    assert main(["explain", *arguments]) == 2
    error = capsys.readouterr().err
    assert hint in error
    assert error.count("\n") == 1
