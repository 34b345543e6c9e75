"""Pixels, official files of every dataset, weights and models."""

from __future__ import annotations

import contextlib
import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from benchmark.core.errors import BenchError
from tests.fuzz import mutations as m
from tests.fuzz import odd_files as o
from tests.fuzz import valid_files as v
from tests.fuzz.targets.base import Broken, Input, add, command, named, parser

# --- pixels -------------------------------------------------------------------------------------------------


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
parser("npz volumes", "a.npz", lambda: m.mutated(v.volumes()[1], m.BINARY) | o.archives_of_arrays(), _volume)
add("DICOM series", lambda: named("1.dcm", m.mutated(v.slices()[1:2], m.BINARY)), _series)


def _masks(folder: Path, where: str, data: bytes) -> object:
    from benchmark.data.masks import decode_mask, decode_relative

    text = data.decode("utf-8", "replace")
    return decode_mask(text) if where == "mask" else decode_relative([text], 16, 16)


add(
    "run lengths",
    lambda: (
        named("mask", m.json_inputs([b'{"size": [4, 5], "counts": [3, 4, 13]}']))
        | named("siim", m.mutated([b"3 4 20 7"], m.TEXT))
    ),
    _masks,
)


# --- official trees -----------------------------------------------------------------------------------------


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
    add(f"official files of {_name}", _tree_inputs(_name), _tree(_name))


# --- weights and models -------------------------------------------------------------------------------------


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
    lambda: m.mutated([v.safetensors_file()], m.BINARY) | o.safetensors(HEADERS),
    _weights,
)
parser("state.pt", "state.pt", lambda: m.mutated(v.torch_files(), m.BINARY), _state)
add("official checkpoints", _official_inputs, _official)
add("model folders", _model_inputs, _model)
