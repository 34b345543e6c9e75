"""params.yaml: one-line errors with file, line and nearest key; profiles; cells."""

from __future__ import annotations

import re

import pytest
import yaml

from benchmark.core.errors import ParamsError
from benchmark.core.settings import EQUAL_BUDGET, TrainConfig, train_config
from benchmark.grid.params import ablation_cell, cell_named, load_params, main_cell


@pytest.fixture
def params_file(tmp_path, root):
    path = tmp_path / "params.yaml"
    path.write_text((root / "params.yaml").read_text())
    return path


def edit(path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_the_shipped_file_and_every_profile_are_valid(params_file) -> None:
    names = yaml.safe_load(params_file.read_text())["profiles"]
    assert {"smoke"} <= set(names)
    for name in [None, *names]:
        assert load_params(params_file, name).seeds


def test_unknown_key_names_file_line_and_nearest(params_file) -> None:
    edit(params_file, "  precision:", "  precison:")
    with pytest.raises(
        ParamsError, match=r"params\.yaml:\d+: unknown key 'encoders\.precison'\. Did you mean 'precision'"
    ):
        load_params(params_file)


WRONG = {
    "options: {width: 64, layers: 1": ("options: {width: 64, layerz: 1", "carzero.options.layerz", "layers"),
    "training: {learning_rate: 0.00143": (
        "training: {learning_rat: 0.1",
        "clip.training.learning_rat",
        "rate",
    ),
    "options: {features: global}": (
        "options: {feature: global}",
        "gloria-global.options.feature",
        "features",
    ),
    "texts: {negations: drop}": ("texts: {negation: drop}", "without-negations.texts.negation", "negations"),
    "  batch_size: 32": ("  batchsize: 32", "training.batchsize", "batch_size"),
    "  level: 0.95": ("  levl: 0.95", "statistics.levl", "level"),
}


@pytest.mark.parametrize("right", WRONG)
def test_a_wrong_key_anywhere_is_one_line_before_any_work(params_file, right) -> None:
    wrong, key, near = WRONG[right]
    line = params_file.read_text().partition(right)[0].count("\n") + 1
    edit(params_file, right, wrong)
    with pytest.raises(ParamsError) as caught:
        load_params(params_file)
    said = str(caught.value)
    assert said.startswith(f"{params_file}:{line}: unknown key '")
    assert f"{key}'" in said
    assert f"{near}'?" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        (
            "normalise_inputs: standard",
            "normalise_inputs: standart",
            "method.carzero.options.normalise_inputs",
        ),
        ("weight_decay: 0.01", "weight_decay: -1", "method.brgsa.training.weight_decay"),
        ("{features: global}", "{features: globe}", "cells.gloria-global.options.features"),
        ("negations: drop", "negations: dropped", "texts.negations"),
        ("level: 0.95", "level: 95", "statistics.level"),
        ("  medclip: {", "  medclap: {", "unknown method 'medclap'. Did you mean 'medclip'?"),
        ("{method: clip, table: similarity", "{method: clop, table: similarity", "unknown method 'clop'."),
    ],
)
def test_a_wrong_value_anywhere_is_one_line_before_any_work(params_file, right, wrong, said) -> None:
    line = params_file.read_text().partition(right)[0].count("\n") + 1
    edit(params_file, right, wrong)
    with pytest.raises(ParamsError, match=rf"params\.yaml:{line}: .*{re.escape(said)}") as caught:
        load_params(params_file)
    assert "\n" not in str(caught.value)


def test_the_defaults_of_training_are_the_equal_budget() -> None:
    assert TrainConfig() == train_config({}) == train_config({}, EQUAL_BUDGET)


def test_bad_value_names_what_it_got(params_file) -> None:
    with pytest.raises(ParamsError, match=r"texts\.wording: .*got 'aligne'"):
        load_params(params_file, sets=["texts.wording=aligne"])


def test_unknown_profile_and_malformed_set(params_file) -> None:
    with pytest.raises(ParamsError, match="no profile 'smok'.*Did you mean 'smoke'"):
        load_params(params_file, "smok")
    with pytest.raises(ParamsError, match="expected key=value"):
        load_params(params_file, sets=["epochs"])


def test_set_overrides_and_methods_are_registered(params_file) -> None:
    assert load_params(params_file, sets=["training.epochs=3"]).training.epochs == 3
    with pytest.raises(ParamsError, match="unknown method 'clipp'. Did you mean 'clip'"):
        load_params(params_file, sets=["methods=[carzero, clipp]"])
    bare = load_params(params_file, sets=["methods=[clip]", "method={}"])
    assert main_cell(bare, "clip") == cell_named(bare, "clip-main")


def test_cells_inherit_their_method(params_file) -> None:
    params = load_params(
        params_file,
        sets=[
            "method.clip={options: {width: 32}, training: {learning_rate: 0.1}}",
            "cells={clip-raw: {method: clip, table: prompts, label: x, texts: {wording: raw, unit: report}}}",
        ],
    )
    main, raw = main_cell(params, "clip"), ablation_cell(params, "clip-raw")
    assert (raw.options, raw.training) == (main.options, main.training)
    assert (main.texts.name, raw.texts.name, raw.variant) == ("aligned sentence", "raw report", "raw")
    with pytest.raises(ParamsError, match="no cell 'clip-row'.*'clip-raw'"):
        ablation_cell(params, "clip-row")


def test_a_cell_has_its_own_seeds_and_prompts(params_file):
    whole = load_params(params_file)
    cell = ablation_cell(whole, "clip-aligned-report-without-negations")
    assert (cell.texts.name, cell.texts.negations) == ("aligned report", "drop")
    assert cell.seeds
    assert cell.seeds != whole.seeds
    assert [p.style for p in cell.prompts_on("chestxray14")] == ["template", "pos-neg"]
    assert main_cell(whole, "carzero").seeds is None
    every = ablation_cell(whole, "gloria-raw-report")
    assert every.more_prompts == whole.prompt_ablation.prompts
    assert ablation_cell(whole, "gloria-local").more_prompts == ()


@pytest.mark.parametrize(
    ("kind", "instead"),
    [
        ("raw_report", "write wording: raw, unit: report"),
        ("aligned", "write wording: aligned, unit: sentence"),
        ("raw_reports", "write wording and unit"),
        ("[]", "write wording and unit"),
    ],
)
def test_a_text_kind_of_before_is_told_what_to_write_instead(params_file, kind, instead) -> None:
    edit(params_file, "{wording: raw, unit: report}", f"{{kind: {kind}}}")
    line = params_file.read_text().partition("{kind: ")[0].count("\n") + 1
    with pytest.raises(ParamsError, match=rf"params\.yaml:{line}: texts\.kind is two words now: {instead}"):
        load_params(params_file)


def text_factors(params, method):
    """(wording and unit, negations, bare names) of the cells whose training texts alone differ."""
    cells = [main_cell(params, method), *[ablation_cell(params, n) for n in params.cells]]
    tables = ("zero_shot", "prompt_alignment", "text_factors")
    own = [c.texts for c in cells if c.method == method and c.table in tables]
    return {(t.name, t.negations, t.bare_names) for t in own}


def test_every_combination_of_the_text_factors_is_a_cell_of_clip(params_file):
    kinds = ("raw report", "raw sentence", "aligned report", "aligned sentence")
    expected = {(k, n, "keep") for k in kinds for n in ("keep", "drop")}
    expected |= {("raw report", "keep", "drop"), ("raw sentence", "keep", "drop")}
    assert text_factors(load_params(params_file), "clip") == expected


@pytest.mark.parametrize("method", ["gloria", "carzero", "radzero"])
def test_other_methods_have_whole_reports_and_one_change_at_a_time(params_file, method):
    found = text_factors(load_params(params_file), method)
    whole = [
        ("raw report", "keep", "keep"),
        ("raw sentence", "keep", "keep"),
        ("aligned sentence", "keep", "keep"),
    ]
    assert set(whole) <= found
    kind = "raw sentence" if method == "gloria" else "raw report"
    names = set() if method == "radzero" else {(kind, "keep", "drop")}
    assert found == {*whole, (kind, "drop", "keep"), *names}
