"""Tables of scores and labels, reports, and what a project has on disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from hypothesis import strategies as st

from tests.fuzz import mutations as m
from tests.fuzz import odd_files as o
from tests.fuzz import valid_files as v
from tests.fuzz.targets.base import Input, add, command, named, parser

# --- tables of scores and labels ----------------------------------------------------------------------------


def _score(folder: Path, where: str, data: bytes) -> object:
    labels, predictions = folder / "labels.csv", folder / "scores.csv"
    labels.write_bytes(v.label_tables()[0])
    predictions.write_bytes(v.score_tables()[0])
    (folder / where).write_bytes(data)
    first = folder / where if not where.startswith("labels") else predictions
    truth = folder / where if where.startswith("labels") else labels
    extra = ["--classes", "common"] if len(data) % 2 else []
    output = folder / "out.csv"
    return command(
        ["score", str(first), "--labels", str(truth), "--output", str(output), *extra], (str(output),)
    )


def _score_inputs() -> st.SearchStrategy[Input]:
    tables, labels = v.score_tables(), v.label_tables()
    arrays = m.mutated(v.array_files(), m.BINARY) | o.archives_of_arrays()
    return st.one_of(
        named("scores.csv", m.mutated(tables, m.TEXT)),
        named("scores.csv", o.tables()),
        named("scores.csv.gz", m.mutated(tables, m.TEXT).map(v.packed)),
        named("scores.csv.gz", m.mutated([v.packed(t) for t in tables], m.BINARY)),
        named("labels.csv", m.mutated(labels, m.TEXT)),
        named("labels.csv", o.tables()),
        named("scores.parquet", m.mutated(v.score_parquets(), m.BINARY)),
        named("scores.parquet", o.parquets()),
        named("labels.parquet", o.parquets()),
        named("scores.npz", arrays),
        named("scores.npy", m.mutated([v.array_file()], m.BINARY)),
    )


OPTIONS = (
    "--id",
    "--patients",
    "--layout",
    "--rows",
    "--classes",
    "--uncertain",
    "--blank",
    "--subgroup",
    "--draws",
    "--level",
    "--seed",
    "--columns",
    "--dataset",
    "--output",
    "--protocol",
)


def _score_options(folder: Path, where: str, data: bytes) -> object:
    (folder / "labels.csv").write_bytes(v.label_tables()[0])
    (folder / "scores.csv").write_bytes(v.score_tables()[0])
    option, _, value = data.decode("utf-8", "replace").partition("=")
    with contextlib.chdir(folder):
        return command(
            ["score", "scores.csv", "--labels", "labels.csv", "--json", option, value.replace("\0", "")]
        )


def _option_inputs() -> st.SearchStrategy[Input]:
    values = st.sampled_from(
        ["none", "name", "0", "1", "5", "2000", "0.5", "nan", "-1", "²", "1e9", "sex", "age", ".", "x/y"]
    )
    pairs = st.tuples(st.sampled_from(OPTIONS), values | st.text(max_size=8)).map("=".join)
    return named("", pairs.map(lambda t: t.encode("utf-8", "replace")))


def _raw_table(path: Path) -> object:
    from benchmark.score.predictions_file import class_table
    from benchmark.score.raw_table import open_table

    return class_table(open_table(path), "score")


def _patients(path: Path) -> object:
    import numpy as np

    from benchmark.score.predictions_file import read_patients

    return read_patients(path, np.array(v.IDS, dtype=object))


def _own_table(path: Path) -> object:
    from benchmark.core.tables import Predictions

    return Predictions.load(path)


def _tables(*suffixes: str) -> Callable[[], m.Inputs]:
    return lambda: m.mutated(v.score_tables(), m.TEXT) | o.tables()


add("bench score FILE", _score_inputs, _score)
add("bench score options", _option_inputs, _score_options)
parser("CSV of scores", "p.csv", _tables(), _raw_table)
parser("patients file", "patients.csv", _tables(), _patients)
parser(
    "Parquet of scores",
    "p.parquet",
    lambda: m.mutated(v.score_parquets(), m.BINARY) | o.parquets(),
    _raw_table,
)
parser("own Parquet", "p.parquet", lambda: m.mutated(v.score_parquets(), m.BINARY) | o.parquets(), _own_table)
parser(
    "npz of scores",
    "p.npz",
    lambda: m.mutated(v.array_files(), m.BINARY) | o.archives_of_arrays(),
    _raw_table,
)
parser("npy of scores", "p.npy", lambda: m.mutated([v.array_file()], m.BINARY), _raw_table)


# --- reports ------------------------------------------------------------------------------------------------


def _openi(path: Path) -> object:
    from benchmark.prompts.sections import openi_report

    return openi_report(path.read_bytes(), str(path))


def _reports(folder: Path, where: str, data: bytes) -> object:
    source, out = folder / where, folder / "aligned.parquet"
    source.write_bytes(data)
    return command(["prompts", "align", str(source), "--out", str(out)], (str(out),))


def _report_inputs() -> st.SearchStrategy[Input]:
    table = b'study_id,report\n1,"FINDINGS: Clear."\n2,Effusion.\n'
    packed, plain = v.report_archives()
    return st.one_of(
        named("s50000001.txt", m.mutated([v.TEXT_REPORT], m.TEXT)),
        named("7.xml", m.mutated([v.REPORT], m.XML)),
        named("reports.tgz", m.mutated([packed], m.BINARY)),
        named("reports.tgz", m.mutated([plain], m.XML).map(v.packed)),
        named("reports.tar", m.mutated([plain], m.BINARY)),
        named("reports.csv", m.mutated([table], m.TEXT)),
        named("reports.csv", o.tables(("study_id", "report", "text", "id"), (*o.CELLS, "No effusion."))),
        named("reports.csv.gz", m.mutated([v.packed(table)], m.BINARY)),
    )


parser("XML reports", "7.xml", lambda: m.mutated([v.REPORT], m.XML), _openi)
add("bench prompts align FILE", _report_inputs, _reports)


# --- what a project has on disk -----------------------------------------------------------------------------


_files: dict[str, bytes] = {}
"""The valid files of the project."""


def _project_inputs() -> st.SearchStrategy[Input]:
    root, _ = v.project()
    found: list[st.SearchStrategy[Input]] = []
    for pattern, tokens in (
        ("runs/*/seed-0/run.json", m.JSON),
        ("runs/*/seed-0/source.json", m.JSON),
        ("runs/*/seed-0/history.csv", m.TEXT),
        ("data/texts/*/named.json", m.JSON),
        ("results/*/seed-0/*/metrics.parquet", m.BINARY),
        ("results/*/seed-0/*/predictions.parquet", m.BINARY),
        ("results/summary/*/*.parquet", m.BINARY),
        ("reports/claims.yaml", m.YAML),
        ("reports/published.yaml", m.YAML),
        ("params.yaml", m.YAML),
    ):
        for path in sorted(root.glob(pattern))[:2]:
            name, data = path.relative_to(root).as_posix(), path.read_bytes()
            _files[name] = data
            found.append(named(name, m.mutated([data], tokens)))
            if path.suffix in (".json", ".yaml"):
                found.append(
                    named(name, (m.json_inputs if path.suffix == ".json" else m.yaml_inputs)([data]))
                )
    return st.one_of(*found)


READING = (
    ["verify", "--json"],
    ["report", "tables"],
    ["explain", "carzero", "chexpert", "--json"],
    ["report", "site"],
)


def _project(folder: Path, where: str, data: bytes) -> object:
    root, _ = v.project()
    (root / where).write_bytes(data)
    before = os.environ.get("CXR_ALIGNBENCH_HOME")
    os.environ["CXR_ALIGNBENCH_HOME"] = str(root)
    try:
        with contextlib.chdir(root):
            return command(list(READING[len(data) % len(READING)]))
    finally:
        (root / where).write_bytes(_files[where])
        os.environ.pop("CXR_ALIGNBENCH_HOME")
        if before is not None:
            os.environ["CXR_ALIGNBENCH_HOME"] = before


def _mark(path: Path) -> object:
    from benchmark.core.reuse import is_made, key_of

    return is_made(path, key_of(a=1), [path.parent / "x"])


def _mark_seed() -> bytes:
    from benchmark.core.reuse import key_of

    key = key_of(a=1)
    files = {"x": {"sha256": "a" * 64, "size": 1, "mtime_ns": 2}}
    return m.json_bytes({"key": key.digest, "parts": dict(key.parts), "files": files})


add("results, runs and claims of a project", _project_inputs, _project)
parser("marks of reuse", "mark.json", lambda: m.json_inputs([_mark_seed()]), _mark)
