"""Stage texts: training reports become aligned sentences, and what they name is counted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import DataError, closest
from benchmark.core.files import read_json, write_json
from benchmark.core.hashing import hash_file, hash_strings
from benchmark.core.reuse import Key, key_of, reuse, source
from benchmark.core.tables import Manifest, read_table, write_table
from benchmark.data.cards import Card, load_card
from benchmark.grid.layout import Project
from benchmark.grid.params import Params
from benchmark.prompts.named import Named, count_named
from benchmark.prompts.settings import TextParams
from benchmark.stages.prepare import source_of

if TYPE_CHECKING:
    import pandas as pd

TABLE, COUNTS = "aligned.parquet", "named.json"
OUTSIDE_AT_MOST = 0.01
"""Share of the sentences that may name only classes of the card that the lexicon lacks, and so be no text."""


def texts_folder(project: Project, params: Params, dataset: str, rule: str | None = None) -> Path:
    """Where the aligned sentences of a dataset lie, read by `rule`, or by the rule of params.yaml."""
    return project.texts(source_of(project, params, dataset).name, rule or params.texts.rule)


def texts_key(manifest: Manifest, rule: str) -> Key:
    """Key of aligned sentences: the reports by study, the rule, the lexicon and the source that aligns."""
    from benchmark.prompts.lexicon import load_lexicon
    from benchmark.prompts.training_texts import study_reports

    return key_of(
        reports=hash_strings(part for pair in study_reports(manifest).items() for part in pair),
        settings=rule,
        lexicon=load_lexicon().hash,
        source=source("benchmark.prompts.training_texts", "benchmark.prompts.named"),
    )


def align_texts(project: Project, params: Params, manifest: Manifest, rule: str | None = None) -> str:
    """Aligned sentences and what they name: aligned.parquet and named.json in `texts_folder`, made where they
    are missing or rest on other reports, another lexicon or other code. Without reports nothing is named.
    """
    rule = rule or params.texts.rule
    folder = texts_folder(project, params, manifest.dataset, rule)
    names = (TABLE, COUNTS) if has_reports(manifest) else (COUNTS,)
    done = reuse(
        folder / "made.json",
        texts_key(manifest, rule),
        [folder / name for name in names],
        lambda: _align(folder, manifest, rule),
    )
    if not has_reports(manifest):
        return f"{manifest.dataset}: no reports; training texts come from labels"
    named = read_named(folder)
    table = read_table(folder / TABLE)[0]
    sentences = table["aligned"].notna().sum()
    again = f", {done}" if done.reused or done.why else ""
    said = [f"{manifest.dataset}: {sentences:,} aligned sentences of {named.studies:,} reports{again}"]
    unnamed = table.groupby(["study_id", "sentence"])["aligned"].count().eq(0).sum()
    if unnamed:
        said.append(f"{unnamed:,} sentences name no concept of the lexicon and do not train as aligned texts")
    outside = sorted(set(concepts_outside(load_card(manifest.dataset))))
    if outside:
        more = ", …" if len(outside) > 3 else ""
        said.append(f"{len(outside)} concepts of the card are not in it: {', '.join(outside[:3])}{more}")
    return "; ".join(said)


def _align(folder: Path, manifest: Manifest, rule: str) -> None:
    from benchmark.prompts.training_texts import align_manifest

    named = Named(0, {})
    if has_reports(manifest):
        table = align_manifest(manifest, rule=rule)
        write_table(folder / TABLE, table, {"dataset": manifest.dataset, "rule": rule})
        named = count_named(table)
    write_json(folder / COUNTS, {"studies": named.studies, "present": named.present})


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


def read_named(folder: Path) -> Named:
    """What the reports of a `texts_folder` state. Raises DataError before they were aligned."""
    path = folder / COUNTS
    if not path.is_file():
        raise DataError(f"{path}: no such file. Run `bench stage features`.")
    value = read_json(path)
    return Named(value["studies"], value["present"])


def has_reports(manifest: Manifest) -> bool:
    return bool(manifest.frame["report"].notna().any())


def texts_used(texts: TextParams, manifest: Manifest) -> TextParams:
    """What the training texts are: sets without reports have only their labels."""
    if has_reports(manifest):
        return texts
    return texts.model_copy(update={"wording": "labels", "bare_names": "keep"})


def texts_of(
    project: Project, params: Params, texts: TextParams, manifest: Manifest
) -> tuple[list[list[str]], TextParams]:
    """Training texts of each image and what was used; sets without reports use their labels.

    Raises DataError where the table of aligned sentences is missing, or lost more than OUTSIDE_AT_MOST.
    """
    from benchmark.prompts.training_texts import summary_table, training_texts

    used = texts_used(texts, manifest)
    table = None
    if used.llm_file is not None and used.wording in ("llm", "summary"):
        table = read_table(_inside(project, used.llm_file))[0]
    elif used.wording in ("aligned", "summary") or (
        used.wording == "raw" and "drop" in (used.negations, used.bare_names)
    ):
        table = read_table(texts_folder(project, params, manifest.dataset, texts.rule) / TABLE)[0]
    if table is not None and used.llm_file is None and used.wording in ("aligned", "summary"):
        _stop_at_outside(load_card(manifest.dataset), table)
    if table is not None and used.wording == "summary" and used.llm_file is None:
        table = summary_table(table)
    return training_texts(manifest, used, table), used


def _stop_at_outside(card: Card, table: pd.DataFrame) -> None:
    """Raises DataError where more than OUTSIDE_AT_MOST of the sentences are lost to training because the
    classes that they name are not in the lexicon."""
    from benchmark.prompts.class_prompts import display_name
    from benchmark.prompts.lexicon import load_lexicon

    sentences = table.groupby(["study_id", "sentence"]).agg({"text": "first", "aligned": "count"})
    lost = sentences.loc[sentences["aligned"] == 0, "text"].str.lower()
    missing: dict[str, int] = {}
    named = lost.ne(lost)
    for concept, classes in concepts_outside(card).items():
        names = {name.lower() for c in classes for name in (concept, c, display_name(card, c))}
        hit = lost.str.contains(rf"\b(?:{'|'.join(map(re.escape, sorted(names)))})\b", regex=True)
        missing[concept], named = int(hit.sum()), named | hit
    if named.sum() <= OUTSIDE_AT_MOST * len(sentences):
        return
    worst = max(missing, key=lambda concept: missing[concept])
    near = closest(worst, load_lexicon().concepts)
    guess = f", near '{near}'" if near else ""
    raise DataError(
        f"{card.name}: {named.sum():,} of {len(sentences):,} sentences name only classes that the lexicon "
        f"lacks ('{worst}' {missing[worst]:,}{guess}) and would not train. Add them to "
        "datasets/lexicon.yaml, correct the card's concepts, or train on `texts.wording: raw`."
    )


def text_provenance(project: Project, texts: TextParams) -> dict[str, Any]:
    """What a run records about its texts; never the texts."""
    found: dict[str, Any] = texts.model_dump()
    if texts.llm_file is not None:
        found["llm_sha256"] = hash_file(_inside(project, texts.llm_file))
    return found


def _inside(project: Project, name: str) -> Path:
    path = Path(name).expanduser()
    return path if path.is_absolute() else project.root / path
