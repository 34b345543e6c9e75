"""Phrases planted into every report turn up in the text tables and nowhere else, whatever runs or fails."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tests.canary import PHRASES, leaks, plant, plant_folder

pytestmark = pytest.mark.filterwarnings("ignore")
TEXT_TABLES = ["s[0-9]*.txt", "data/prepared/*/manifest.parquet", "data/texts/*/*/aligned.parquet"]
"""What is meant to hold text: the reports as they came, the manifest, and the tables of sentences."""


def says_a_phrase(text: str) -> bool:
    squeezed = " ".join(text.lower().replace("-", " ").replace("_", " ").split())
    return any(phrase in squeezed for phrase in PHRASES)


@pytest.fixture(scope="module")
def planted(small_project, tmp_path_factory) -> Path:
    """The small project with phrases in every report; as official files, for an edited twin is made anew."""
    home = tmp_path_factory.mktemp("planted") / "project"
    left_out = ("runs", "results", "mlflow.db", "mlartifacts", "prepared", "texts", ".cache")
    shutil.copytree(small_project, home, ignore=shutil.ignore_patterns(*left_out))
    root = home / "official"
    (home / "data" / "twins" / "mimic_cxr").rename(root)
    params = yaml.safe_load((home / "params.yaml").read_text())
    params.update(methods=["clip"], seeds=[0])
    params["data"]["roots"] = {"mimic_cxr": str(root)}
    (home / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    assert plant_folder(root) > 10
    return home


@pytest.mark.slow
def test_a_run_its_tables_its_page_and_its_records(planted, bench, root, monkeypatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (planted / "reports").mkdir(exist_ok=True)
    for name in ("claims.yaml", "published.yaml"):
        shutil.copy(root / "reports" / name, planted / "reports" / name)
    said = []
    for arguments in (
        ("--debug", "run", "--method", "clip", "--dataset", "chestxray14"),
        ("stage", "summarise", "main"),
        ("report", "all"),
        ("verify",),
        ("explain", "clip", "chestxray14"),
        ("explain", "clip", "chestxray14", "--json"),
        ("export", "clip-main", "--dataset", "chestxray14", "--site", "A", "--out", "out/bundle"),
        ("export", "out/bundle", "--as", "every-eval-ever", "--out", "out/eval.json"),
        ("export", "out/bundle", "--as", "hugging-face", "--hub", "o/n", "--out", "out/eval.yaml"),
        ("export", "mimic_cxr", "--as", "croissant", "--out", "out/croissant.json"),
        ("submit", "out/bundle"),
    ):
        code, out, err = bench(planted, *arguments)
        assert code == 0, (arguments, err)
        said.append(out + err)
    assert not any(map(says_a_phrase, said))
    found = leaks(planted, allowed=TEXT_TABLES)
    assert not found, found
    kinds = {p.suffix for p in (planted / "reports").rglob("*")}
    assert {".html", ".pdf", ".svg", ".png", ".tex", ".csv", ".md"} <= kinds
    assert (planted / "mlflow.db").is_file()
    assert (planted / "results-registry").is_dir()
    tables = {leak.path.name for leak in leaks(planted, allowed=TEXT_TABLES[:1])}
    assert tables == {"manifest.parquet", "aligned.parquet"}, "the phrases were read"


TEXT = plant("FINDINGS: Clear.\n")
XML = plant('<e><uId id="CXR1"/><AbstractText Label="FINDINGS">Clear.</AbstractText></e>')
BROKEN = {
    "cut.xml": XML[:-5].encode(),
    "entity.xml": XML.replace("Clear", "&oops; Clear").encode(),
    "named.xml": XML.replace('id="CXR1"', "").encode(),
    "reports.csv": f'study_id,report\n1,"{TEXT}\n2,a,b,c,d\n'.encode(),
    "latin.csv": f'study_id,report\n1,"{TEXT} caf\xe9"\n'.encode("latin-1"),
    "columns.csv": f'"{TEXT}",b\n1,2\n'.encode(),
    "cut.csv.gz": b"\x1f\x8b\x08\0" + TEXT.encode(),
    "reports.tgz": b"\x1f\x8b\x08\0" + XML.encode(),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_said_of_damaged_reports(tmp_path, bench, name) -> None:
    (tmp_path / name).write_bytes(BROKEN[name])
    for arguments in (("align", name, "--out", "a.parquet"), ("score", "--reports", name)):
        code, out, err = bench(tmp_path, "--debug", "prompts", *arguments)
        assert code == 2, err
        assert not says_a_phrase(out + err), err


def test_an_unforeseen_error_shows_its_place_and_not_the_report(tmp_path, bench, monkeypatch) -> None:
    """The message of an error of a library may quote what it was given; so may the one that it came from."""

    def fails(_self: object, sentence: str) -> None:
        try:
            raise ValueError(f"cannot read {sentence!r}")
        except ValueError as error:
            raise KeyError(sentence) from error

    monkeypatch.setattr("benchmark.prompts.rules.RuleAligner._statements", fails)
    (tmp_path / "r.txt").write_text(TEXT)
    for debug in ((), ("--debug",)):
        code, out, err = bench(tmp_path, *debug, "prompts", "align", "r.txt", "--out", "a.parquet")
        assert code == 70
        assert not says_a_phrase(out + err), err
        assert "unexpected KeyError at test_privacy.py:" in err
    assert err.count("Traceback") == 2
    assert "in fails" in err
