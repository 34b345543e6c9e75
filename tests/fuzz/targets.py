"""Every parser of outside bytes and every command that takes a file, with the inputs that it is tried on."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from benchmark.core.errors import BenchError
from tests.fuzz import mutations as m
from tests.fuzz import valid_files as v

Input = tuple[str, bytes]
"""Name of the file, which may lie in a folder, and its bytes."""


class Broken(AssertionError):
    """A promise that an input broke."""


@dataclass(frozen=True)
class Target:
    """inputs: made when asked for, as valid files take a moment. read: gets an empty folder, the name of the
    file in it and its bytes."""

    name: str
    inputs: Callable[[], st.SearchStrategy[Input]]
    read: Callable[[Path, str, bytes], object]

    @property
    def weight(self) -> int:
        """Share of the inputs of a campaign."""
        return WEIGHTS.get(self.name, 2 if self.name.startswith("official files") else 10)


WEIGHTS = {
    "params.yaml": 2,
    "cards and prompts": 4,
    "claims.yaml": 4,
    "published.yaml": 1,
    "lexicon.yaml": 1,
    "--set, --seeds, --shard": 3,
    "bench score FILE": 3,
    "bench score options": 1,
    "bench prompts align FILE": 3,
    "model folders": 1,
    "results, runs and claims of a project": 1,
}
"""Those that take longer an input than a parser alone."""

TARGETS: dict[str, Target] = {}


def _add(name: str, inputs: Callable[[], st.SearchStrategy[Input]], read: Any) -> None:
    TARGETS[name] = Target(name, inputs, read)


def named(name: str, inputs: m.Inputs) -> st.SearchStrategy[Input]:
    return inputs.map(lambda data: (name, data))


def parser(name: str, file: str, inputs: Callable[[], m.Inputs], read: Callable[[Path], object]) -> None:
    """A function that reads one file."""

    def call(folder: Path, where: str, data: bytes) -> object:
        (folder / where).write_bytes(data)
        return read(folder / where)

    _add(name, lambda: named(file, inputs()), call)


def command(arguments: list[str], outputs: tuple[str, ...] = ()) -> int:
    """Run `bench` here. Raises Broken unless it ends with 0, 1 or 2, says what it says in lines that hold no
    traceback, and leaves each of its outputs whole or not at all."""
    from benchmark.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    said = err.getvalue()
    if code not in (0, 1, 2) or "Traceback" in said:
        raise Broken(f"exit code {code}: {said[-2000:]}")
    if code == 2 and not said.strip():
        raise Broken("exit code 2 without a word")
    written = [name for name in outputs if Path(name).exists()]
    if code == 2 and written:
        raise Broken(f"refused, but wrote {written}")
    for name in written:
        if name.endswith(".json"):
            json.loads(Path(name).read_text())
        elif not Path(name).read_bytes().endswith((b"\n", b"PAR1")):
            raise Broken(f"{name} is cut")
    if "--json" in arguments:
        json.loads(out.getvalue())
    return code


# --- YAML ------------------------------------------------------------------------------------------------


def _params(path: Path) -> object:
    from benchmark.grid.params import cell_named
    from benchmark.grid.params_file import load_params

    loaded = load_params(path)
    return [cell_named(loaded, name) for name in loaded.cells]


def _card(folder: Path, where: str, data: bytes) -> object:
    from benchmark.data.cards import read_card

    place = folder / "chestxray14"
    place.mkdir()
    for name in ("card.yaml", "prompts.yaml"):
        (place / name).write_bytes((v.ROOT / "datasets" / "chestxray14" / name).read_bytes())
    (place / where).write_bytes(data)
    return read_card(place)


def _card_inputs() -> st.SearchStrategy[Input]:
    files = {
        n: v.yaml_of(*(f"datasets/{d}/{n}" for d in ("chestxray14", "openi")))
        for n in ("card.yaml", "prompts.yaml")
    }
    return st.one_of(*(named(name, m.yaml_inputs(seeds)) for name, seeds in files.items()))


def _option(text: str) -> object:
    from benchmark.grid.params_file import load_params

    return load_params(v.ROOT / "params.yaml", sets=[text])


def _lexicon(path: Path) -> object:
    from benchmark.prompts.lexicon import load_lexicon

    return load_lexicon(path)


def _claims(path: Path) -> object:
    from benchmark.reporting.claims import load_claims

    return load_claims(path)


def _published(path: Path) -> object:
    from benchmark.reporting.published import load_published

    return load_published(path)


parser("params.yaml", "params.yaml", lambda: m.yaml_inputs(v.yaml_of("params.yaml")), _params)
_add("cards and prompts", _card_inputs, _card)
parser("claims.yaml", "claims.yaml", lambda: m.yaml_inputs(v.yaml_of("reports/claims.yaml")), _claims)
parser(
    "published.yaml",
    "published.yaml",
    lambda: m.yaml_inputs(v.yaml_of("reports/published.yaml")),
    _published,
)
parser(
    "lexicon.yaml", "lexicon.yaml", lambda: m.mutated(v.yaml_of("datasets/lexicon.yaml"), m.YAML), _lexicon
)


# --- texts of the command line and of models ---------------------------------------------------------------

SETS = (
    b"training.epochs=",
    b"data.validation=",
    b"method.clip.options=",
    b"cells=",
    b"seeds=",
    b"prompts.template=",
    b"",
)


def _texts(folder: Path, where: str, data: bytes) -> object:
    from benchmark.grid.request import parse_seeds, parse_shard

    text = data.decode("utf-8", "replace")
    return _option(text) if where == "set" else parse_seeds(text) if where == "seeds" else parse_shard(text)


def _text_inputs() -> st.SearchStrategy[Input]:
    sets = st.tuples(st.sampled_from(SETS), m.odd_text(m.YAML)).map(b"".join)
    return named("set", sets) | named("seeds", m.odd_text()) | named("shard", m.odd_text())


ANSWER = {
    "sentences": [
        {
            "number": 1,
            "findings": [
                {
                    "finding": "pleural effusion",
                    "presence": "present",
                    "side": "left",
                    "location": "base",
                    "severity": "small",
                }
            ],
        }
    ]
}
SENTENCES = {1: "Small left pleural effusion at the base.", 2: "No pneumothorax."}


def _answer(path: Path) -> object:
    from benchmark.prompts.llm.protocol import parse_answer

    return parse_answer(path.read_bytes().decode("utf-8", "replace"), SENTENCES, _aligner())


def _record(path: Path) -> object:
    from benchmark.prompts.llm.record import read_record

    return read_record(path)


def _aligner() -> Any:
    from benchmark.prompts.rules import RuleAligner

    return _made("aligner", RuleAligner)


_things: dict[str, Any] = {}


def _made(name: str, make: Callable[[], Any]) -> Any:
    if name not in _things:
        _things[name] = make()
    return _things[name]


def _record_seed() -> bytes:
    head = {"prompt": "a" * 64, "model": {"kind": "endpoint"}}
    entry = {"key": "b" * 64, "findings": ANSWER["sentences"][0]["findings"]}
    return b"\n".join(
        [m.json_bytes(head), m.json_bytes(entry), m.json_bytes({"key": "c", "failed": "not JSON"}), b""]
    )


_add("--set, --seeds, --shard", _text_inputs, _texts)
parser(
    "answers of a model",
    "answer.json",
    lambda: m.json_inputs([m.json_bytes(ANSWER)]) | m.odd_text(m.JSON),
    _answer,
)
parser("recorded answers", "record.jsonl", lambda: m.mutated([_record_seed()], m.JSON), _record)


# --- tables of scores and labels ---------------------------------------------------------------------------


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
    arrays = m.mutated(v.array_files(), m.BINARY) | m.archives_of_arrays()
    return st.one_of(
        named("scores.csv", m.mutated(tables, m.TEXT)),
        named("scores.csv", m.tables()),
        named("scores.csv.gz", m.mutated(tables, m.TEXT).map(v.packed)),
        named("scores.csv.gz", m.mutated([v.packed(t) for t in tables], m.BINARY)),
        named("labels.csv", m.mutated(labels, m.TEXT)),
        named("labels.csv", m.tables()),
        named("scores.parquet", m.mutated(v.score_parquets(), m.BINARY)),
        named("scores.parquet", m.parquets()),
        named("labels.parquet", m.parquets()),
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
    return lambda: m.mutated(v.score_tables(), m.TEXT) | m.tables()


_add("bench score FILE", _score_inputs, _score)
_add("bench score options", _option_inputs, _score_options)
parser("CSV of scores", "p.csv", _tables(), _raw_table)
parser("patients file", "patients.csv", _tables(), _patients)
parser(
    "Parquet of scores",
    "p.parquet",
    lambda: m.mutated(v.score_parquets(), m.BINARY) | m.parquets(),
    _raw_table,
)
parser("own Parquet", "p.parquet", lambda: m.mutated(v.score_parquets(), m.BINARY) | m.parquets(), _own_table)
parser(
    "npz of scores",
    "p.npz",
    lambda: m.mutated(v.array_files(), m.BINARY) | m.archives_of_arrays(),
    _raw_table,
)
parser("npy of scores", "p.npy", lambda: m.mutated([v.array_file()], m.BINARY), _raw_table)


# --- pixels ------------------------------------------------------------------------------------------------


def _pixels(path: Path) -> object:
    from benchmark.data.pixels import image_size, read_pixels

    sizes = []
    for read in (image_size, read_pixels):
        with contextlib.suppress(BenchError):
            found = read(path)
            sizes.append(found if isinstance(found, tuple) else found.shape)
    if len(set(sizes)) > 1:
        raise Broken(f"the header says {sizes[0]}, the pixels are {sizes[1]}")
    return read_pixels(path)


def _dicom_inputs() -> m.Inputs:
    numbers = st.sampled_from([0, 1, 8, 10, 12, 16, 32, 255, 65535])
    fields = {
        **dict.fromkeys(
            ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "SamplesPerPixel"), numbers
        ),
        "PixelRepresentation": st.integers(0, 2),
        "PlanarConfiguration": st.integers(0, 2),
        "NumberOfFrames": st.sampled_from([0, 1, 2, 99999]),
        "PhotometricInterpretation": st.sampled_from(
            ["MONOCHROME1", "RGB", "YBR_FULL", "YBR_FULL_422", "PALETTE COLOR", "X", ""]
        ),
        **{
            n: st.sampled_from([0, 1, -1, 0.1, 1e30, -1e30, "", [1, 2]])
            for n in ("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept")
        },
        "VOILUTFunction": st.sampled_from(["LINEAR", "SIGMOID", "LINEAR_EXACT", "X", ""]),
        "PixelData": st.sampled_from([b"", b"\0", bytes(240), bytes(10**5)]),
        "PixelSpacing": st.sampled_from([[1, 1], [0, 0], ""]),
    }
    chosen = st.lists(st.sampled_from(sorted(fields)), min_size=1, max_size=3, unique=True)
    odd = chosen.flatmap(lambda names: st.fixed_dictionaries({n: fields[n] for n in names})).map(_held)
    return m.mutated(v.dicoms(), m.BINARY) | odd


def _held(fields: dict[str, Any]) -> bytes:
    try:
        return v.held(fields)
    except Exception:  # pydicom will not write such elements, so no file has them
        return v.dicoms()[0]


parser("PNG", "a.png", lambda: m.mutated(v.images()["png"], m.BINARY), _pixels)
parser(
    "JPEG",
    "a.jpg",
    lambda: m.mutated(v.images()["jpeg"], (*m.BINARY, b"\xff\xd9", b"\xff\xda", b"\xff\xc4\0\x03")),
    _pixels,
)
parser("TIFF, WebP, BMP, GIF, JPEG 2000", "a.tif", lambda: m.mutated(v.images()["other"], m.BINARY), _pixels)
parser("DICOM", "a.dcm", _dicom_inputs, _pixels)


def _volume(path: Path) -> object:
    from benchmark.data.volumes import read_volume

    return read_volume(path)


def _series(folder: Path, where: str, data: bytes) -> object:
    for number, whole in enumerate(v.slices()):
        (folder / f"{number}.dcm").write_bytes(whole)
    (folder / where).write_bytes(data)
    return _volume(folder)


parser("NIfTI volumes", "a.nii", lambda: m.mutated(v.volumes()[0], m.BINARY), _volume)
parser(
    "packed NIfTI volumes",
    "a.nii.gz",
    lambda: (
        m.mutated(v.volumes()[0], m.BINARY).map(v.packed)
        | m.mutated([v.packed(one) for one in v.volumes()[0]], m.BINARY)
    ),
    _volume,
)
parser("npz volumes", "a.npz", lambda: m.mutated(v.volumes()[1], m.BINARY) | m.archives_of_arrays(), _volume)
_add("DICOM series", lambda: named("1.dcm", m.mutated(v.slices()[1:2], m.BINARY)), _series)


def _masks(folder: Path, where: str, data: bytes) -> object:
    from benchmark.data.masks import decode_mask, decode_relative

    text = data.decode("utf-8", "replace")
    return decode_mask(text) if where == "mask" else decode_relative([text], 16, 16)


_add(
    "run lengths",
    lambda: (
        named("mask", m.json_inputs([b'{"size": [4, 5], "counts": [3, 4, 13]}']))
        | named("siim", m.mutated([b"3 4 20 7"], m.TEXT))
    ),
    _masks,
)


# --- official trees ----------------------------------------------------------------------------------------


def _tree_inputs(dataset: str) -> Callable[[], st.SearchStrategy[Input]]:
    def inputs() -> st.SearchStrategy[Input]:
        found = []
        for name, data in v.listings(dataset).items():
            if name.endswith(".csv.gz"):
                inner = m.mutated([gzip.decompress(data)], m.TEXT)
                found += [named(name, inner.map(v.packed)), named(name, m.mutated([data], m.BINARY))]
            elif name.endswith(".tgz"):
                found.append(named(name, m.mutated([data], m.BINARY)))
                plain = m.mutated([gzip.decompress(data)], (*m.XML, *m.BINARY))
                found.append(named(name, plain.map(v.packed)))
            else:
                found.append(named(name, m.mutated([data], m.JSON if name.endswith(".json") else m.TEXT)))
                if name.endswith(".json"):
                    found.append(named(name, m.json_inputs([data])))
        return st.one_of(*found)

    return inputs


def _tree(dataset: str) -> Callable[[Path, str, bytes], object]:
    def read(folder: Path, where: str, data: bytes) -> object:
        from benchmark.data.dataset import read_dataset

        root, _ = v.tree(dataset)
        (root / where).write_bytes(data)
        try:
            if data[:1] < b"\x80":
                return read_dataset(dataset, root, "official")
            return command(["data", "check", dataset, "--data-root", str(root)])
        finally:
            (root / where).write_bytes(v.listings(dataset)[where])

    return read


DATASETS = (
    "mimic_cxr",
    "padchest",
    "chestxray14",
    "openi",
    "chexpert",
    "chexpert5x200",
    "chestxdet10",
    "rsna_pneumonia",
    "siim_pneumothorax",
    "ms_cxr",
    "vindr_cxr",
    "cxr_lt",
    "cxr_align",
    "padchest_gr",
    "cxr_lt_2026",
    *v.CT_DATASETS,
)
for _name in DATASETS:
    _add(f"official files of {_name}", _tree_inputs(_name), _tree(_name))


# --- reports -----------------------------------------------------------------------------------------------


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
        named("reports.csv", m.tables(("study_id", "report", "text", "id"), (*m.CELLS, "No effusion."))),
        named("reports.csv.gz", m.mutated([v.packed(table)], m.BINARY)),
    )


parser("XML reports", "7.xml", lambda: m.mutated([v.REPORT], m.XML), _openi)
_add("bench prompts align FILE", _report_inputs, _reports)


# --- weights and models ------------------------------------------------------------------------------------


def _weights(path: Path) -> object:
    from benchmark.core.checkpoints import load_checkpoint
    from benchmark.encoders.weights import read_tensors

    with contextlib.suppress(BenchError):
        load_checkpoint(path)
    return read_tensors(path)


def _state(path: Path) -> object:
    from benchmark.training.state import load_state

    with contextlib.redirect_stderr(io.StringIO()) as said:
        found = load_state(path.parent, "x")
    if said.getvalue().count("\n") > 1 or not (found is None or found["identity"] == "x"):
        raise Broken(f"{said.getvalue()}: {found}")
    return found


HEADERS = (
    {
        "a.weight": {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]},
        "b": {"dtype": "I64", "shape": [2], "data_offsets": [48, 64]},
    },
    {"__metadata__": {"format": "pt"}, "a": {"dtype": "BF16", "shape": [128], "data_offsets": [0, 256]}},
)


def _model(folder: Path, where: str, data: bytes) -> object:
    from benchmark.encoders.factory import text_encoder

    home, _ = v.text_model()
    for path in home.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / where).write_bytes(data)
    encoder = text_encoder({"name": "x", "source": "transformers", "weights": f"path:{folder}",
                            "licence": "none", "seen": ()})  # fmt: skip
    return encoder.encode(["no effusion"])


def _model_inputs() -> st.SearchStrategy[Input]:
    home, _ = v.text_model()
    found = []
    for path in sorted(home.iterdir()):
        data = path.read_bytes()
        found.append(
            named(path.name, m.json_inputs([data]) if path.suffix == ".json" else m.mutated([data], m.BINARY))
        )
    return st.one_of(*found)


def _official(folder: Path, where: str, data: bytes) -> object:
    from benchmark.official.checkpoints import load_official

    (folder / "c.pt").write_bytes(data)
    return load_official(where, folder / "c.pt")


def _official_inputs() -> st.SearchStrategy[Input]:
    methods = ("carzero", "gloria", "medclip", "radzero", "brgsa", "clip")
    return st.tuples(st.sampled_from(methods), m.mutated(v.torch_files(), m.BINARY))


parser("torch checkpoints", "w.pt", lambda: m.mutated(v.torch_files(), m.BINARY), _weights)
parser(
    "safetensors",
    "w.safetensors",
    lambda: m.mutated([v.safetensors_file()], m.BINARY) | m.safetensors(HEADERS),
    _weights,
)
parser("state.pt", "state.pt", lambda: m.mutated(v.torch_files(), m.BINARY), _state)
_add("official checkpoints", _official_inputs, _official)
_add("model folders", _model_inputs, _model)


# --- what a project has on disk ----------------------------------------------------------------------------


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
            _things.setdefault("project", {})[name] = data
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
        (root / where).write_bytes(_things["project"][where])
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


_add("results, runs and claims of a project", _project_inputs, _project)
parser("marks of reuse", "mark.json", lambda: m.json_inputs([_mark_seed()]), _mark)
