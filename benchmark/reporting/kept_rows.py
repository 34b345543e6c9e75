"""What the tables of reporting read of files of results, kept under their content: hundreds of small Parquet
files take longer to open than all that is done with their rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.core.errors import BenchError
from benchmark.core.files import atomic_path
from benchmark.core.guard import parsing
from benchmark.reporting.rows import SetFacts

if TYPE_CHECKING:
    import pyarrow as pa

_KEY, _PANDAS = b"kept_rows", b"pandas"
"""Metadata of rows: what they are of, and how pandas takes them."""


@dataclass(frozen=True)
class ResultRows:
    """table: rows of one file. about: what was evaluated. prompts: those of its first row."""

    table: pa.Table
    about: SetFacts
    prompts: str | None


class KeptRows:
    """One file for the rows of many, with a table for each kind of columns.

    rules: what rows depend on beside the content of their file; what was kept by others counts as nothing,
    and so does a damaged file."""

    def __init__(self, place: Path, rules: str) -> None:
        self._place, self._rules = place, rules
        self._known = self._read()
        self._used: dict[str, tuple[str, ResultRows]] = {}

    def rows_of(self, name: str, digest: str, read: Callable[[], ResultRows]) -> ResultRows:
        """The rows of a file with this content, as they were kept or as `read` finds them."""
        known = self._known.get(name)
        self._used[name] = known if known is not None and known[0] == digest else (digest, read())
        return self._used[name][1]

    def save(self) -> None:
        """Keep the rows that were asked for, where any is new; a folder that takes no file keeps none."""
        import pyarrow as pa

        if all(self._known.get(name) is own for name, own in self._used.items()):
            return
        alike: dict[tuple[str, bytes], dict[str, tuple[str, ResultRows]]] = {}
        for name, own in self._used.items():
            schema = own[1].table.schema
            of_pandas = (schema.metadata or {}).get(_PANDAS, b"{}")
            alike.setdefault((schema.to_string(show_schema_metadata=False), of_pandas), {})[name] = own
        with (
            suppress(BenchError, OSError),
            atomic_path(self._place) as path,
            pa.OSFile(str(path), "wb") as sink,
        ):
            for (_, of_pandas), group in alike.items():
                files = [[n, digest, len(o.table), o.about, o.prompts] for n, (digest, o) in group.items()]
                note = json.dumps({"rules": self._rules, "files": files}, ensure_ascii=False).encode()
                table = pa.concat_tables([own.table.replace_schema_metadata() for _, own in group.values()])
                table = table.replace_schema_metadata({_PANDAS: of_pandas, _KEY: note})
                with pa.ipc.new_stream(sink, table.schema) as writer:
                    writer.write_table(table)

    def _read(self) -> dict[str, tuple[str, ResultRows]]:
        import pyarrow as pa

        found: dict[str, tuple[str, ResultRows]] = {}
        with (
            suppress(BenchError),
            parsing(self._place, "kept rows"),
            pa.OSFile(str(self._place), "rb") as source,
        ):
            while source.tell() < source.size():
                table = pa.ipc.open_stream(source).read_all()
                table.validate(full=True)
                held, start = json.loads(table.schema.metadata[_KEY]), 0
                table = table.replace_schema_metadata({_PANDAS: table.schema.metadata[_PANDAS]})
                for name, digest, length, about, prompts in (
                    held["files"] if held["rules"] == self._rules else ()
                ):
                    found[name] = digest, ResultRows(table.slice(start, length), about, prompts)
                    start += length
        return found
