"""Stage texts: training reports become aligned sentences, and what they name is counted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import DataError
from benchmark.core.files import read_json, write_json
from benchmark.core.hashing import hash_file
from benchmark.core.tables import Manifest, read_table, write_table
from benchmark.data.cards import Card, load_card
from benchmark.grid.layout import Project
from benchmark.grid.params import Params
from benchmark.prompts.settings import TextParams

if TYPE_CHECKING:
    import pandas as pd

TABLE, COUNTS = "aligned.parquet", "named.json"


@dataclass(frozen=True)
class Named:
    """What the training reports say. studies: with a report. present: concept → studies that state it as
    present, descendants included. Concepts that no report states are not in it."""

    studies: int
    present: dict[str, int]


def align_texts(project: Project, params: Params, manifest: Manifest) -> str:
    """Write data/texts/<dataset>/aligned.parquet and named.json. Datasets without reports have neither."""
    from benchmark.prompts.training_texts import align_manifest

    folder = project.texts(manifest.dataset, manifest.origin)
    if not has_reports(manifest):
        write_json(folder / COUNTS, {"studies": 0, "present": {}})
        return f"{manifest.dataset}: no reports; training texts come from labels"
    table = align_manifest(manifest, rule=params.texts.rule)
    write_table(folder / TABLE, table, {"dataset": manifest.dataset, "rule": params.texts.rule})
    named = count_named(table)
    write_json(folder / COUNTS, {"studies": named.studies, "present": named.present})
    sentences = table["aligned"].notna().sum()
    said = [f"{manifest.dataset}: {sentences:,} aligned sentences of {named.studies:,} reports"]
    unnamed = table.groupby(["study_id", "sentence"])["aligned"].count().eq(0).sum()
    if unnamed:
        said.append(f"{unnamed:,} sentences name no concept of the lexicon and do not train as aligned texts")
    outside = sorted(set(concepts_outside(load_card(manifest.dataset))))
    if outside:
        more = ", …" if len(outside) > 3 else ""
        said.append(f"{len(outside)} concepts of the card are not in it: {', '.join(outside[:3])}{more}")
    return "; ".join(said)


def concepts_outside(card: Card) -> dict[str, list[str]]:
    """Concept of the card that the lexicon lacks → classes; whether reports name these cannot be told."""
    from benchmark.prompts.lexicon import load_lexicon

    lexicon = load_lexicon()
    outside: dict[str, list[str]] = {}
    for name, concepts in card.concepts.items():
        for concept in concepts:
            if concept not in lexicon:
                outside.setdefault(concept, []).append(name)
    return outside


def count_named(table: pd.DataFrame) -> Named:
    """Studies per concept that is stated as present, counting what lies below it in the lexicon."""
    from benchmark.prompts.lexicon import load_lexicon

    lexicon = load_lexicon()
    present = table[table["presence"] == "present"][["study_id", "concept"]].drop_duplicates()
    counts: dict[str, set[str]] = {}
    for study, concept in present.itertuples(index=False):
        for name in (concept, *lexicon.ancestors(concept)):
            counts.setdefault(name, set()).add(study)
    return Named(int(table["study_id"].nunique()), {k: len(v) for k, v in sorted(counts.items())})


def named_in_training(project: Project, dataset: str, origin: str) -> Named:
    """What the training reports of a dataset state. Raises DataError before stage texts has run."""
    path = project.texts(dataset, origin) / COUNTS
    if not path.is_file():
        raise DataError(f"{project.relative(path)}: no such file. Run `bench stage texts`.")
    value = read_json(path)
    return Named(value["studies"], value["present"])


def has_reports(manifest: Manifest) -> bool:
    return bool(manifest.frame["report"].notna().any())


def texts_used(texts: TextParams, manifest: Manifest) -> TextParams:
    """What the training texts are: sets without reports have only their labels."""
    if has_reports(manifest):
        return texts
    return texts.model_copy(update={"wording": "labels", "bare_names": "keep"})


def texts_of(project: Project, texts: TextParams, manifest: Manifest) -> tuple[list[list[str]], TextParams]:
    """Training texts of each image and what was used; sets without reports use their labels.

    Raises DataError where the table of aligned sentences is missing.
    """
    from benchmark.prompts.training_texts import training_texts

    used = texts_used(texts, manifest)
    table = None
    if used.wording == "llm":
        assert used.llm_file is not None
        table = read_table(_inside(project, used.llm_file))[0]
    elif used.wording == "aligned" or (used.wording == "raw" and "drop" in (used.negations, used.bare_names)):
        table = read_table(project.texts(manifest.dataset, manifest.origin) / TABLE)[0]
    return training_texts(manifest, used, table), used


def text_provenance(project: Project, texts: TextParams) -> dict[str, Any]:
    """What a run records about its texts; never the texts."""
    found: dict[str, Any] = texts.model_dump()
    if texts.llm_file is not None:
        found["llm_sha256"] = hash_file(_inside(project, texts.llm_file))
    return found


def _inside(project: Project, name: str) -> Path:
    path = Path(name).expanduser()
    return path if path.is_absolute() else project.root / path
