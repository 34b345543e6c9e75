"""What a new run changed in the committed tables and in what the stages made."""

from __future__ import annotations

import json
import shutil
import subprocess

import pandas as pd
import pytest

from benchmark.cli import main
from benchmark.reporting.changes import Reproduced, compare_locks, compare_tables


def test_changes_against_the_committed_tables(inside, tmp_path, monkeypatch, capsys):
    work = tmp_path / "work"
    shutil.copytree(inside, work, ignore=shutil.ignore_patterns("reports"))
    monkeypatch.setenv("CXR_ALIGNBENCH_HOME", str(work))
    assert main(["report", "tables"]) == 0
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "reports", "params.yaml"], [*who, "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=work, check=True)
    capsys.readouterr()
    assert main(["report", "changes"]) == 0
    out = capsys.readouterr().out
    assert "identical" in out
    assert out.splitlines()[-1].startswith("Byte-equal: ")
    path = work / "reports" / "tables" / "zero_shot.csv"
    frame = pd.read_csv(path, dtype=str)
    frame.loc[0, "value"] = str(float(frame.loc[0, "value"]) + 0.125)
    frame.to_csv(path, index=False)
    assert main(["report", "changes"]) == 0
    out = capsys.readouterr().out
    assert "zero_shot: 1 of" in out
    assert out.startswith("Values outside the interval they had:\n  zero_shot: chestxray14")
    assert out.splitlines()[-1].startswith("Same conclusions: values differ by at most 0.12 (zero_shot, ")
    assert main(["report", "changes", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert not value["differs"]
    assert value["outcome"] == "same conclusions"
    (own,) = [t for t in value["tables"]["reports/tables"] if t["table"] == "zero_shot"]
    assert own["state"] == "changed"
    assert own["largest"] == pytest.approx(0.125)
    frame.loc[0, "group"] = "z"
    frame.to_csv(path, index=False)
    assert main(["report", "changes"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("Conclusions that changed:\n  zero_shot: chestxray14 / all / clip-main")
    assert out.splitlines()[-1].startswith("Conclusions differ: zero_shot chestxray14 / all / clip-main")
    assert out.splitlines()[-1].endswith("group b → z.")
    assert main(["report", "changes", "--inform"]) == 0
    subprocess.run(["git", *who, "commit", "-qam", "y"], cwd=work, check=True)
    assert main(["report", "changes"]) == 0
    capsys.readouterr()
    assert main(["report", "changes", "--since", "HEAD~1", "--until", "HEAD", "--markdown", "--inform"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("### reports/tables, since ")
    assert "chestxray14 / all / clip-main" in out
    assert "| group | b | z |" in out
    assert main(["report", "changes", "--since", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_without_git_the_last_stage_says_so_and_goes_on(inside, tmp_path, monkeypatch, capsys):
    work = tmp_path / "work"
    shutil.copytree(inside, work, ignore=shutil.ignore_patterns("reports"))
    monkeypatch.setenv("CXR_ALIGNBENCH_HOME", str(work))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert main(["report", "tables"]) == 0
    assert main(["report", "changes"]) == 2
    capsys.readouterr()
    assert main(["report", "changes", "--inform"]) == 0
    assert "nothing was compared" in capsys.readouterr().out


def test_stages_compare_by_what_they_made():
    def lock(**outs):
        return {"stages": {n: {"cmd": "x", "outs": [{"path": n, "md5": md5}]} for n, md5 in outs.items()}}

    found = compare_locks(lock(a="1", b="2", c="3"), lock(a="1", b="9", d="4"))
    assert (found.identical, found.changed, found.new, found.missing) == (("a",), ("b",), ("d",), ("c",))
    tables = {"outs": [{"path": "reports/tables", "md5": "1"}]}
    assert compare_locks({"stages": {"x": tables}}, {"stages": {}}).missing == ()
    assert found.text.startswith("dvc.lock: 1 of 3 committed stages have the same outputs")


@pytest.mark.slow
def test_the_commands_of_the_guide_run(inside, tmp_path, root, monkeypatch, capsys):
    work = tmp_path / "work"
    shutil.copytree(inside, work, ignore=shutil.ignore_patterns("reports"))
    monkeypatch.setenv("CXR_ALIGNBENCH_HOME", str(work))
    text = (root / "docs" / "read-the-tables.md").read_text(encoding="utf-8")
    commands = [
        line.partition("#")[0].split() for line in text.partition("```")[2].partition("```")[0].splitlines()
    ]
    commands = [command[1:] for command in commands if command[:1] == ["bench"]]
    assert len(commands) == 8
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "params.yaml"], [*who, "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=work, check=True)
    for command in commands:
        assert main(command) == 0, capsys.readouterr().err
    assert "none of them committed" in capsys.readouterr().out


CSV = "dataset,cell,value,low,high,group,rank,p_holm,verdict\nd,x,0.5,0.4,0.6,a,1,0.04,agrees\n"


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (",a,", ",ab,", "conclusions"),
        (",a,1,", ",a,2,", "conclusions"),
        (",a,1,", ",,,", "conclusions"),
        ("0.04", "0.06", "conclusions"),
        ("0.04", "", "conclusions"),
        ("agrees", "above published", "conclusions"),
        ("0.5,", "0.61,", "left"),
        ("0.5,", ",", "left"),
        ("0.5,", "0.55,", ""),
        ("0.04", "0.03", ""),
        (",1,", ",1.0,", ""),
        ("d,x,", "d,x,", "none"),
    ],
)
def test_what_a_reader_would_conclude_otherwise(old, new, kind):
    assert CSV.count(old) == 1
    (found,) = compare_tables({"t.csv": CSV}, {"t.csv": CSV.replace(old, new)})
    assert bool(found.conclusions) == (kind == "conclusions")
    assert bool(found.left) == (kind == "left")
    assert found.concludes_otherwise == (kind == "conclusions")
    assert (found.state == "identical") == (kind == "none")


def test_a_conclusion_that_is_gone_is_one_that_differs():
    def outcome(before, now):
        return Reproduced("c", {"reports/tables": compare_tables(before, now)}, None)

    more = CSV + "d,y,0.7,0.6,0.8,b,2,0.04,agrees\n"
    assert outcome({"t.csv": more}, {"t.csv": CSV}).sentence == "Conclusions differ: t lacks 1 rows."
    assert outcome({"t.csv": CSV}, {}).sentence == "Conclusions differ: t is missing."
    assert outcome({"t.csv": CSV}, {"t.csv": more}).outcome == "same conclusions"
    assert outcome({"t.csv": CSV}, {"t.csv": CSV}).outcome == "byte-equal"
    assert outcome({}, {"t.csv": CSV}).outcome == "nothing committed"


def test_machine_times_are_no_change():
    before = {"cost.csv": "cell,seconds,parameters\na,1.0,5\n"}
    now = {"cost.csv": "cell,seconds,parameters\na,9.0,5\n"}
    assert compare_tables(before, now)[0].state == "identical"
