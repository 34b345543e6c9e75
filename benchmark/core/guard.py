"""The edge: bytes of others enter through here, and whatever their parser raises leaves as one line.

A list of the exception types of a parser is never complete: a damaged file makes torch raise AssertionError,
numpy OverflowError, and Rust code something that is not even an Exception. So the call of a parser, and
nothing else, stands under `parsing`, and what it may unpack to is bounded before it is parsed.
"""

from __future__ import annotations

import gzip
import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import yaml

from benchmark.core.errors import BenchError, DataError

if TYPE_CHECKING:
    import pyarrow as pa

MAX_TEXT = 1 << 28
"""Bytes of a JSON or YAML file; the largest of this project's own has some hundred thousand."""
MAX_UNPACKED = 1 << 36
"""Bytes that an archive or a Parquet file may unpack to."""
THREADED = 1 << 26
"""Bytes from which a Parquet file is unpacked by several threads; of less they cost more than they spare."""
MAX_CELLS = 1 << 32
"""Cells of a table."""
MAX_EXACT = 1 << 53
"""Whole numbers above this have no exact value as a 64-bit float."""
MAX_YAML = 1 << 22
"""Bytes of a YAML file, of which a megabyte takes about a second; those of this project have 200,000."""
YAML_DEPTH, YAML_NODES = 64, 1_000_000
"""Levels of a YAML file, and its nodes with every alias written out."""
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class Spot:
    """Where in the file the parser is; set while reading, so that an error can say it. line: as an editor
    counts. row: as a table counts, without its header."""

    line: int | None = None
    row: int | None = None


@contextmanager
def parsing(
    path: Path | str,
    what: str,
    hint: str = "Fetch or write the file again.",
    *,
    error: type[BenchError] = DataError,
    private: bool = False,
) -> Iterator[Spot]:
    """Turn whatever a parser raises into one line of the class `error` with file and place.

    what: "a CSV table" reads `PATH:LINE: not a readable CSV table (reason). HINT`, "valid JSON" is taken as
    it is.
    private: the file may hold text of patients, so the reason is only the kind of the error. A BenchError
    passes as it is, and so do Ctrl-C and SystemExit. Put the parser alone under it: a mistake of our own
    should not read as a damaged file.
    """
    place = Spot()
    try:
        yield place
    except BenchError:
        raise
    except BaseException as problem:
        if not isinstance(problem, Exception) and type(problem).__name__ != "PanicException":
            raise
        line = place.line or _line_of(problem)
        where = f"{path}{f':{line}' if line else ''}"
        if place.row is not None:
            where += f": row {place.row}"
        if isinstance(problem, OSError) and problem.errno is not None:
            message = _system(problem, where, what)
        else:
            thing = re.sub(r"^an? ", "a readable ", what)
            reason = type(problem).__name__ if private else _reason(problem, str(path))
            message = f"{where}: not {thing} ({reason}). {hint}"
            if isinstance(problem, UnicodeDecodeError):
                message = f"{where}: not {problem.encoding.upper()} text (byte {problem.start}). {hint}"
        raise error(message) from (None if private else problem)


def _system(problem: OSError, where: str, what: str) -> str:
    if isinstance(problem, FileNotFoundError):
        return f"{where}: no such file."
    if isinstance(problem, IsADirectoryError):
        return f"{where}: is a folder; give {what}."
    return f"{where}: cannot be read ({problem.strerror or type(problem).__name__}). Check it and the disk."


def _line_of(problem: BaseException) -> int | None:
    mark = getattr(problem, "problem_mark", None)
    if mark is not None:
        return int(mark.line) + 1
    line = getattr(problem, "lineno", None)
    return line if isinstance(line, int) and line > 0 else None


def _reason(problem: BaseException, path: str) -> str:
    """The first line of what the parser says, or its kind where it says nothing."""
    kind = type(problem).__name__
    if isinstance(problem, RecursionError):
        return "nested too deeply"
    if isinstance(problem, MemoryError):
        return "it asks for more memory than there is"
    if isinstance(problem, yaml.MarkedYAMLError) and problem.problem:
        text = problem.problem
    elif isinstance(problem, json.JSONDecodeError):
        text = problem.msg
    else:
        text = next((line.strip() for line in str(problem).splitlines() if line.strip()), "")
    text = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", "?", text.replace(path, Path(path).name)).strip(" .")
    if not text or isinstance(problem, KeyError | IndexError | AttributeError | AssertionError | TypeError):
        text = f"{kind}: {text}" if text else kind
    return text[:160]


def bounded_size(path: Path | str, what: str, most: int = MAX_TEXT) -> int:
    """Bytes of a file. Raises DataError where it is no file or larger than `most`."""
    path = Path(path)
    with parsing(path, what):
        size = path.stat().st_size
        if path.is_dir():
            raise IsADirectoryError(21, "Is a directory")
    if size > most:
        raise DataError(f"{path}: {size:,} bytes, but {what} has at most {most:,}. Is it the right file?")
    return size


def read_text(path: Path | str, what: str = "a text file", most: int = MAX_TEXT) -> str:
    """A whole UTF-8 file, with or without a byte order mark. Raises DataError."""
    bounded_size(path, what, most)
    with parsing(path, what, "Save it as UTF-8."):
        return Path(path).read_text(encoding="utf-8-sig")


def bounded_zip(path: Path | str, what: str, most: int = MAX_UNPACKED) -> None:
    """Raises DataError where a zip archive is damaged or its members claim more than `most` bytes."""
    with parsing(path, what), zipfile.ZipFile(path) as archive:
        total = sum(member.file_size for member in archive.infolist())
    if total > most:
        raise DataError(f"{path}: unpacks to {total:,} bytes, but {what} has at most {most:,}.")


@contextmanager
def opened(path: Path | str) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked where its first bytes are those of gzip. Reading may raise anything: use
    under `parsing`, and read no more than is bounded."""
    with open(path, "rb") as probe:
        packed = probe.read(2) == b"\x1f\x8b"
    zipped = packed or Path(path).suffix == ".gz"
    with cast("IO[bytes]", gzip.open(path) if zipped else open(path, "rb")) as handle:
        yield handle


def parse_json(text: str, path: Path | str, *, private: bool = False) -> Any:
    """Raises DataError, naming file and line, where the text is not JSON."""
    with parsing(path, "valid JSON", "Correct it.", private=private):
        return json.loads(text)


def parse_yaml(text: str, path: Path | str) -> Any:
    """The value of YAML text, made of plain containers and scalars.

    path: the file or option that the text is from. Raises DataError, naming it and the line, where the text
    is not YAML, repeats a key, is nested deeper than YAML_DEPTH, refers to itself, or has more than
    YAML_NODES nodes once its aliases are written out.
    """
    return parse_nodes(text, path)[0]


def parse_nodes(text: str, path: Path | str) -> tuple[Any, yaml.Node]:
    """The value of YAML text and its nodes, which know their lines. Raises as `parse_yaml`."""
    with parsing(path, "valid YAML", "Correct it.") as place:
        try:
            _bounded_yaml(text)
            loader = _SafeLoader(text)
            node = loader.get_single_node() or yaml.ScalarNode("tag:yaml.org,2002:null", "")
            value = loader.construct_document(node)
        except yaml.MarkedYAMLError as problem:
            if problem.problem_mark is not None:  # what is missing at the end is missed on the line after it
                place.line = min(problem.problem_mark.line + 1, len(text.splitlines()) or 1)
            raise
    return value, node


def _bounded_yaml(text: str) -> None:
    """Depth, aliases and size of YAML text, told by its parser's events before anything is composed."""
    weights: dict[str, int] = {}
    within: list[tuple[str | None, int]] = []
    for event in yaml.parse(text, _Loader):
        anchor, weight = None, 1
        if isinstance(event, yaml.ScalarEvent):  # most of them
            anchor = event.anchor
        elif isinstance(event, yaml.CollectionStartEvent):
            within.append((event.anchor, 1))
            weights.pop(event.anchor or "", None)
            if len(within) > YAML_DEPTH:
                raise _refused(f"nested deeper than {YAML_DEPTH} levels", event.start_mark)
            continue
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, weight = within.pop()
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in weights:
                raise _refused(f"'*{event.anchor}' stands for no whole value", event.start_mark)
            weight = weights[event.anchor]
        else:
            continue
        if anchor is not None:
            weights[anchor] = weight
        if within:
            weight += within[-1][1]
            within[-1] = (within[-1][0], weight)
        if weight > YAML_NODES:
            raise _refused(f"more than {YAML_NODES:,} values", event.start_mark)


def _refused(reason: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.composer.ComposerError(None, None, reason, mark)


class _SafeLoader(_Loader):
    """Says where a scalar is not what its tag says, and where a key stands twice."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError, KeyError, AttributeError) as error:
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f"not a value of the type {kind}", node.start_mark
            ) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key '{key.value}' stands twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_parquet(path: Path | str, note: bytes | None = None) -> tuple[pa.Table, Any]:
    """A Parquet file, and the JSON that its metadata hold under the key `note` ({} without).

    Raises DataError where the file is missing, damaged, or larger than MAX_CELLS and MAX_UNPACKED.
    """
    import pyarrow.parquet as pq

    bounded_size(path, "a Parquet file", MAX_UNPACKED)
    with parsing(path, "a Parquet file"), pq.ParquetFile(path, pre_buffer=False) as file:
        head = file.metadata
        groups = [head.row_group(i).total_byte_size for i in range(head.num_row_groups)]
        if head.num_rows * max(head.num_columns, 1) > MAX_CELLS or sum(groups) > MAX_UNPACKED:
            shape = f"{head.num_rows:,} rows of {head.num_columns:,} columns"
            raise DataError(f"{path}: claims {shape}; too many. Is it the right file?")
        table = file.read(use_threads=sum(groups) > THREADED)
        table.validate(full=True)
    try:
        value = json.loads((table.schema.metadata or {}).get(note or b"", b"{}"))
    except Exception:
        value = None
    if not isinstance(value, dict):
        raise DataError(f"{path}: its metadata are no JSON object. Write the file again.")
    return table, value
