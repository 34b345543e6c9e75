"""Strategies of files made odd piece by piece: tables, Parquet, archives of arrays, safetensors."""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from tests.fuzz.mutations import json_bytes, odd_tree

NAMES = (
    "image_id",
    "image",
    "patient_id",
    "class",
    "score",
    "label",
    "sex",
    "age",
    "Pneumonia",
    "Effusion",
    "Edema",
    "labels",
    "",
    " ",
    "Unnamed: 0",
    "prob_Edema",
    "split",
)
CELLS = (
    "",
    "0",
    "1",
    "-1",
    "0.5",
    "a",
    "b",
    "c",
    "nan",
    "NaN",
    "None",
    "inf",
    "-inf",
    "1e400",
    "1e-400",
    "9007199254740993",
    "18446744073709551616",
    "true",
    "yes",
    "1,5",
    "1;2",
    "1|0",
    "['a']",
    "[",
    '"',
    "'",
    "=1",
    "\n",
    "\0",
    "²",
    "💥",
    "0x1",
    "1_0",
    " 1 ",
    "x" * 500,
)


@st.composite
def tables(draw: Any, names: Sequence[str] = NAMES, cells: Sequence[str] = CELLS) -> bytes:
    """A delimited table of odd cells."""
    header = draw(st.lists(st.sampled_from(names), min_size=1, max_size=6))
    sign = draw(st.sampled_from([",", ",", ",", ";", "\t", "|"]))
    quote = draw(st.booleans())
    lines = [sign.join(header)]
    for number in range(draw(st.integers(0, 6))):
        width = len(header) if draw(st.integers(0, 9)) else draw(st.integers(0, 8))
        row = [draw(st.sampled_from(cells)) for _ in range(width)]
        if row and draw(st.booleans()):
            row[0] = f"i{number}"
        lines.append(sign.join('"' + c.replace('"', '""') + '"' if quote else c for c in row))
    text = draw(st.sampled_from(["\n", "\r\n", "\r"])).join(lines)
    return text.encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16"])), "replace")


_ARROW = (
    pa.int64(),
    pa.int8(),
    pa.uint64(),
    pa.float64(),
    pa.float32(),
    pa.float16(),
    pa.string(),
    pa.large_string(),
    pa.bool_(),
    pa.binary(),
    pa.date32(),
    pa.timestamp("ns"),
    pa.decimal128(30, 5),
    pa.null(),
    pa.list_(pa.int64()),
    pa.list_(pa.string()),
    pa.struct([("a", pa.int64())]),
    pa.dictionary(pa.int32(), pa.string()),
    pa.duration("s"),
)


@st.composite
def parquets(draw: Any, names: Sequence[str] = NAMES, key: bytes = b"cxr_alignbench") -> bytes:
    """A Parquet table of odd types, and odd metadata."""
    rows = draw(st.integers(0, 5))
    columns = []
    chosen = draw(st.lists(st.sampled_from(names), min_size=0, max_size=5))
    for number, name in enumerate(chosen):
        kind = draw(st.sampled_from(_ARROW))
        values = [draw(_value(kind)) if draw(st.integers(0, 4)) else None for _ in range(rows)]
        if number == 0 and draw(st.booleans()):
            kind, values = pa.string(), [f"i{n}" for n in range(rows)]
        with suppress(pa.ArrowException, TypeError, ValueError):
            columns.append((name, pa.array(values, kind)))
    note = draw(
        odd_tree([{"classes": ["Edema"], "info": {"seed": 0}, "root": "x"}]).map(json_bytes) | st.binary()
    )
    table = pa.Table.from_arrays(
        [c for _, c in columns], names=[n for n, _ in columns]
    ).replace_schema_metadata({key: note})
    sink = io.BytesIO()
    try:
        pq.write_table(table, sink, compression=draw(st.sampled_from(["none", "zstd", "snappy"])))
    except pa.ArrowException:
        return b"PAR1"
    return sink.getvalue()


def _value(kind: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return st.sampled_from(CELLS)
    if pa.types.is_boolean(kind):
        return st.booleans()
    if pa.types.is_floating(kind):
        return st.sampled_from([0.0, 1.0, -1.0, 0.25, math.nan, math.inf, 60000.0])
    if pa.types.is_binary(kind):
        return st.binary(max_size=4)
    if pa.types.is_list(kind):
        return st.lists(
            st.sampled_from(["a"]) if pa.types.is_string(kind.value_type) else st.integers(-1, 1), max_size=3
        )
    if pa.types.is_struct(kind):
        return st.just({"a": 1})
    if pa.types.is_null(kind):
        return st.none()
    if pa.types.is_decimal(kind):
        return st.integers(-9, 9)
    if pa.types.is_integer(kind):
        most = 2 ** (kind.bit_width - (not pa.types.is_unsigned_integer(kind))) - 1
        return st.sampled_from([0, 1, most] if pa.types.is_unsigned_integer(kind) else [0, 1, -1, most])
    return st.integers(0, 1000)  # dates, times and spans


@st.composite
def archives_of_arrays(draw: Any) -> bytes:
    """An .npz of arrays of odd types and shapes, or a zip that only looks like one."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name in draw(
            st.lists(st.sampled_from(["scores", "ids", "classes", "image_id", "cfg", "x"]), max_size=4)
        ):
            if draw(st.integers(0, 9)) == 0:
                archive.writestr(f"{name}.npy", draw(st.binary(max_size=64)))
                continue
            kind = draw(
                st.sampled_from(["f8", "f4", "f2", "i8", "u1", "?", "U3", "S3", "O", "c16", "M8[s]", "V4"])
            )
            shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
            array = np.zeros(shape, dtype=kind)
            if kind == "U3" and array.ndim == 1:
                array = np.array([f"c{i}" for i in range(len(array))], dtype="U3")
            held = io.BytesIO()
            np.save(held, array, allow_pickle=True)
            archive.writestr(f"{name}.npy", held.getvalue())
    return sink.getvalue()


@st.composite
def safetensors(draw: Any, headers: Sequence[Any]) -> bytes:
    """A header made odd, before 256 bytes of data."""
    head = json_bytes(draw(odd_tree(headers)))
    size = draw(st.sampled_from([len(head)] * 4 + [0, 2**63, len(head) + 1, 10**8]))
    return struct.pack("<Q", size) + head + bytes(256)
