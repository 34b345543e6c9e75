"""Rows of files of results are opened once, and again only where their content or the code is another."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from benchmark.core.errors import BenchError
from benchmark.core.files import read_json, write_json
from benchmark.core.hashing import hash_file
from benchmark.core.tables import read_table, write_table
from benchmark.grid.layout import Project
from benchmark.grid.params_file import load_params
from benchmark.reporting import on_disk
from benchmark.reporting.gather import Gathered
from benchmark.reporting.kept_rows import KeptRows, ResultRows

WHOLE, PART = pa.table({"n": [1, 2], "note": ["a", None]}), pa.table({"n": [0.5], "note": [None]})


def rows(table: pa.Table) -> ResultRows:
    return ResultRows(table, {"origin": "twin", "dataset": "padchest", "classes": 3}, "template")


def asked(
    place: Path, digests: dict[str, str], rules: str = "one"
) -> tuple[list[str], dict[str, ResultRows]]:
    """The files that had to be read, and all rows."""
    kept, read = KeptRows(place, rules), []

    def reader(name: str) -> ResultRows:
        read.append(name)
        return rows(WHOLE if name == "whole" else PART)

    found = {n: kept.rows_of(n, digest, lambda n=n: reader(n)) for n, digest in digests.items()}
    kept.save()
    return read, found


def test_rows_come_back_as_they_were_read(tmp_path):
    place, digests = tmp_path / "rows" / "all.arrow", {"whole": "1", "part": "2", "more": "3"}
    read, first = asked(place, digests)
    assert read == list(digests)
    read, found = asked(place, digests)
    assert read == []
    for name, own in found.items():
        assert own.table.schema.equals(first[name].table.schema)
        assert own.table.to_pylist() == first[name].table.to_pylist()
        assert (own.about, own.prompts) == (first[name].about, "template")


def test_other_content_other_rules_and_a_damaged_file_are_read_again(tmp_path):
    place, digests = tmp_path / "all.arrow", {"whole": "1", "part": "2"}
    asked(place, digests)
    assert asked(place, {"whole": "1", "part": "other"})[0] == ["part"]
    assert asked(place, {"whole": "1", "part": "other"})[0] == []
    assert asked(place, digests, "two")[0] == ["whole", "part"]
    for content in (b"", b"ARROW", place.read_bytes()[:-40]):
        place.write_bytes(content)
        assert "part" in asked(place, digests, "two")[0]
        assert asked(place, digests, "two")[0] == []


def test_a_folder_that_takes_no_file_keeps_none(tmp_path):
    (tmp_path / "rows").write_text("no folder")
    assert asked(tmp_path / "rows" / "all.arrow", {"whole": "1"})[0] == ["whole"]


def test_reports_read_the_same_from_kept_rows(project, tmp_path, monkeypatch):
    shutil.copytree(project, tmp_path / "own")
    shutil.rmtree(tmp_path / "own" / ".cache" / "rows", ignore_errors=True)
    place, read = Project(tmp_path / "own"), []
    results = on_disk._results

    def counted(path, whole=False):
        read.append(path)
        return results(path, whole)

    monkeypatch.setattr(on_disk, "_results", counted)
    first, again = (Gathered(place, load_params(place.params), "all").evidence for _ in range(2))
    elsewhere = [path for path in read if "-official" in path.as_posix() or "-model" in path.as_posix()]
    assert len(read) - len(set(read)) == len(set(elsewhere))
    pd.testing.assert_frame_equal(first.seeds, again.seeds)
    assert (first.sets, first.task_sets) == (again.sets, again.task_sets)
    changed = next(path for path in read if path not in elsewhere)
    changed.write_bytes(changed.read_bytes() + b" ")
    with pytest.raises(BenchError, match="changed since it was summarised"):
        assert Gathered(place, load_params(place.params), "all").evidence


@pytest.mark.parametrize(
    "lost", ["results/clip-main", "results/clip-main/seed-1", "results/clip-main/seed-*/*/metrics.parquet",
             "runs/clip-main", "runs/clip-main/seed-1/run.json"],
)  # fmt: skip
def test_what_a_summary_counts_is_there_or_no_table_is_made(project, tmp_path, lost):
    """Tables joined means over three seeds with stability, claims and costs of the two that were left."""
    shutil.copytree(project, tmp_path / "own")
    place = Project(tmp_path / "own")
    for path in sorted(place.root.glob(lost)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(
        BenchError, match="clip-main.*gone since it was summarised.*bench stage summarise main"
    ):
        assert Gathered(place, load_params(place.params), "all").evidence


@pytest.mark.parametrize(("text", "changed", "said"), [
    ("epochs: 3", "epochs: 4", r"trained with training\.epochs 3, where \S+ has 4 now"),
    ("carzero: {}", "carzero: {options: {features: local}}", r"carzero-main.*options\.features both, where"),
    ("statistics: {}", "statistics: {level: 0.9}", r"all: summarised with statistics\.level 0\.95, where"),
    ("encoders: {}", "encoders: {precision: float32}", r"encoders\.precision float16, .* has float32 now"),
    ("chexpert]}", "chexpert], roots: {chexpert: /data}}", r"data\.official \[\], .* has \['chexpert'\] now"),
    ("profile: twin", "profile: twin\nnumerics: native", r"with numerics portable, where it is native now"),
])  # fmt: skip
def test_other_settings_than_a_summary_was_made_with_make_no_table(project, tmp_path, text, changed, said):
    """A setting that was changed and not run left the tables as they were, without a word."""
    shutil.copytree(project, tmp_path / "own")
    place = Project(tmp_path / "own")
    params = place.params.read_text(encoding="utf-8")
    assert params.count(text) == 1
    place.params.write_text(params.replace(text, changed), encoding="utf-8")
    with pytest.raises(BenchError, match=said + ".*bench stage summarise"):
        assert Gathered(place, load_params(place.params), "all").evidence


@pytest.mark.parametrize("name", ["metrics", "comparisons", "references"])
def test_tables_of_a_summary_from_elsewhere_make_no_report(project, tmp_path, name):
    """`dvc checkout` of an older commit brought back means of its code, beside which seeds, grounding and
    claims were those of the results that lay there: one AUROC of 0.519 stood over a single seed of 0.499."""
    shutil.copytree(project, tmp_path / "own")
    place = Project(tmp_path / "own")
    own = sorted(place.summary("all").glob("*.parquet"))
    sources = read_json(place.sources("all")) | {place.relative(path): hash_file(path) for path in own}
    write_json(place.sources("all"), sources)
    assert Gathered(place, load_params(place.params), "all").evidence
    table, about = read_table(place.summary("all") / f"{name}.parquet")
    write_table(place.summary("all") / f"{name}.parquet", table.iloc[:-1], about)
    with pytest.raises(BenchError, match=rf"all/{name}\.parquet: not made of .*bench stage summarise all"):
        assert Gathered(place, load_params(place.params), "all").evidence
