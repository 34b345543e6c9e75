"""Strategies of damaged and odd bytes: mutations of valid files, of trees of values and of texts."""

from __future__ import annotations

import copy
import json
import math
import struct
from collections.abc import Sequence
from typing import Any

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
