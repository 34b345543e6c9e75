"""Strategies of damaged and odd bytes: mutations of valid files, and files made odd piece by piece."""

from __future__ import annotations

import copy
import io
import json
import math
import struct
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from hypothesis import strategies as st

Inputs = st.SearchStrategy[bytes]

BINARY = (b"\0", b"\xff", b"\xff\xff\xff\xff", b"\x80\0\0\0", b"\x7f\xff\xff\xff", b"\0" * 64, b"PK\x05\x06")
TEXT = (
    b"\0",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\r",
    b"\n",
    b"\n\n",
    b'"',
    b"'",
    b",",
    b";",
    b"\t",
    b"|",
    b" ",
    b"nan",
    b"-inf",
    b"1e999",
    b"-1",
    b"9007199254740993",
    b"99999999999999999999",
    b"1_000",
    b"\xc2\xb2",
    b"../../x",
    b"=1+1",
    b"<b>",
    b"None",
    b"[]",
    b"{}",
    b"\xf0\x9f\x92\xa5",
    b"a" * 4000,
)
YAML = (
    *TEXT,
    b"!!int x",
    b"!!float x",
    b"!!python/object:os.system",
    b"!!binary x",
    b"&a [*a]",
    b"*a",
    b"<<: ",
    b"? [a]\n: b",
    b"---\n",
    b"...\n",
    b"!!timestamp x",
    b"%YAML 9.9\n",
    b"{" * 80,
    b"[" * 2000,
    b"- " * 200,
    b"!!set",
    b"!!omap",
    b"0o7",
    b"2001-99-99",
    b": ",
    b"#",
    b"|",
    b">",
    b"@",
    b"`",
)
JSON = (*TEXT, b"NaN", b"Infinity", b"null", b"true", b"[" * 3000, b'{"a":' * 200, b"\\ud800", b"\\u0000")
XML = (
    *TEXT,
    b"<!DOCTYPE a [<!ENTITY b 'c'>]>",
    b"&b;",
    b"&#0;",
    b"&#x110000;",
    b"<![CDATA[",
    b"]]>",
    b"<!--",
    b"<?xml version='9'?>",
    b"<a>" * 300,
    b"</a>",
    b"<AbstractText Label=''>",
    b"xmlns:x='y'",
)
KINDS = ("flip", "bytes", "number", "token", "cut", "drop", "double", "splice", "line")


@st.composite
def mutated(draw: Any, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    """One to four changes of a valid file."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(KINDS))
        at = draw(st.integers(0, len(data)))
        if kind == "flip" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "bytes":
            new = draw(st.binary(min_size=1, max_size=8))
            data[at : at + len(new)] = new
        elif kind == "number":
            width = draw(st.sampled_from("BHIQ"))
            most = (1 << 8 * struct.calcsize(width)) - 1
            value = draw(st.sampled_from([0, 1, most, most // 2, most // 2 + 1]) | st.integers(0, most))
            new = struct.pack(draw(st.sampled_from("<>")) + width, value)
            data[at : at + len(new)] = new
        elif kind == "token":
            data[at:at] = draw(st.sampled_from(tokens))
        elif kind == "cut":
            del data[at:]
        elif kind == "drop":
            del data[at : at + draw(st.integers(1, 64))]
        elif kind == "double":
            data[at:at] = bytes(data[at : at + draw(st.integers(1, 256))]) * draw(st.integers(1, 3))
        elif kind == "splice":
            other = draw(st.sampled_from(seeds))
            data[at:] = other[draw(st.integers(0, len(other))) :]
        elif kind == "line":
            lines = bytes(data).split(b"\n")
            number = draw(st.integers(0, len(lines) - 1))
            moved = lines.pop(number)
            if draw(st.booleans()):
                lines.insert(draw(st.integers(0, len(lines))), moved)
            data = bytearray(b"\n".join(lines))
    return bytes(data)


ODD = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        -1,
        1,
        0.5,
        2**31,
        2**53 + 1,
        -(2**63),
        2**64,
        10**30,
        1e308,
        -0.0,
        math.nan,
        math.inf,
        "",
        " ",
        "nan",
        "-1",
        "1",
        "x",
        "²",
        "../..",
        "/etc/passwd",
        "=1+1",
        "<b>",
        "a\nb",
        "\0",
        "💥",
        "\ud7ff",
        "x" * 3000,
        [],
        {},
        [[]],
        [None],
        {"": None},
        {"a": {"b": []}},
        [1, "a", None],
    ]
).map(copy.deepcopy)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside a tree of containers."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, part in inside for found in places(part, (*path, key)))]


@st.composite
def odd_tree(draw: Any, trees: Sequence[Any]) -> Any:
    """A valid tree of containers in which one to three values are replaced, left out or renamed."""
    tree = json.loads(json.dumps(draw(st.sampled_from(trees))))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(tree)))
        if not path:
            tree = draw(ODD) if draw(st.integers(0, 9)) == 0 else tree
            continue
        holder = tree
        for key in path[:-1]:
            holder = holder[key]
        kind = draw(st.sampled_from(["replace", "remove", "rename", "add"]))
        if kind == "replace":
            holder[path[-1]] = draw(ODD)
        elif kind == "remove":
            del holder[path[-1]]
        elif isinstance(holder, dict):
            value = holder.pop(path[-1]) if kind == "rename" else draw(ODD)
            holder[draw(st.text(max_size=6) | st.sampled_from(["name", "classes", "seed", "x"]))] = value
        else:
            holder.append(draw(ODD))
    return tree


def yaml_bytes(value: Any) -> bytes:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).encode("utf-8", "surrogatepass")


def json_bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


def yaml_inputs(seeds: Sequence[bytes]) -> Inputs:
    return mutated(seeds, YAML) | odd_tree([yaml.safe_load(s) for s in seeds]).map(yaml_bytes)


def json_inputs(seeds: Sequence[bytes]) -> Inputs:
    return mutated(seeds, JSON) | odd_tree([json.loads(s) for s in seeds]).map(json_bytes)


def odd_text(tokens: Sequence[bytes] = TEXT) -> Inputs:
    """Short texts, as of an option on the command line or an answer of a model."""
    piece = st.sampled_from(tokens) | st.text(max_size=8).map(lambda t: t.encode("utf-8", "replace"))
    return st.lists(piece, max_size=5).map(b"".join)


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
