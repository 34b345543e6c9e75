"""Classes of labelled report collections as concepts of the lexicon (`datasets/report_labels.yaml`)."""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError

from benchmark.core.errors import CardError
from benchmark.core.files import read_yaml
from benchmark.data.cards import datasets_folder, load_card
from benchmark.prompts.lexicon import load_lexicon

Concepts = dict[str, tuple[str, ...]]
_FILE = TypeAdapter(dict[str, Concepts])


def report_collections() -> dict[str, Concepts]:
    """Collection → class → ids of the lexicon. Raises CardError, with file and id, where malformed."""
    path = datasets_folder() / "report_labels.yaml"
    try:
        found = _FILE.validate_python(read_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        raise CardError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from None
    lexicon = load_lexicon()
    for collection, classes in found.items():
        for name, ids in classes.items():
            for identifier in ids:
                if identifier not in lexicon:
                    raise CardError(f"{path}: {collection}, '{name}': the lexicon has no '{identifier}'.")
    return found


def label_concepts(dataset: str) -> Concepts:
    """Classes whose labels stand beside reports: of a collection by that name, else of the dataset's card.

    Raises UnknownName where there is neither.
    """
    collections = report_collections()
    return collections[dataset] if dataset in collections else load_card(dataset).concepts
