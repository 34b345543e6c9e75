"""Does report text leak into what a run leaves behind? Plant phrases that occur nowhere else, then look."""

from __future__ import annotations

import base64
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmark.core.errors import DataError

PHRASES = (
    "quetzal lanternfish ossuary",
    "vermilion tardigrade sonata",
    "obsidian marzipan theodolite",
)
"""No report, class name or message has these words together."""
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{60,}={0,2}")
"""What a page or notebook embeds: figures with their metadata, packed data."""


@dataclass(frozen=True)
class Leak:
    """A phrase in a file (`member` of an archive, else empty)."""

    path: Path
    phrase: str
    member: str = ""


def plant(text: str, phrases: Sequence[str] = PHRASES) -> str:
    """A report with one sentence a phrase, inside its findings or impression where it has them, else at its
    end, so that every way of reading it meets them. Open-I XML stays well-formed."""
    sentences = [f"There is a {phrase} in the left lower lobe." for phrase in phrases]
    inside = " ".join(sentences)
    xml = re.compile(r'(<AbstractText Label="(?:FINDINGS|IMPRESSION)"\s*>)')
    if xml.search(text):
        return xml.sub(lambda m: f"{m[1]}{inside} ", text)
    head = re.compile(r"(?m)^([ \t]*(?:FINDINGS|IMPRESSION)[A-Z ]*:[ \t]*)")
    if head.search(text):
        return head.sub(lambda m: f"{m[1]}{inside} ", text)
    return f"{text.rstrip()}\n{inside}\n"


def plant_folder(folder: Path | str, phrases: Sequence[str] = PHRASES) -> int:
    """Plant into every .txt and .xml report below `folder`; how many. Raises DataError for none."""
    files = [p for p in sorted(Path(folder).rglob("*")) if p.suffix in (".txt", ".xml") and p.is_file()]
    for path in files:
        path.write_text(plant(path.read_text(encoding="utf-8"), phrases), encoding="utf-8")
    if not files:
        raise DataError(f"{folder}: no .txt or .xml report to plant in.")
    return len(files)


def leaks(folder: Path | str, phrases: Sequence[str] = PHRASES, allowed: Collection[str] = ()) -> list[Leak]:
    """Files below `folder` that hold a phrase, in plain, gzip, zip or Parquet form, in a stream of a PDF, in
    the metadata of a picture, or in any of these embedded in a page; words in any case and with any separator
    between them ("quetzal-lanternfish_ossuary").

    allowed: glob patterns, relative to `folder`, of the text tables that are meant to hold text.
    """
    root = Path(folder)
    wanted = {
        phrase: re.compile(rb"[\W_]+".join(re.escape(w).encode() for w in phrase.split()), re.I)
        for phrase in phrases
    }
    found = []
    for path in sorted(p for p in root.rglob("*") if p.is_file() and not p.is_symlink()):
        if any(path.relative_to(root).match(pattern) for pattern in allowed):
            continue
        for member, data in _contents(path.read_bytes()):
            found += [
                Leak(path, phrase, member) for phrase, pattern in wanted.items() if pattern.search(data)
            ]
    return found


def _contents(data: bytes) -> Iterator[tuple[str, bytes]]:
    """(where, bytes) of what a file holds: itself, and what is packed, compressed or embedded in it."""
    yield "", data
    if data[:2] == b"\x1f\x8b":
        with suppress(OSError, EOFError, zlib.error):
            yield "gzip", gzip.decompress(data)
    elif data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield name, archive.read(name)
    elif data[:4] == b"%PDF":
        for number, stream in enumerate(re.findall(rb"stream\r?\n(.*?)\r?\nendstream", data, re.DOTALL)):
            with suppress(zlib.error):
                yield f"stream {number}", zlib.decompress(stream)
    elif data[:8] == b"\x89PNG\r\n\x1a\n" or data[:3] == b"\xff\xd8\xff":
        from PIL import Image

        with Image.open(io.BytesIO(data)) as image:
            yield "texts", repr(image.info).encode()
    elif data[:4] == b"PAR1":
        import pyarrow.parquet as pq

        table = pq.read_table(io.BytesIO(data))
        for name in table.column_names:
            yield name, "\n".join(map(str, table[name].unique().to_pylist())).encode()
        yield "metadata", repr(table.schema.metadata).encode()
    else:
        for number, packed in enumerate(_BASE64.findall(data)):
            with suppress(ValueError):
                inside = base64.b64decode(packed[: len(packed) // 4 * 4])
                yield from ((f"base64 {number} {where}".strip(), part) for where, part in _contents(inside))
