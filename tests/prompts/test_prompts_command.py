from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from llm_server import asked, chat, honest, server

from benchmark.cli import main
from benchmark.core.errors import DataError
from benchmark.core.tables import read_table
from benchmark.prompts.sources import read_openi, read_reports
from tests.canary import PHRASES, leaks, plant_folder

XML = (
    '<eCitation><uId id="CXR{n}"/><AbstractText Label="FINDINGS">No effusion.</AbstractText>'
    '<AbstractText Label="IMPRESSION">Hiatal hernia.</AbstractText>'
    "<MeSH><automatic>Hernia, Hiatal</automatic></MeSH></eCitation>"
)


@pytest.fixture
def folder(tmp_path):
    reports = tmp_path / "reports"
    (reports / "p1").mkdir(parents=True)
    (reports / "p1" / "s50000001.txt").write_text(
        "FINDINGS: Small left effusion.\n\nIMPRESSION: No pneumonia.\n"
    )
    (reports / "p1" / "s50000002.txt").write_text("IMPRESSION: Possible edema.\n")
    return reports


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    code = main(["prompts", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_align_writes_a_table_and_says_how_much(capsys, folder, tmp_path):
    code, out, _ = run(capsys, "align", folder, "--out", tmp_path / "a.parquet", "--json")
    value = json.loads(out)
    assert (code, value["studies"], value["sentences"], value["findings"]) == (0, 2, 3, 3)
    table, meta = read_table(tmp_path / "a.parquet")
    assert table["aligned"].tolist() == [
        "There is pleural effusion on the left",
        "There is no pneumonia",
        "There may be pulmonary edema",
    ]
    assert table["study_id"].tolist() == ["50000001", "50000001", "50000002"]
    assert meta["aligner_hash"] == value["aligner_hash"]


def test_show_puts_text_sentences_and_prompts_side_by_side(capsys, folder):
    code, out, _ = run(capsys, "show", folder / "p1" / "s50000001.txt")
    assert code == 0
    for text in ("Small left effusion.", "There is pleural effusion", "There is no pneumonia"):
        assert text in " ".join(out.split())
    _, out, _ = run(capsys, "show", folder, "--json", "--limit", 1)
    (report,) = json.loads(out)["reports"]
    assert report["sentences"][0]["findings"][0]["side"] == "left"


def test_score_reads_folders_and_archives(capsys, tmp_path):
    for n in (1, 2):
        (tmp_path / f"{n}.xml").write_text(XML.format(n=n))
    with tarfile.open(tmp_path / "r.tgz", "w:gz") as archive:
        data = XML.format(n=3).encode()
        member = tarfile.TarInfo("ecgen-radiology/3.xml")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    code, out, _ = run(capsys, "score", "--dataset", "openi", "--reports", tmp_path, "--json")
    value = json.loads(out)
    assert (code, value["reports"], value["origin"]) == (0, 2, "official")
    assert value["scores"]["Hernia"] == {
        "right": 2,
        "surplus": 0,
        "missed": 0,
        "precision": 1,
        "recall": 1,
        "f1": 1,
    }
    assert [r.identifier for r in read_openi(tmp_path / "r.tgz")] == ["CXR3"]
    code, out, _ = run(capsys, "score", "--reports", tmp_path / "r.tgz")
    assert "Hernia" in out


def test_llm_through_the_command_and_nothing_leaks(capsys, caplog, folder, tmp_path, monkeypatch):
    """Planted phrases reach the table and the loopback server, and nothing else."""
    plant_folder(folder)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    with server(lambda sentences, *_: (200, chat(honest(sentences)))) as script:
        arguments = [
            "align",
            folder,
            "--dataset",
            "mimic_cxr",
            "--aligner",
            "llm",
            "--endpoint",
            script.url,
            "--model",
            "m",
        ]
        code, out, err = run(capsys, *arguments, "--out", "llm.parquet")
        assert code == 0
        asked = len(script.seen)
        code, again, _ = run(capsys, *arguments, "--out", "llm.parquet", "--json")
        assert (code, len(script.seen)) == (0, asked)
        assert json.loads(again)["asked"] == 0
    (recorded,) = (work / ".cache" / "llm").glob("*.jsonl")
    code, *_ = run(
        capsys, "align", folder, "--aligner", "replay", "--recorded", recorded, "--out", "replay.parquet"
    )
    assert code == 0
    assert read_table("replay.parquet")[0].equals(read_table("llm.parquet")[0])
    recorded.write_text(recorded.read_text(encoding="utf-8").splitlines(keepends=True)[0], encoding="utf-8")
    code, *_ = run(
        capsys, "align", folder, "--aligner", "replay", "--recorded", recorded, "--out", "none.parquet"
    )
    assert code == 1  # the record answers no sentence
    (work / "none.parquet").unlink()
    assert PHRASES[0] in " ".join(read_table("llm.parquet")[0]["text"])
    assert {leak.path.name for leak in leaks(work)} == {"llm.parquet", "replay.parquet"}
    assert leaks(work, allowed=["*.parquet"]) == []
    for printed in (out, err, again, caplog.text):
        assert PHRASES[0] not in printed


def test_a_killed_run_goes_on_where_it_was(capsys, tmp_path, monkeypatch):
    """SIGKILL in the middle: the same command sends nothing again that was answered before."""
    monkeypatch.chdir(tmp_path)
    reports = tmp_path / "reports"
    reports.mkdir()
    for n in range(60):
        (reports / f"r{n:02d}.txt").write_text(f"FINDINGS: Small effusion, {n} mm. No edema on image {n}.")

    def answer(sentences, *_):
        time.sleep(0.1)
        return 200, chat(honest(sentences))

    with server(answer) as script:
        arguments = ["align", "reports", "--aligner", "llm", "--endpoint", script.url, "--model", "m"]
        arguments += ["--concurrency", "1", "--out", "llm.parquet"]
        child = subprocess.Popen(
            [sys.executable, "-m", "benchmark", "prompts", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while len(script.seen) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        child.kill()
        child.wait()
        assert not Path("llm.parquet").exists()
        (record,) = Path(".cache/llm").glob("*.jsonl")
        answered = record.read_text().count("\n") - 1
        assert 0 < answered < 120
        code, out, _ = run(capsys, *arguments, "--json")
        value = json.loads(out)
        assert (code, value["failed"], value["sentences"]) == (0, 0, 120)
        assert (value["reused"], value["asked"]) == (answered, 120 - answered)
        sent = Counter(script.sentences())
        assert len(sent) == 120
        assert sum(sent.values()) - 120 <= max(len(asked(body)) for body in script.seen)


def test_a_model_that_answers_nothing_is_exit_1(capsys, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with server(lambda *_: (200, chat(None, message={"content": None, "refusal": "no"}))) as script:
        code, out, _ = run(
            capsys, "align", folder, "--aligner", "llm", "--endpoint", script.url, "--model", "m",
            "--out", "llm.parquet",
        )  # fmt: skip
    assert code == 1
    assert "failed 3 (3 refused)" in out
    assert read_table("llm.parquet")[0]["aligned"].isna().all()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\xef\xbb\xbfIMPRESSION: No edema.\r\n", {"s": "IMPRESSION: No edema.\r\n"}),
        (b"IMPRESSION: 38.5\xb0 fever.", {"s": "IMPRESSION: 38.5\N{DEGREE SIGN} fever."}),
    ],
)
def test_other_encodings_of_text(tmp_path, data, expected):
    (tmp_path / "s.txt").write_bytes(data)
    assert read_reports(tmp_path) == expected


BAD = {
    "no such file": ["align", "nowhere", "--out", "x.parquet"],
    "no report is here": ["align", ".", "--out", "x.parquet"],
    "name a .parquet file": ["align", ".", "--out", "x.csv"],
    "needs --model": ["align", ".", "--out", "x.parquet", "--aligner", "llm"],
    "needs --recorded": ["align", ".", "--out", "x.parquet", "--aligner", "replay"],
    "unknown dataset 'mimic'": ["align", ".", "--out", "x.parquet", "--dataset", "mimic"],
    "unknown section rule": ["align", "r.txt", "--out", "x.parquet", "--rule", "finding"],
    "--i-have-permission-to-send-reports-of mimic_cxr": [
        *(
            "align",
            "r.txt",
            "--out",
            "x.parquet",
            "--aligner",
            "llm",
            "--dataset",
            "mimic_cxr",
            "--model",
            "m",
        ),
        *("--endpoint", "https://llm.example.com/v1"),
    ],
    "nothing to score": ["score", "--dataset", "openi"],
    "carry no terms": ["score", "--dataset", "padchest", "--reports", "."],
    "no Open-I XML": ["score", "--reports", "."],
    "not a kind of report file": ["show", "r.pdf"],
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(capsys, tmp_path, monkeypatch, message):
    monkeypatch.chdir(tmp_path)
    arguments = BAD[message]
    for name in ("r.txt", "r.pdf"):
        if name in arguments:
            Path(name).write_text("FINDINGS: Secretive sentence.")
    before = sorted(tmp_path.rglob("*"))
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert out == ""
    assert "Secretive" not in err
    assert sorted(tmp_path.rglob("*")) == before


def test_reports_of_a_csv(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text('StudyID,Report\n1,"sin derram , normal ."\n2,\n1,"sin derram , normal ."\n')
    assert read_reports(path) == {"1": "sin derram , normal ."}
    (tmp_path / "r.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert read_reports(tmp_path / "r.csv.gz") == read_reports(path)
    path.write_text("StudyID,Report\n1,a\n1,b\n")
    with pytest.raises(DataError, match=r"r.csv:3: another report for '1'"):
        read_reports(path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="no column called"):
        read_reports(path)


def test_damaged_archives_and_repeated_names(tmp_path):
    (tmp_path / "a.tgz").write_bytes(b"\x1f\x8b" + b"0" * 50)
    with pytest.raises(DataError, match="damaged"):
        read_reports(tmp_path / "a.tgz")
    for part in ("a", "b"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "s1.txt").write_text("x y")
    with pytest.raises(DataError, match="second report called 's1'"):
        read_reports(tmp_path)


def test_summary_by_rule_through_the_command(capsys, folder, tmp_path):
    code, out, _ = run(capsys, "align", folder, "--summary", "--out", tmp_path / "s.parquet", "--json")
    assert code == 0
    assert json.loads(out)["task"] == "summarise"
    table, meta = read_table(tmp_path / "s.parquet")
    assert meta["task"] == "summarise"
    assert not table.duplicated(["study_id", "concept"]).any()
    assert table["location"].isna().all()


def test_findings_and_impression_of_a_table_are_one_report(tmp_path):
    """Under findings+impression the impressions were lost, and a report that is only one was not there."""
    table = tmp_path / "reports.csv"
    table.write_text("uid,Findings,Impression\n1,Heart normal.,Effusion.\n2,,Pneumothorax.\n3,Clear.,\n")
    assert read_reports(table) == {
        "1": "FINDINGS: Heart normal.\nIMPRESSION: Effusion.",
        "2": "IMPRESSION: Pneumothorax.",
        "3": "FINDINGS: Clear.",
    }
    table.write_text("uid,impression\n2,Pneumothorax.\n")
    assert read_reports(table) == {"2": "Pneumothorax."}


def test_reports_in_utf_16_are_read_and_other_bytes_refused(tmp_path):
    report = tmp_path / "a.txt"
    for encoding in ("utf-16", "utf-8-sig", "cp1252"):
        report.write_bytes("Épanchement: none.".encode(encoding))
        assert read_reports(report) == {"a": "Épanchement: none."}
    report.write_bytes("No effusion.".encode("utf-16-le"))
    with pytest.raises(DataError, match="a.txt: not a text, it holds null bytes. Save it as UTF-8."):
        read_reports(report)
