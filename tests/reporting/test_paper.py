"""A paper's table from prediction files: values, verdicts, LaTeX, and the script of the action."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import roc_auc_score

from benchmark.cli import main

CLASSES = ["atelectasis", "effusion"]


@pytest.fixture
def paper(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    labels = pd.DataFrame((rng.random((300, 2)) < 0.3).astype(int), columns=CLASSES)
    ids = {"image_id": [f"i{n:03d}" for n in range(300)], "patient_id": [f"p{n // 2}" for n in range(300)]}
    labels.assign(**ids).to_csv(tmp_path / "labels.csv", index=False)
    for name, strength in (("ours", 2.0), ("theirs", 0.5), ("same", 2.0)):
        noise = np.random.default_rng(1 if name == "theirs" else 2).normal(size=(300, 2))
        scores = pd.DataFrame(strength * labels.to_numpy() + noise, columns=CLASSES)
        scores.insert(0, "image_id", ids["image_id"])
        scores.to_csv(tmp_path / f"{name}.csv", index=False)
    write(tmp_path)
    return tmp_path


def write(folder: Path, **changes: object) -> None:
    ours = pd.read_csv(folder / "ours.csv")[CLASSES]
    value = roc_auc_score(pd.read_csv(folder / "labels.csv")[CLASSES], ours, average="macro")
    file = {
        "title": "Table 2_a",
        "labels": "labels.csv",
        "rows": [
            {"name": "ours", "title": "Ours", "predictions": "ours.csv", "printed": round(float(value), 3)},
            {"name": "theirs", "predictions": ["theirs.csv"]},
            {"name": "same", "predictions": "same.csv"},
        ],
        "claims": [
            {"id": "better", "statement": "Ours is above theirs.", "a": "ours", "b": "theirs"},
            {"id": "same", "statement": "Ours is above the same.", "a": "same", "b": "ours"},
        ],
    }
    (folder / "claims.yaml").write_text(yaml.safe_dump(file | changes))


def run(capsys, folder: Path, *more: str) -> tuple[int, dict]:
    code = main(["paper", str(folder / "claims.yaml"), "--json", *more])
    return code, json.loads(capsys.readouterr().out)


def test_values_verdicts_and_latex(paper, capsys):
    code, found = run(capsys, paper, "--out", str(paper / "out"))
    assert code == 0
    ours = found["rows"][0]
    labels, scores = (pd.read_csv(paper / f"{n}.csv")[CLASSES] for n in ("labels", "ours"))
    assert ours["value"] == pytest.approx(roc_auc_score(labels, scores, average="macro"), abs=1e-6)
    assert ours["low"] < ours["value"] < ours["high"]
    assert ours["found_again"] is True
    better, same = found["claims"]
    assert better["verdict"] == "supported"
    assert better["p_corrected"] == pytest.approx(2 * better["p"])
    assert better["low"] < better["difference"] < better["high"]
    assert same["difference"] == 0
    assert same["verdict"] in ("inconclusive", "undefined")
    tex = (paper / "out" / "rows.tex").read_text()
    assert "Table 2\\_a" in tex
    assert f"{ours['value']:.3f} [{ours['low']:.3f}, {ours['high']:.3f}]" in tex
    assert "Measured on labels.csv." in (paper / "out" / "claims.md").read_text()
    assert str(paper) not in tex


def test_a_printed_value_that_is_not_found_again_and_a_contradicted_claim_end_in_1(paper, capsys):
    write(paper, rows=[{"name": "ours", "predictions": "ours.csv", "printed": 0.7}], claims=[])
    code, found = run(capsys, paper)
    assert (code, found["rows"][0]["found_again"]) == (1, False)
    rows = [{"name": n, "predictions": f"{n}.csv"} for n in ("ours", "theirs")]
    write(paper, rows=rows, claims=[{"id": "c", "statement": "s", "a": "theirs", "b": "ours"}])
    code, found = run(capsys, paper)
    assert (code, found["claims"][0]["verdict"]) == (1, "contradicted")
    assert found["claims"][0]["high"] < 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rows": [{"name": "a", "predictions": "none.csv"}], "claims": []}, "none.csv: no such file"),
        ({"claims": [{"id": "c", "statement": "s", "a": "our", "b": "theirs"}]}, "Did you mean 'ours'?"),
        ({"stratum": "heads"}, "unknown stratum 'heads'. Did you mean 'head'?"),
        ({"colour": 1}, "claims.yaml:"),
        ({"rounding": float("inf")}, "rounding: Input should be a finite number"),
        ({"claims": [{"id": "c", "statement": "s", "a": "ours", "b": "ours"}]}, "against itself"),
        ({"rows": [{"name": "a", "predictions": []}], "claims": []}, "predictions"),
        (
            {"rows": [{"name": "a", "predictions": ["ours.csv", "same.csv"]}], "claims": []},
            "same.csv: the scores of ours.csv",
        ),
        ({"protocol": "carzero"}, "goes with"),
    ],
)
def test_bad_files_are_one_line(paper, capsys, changes, said):
    write(paper, **changes)
    assert main(["paper", str(paper / "claims.yaml")]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("order", [("ours", "theirs"), ("theirs", "ours")])
def test_patients_that_one_file_knows_count_for_all_rows(paper, capsys, order):
    """Whichever row comes last: it decided whether intervals were of patients or of images."""
    code, known = run(capsys, paper)
    labels = pd.read_csv(paper / "labels.csv")
    labels.drop(columns="patient_id").to_csv(paper / "labels.csv", index=False)
    own = pd.read_csv(paper / "ours.csv")
    own.assign(patient_id=labels["patient_id"]).to_csv(paper / "ours.csv", index=False)
    claims = [{"id": "better", "statement": "s", "a": "ours", "b": "theirs"}]
    write(paper, rows=[{"name": n, "predictions": f"{n}.csv"} for n in order], claims=claims)
    code, found = run(capsys, paper)
    assert code == 0
    values = {row["name"]: (row["low"], row["high"]) for row in found["rows"]}
    assert values["ours"] == pytest.approx((known["rows"][0]["low"], known["rows"][0]["high"]))
    assert found["claims"][0]["p"] == pytest.approx(known["claims"][0]["p"])
    assert "image-level" not in found["claims"][0]["note"]


def test_rows_that_put_images_into_other_patients_are_refused(paper, capsys):
    labels = pd.read_csv(paper / "labels.csv")
    labels.drop(columns="patient_id").to_csv(paper / "labels.csv", index=False)
    for name, size in (("ours", 2), ("theirs", 3)):
        own = pd.read_csv(paper / f"{name}.csv")
        own.assign(patient_id=[f"p{i // size}" for i in range(300)]).to_csv(
            paper / f"{name}.csv", index=False
        )
    assert main(["paper", str(paper / "claims.yaml")]) == 2
    assert "theirs.csv: image 'i002': puts the images into other patients" in capsys.readouterr().err


def test_tables_are_never_written_over_what_they_are_made_of(paper, capsys):
    (paper / "ours.csv").rename(paper / "rows.csv")
    (paper / "ours.csv").hardlink_to(paper / "rows.csv")
    before = (paper / "rows.csv").read_bytes()
    assert main(["paper", str(paper / "claims.yaml"), "--out", str(paper)]) == 2
    assert "rows.csv: is read by this command" in capsys.readouterr().err
    assert (paper / "rows.csv").read_bytes() == before


def test_the_script_of_the_action(paper, root, tmp_path):
    bench = tmp_path / "bin" / "bench"
    bench.parent.mkdir()
    bench.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m benchmark "$@"\n')
    bench.chmod(0o755)
    action = root / ".github" / "actions" / "paper-table"
    summary = tmp_path / "summary.md"
    given = {
        "CLAIMS": "claims.yaml",
        "OUT": "out",
        "GITHUB_STEP_SUMMARY": str(summary),
        "PYTHONPATH": str(root),
    }
    path = f"{bench.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", str(action / "recompute.sh")], cwd=paper, env={**os.environ, **given, "PATH": path},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "# Table 2_a: verdicts" in summary.read_text()
    steps = yaml.safe_load((action / "action.yml").read_text())["runs"]["steps"]
    ours = next(s for s in steps if "recompute.sh" in s.get("run", ""))
    assert set(ours["env"]) == {"CLAIMS", "OUT"}
    assert all("${{" not in s.get("run", "") for s in steps), "inputs reach a shell as variables only"
