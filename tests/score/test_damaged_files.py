"""Files that are damaged, ambiguous or hostile are refused in one line, or shown as they are."""

from __future__ import annotations

import csv
import gzip
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.score.scoring import auroc, refused, run, score, write


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (lambda i: "images/train/" + i + ".png", "but for folders and file endings"),
        (lambda i: i.upper(), "but for letter case"),
        (lambda i: i + " ", "but for spaces around them"),
        (lambda i: i + ".png", "but for file endings"),
        (lambda i: "q" + i, "with --id"),
    ],
)
def test_ids_that_do_not_meet_say_why(pair, capsys, change, hint) -> None:
    folder, scores, labels = pair
    scores["image_id"] = scores.image_id.map(change)
    assert hint in refused(capsys, *write(folder, scores, labels))


def test_whole_numbers_that_floats_would_round(cases, pair, capsys) -> None:
    folder = cases / "score-files"
    arguments = [folder / "bigint.csv", "--labels", folder / "labels.csv"]
    assert "row 2, column 'c0' holds 9007199254740993" in refused(capsys, *arguments)
    place, scores, labels = pair
    for value in (2**53 + 1, -(2**53) - 1, 2**63, 10**25):
        changed = scores.assign(Effusion=[value, *[0] * 39])
        assert f"holds {value}" in refused(
            capsys, *write(place, changed.astype({"Effusion": object}), labels)
        )
    pq.write_table(
        pa.table({"image_id": scores.image_id, "Effusion": pa.array([2**63 + 1, *[0] * 39], pa.uint64()),
                  "Consolidation": scores.Consolidation}), place / "s.parquet"
    )  # fmt: skip
    assert "of 2^53 or more" in refused(capsys, place / "s.parquet", "--labels", place / "t.csv")
    score(capsys, *write(place, scores.assign(Effusion=scores.Effusion * 1e30), labels))
    score(capsys, *write(place, scores.assign(Effusion=[2**53 - 1, *range(39)]), labels))


@pytest.mark.parametrize("cell", ["1_000", "0x1", "1 2", "yes"])
def test_text_that_only_python_calls_a_number(pair, capsys, cell) -> None:
    folder, scores, labels = pair
    changed = scores.astype({"Effusion": object})
    changed.loc[4, "Effusion"] = cell
    assert "row 6, column 'Effusion'" in refused(capsys, *write(folder, changed, labels))


@pytest.mark.parametrize("length", [3, 5, 9, 12, 20, 40])
def test_cut_gzip_is_a_damaged_file_and_no_interrupt(pair, capsys, length) -> None:
    folder, scores, labels = pair
    write(folder, scores, labels)
    path = folder / "s.csv.gz"
    path.write_bytes(gzip.compress((folder / "s.csv").read_bytes())[:length])
    err = refused(capsys, path, "--labels", folder / "t.csv")
    assert str(path) in err
    assert "Interrupted" not in err


def test_damaged_files_of_the_shared_cases(cases, capsys) -> None:
    folder = cases / "score-files"
    for name in ("badmeta.parquet", "bigint.csv", "cut4.csv.gz"):
        assert name in refused(capsys, folder / name, "--labels", folder / "labels.csv")


def test_every_change_of_a_file_is_scored_or_refused(pair, capsys) -> None:
    folder, scores, labels = pair
    write(folder, scores, labels)
    scores.to_parquet(folder / "s.parquet")
    np.savez_compressed(folder / "s.npz", a=scores[["Consolidation", "Effusion"]].to_numpy())
    (folder / "s.csv.gz").write_bytes(gzip.compress((folder / "s.csv").read_bytes()))
    rng = np.random.default_rng(0)
    for name in ("s.csv", "s.parquet", "s.npz", "s.csv.gz"):
        whole = (folder / name).read_bytes()
        path = folder / f"changed-{name}"
        for _ in range(40):
            data = bytearray(whole)
            for place in rng.integers(0, len(data), int(rng.integers(1, 6))):
                data[place] = int(rng.integers(256))
            path.write_bytes(data[: int(rng.integers(1, len(data) + 1))])
            code, _, err = run(capsys, path, "--labels", folder / "t.csv")
            assert code in (0, 2), err
            assert "unexpected" not in err
            assert err.count("\n") == (code == 2)


@pytest.mark.parametrize(
    "options", [["--seed", "-1"], ["--draws", "1000000000"], ["--level", "nan"], ["--seed", "9" * 30]]
)
def test_numbers_out_of_range(pair, capsys, options) -> None:
    folder, scores, labels = pair
    code, _, err = run(capsys, *write(folder, scores, labels), *options)
    assert code == 2
    assert options[0] in err


def test_output_that_cannot_be_written(pair, capsys) -> None:
    folder, scores, labels = pair
    arguments = write(folder, scores, labels)
    (folder / "out.csv").mkdir()
    assert "is a folder" in refused(capsys, *arguments, "--output", folder / "out.csv")
    (folder / "file").write_text("x")
    assert "cannot be written" in refused(capsys, *arguments, "--output", folder / "file" / "rows.csv")
    shutil.rmtree(folder / "out.csv")
    score(capsys, *arguments, "--output", folder / "out.csv")
    assert len(pd.read_csv(folder / "out.csv"))


def test_scoring_loads_no_deep_learning(pair) -> None:
    """`bench score` starts without torch, transformers and scikit-learn; only the bootstrap needs torch."""
    folder, scores, labels = pair
    arguments = [str(a) for a in ("score", *write(folder, scores, labels))]
    code = (
        "import sys; from benchmark.cli import main; code = main(sys.argv[1:]);"
        "print([m for m in ('torch', 'transformers', 'sklearn', 'timm') if m in sys.modules], code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[] 0"


HOSTILE = (
    "=1+1",
    "+cmd|'/c calc'!A1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "＝1",
    "<script>alert(1)</script>",
    "\x1b[2Jx",
)


def test_names_of_a_file_are_neither_formulas_nor_orders_to_a_terminal(pair, capsys) -> None:
    folder, scores, labels = pair
    text = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n]")
    labels["group"] = [HOSTILE[i % 2] for i in range(40)]
    for name in HOSTILE:
        renamed = {"Effusion": name}
        arguments = write(folder, scores.rename(columns=renamed), labels.rename(columns=renamed))
        arguments += ["--subgroup", "group", "--output", folder / "rows.csv"]
        result = score(capsys, *arguments)
        with open(folder / "rows.csv", newline="", encoding="utf-8") as handle:
            head, *rows = csv.reader(handle)
        numbers = {head.index(column) for column in ("value", "low", "high", "n_pos", "n_neg")}
        for row in rows:
            for place, cell in enumerate(row):
                assert place in numbers or not text.match(cell), cell
        values = pd.read_csv(folder / "rows.csv")["value"].dropna().tolist()
        wanted = [r["value"] for r in result["metrics"] if r["value"] is not None]
        assert values == pytest.approx(wanted, abs=1e-15)
        arguments[-1] = folder / "rows.parquet"
        code, out, err = run(capsys, *arguments)
        assert code == 0, err
        assert name.strip() in set(pd.read_parquet(folder / "rows.parquet")["class"].str.strip())
        assert not set(out + err) & set("\x1b\x07\x08")
    assert "\x1b" not in refused(capsys, folder / "\x1b[2Jnone.csv", "--labels", folder / "t.csv")


def test_lists_of_the_shared_case_are_scored_as_scikit_learn_does(cases, capsys, monkeypatch) -> None:
    folder = cases / "list-labels"
    monkeypatch.setenv("CXR_ALIGNBENCH_DATASETS", str(folder / "cards"))
    result = score(capsys, folder / "p.csv", "--dataset", "ward7", "--data-root", folder / "ward")
    assert auroc(result, "Cardiomegaly")["value"] == pytest.approx(0.895, abs=1e-12)
    assert auroc(result, "Pleural Effusion")["value"] == pytest.approx(0.910, abs=1e-12)
