"""A dataset card as Croissant 1.1 metadata (MLCommons), made and validated by `mlcroissant`.

The record sets hold what the card knows without a file: classes with their prompts, and protocols. The images
have no distribution, since none of these licences lets a third party serve them; `url` says where to ask.
"""

from __future__ import annotations

import json
import logging
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmark.core.errors import BenchError
from benchmark.core.files import write_json
from benchmark.data.cards import Card
from benchmark.exchange.formats import needed

CONFORMS = "http://mlcommons.org/croissant/1.1"


def write_croissant(card: Card, path: Path) -> None:
    """Raises BenchError where mlcroissant finds the metadata invalid."""
    value = croissant(card)
    validate(value)
    write_json(path, value)


def croissant(card: Card) -> dict[str, Any]:
    """JSON-LD as a dictionary."""
    mlc = needed("mlcroissant")
    context = mlc.Context(conforms_to=CONFORMS)
    classes = [
        {"name": name, "prompt": card.prompts.text(name), "negative": card.prompts.classes[name].negative,
         "concepts": ", ".join(card.concepts.get(name, ()))}
        for name in card.prompts.classes
    ]  # fmt: skip
    protocols = [
        {"name": name, "official": str(p.official).lower(), "task": p.task,
         "split": ", ".join(p.split) or "all", "images": "" if p.images is None else str(p.images),
         "uncertain": _policy(p.labels.uncertain),
         "missing": _policy(p.labels.missing)}
        for name, p in card.protocols.items()
    ]  # fmt: skip
    about = {"classes": "Classes, the prompts they are scored with, and their concepts.",
             "protocols": "Named ways to evaluate the dataset, and what labels count as."}  # fmt: skip
    sets = [
        _records(mlc, context, name, about[name], rows)
        for name, rows in (("classes", classes), ("protocols", protocols))
        if rows
    ]
    metadata = mlc.Metadata(
        ctx=context,
        name=card.name,
        description=" ".join([f"{card.title}.", f"Access: {card.access}", *card.notes]),
        cite_as=card.citation,
        license=[card.licence],
        url=_address(card),
        version=card.version,
        creators=[mlc.Person(ctx=context, name=card.citation.partition(" et al")[0].partition(":")[0])],
        data_limitations=[issue.issue for issue in card.known_issues] or None,
        record_sets=sets,
    )
    value: dict[str, Any] = json.loads(json.dumps(metadata.to_json(), default=str))
    return value


def validate(value: dict[str, Any]) -> None:
    """Raises BenchError with the first thing that mlcroissant finds wrong."""
    mlc = needed("mlcroissant")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "croissant.json"
        write_json(path, value)
        try:
            with _no_advice():
                mlc.Dataset(jsonld=str(path))
        except mlc.ValidationError as error:
            line = next((text.strip(" -") for text in str(error).splitlines() if text.startswith("  -")), "")
            raise BenchError(f"{value.get('name')}: no valid Croissant metadata: {line}") from None


@contextmanager
def _no_advice() -> Iterator[None]:
    """Without what mlcroissant recommends and no card knows, such as the day of publication."""
    log = logging.getLogger("absl")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _records(mlc: Any, context: Any, name: str, about: str, rows: list[dict[str, str]]) -> Any:
    fields = [
        mlc.Field(ctx=context, id=f"{name}/{key}", name=key, description=key, data_types=[mlc.DataType.TEXT])
        for key in rows[0]
    ]
    data = [{f"{name}/{key}": text for key, text in row.items()} for row in rows]
    return mlc.RecordSet(ctx=context, id=name, name=name, description=about, fields=fields, data=data)


def _policy(value: object) -> str:
    return ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def _address(card: Card) -> str:
    found = re.search(r"https?://[^\s,;]+", card.access)
    return found[0].rstrip(".") if found else f"https://{_bare(card.access)}"


def _bare(text: str) -> str:
    found = re.search(r"[\w.-]+\.\w{2,}(/[\w./-]*)?", text)
    return found[0].rstrip(".") if found else "doi.org"
