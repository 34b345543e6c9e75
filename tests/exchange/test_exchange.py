"""Bundles: what travels, what is recomputed, what is refused, and how rows enter another clone's tables."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from benchmark.core.errors import BenchError
from benchmark.core.files import read_json, write_json
from benchmark.core.hashing import hash_file
from benchmark.core.tables import read_table
from benchmark.data.cards import load_card
from benchmark.exchange.bundle import BundleRecord, read_bundle
from benchmark.exchange.registry import submitted_rows
from benchmark.grid.layout import Project
from benchmark.reporting.outputs import PartReport
from tests.exchange.bundles import DATASET, edit, refused, relist, run


def test_a_bundle_says_what_the_tables_say_and_holds_no_text(home, exported):
    bundle = read_bundle(exported)
    rows = bundle.metrics()
    ours = PartReport(Project(home), "main").gathered.evidence.value("carzero-main", DATASET)
    own = rows[(rows["class"] == "macro") & (rows["stratum"] == "all") & (rows["metric"] == "auroc")]
    mean = own[own["seed"].isna()].iloc[0]
    assert (mean["value"], mean["low"], mean["high"]) == pytest.approx(
        (ours["value"], ours["low"], ours["high"]), abs=1e-6
    )
    assert set(own["seed"].dropna()) == {0, 1, 2}
    assert set(rows["stratum"]) > {"all", "sex=F"}
    assert str(home) not in (exported / "bundle.json").read_text()
    scores, _ = read_table(exported / "predictions-seed-1.parquet")
    assert list(scores.columns) == ["image_id", *load_card(DATASET).protocol_classes("carzero")]


def test_equal_results_give_equal_bytes_and_a_folder_is_never_overwritten(home, exported, tmp_path, capsys):
    arguments = ("export", "carzero-main", "--dataset", DATASET, "--site", "Site A", "--out")
    assert run(home, *arguments, tmp_path / "again") == 0
    assert (tmp_path / "again" / "bundle.json").read_bytes() == (exported / "bundle.json").read_bytes()
    assert "already there" in refused(capsys, home, *arguments, tmp_path / "again")


def test_a_bundle_of_one_clone_enters_the_tables_of_another(bundle, home, tmp_path):
    other = shutil.copytree(home, tmp_path / "other")
    shutil.rmtree(other / "data" / "prepared" / DATASET)
    before = {t.name: t for t in PartReport(Project(other), "main").tables}
    assert "submitted" not in before
    assert run(other, "submit", bundle) == 0
    after = {t.name: t for t in PartReport(Project(other), "main").tables}
    (row,) = after["submitted"].records()
    ours = next(
        r for r in before["zero_shot"].records() if r["cell"] == "carzero-main" and r["dataset"] == DATASET
    )
    assert row["auroc_value"] == pytest.approx(ours["value"], abs=1e-6)
    assert row["evidence_class"] == "recomputed"
    assert (row["site"], row["seeds"], row["origin"]) == ("Site A", 3, "twin")
    assert after["zero_shot"].rows == before["zero_shot"].rows
    assert after["submitted"].synthetic


def test_labels_here_count_before_those_of_the_bundle(bundle, home, capsys):
    assert run(home, "submit", bundle, "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["labels"] == "here"
    assert not (home / "results-registry").exists()
    edit(bundle, "labels.parquet", lambda f: f.assign(Edema=1 - f["Edema"]))
    assert "labels differ from those here" in refused(capsys, home, "submit", bundle)


def raised(frame: pd.DataFrame) -> pd.DataFrame:
    own = (frame["class"] == "macro") & (frame["stratum"] == "all") & (frame["metric"] == "auroc")
    return frame.assign(value=frame["value"].where(~own, frame["value"] + 0.01))


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("metrics.parquet", raised, "auroc of 'macro' on all, "),
        ("metrics.parquet", lambda f: f[f["class"] != "Edema"], "rows are in recomputed alone"),
        ("metrics.parquet", lambda f: f.assign(report="x"), "column 'report' is none of a metrics table"),
        (
            "predictions-seed-0.parquet",
            lambda f: f.assign(report="FINDINGS: canary-51ac effusion."),
            "column 'report' (text) is neither image_id nor a class",
        ),
        (
            "predictions-seed-0.parquet",
            lambda f: f.assign(label_Edema=1.0),
            "column 'label_Edema' (numbers) is neither image_id nor a class",
        ),
        (
            "predictions-seed-0.parquet",
            lambda f: pd.concat([f, f.iloc[:2]]),
            "row 161 repeats image 'i0000' (2",
        ),
        (
            "predictions-seed-0.parquet",
            lambda f: f.assign(image_id="Effusion on the left, canary-51ac"),
            "no name of an image",
        ),
        ("predictions-seed-0.parquet", lambda f: f.drop(columns="Edema"), "no column 'Edema'"),
        ("predictions-seed-0.parquet", lambda f: f.assign(Edema=np.nan), "every image needs a number"),
        ("predictions-seed-0.parquet", lambda f: f.iloc[1:], "no scores for 1 images"),
        ("labels.parquet", lambda f: f.assign(note="canary-51ac"), "column 'note' is no part of labels"),
        ("labels.parquet", lambda f: f.assign(patient_id=["12", "12.0", *f["patient_id"][2:]]), "two forms"),
    ],
)  # fmt: skip
def test_tables_that_are_refused(bundle, clone, capsys, name, change, said):
    edit(bundle, name, change)
    line = refused(capsys, clone, "submit", bundle)
    assert said in line
    assert "canary" not in line
    if change is raised:
        assert "by 0.01" in line
    assert not (clone / "results-registry").exists()


def test_scores_that_are_the_labels_are_refused(bundle, clone, capsys):
    labels, _ = read_table(bundle / "labels.parquet")
    classes = list(load_card(DATASET).protocol_classes("carzero"))
    edit(bundle, "predictions-seed-2.parquet", lambda f: labels[["image_id", *classes]])
    assert "are the labels themselves" in refused(capsys, clone, "submit", bundle)


def without(key: str):
    def change(record: dict) -> None:
        part, _, name = key.rpartition(".")
        del (record[part] if part else record)[name]

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r["card"].update(version="0.9"), "card of chexpert of version '0.9', here it is '1.0'"),
        (lambda r: r["card"].update(protocol="0" * 64), "has other rules or classes here"),
        (without("provenance.commit"), "provenance.commit: is missing"),
        (without("provenance.site"), "provenance.site: is missing"),
        (lambda r: r.update(protocol="none"), "has no protocol 'none'"),
        (lambda r: r.update(dataset="nowhere"), "unknown dataset 'nowhere'"),
        (lambda r: r.update(name="../../etc"), "name: string should match"),
        (lambda r: r.update(report="text"), "report: extra inputs are not permitted"),
        (lambda r: r["files"].update({"../x.parquet": "0"}), "which no bundle has"),
        (lambda r: r["strata"].update(mine=["Cough"]), "names 'Cough', no class"),
    ],
)
def test_records_that_are_refused(bundle, clone, capsys, change, said):
    record = read_json(bundle / "bundle.json")
    change(record)
    write_json(bundle / "bundle.json", record)
    assert said in refused(capsys, clone, "submit", bundle)


def test_changed_and_surplus_files_are_refused(bundle, clone, capsys):
    (bundle / "image.png").write_bytes(b"x")
    assert "image.png: is no part of the bundle" in refused(capsys, clone, "submit", bundle)
    (bundle / "image.png").unlink()
    with open(bundle / "labels.parquet", "ab") as handle:
        handle.write(b"x")
    assert "was changed after the export" in refused(capsys, clone, "submit", bundle)
    assert "no bundle.json here" in refused(capsys, clone, "submit", bundle.parent)


def test_two_bundles_of_one_cell_agree_or_say_how_they_differ(bundle, clone, capsys, tmp_path):
    assert run(clone, "submit", bundle) == 0
    assert "in the registry already" in refused(capsys, clone, "submit", bundle)
    twin = shutil.copytree(bundle, tmp_path / "twin")
    relist(twin, provenance=read_json(bundle / "bundle.json")["provenance"] | {"site": "Site B"})
    assert run(clone, "submit", twin, "--dry-run") == 0
    assert "agrees with chexpert-twin-carzero-main-" in capsys.readouterr().out
    noise = np.random.default_rng(0).normal(0, 0.2, (160, 5))
    for seed in range(3):
        edit(twin, f"predictions-seed-{seed}.parquet", lambda f: f.assign(**dict(zip(f.columns[1:], (f.iloc[:, 1:].to_numpy() + noise).T, strict=True))))  # fmt: skip # noqa: E501
    assert "its numbers are not those of its scores" in refused(capsys, clone, "submit", twin)
    recompute(twin)
    assert run(clone, "submit", twin) == 0
    said = capsys.readouterr().out
    assert "differs from chexpert-twin-carzero-main-" in said
    assert "(Site A)" in said
    assert len(submitted_rows(clone)) == 2
    assert run(clone, "submit", "--check") == 0


def recompute(bundle: Path) -> None:
    from benchmark.exchange.recompute import metric_rows
    from benchmark.exchange.truth import labels_of

    read = read_bundle(bundle)
    scores = {seed: read_table(path)[0] for seed, path in read.predictions.items()}
    rows = metric_rows(scores, labels_of(read), read.record.strata, read.record.identity())
    edit(bundle, "metrics.parquet", lambda _: rows)


def test_a_row_that_was_changed_in_the_registry_is_named(bundle, clone, capsys):
    assert run(clone, "submit", bundle) == 0
    (folder,) = (clone / "results-registry").glob("chexpert-*")
    edit(folder / "bundle", "metrics.parquet", raised)
    assert "is not the one that was added" in refused(capsys, clone, "submit", "--check")
    entry = read_json(folder / "entry.json")
    write_json(folder / "entry.json", entry | {"bundle": hash_file(folder / "bundle" / "bundle.json")})
    line = refused(capsys, clone, "submit", "--check")
    assert "auroc of 'macro' on all" in line
    assert "by 0.01" in line


def keys(folder: Path) -> tuple[bytes, bytes]:
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    folder.joinpath("key.pem").write_bytes(private)
    return private, key.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)


def test_a_site_vouches_for_labels_that_do_not_leave_it(bundle, clone, capsys, tmp_path):
    (bundle / "labels.parquet").unlink()
    relist(bundle, origin="official", labels="not included: licence")
    line = refused(capsys, clone, "submit", bundle)
    assert "nothing can be recomputed" in line
    _, public = keys(tmp_path)
    assert "--key" in refused(capsys, clone, "sign", bundle, "--key", tmp_path / "none.pem")
    assert run(clone, "sign", bundle, "--key", tmp_path / "key.pem") == 0
    assert "no trusted key signed it" in refused(capsys, clone, "submit", bundle)
    trusted = clone / "results-registry" / "keys"
    trusted.mkdir(parents=True)
    (trusted / "site-a.pem").write_bytes(public)
    assert run(clone, "submit", bundle) == 0
    (row,) = submitted_rows(clone)
    assert row.evidence == "signed by site-a"
    assert run(clone, "submit", "--check") == 0
    relist(bundle, title="Better")
    assert "is not the signature of this bundle.json" in refused(capsys, clone, "submit", bundle, "--quoted")
    (bundle / "signature.json").unlink()
    assert run(clone, "submit", bundle, "--quoted") == 0
    assert {r.evidence for r in submitted_rows(clone)} == {"signed by site-a", "quoted"}


def test_labels_travel_only_where_the_licence_allows_it(bundle, clone, capsys):
    relist(bundle, origin="official", labels="included")
    assert "does not allow to give labels on" in refused(capsys, clone, "submit", bundle)


ABOUT = {
    "name": "ours", "title": "Ours", "encoder": "ViT-B", "trained_on": "private", "prompts": "There is {}",
    "commit": "0" * 40, "source": "https://example.org/ours",
}  # fmt: skip


def test_files_made_elsewhere_become_a_bundle(home, clone, tmp_path, capsys):
    frame, _ = read_table(home / "results" / "carzero-main" / "seed-0" / DATASET / "predictions.parquet")
    frame.drop(columns="patient_id").sample(frac=1, random_state=0).to_csv(tmp_path / "s.csv", index=False)
    (tmp_path / "about.yaml").write_text(yaml.safe_dump(ABOUT))
    common = ("--dataset", DATASET, "--site", "Site B", "--out", tmp_path / "mine")
    assert "need --about" in refused(capsys, home, "export", tmp_path / "s.csv", *common)
    files = (tmp_path / "s.csv", *common, "--about", tmp_path / "about.yaml")
    assert run(home, "export", *files) == 0
    assert run(clone, "submit", tmp_path / "mine") == 0
    (row,) = submitted_rows(clone)
    assert (row.record.name, row.record.provenance.trained_on) == ("ours", "private")
    (tmp_path / "about.yaml").write_text(yaml.safe_dump({**ABOUT, "commit": ""}))
    assert "about.yaml:1: commit:" in refused(capsys, home, "export", *files)


def test_hugging_face_results_read_back(bundle, tmp_path):
    from huggingface_hub import parse_eval_result_entries

    assert (
        run(tmp_path, "export", bundle, "--as", "hugging-face", "--hub", "o/n", "--out", tmp_path / "e.yaml")
        == 0
    )
    entries = parse_eval_result_entries(yaml.safe_load((tmp_path / "e.yaml").read_text()))
    rows = read_bundle(bundle).metrics()
    own = rows[(rows["class"] == "macro") & (rows["stratum"] == "all") & rows["seed"].isna()]
    assert {e.task_id.rpartition("-")[2]: e.value for e in entries}["auroc"] == pytest.approx(
        own[own["metric"] == "auroc"]["value"].iloc[0]
    )
    assert all("SYNTHETIC TWIN" in e.notes for e in entries)


def test_every_eval_ever_record(bundle, tmp_path, capsys):
    assert run(tmp_path, "export", bundle, "--as", "every-eval-ever", "--out", tmp_path / "e.json") == 0
    value = read_json(tmp_path / "e.json")
    first = next(r for r in value["evaluation_results"] if r["evaluation_result_id"].endswith("-all-auroc"))
    interval = first["score_details"]["uncertainty"]["confidence_interval"]
    assert interval["lower"] < first["score_details"]["score"] < interval["upper"]
    assert value["model_info"]["id"] == "site-a/carzero-main"
    schema = pytest.importorskip("every_eval_ever.eval_types", reason="needs Python 3.12")
    schema.EvaluationLog.model_validate(value)
    assert "not validated" not in capsys.readouterr().out


def test_croissant_of_every_card(tmp_path, capsys):
    pytest.importorskip("mlcroissant")
    import mlcroissant

    from benchmark.exchange.formats.croissant import croissant, validate

    path = tmp_path / "c.json"
    assert run(tmp_path, "export", DATASET, "--as", "croissant", "--out", path) == 0
    value = read_json(path)
    assert value["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    records = mlcroissant.Dataset(jsonld=str(path)).records("classes")
    assert next(iter(records))["classes/name"] in load_card(DATASET).prompts.classes
    broken = croissant(load_card("padchest"))
    broken["recordSet"][0]["data"][0]["classes/other"] = "x"
    with pytest.raises(BenchError, match="no valid Croissant metadata: .*expected columns"):
        validate(broken)


def test_what_a_record_may_hold_is_closed():
    """A field that a bundle could smuggle text in would be a new one here: each is named or bounded."""
    assert set(BundleRecord.model_json_schema()["properties"]) == {
        "format", "name", "title", "method", "variant", "dataset", "origin", "protocol", "card", "seeds",
        "images", "strata", "labels", "provenance", "files",
    }  # fmt: skip
