"""Small valid files of every kind that is read, where mutations start. Each is made once a process."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import save as safetensors_bytes

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT.parent / "shared" / "cases"
"""Files of people that went wrong before; beside some checkouts."""
IDS = [f"i{n}" for n in range(8)]


def cases(*patterns: str, most: int = 20_000) -> list[bytes]:
    """Files of CASES up to `most` bytes."""
    found = sorted({p for pattern in patterns for p in CASES.glob(pattern) if p.is_file()})
    return [p.read_bytes() for p in found if p.stat().st_size <= most]


def scores() -> pd.DataFrame:
    values = np.random.default_rng(0).random((8, 2)).round(3)
    return pd.DataFrame({"image_id": IDS, "Edema": values[:, 0], "Pneumonia": values[:, 1]})


def labels() -> pd.DataFrame:
    patients = [f"p{n // 2}" for n in range(8)]
    return pd.DataFrame(
        {
            "image_id": IDS,
            "patient_id": patients,
            "Edema": [1, 0] * 4,
            "Pneumonia": [0, 0, 1, 1, -1, 0, 1, 0],
            "sex": list("FM") * 4,
            "age": range(30, 38),
        }
    )


@cache
def score_tables() -> tuple[bytes, ...]:
    wide = scores()
    long = wide.melt("image_id", var_name="class", value_name="score")
    texts = [wide.to_csv(index=False), wide.to_csv(sep=";", index=False), long.to_csv(index=False)]
    return (*(t.encode() for t in texts), *cases("*/p*.csv", "*/pred*.csv", "*/named*.csv"))


@cache
def label_tables() -> tuple[bytes, ...]:
    listed = pd.DataFrame(
        {"image_id": IDS, "Finding Labels": ["Edema|Pneumonia", "No Finding", "Edema", ""] * 2}
    )
    texts = [labels().to_csv(index=False), listed.to_csv(index=False)]
    return (*(t.encode() for t in texts), *cases("*/l*.csv", "label-files/*.csv", "*/labels.csv"))


def parquet(frame: pd.DataFrame, note: Any = None) -> bytes:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    if note is not None:
        table = table.replace_schema_metadata({b"cxr_alignbench": json.dumps(note).encode()})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


@cache
def score_parquets() -> tuple[bytes, ...]:
    own = {"classes": ["Edema", "Pneumonia"], "info": {"method": "clip", "seed": 0, "dataset": "openi"}}
    return parquet(scores()), parquet(scores(), own), *cases("*/*.parquet")


@cache
def array_files() -> tuple[bytes, ...]:
    values = scores()[["Edema", "Pneumonia"]].to_numpy()
    sinks = [io.BytesIO(), io.BytesIO()]
    np.savez(sinks[0], scores=values, image_id=np.array(IDS), classes=np.array(["Edema", "Pneumonia"]))
    np.savez_compressed(sinks[1], scores=values.astype(np.float32))
    return tuple(s.getvalue() for s in sinks)


@cache
def array_file() -> bytes:
    sink = io.BytesIO()
    np.save(sink, scores()[["Edema", "Pneumonia"]].to_numpy())
    return sink.getvalue()


@cache
def volumes() -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """NIfTI volumes of 6 x 5 x 4 voxels, not packed, and numpy archives with an array `ct`."""
    import nibabel

    body = (np.arange(120).reshape(6, 5, 4) * 9 - 1000).astype(np.int16)
    affine = np.diag([-0.7, -0.7, 1.5, 1.0])
    made = [
        nibabel.Nifti1Image(body, affine),
        nibabel.Nifti1Image(body.astype(np.float32), affine),
        nibabel.Nifti2Image(body, affine),
    ]
    made[0].header.set_slope_inter(2, -1024)
    sinks = [io.BytesIO(), io.BytesIO()]
    np.savez(sinks[0], ct=body)
    np.savez_compressed(sinks[1], ct=np.asfortranarray(body), spacing=np.ones(3))
    return tuple(image.to_bytes() for image in made), tuple(sink.getvalue() for sink in sinks)


@cache
def slices() -> tuple[bytes, ...]:
    """Three DICOM slices of one CT series."""
    return tuple(
        held(
            {
                "SeriesInstanceUID": "1.2.3",
                "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
                "ImagePositionPatient": [0, 0, 2 * k],
                "PixelSpacing": [1, 1],
                "RescaleSlope": 1,
                "RescaleIntercept": -1024,
            }
        )
        for k in range(3)
    )


@cache
def images() -> dict[str, tuple[bytes, ...]]:
    """png, jpeg, and formats that are refused by name."""
    grey = (np.add.outer(np.arange(24) * 5, np.arange(30) * 3) % 251).astype(np.uint8)
    colour = np.dstack([grey, grey[::-1], grey.T.copy().repeat(2, 0)[:24, :24].repeat(2, 1)[:, :30]])

    def save(array: np.ndarray, kind: str, mode: str | None = None, **options: Any) -> bytes:
        sink, image = io.BytesIO(), Image.fromarray(array)
        (image.convert(mode) if mode else image).save(sink, kind, **options)
        return sink.getvalue()

    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "png": (
            save(grey, "PNG"),
            save(grey.astype(np.uint16) * 257, "PNG"),
            save(colour, "PNG"),
            save(grey, "PNG", "1"),
            save(colour, "PNG", "P"),
            save(colour, "PNG", "RGBA"),
            save(grey, "PNG", "LA"),
        ),
        "jpeg": (
            save(grey, "JPEG"),
            save(colour, "JPEG", progressive=True),
            save(colour, "JPEG", subsampling=2),
            save(grey, "JPEG", restart_marker_rows=1),
            save(grey, "JPEG", exif=exif),
            save(colour, "JPEG", "CMYK"),
            *cases("damaged-images/*"),
        ),
        "other": (
            save(grey, "TIFF"),
            save(grey, "TIFF", compression="tiff_lzw"),
            save(colour, "WEBP"),
            save(grey, "BMP"),
            save(colour, "GIF", "P"),
            save(grey, "JPEG2000"),
            b"\x5c\x01\0\0" + bytes(400),
        ),
    }


@cache
def dicoms() -> tuple[bytes, ...]:
    return tuple(held(fields) for fields in DICOM_KINDS) + tuple(cases("dicom/*", most=200_000))


DICOM_KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PhotometricInterpretation": "MONOCHROME1"},
    {"WindowCenter": 300, "WindowWidth": 500, "RescaleSlope": 2, "RescaleIntercept": -10},
    {"PixelRepresentation": 1, "VOILUTFunction": "SIGMOID", "WindowCenter": [3, 4], "WindowWidth": [5, 6]},
    {
        "SamplesPerPixel": 3,
        "PhotometricInterpretation": "RGB",
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PlanarConfiguration": 0,
    },
)


def held(fields: dict[str, Any]) -> bytes:
    """A DICOM file of 12 x 10 pixels with these elements. Raises what pydicom raises where it will not write
    them."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["x"])
    dataset = Dataset()
    dataset.file_meta = meta
    base: dict[str, Any] = {
        "SOPClassUID": meta.MediaStorageSOPClassUID,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "Rows": 12,
        "Columns": 10,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "PatientID": "p1",
        "Modality": "DX",
        "ViewPosition": "PA",
    } | fields
    size = 120 * (2 if base["BitsAllocated"] == 16 else 1) * (3 if base["SamplesPerPixel"] == 3 else 1)
    base.setdefault("PixelData", bytes(n % 13 for n in range(size)))
    for name, value in base.items():
        setattr(dataset, name, value)
    dataset["PixelData"].VR = "OW"
    sink = io.BytesIO()
    dataset.save_as(sink, enforce_file_format=True)
    return sink.getvalue()


def state() -> dict[str, torch.Tensor]:
    return {"a.weight": torch.arange(12.0).reshape(3, 4), "b": torch.ones(2, dtype=torch.int64)}


@cache
def torch_files() -> tuple[bytes, ...]:
    contents = [
        state(),
        {"state_dict": state(), "epoch": 3},
        {"identity": "x", "step": 2, "optimiser": {"a": [state()]}},
    ]
    sinks = []
    for number, content in enumerate(contents):
        sinks.append(io.BytesIO())
        torch.save(content, sinks[-1], _use_new_zipfile_serialization=number != 1)
    return (*(s.getvalue() for s in sinks), *cases("damaged-weights/*"))


@cache
def safetensors_file() -> bytes:
    return safetensors_bytes(state())


REPORT = b"""<?xml version="1.0"?><eCitation><meta type="rr"/><uId id="CXR7"/><pmcId id="7"/>
<MedlineCitation><Article><Abstract><AbstractText Label="COMPARISON">None.</AbstractText>
<AbstractText Label="FINDINGS">The heart is large. No pleural effusion.</AbstractText>
<AbstractText Label="IMPRESSION">Cardiomegaly.</AbstractText></Abstract></Article></MedlineCitation>
<MeSH><major>Cardiomegaly/mild</major><automatic>cardiomegaly</automatic></MeSH>
<parentImage id="CXR7_IM-1-1001"><figureId>F1</figureId><caption>Chest PA</caption><panel type="single">
<url>/x/CXR7_IM-1-1001.jpg</url></panel></parentImage></eCitation>"""

TEXT_REPORT = b"""                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)
 FINDINGS:
 Small left pleural effusion.  There is no pneumothorax, and no focal consolidation.
 IMPRESSION:  Effusion; possible atelectasis at the left base.
"""


@cache
def report_archives() -> tuple[bytes, ...]:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as archive:
        for name in ("ecgen-radiology/7.xml", "ecgen-radiology/8.xml"):
            info = tarfile.TarInfo(name)
            data = REPORT.replace(b"CXR7", b"CXR8") if "8" in name else REPORT
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    plain = gzip.decompress(sink.getvalue())
    return sink.getvalue(), plain


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def yaml_of(*names: str) -> list[bytes]:
    return [(ROOT / name).read_bytes() for name in names]


CT_DATASETS = ("ct_rate", "ct_rate_lt", "rad_chestct")


@cache
def tree(dataset: str) -> tuple[Path, TemporaryDirectory[str]]:
    """The official tree of a twin of eight images or four volumes; it lives as long as the process."""
    from benchmark.twins.build import TwinSpec, build_twin
    from benchmark.twins.ct.build import CTSpec, build_ct_twin

    home = TemporaryDirectory(prefix="fuzz-")
    root = Path(home.name) / dataset
    if dataset in CT_DATASETS:
        build_ct_twin(dataset, root, CTSpec(images=4, side=32), seed=5, workers=1)
        return root, home
    build_twin(dataset, root, TwinSpec(images=8, size=64), seed=5, workers=1)
    return root, home


@cache
def listings(dataset: str, most: int = 200_000) -> dict[str, bytes]:
    """Relative path → bytes of the files of a tree that are no images."""
    root, _ = tree(dataset)
    pictures = (".png", ".jpg", ".jpeg", ".dcm", ".dicom", ".nii.gz", ".npz")
    files = sorted(p for p in root.rglob("*") if p.is_file() and not p.name.endswith(pictures))
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in files if p.stat().st_size <= most}


@cache
def text_model() -> tuple[Path, TemporaryDirectory[str]]:
    """A folder of a BERT of 3,000 weights and its tokenizer, as people keep them."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    home = TemporaryDirectory(prefix="fuzz-")
    root = Path(home.name)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "effusion", "no"]
    (root / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(root / "vocab.txt")).save_pretrained(root)
    config = BertConfig(
        vocab_size=8,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=16,
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(root)
    return root, home


@cache
def project() -> tuple[Path, TemporaryDirectory[str]]:
    """A project with results of simulated scores."""
    from tests.reporting.evidence_case import build

    home = TemporaryDirectory(prefix="fuzz-")
    root = build(Path(home.name), images=40)
    (root / "reports").mkdir(exist_ok=True)
    for name in ("claims.yaml", "published.yaml"):
        (root / "reports" / name).write_bytes((ROOT / "reports" / name).read_bytes())
    return root, home
