"""Bundles with numbers that no result can have, records that say more than their files, options that would be
ignored, and rows of the registry in another clone."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import yaml

from benchmark.core.files import read_json
from benchmark.core.tables import read_table
from tests.exchange.bundles import DATASET, edit, refused, relist, run


def unlabelled(bundle):
    (bundle / "labels.parquet").unlink()
    relist(bundle, labels="not included")
    return bundle


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"images": 999_999}, "says 999,999 images, its scores are of 160"),
        ({"seeds": [0, 0, 1, 2]}, "seeds: "),
    ],
)
def test_a_record_that_says_more_than_its_files(bundle, clone, capsys, fields, said):
    relist(bundle, **fields)
    assert said in refused(capsys, clone, "submit", bundle)


def provenance(bundle, **fields):
    return read_json(bundle / "bundle.json")["provenance"] | fields


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"weights": {"0": "a", "7": "b"}}, "provenance.weights: '7' is none of its seeds"),
        ({"runs": {"seed-0": {}}}, "provenance.runs: 'seed-0' is none of its seeds"),
        (
            {"runs": {"0": {"hostname": "x"}}},
            "provenance.runs.0: 'hostname' is no part of the record of a training",
        ),
        ({"runs": {"0": {"seed": 2}}}, "provenance.runs.0: is of another seed"),
        ({"weights": {"0": ""}}, "provenance.weights.0: "),
        ({"weigths": {}}, "provenance.weigths: "),
    ],
)
def test_provenance_that_is_of_no_training_of_the_bundle(bundle, clone, capsys, fields, said):
    relist(bundle, provenance=provenance(bundle, **fields))
    assert said in refused(capsys, clone, "submit", bundle)


@pytest.mark.parametrize("name", ["weights", "versions", "runs"])
def test_provenance_without_a_part_is_refused(bundle, clone, capsys, name):
    kept = {key: value for key, value in provenance(bundle).items() if key != name}
    relist(bundle, provenance=kept)
    assert f"provenance.{name}: is missing" in refused(capsys, clone, "submit", bundle)


@pytest.mark.parametrize("said", ["included", "not included", "includde"])
def test_labels_that_are_there_and_are_said_otherwise(bundle, clone, capsys, said):
    relist(bundle, labels=said)
    assert "expected 'of a synthetic twin: included'" in refused(capsys, clone, "submit", bundle)


def test_labels_that_are_said_and_are_not_there(bundle, clone, capsys):
    (bundle / "labels.parquet").unlink()
    relist(bundle)
    assert "labels.parquet is not in it; expected 'not included'" in refused(capsys, clone, "submit", bundle)


def test_one_training_that_is_listed_as_two(bundle, home, clone, capsys, tmp_path):
    path = bundle / "predictions-seed-0.parquet"
    shutil.copy(path, bundle / "predictions-seed-1.parquet")
    relist(bundle)
    said = "the scores of "
    assert said in refused(capsys, clone, "submit", unlabelled(bundle), "--quoted")
    read_table(path)[0].to_csv(tmp_path / "s.csv", index=False)
    about = dict.fromkeys(("title", "encoder", "trained_on", "prompts", "commit", "source"), "x")
    (tmp_path / "about.yaml").write_text(yaml.safe_dump({"name": "ours", **about}))
    given = ("--dataset", DATASET, "--site", "S", "--about", tmp_path / "about.yaml", "--out", tmp_path / "b")
    assert said in refused(capsys, home, "export", tmp_path / "s.csv", tmp_path / "s.csv", *given)
    read_table(path)[0].iloc[1:].to_csv(tmp_path / "short.csv", index=False)
    line = refused(capsys, home, "export", tmp_path / "short.csv", *given)
    assert line.startswith(f"{tmp_path / 'short.csv'}: no scores for 1 images")


@pytest.mark.parametrize(
    "fields", [{"value": 1.7}, {"value": np.nan}, {"low": 0.99}, {"high": 1.2}, {"value": "0.8"}]
)
def test_numbers_that_no_result_can_have_are_not_taken_at_their_word(bundle, clone, capsys, fields):
    def change(frame):
        own = (frame["class"] == "macro") & (frame["metric"] == "auroc") & frame["seed"].isna()
        own &= frame["stratum"] == "all"
        (name, value), *_ = fields.items()
        column = frame[name].astype(object).mask(own, value)
        return frame.assign(**{name: column.astype(str if isinstance(value, str) else float)})

    edit(unlabelled(bundle), "metrics.parquet", change)
    line = refused(capsys, clone, "submit", bundle, "--quoted")
    assert "metrics.parquet: " in line
    assert "auroc of 'macro' on all, mean over seeds" in line or "holds no numbers" in line


def test_scores_that_are_not_finite_name_their_file(bundle, clone, capsys):
    edit(bundle, "predictions-seed-0.parquet", lambda f: f.assign(Edema=np.inf))
    assert "predictions-seed-0.parquet: class 'Edema'" in refused(capsys, clone, "submit", bundle)


@pytest.mark.parametrize("option", [("--data-root", "."), ("--quoted",), ("--dry-run",)])
def test_a_check_of_the_registry_takes_no_option_of_a_bundle(clone, capsys, option):
    assert f"{option[0]}: goes with a bundle" in refused(capsys, clone, "submit", "--check", *option)


@pytest.mark.parametrize(
    ("what", "options"),
    [
        ("carzero-main", ("--dataset", DATASET, "--site", "S", "--hub", "a/b")),
        ("carzero-main", ("--dataset", DATASET, "--site", "S", "--data-root", ".")),
        ("bundle", ("--as", "every-eval-ever", "--site", "S")),
        ("bundle", ("--as", "every-eval-ever", "--hub", "a/b")),
        ("bundle", ("--as", "hugging-face", "--dataset", DATASET, "--hub", "a/b")),
        ("chexpert", ("--as", "croissant", "--about", "about.yaml")),
    ],
)
def test_an_export_ignores_no_option(home, tmp_path, capsys, what, options):
    line = refused(capsys, home, "export", what, *options, "--out", tmp_path / "out")
    assert "goes with" in line
    assert not (tmp_path / "out").exists()


def test_a_row_holds_in_a_clone_with_other_labels(bundle, home, clone, tmp_path, capsys):
    """Recomputed where the labels are, it stands in a clone without them; quoted there, it may be recomputed
    where they are."""
    own = unlabelled(bundle)
    site = shutil.copytree(home, tmp_path / "site")
    assert run(site, "submit", own) == 0
    shutil.copytree(site / "results-registry", clone / "results-registry")
    capsys.readouterr()
    assert run(clone, "submit", "--check") == 0
    assert "recomputed when added; its labels are not here" in capsys.readouterr().out
    for project in (site, clone):
        shutil.rmtree(project / "results-registry")
    assert run(clone, "submit", own, "--quoted") == 0
    shutil.copytree(clone / "results-registry", site / "results-registry")
    capsys.readouterr()
    assert run(site, "submit", "--check") == 0
    assert "stands as quoted, and is recomputed here" in capsys.readouterr().out


def test_a_format_is_never_written_over_its_bundle(bundle, home, tmp_path, capsys):
    before = (bundle / "bundle.json").read_bytes()
    given = ("export", bundle, "--as", "every-eval-ever", "--out", bundle / "bundle.json")
    assert "bundle.json: is read by this command" in refused(capsys, home, *given)
    assert (bundle / "bundle.json").read_bytes() == before
    (tmp_path / "file").write_text("")
    cell = ("export", "carzero-main", "--dataset", DATASET, "--site", "S", "--out", tmp_path / "file" / "x")
    assert "cannot be read or written" in refused(capsys, home, *cell)
