"""params.yaml: one-line errors with file, line and nearest key; profiles; cells."""

from __future__ import annotations

import re

import pytest
import yaml

from benchmark.core.errors import ParamsError
from benchmark.core.settings import EQUAL_BUDGET, TrainConfig, train_config
from benchmark.grid.layout import Project
from benchmark.grid.params import ablation_cell, cell_named, main_cell
from benchmark.grid.params_file import load_params, merge
from benchmark.grid.profiles import write_profile
from benchmark.grid.request import parse_seeds, parse_shard


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
    "options: {width: 64, layers: 2": ("options: {width: 64, layerz: 2", "carzero.options.layerz", "layers"),
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
    "    training: {epochs: 2}": ("    training: {epoch: 2}", "training.epoch", "epochs"),
    "    encoders: {image: vit-b16,": ("    encoders: {imge: vit-b16,", "encoders.imge", "image"),
}


@pytest.mark.parametrize("place", ["cells", "ct.cells"])
@pytest.mark.parametrize("name", ["clip", "clip-main", "carzero-ct", "radzero-official", "clip-model"])
def test_a_cell_that_is_named_as_a_methods_own_row_is_refused(params_file, place, name) -> None:
    """`cells main` trained the cell in place of the method, without a word."""
    cell = "{method: clip, table: size, label: narrow, options: {width: 8}}"
    with pytest.raises(ParamsError, match=f"{name}: this is the name of a method's own row"):
        load_params(params_file, None, (f"{place}.{name}={cell}",))


@pytest.mark.parametrize("name", ["a/b", "..", "x~y", "a:b", " x", "x" * 101])
def test_a_cell_whose_name_no_folder_can_have_is_refused(params_file, name) -> None:
    cell = "{method: clip, table: size, label: narrow}"
    with pytest.raises(ParamsError, match="no folder can have this name"):
        load_params(params_file, None, (f"cells={{'{name}': {cell}}}",))


def test_a_setting_of_robustness_that_would_make_main_cells_is_refused(params_file) -> None:
    with pytest.raises(ParamsError, match="settings.main: this is the name of a method's own row"):
        load_params(params_file, None, ("robustness.settings.main={label: x, width: 32}",))


@pytest.mark.parametrize("section", ["training", "method.clip.training", "cells.clip-dot.training"])
@pytest.mark.parametrize(
    "item",
    [
        "patience=0",
        "patience=-3",
        "batch_schedule=[[0, 0]]",
        "betas=[1.0, 0.9]",
        "eps=-1",
        "eps=0",
        "momentum=1.5",
        "learning_rate=.inf",
        "weight_decay=.inf",
    ],
)
def test_settings_that_no_training_takes_are_one_line_before_any_work(params_file, section, item) -> None:
    """They ended half-way as a fault of the method or of bench."""
    name = item.partition("=")[0]
    with pytest.raises(ParamsError, match=rf"--set {section}\.{name}: .*{name}: expected") as found:
        load_params(params_file, None, (f"{section}.{item}",))
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan"])
def test_an_option_that_is_no_finite_number_is_one_line(params_file, value) -> None:
    with pytest.raises(ParamsError, match=r"--set method.brgsa.options.temperature_scale: .*"):
        load_params(params_file, None, (f"method.brgsa.options.temperature_scale={value}",))


@pytest.mark.parametrize("methods", ["[clip, twofold]", "[twofold]"])
def test_a_method_with_the_title_of_another_is_refused(params_file, monkeypatch, methods) -> None:
    """Its rows could not be told apart, and took the published values of the other."""
    from methods.base import METHODS
    from methods.clip import CLIP

    class Twofold(CLIP):
        name = "twofold"
        title = "CLIP"

    monkeypatch.setitem(METHODS._registered, "twofold", [Twofold])
    with pytest.raises(ParamsError, match="'twofold' has the title of 'clip'"):
        load_params(params_file, None, (f"methods={methods}",))


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
        ("weight_decay: 0.1", "weight_decay: -1", "method.carzero.training.weight_decay"),
        ("{features: global}", "{features: globe}", "cells.gloria-global.options.features"),
        ("negations: drop", "negations: dropped", "texts.negations"),
        ("level: 0.95", "level: 95", "statistics.level"),
        ("  medclip: {", "  medclap: {", "unknown method 'medclap'. Did you mean 'medclip'?"),
        (
            "  train: mimic_cxr",
            "  train: mimic_cxx",
            "data.train: unknown dataset 'mimic_cxx'. Did you mean 'mimic",
        ),
        ("evaluate: [padchest,", "evaluate: [padchst,", "data.evaluate.0: unknown dataset 'padchst'."),
        ("images: {mimic_cxr:", "images: {mimic_cxt:", "twins.images.mimic_cxt: unknown dataset"),
        ("roots: {}", "roots: {padchst: x}", "data.roots.padchst: unknown dataset"),
        ("protocols: {}", "protocols: {padchest: x}", "data.protocols.padchest: unknown protocol 'x'."),
        (
            "methods: [clip, med",
            "methods: [clop, med",
            "methods.0: unknown method 'clop'. Did you mean 'clip'",
        ),
        ("image: efficientnet-lite0", "image: minilm-l6", "encoder 'minilm-l6' is no image encoder"),
        ("text: minilm-l6", "text: minilm-l7", "encoders.text: unknown encoder 'minilm-l7'. Did you mean"),
        ("  grounding: [chestxdet10]", "  grounding: [chestxdet11]", "tasks.grounding.0: unknown dataset"),
        ("  grounding: [chestxdet10]", "  groundin: [chestxdet10]", "unknown task 'groundin'. Did you mean"),
        (
            "  retrieval: {",
            "  retrieval: {pears: 1, ",
            "tasks.retrieval.pears: unknown key. Did you mean 'pairs'",
        ),
        ('template: "There is {}"', 'template: "There is"', "prompts.template: write {} exactly once"),
        ("{negations: drop}", "{bare_names: drop}", "bare_names: drop goes with wording: raw"),
        (
            "[carzero-linear-head, clip",
            "[carzero-linear-heads, clip",
            "no cell 'carzero-linear-heads'. Did you mean",
        ),
        ("[carzero-linear-head, clip", "[[a], clip", "keep_cells: there is no cell '['a']'."),
        ("  validation: 0.1", "  train_views: [PB]", "data.train_views.0: Input should be 'PA'"),
        (
            "{epochs: null, batch",
            "{epoch: null, batch",
            "removes 'training.epoch', which is not there. Did you mean 'ep",
        ),
        ("brgsa: {options: null", "brgsa: {opt: null", "removes 'method.brgsa.opt', which is not there."),
        (
            "seeds: [0]\n    twins",
            "seeds: [-1]\n    twins",
            "seeds.0: Input should be greater than or equal to 0",
        ),
        ("    keep_cells:", "    smoke:", "unknown key 'smoke'"),
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
    every = ablation_cell(whole, "carzero-raw-report")
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
    whole = [("raw sentence", "keep", "keep"), ("aligned sentence", "keep", "keep")]
    kind = "raw sentence"
    if method != "gloria":  # to which a report costs ten sentences
        kind = "raw report"
        whole.append(("raw report", "keep", "keep"))
    assert set(whole) <= found
    names = set() if method == "radzero" else {(kind, "keep", "drop")}
    assert found == {*whole, (kind, "drop", "keep"), *names}


TOLD = {
    "epochs": "expected key=value",
    "=3": "expected key=value",
    "a..b=1": "expected key=value",
    ".".join("a" * 5000) + "=1": "expected key=value",
    "training.epochs=[": "--set training.epochs:1: not valid YAML",
    "training.epochs=!!int x": "not a value of the type int",
    "training.epochs=" + "[" * 5000: "nested deeper",
    "training.epochs=&a [*a]": "stands for no whole value",
    "training.epochs=!!python/object/apply:os.system [ls]": "could not determine a constructor",
    "training.epochs=2020-13-45": "not a value of the type timestamp",
    "training.epochs={1: 2, [3]: 4}": "--set training.epochs",
    "training.epochs=-3": "--set training.epochs: training.epochs: Input should be greater than 0 (got -3)",
    "training.epoch=3": "--set training.epoch: unknown key 'training.epoch'. Did you mean 'epochs'?",
    "training.epochs.more=3": "'epochs' is a value, not a section",
    "method.clip.options.similarty=dot": "--set method.clip.options.similarty: unknown key",
    "methods=[clip, nosuch]": "--set methods: methods.1: unknown method 'nosuch'",
    "cells={1: {method: clip}}": "--set cells: cells.1",
    "training=": "--set training: ",
    "method=3": "--set method: method: Input should be a valid dictionary",
    "tasks=3": "--set tasks: tasks",
    "tasks={1: []}": "--set tasks: tasks: unknown task '1'",
    "seeds=[4294967296]": "--set seeds: seeds.0: Input should be less than or equal to 4294967295",
    "profiles.smoke.seeds=[1]": "unknown key 'profiles'. Did you mean 'profile'?",
}


@pytest.mark.parametrize("item", TOLD, ids=lambda item: item[:40])
def test_a_wrong_set_is_one_line_that_names_the_option(params_file, item) -> None:
    with pytest.raises(ParamsError) as caught:
        load_params(params_file, sets=[item])
    said = str(caught.value)
    assert said.startswith("--set ")
    assert TOLD[item] in said
    assert "\n" not in said
    assert len(said) < 400


def test_an_alias_bomb_is_refused_before_it_is_built(params_file) -> None:
    bomb = "[&a0 [x, x, x, x, x, x, x, x, x]"
    bomb += "".join(f", &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 40)) + "]"
    with pytest.raises(ParamsError, match="more than 1,000,000 values"):
        load_params(params_file, sets=[f"methods={bomb}"])
    edit(params_file, "methods: [clip, medclip, gloria, carzero, radzero, brgsa]", f"methods: {bomb}")
    with pytest.raises(ParamsError, match=r"params\.yaml:\d: .*more than 1,000,000 values"):
        load_params(params_file)


def test_a_value_that_stands_twice_is_set_once(params_file) -> None:
    edit(params_file, "  gloria: {options", "  gloria: &own {options")
    edit(params_file, "tuning:\n", "  medclip: *own\ntuning:\n")
    edit(params_file, "  medclip: {options", "  clip: {options")
    edit(params_file, "  smoke:\n", "  clone: {method: {gloria: {options: {width: 16}}}}\n  smoke:\n")
    text = params_file.read_text().split("\n")
    text.remove(next(line for line in text if line.startswith("  clip: {options: {width: 64, normalise")))
    params_file.write_text("\n".join(text))
    params = load_params(params_file, sets=["method.gloria.options.width=32"])
    widths = {name: main_cell(params, name).options.width for name in ("gloria", "medclip")}
    assert widths == {"gloria": 32, "medclip": 64}
    with pytest.raises(ParamsError, match=r"write its aliases \(\*name\) out"):
        write_profile(Project(params_file.parent), "clone")


def test_a_folder_and_a_loop_of_links_are_one_line(tmp_path) -> None:
    (tmp_path / "params.yaml").mkdir()
    with pytest.raises(ParamsError, match=r"params\.yaml: is a folder; give a YAML file"):
        load_params(Project.find(tmp_path).params)
    (tmp_path / "params.yaml").rmdir()
    (tmp_path / "params.yaml").symlink_to("params.yaml")
    with pytest.raises(ParamsError, match=r"params\.yaml: cannot be read \(Too many levels of symbolic"):
        load_params(Project.find(tmp_path).params)


@pytest.mark.parametrize(
    "text", ["", "- a", "3", "profiles: 3", "profiles: {a: 3}", "? {a: b}\n: c", "null: 1"]
)
def test_what_is_no_parameters_is_one_line(tmp_path, text) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError, match=r"params\.yaml") as caught:
        load_params(path)
    assert "\n" not in str(caught.value)


def test_a_written_profile_says_the_same_and_can_be_edited(params_file) -> None:
    for name in ("smoke", "official"):
        path = params_file.parent / name / "params.yaml"
        path.parent.mkdir()
        path.write_text(params_file.read_text())
        expected = load_params(path, name)
        write_profile(Project(path.parent), name)
        text = path.read_text()
        assert load_params(path) == load_params(path, name) == expected
        assert not re.search(r"(?<= )[&*][a-z]", re.sub(r"#.*", "", text))
        assert "# What the search of reports/tuning/ chose" in text
        edit(path, "seed: 0", "seed: 7")
        assert load_params(path).twins.seed == 7
        with pytest.raises(ParamsError, match=r"no profile 'smok' \(this file has none\)"):
            write_profile(Project(path.parent), "smok")
    assert set(load_params(params_file, "smoke").cells) == {"carzero-linear-head", "clip-raw-report"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("²", "--seeds ²"),
        ("-1", "--seeds -1"),
        ("1,,2", "--seeds 1,,2"),
        ("1" * 5000, "--seeds 111"),
        ("4294967296", "up to 4294967295"),
    ],
)
def test_seeds_are_plain_numbers(text, said) -> None:
    assert parse_seeds("2, 0,2") == (2, 0)
    with pytest.raises(ParamsError, match=re.escape(said)) as caught:
        parse_seeds(text)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["²/³", "0/2", "3/2", "1", "1/2/3", "-1/2", "/", "1" * 5000 + "/2"])
def test_a_shard_is_two_plain_numbers(text) -> None:
    assert parse_shard("2/4") == (1, 4)
    with pytest.raises(ParamsError, match="expected i/n"):
        parse_shard(text)


def test_what_a_profile_removes_of_a_section_that_is_not_there_is_not_left_as_null() -> None:
    assert merge({"a": 1}, {"b": {"c": None, "d": {"e": None, "f": 2}}}) == {"a": 1, "b": {"d": {"f": 2}}}
