"""Stage texts: training reports become aligned sentences, and what they name is counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmark.core.errors import DataError
from benchmark.core.files import read_json, write_json
from benchmark.core.hashing import hash_file, hash_strings
from benchmark.core.reuse import Key, key_of, reuse, source
from benchmark.core.tables import Manifest, read_table, write_table
from benchmark.data.cards import load_card
from benchmark.grid.layout import Project
from benchmark.grid.params import Params
from benchmark.prompts.lost import lost_sentences
from benchmark.prompts.named import Named, count_named
from benchmark.prompts.settings import TextParams
from benchmark.stages.prepare import source_of

TABLE, COUNTS = "aligned.parquet", "named.json"
UNANSWERED_AT_MOST = 0.1
"""Share of the sentences of the training reports that a recorded model run may lack or have failed at."""


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
    return "; ".join([*said, *lost_sentences(table, load_card(manifest.dataset)).said()])


def _align(folder: Path, manifest: Manifest, rule: str) -> None:
    from benchmark.prompts.training_texts import align_manifest

    named = Named(0, {})
    if has_reports(manifest):
        table = align_manifest(manifest, rule=rule)
        write_table(folder / TABLE, table, {"dataset": manifest.dataset, "rule": rule})
        named = count_named(table)
    write_json(folder / COUNTS, {"studies": named.studies, "present": named.present})


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

    Raises DataError where the table of aligned sentences is missing, or lost more than OUTSIDE_AT_MOST or,
    as a model's, UNANSWERED_AT_MOST.
    """
    from benchmark.prompts.training_texts import summary_table, training_texts

    used = texts_used(texts, manifest)
    table = None
    if _recorded(used):
        unanswered(project, used, manifest)
        table = read_table(project.file(str(used.llm_file)))[0]
    elif used.wording in ("aligned", "summary") or (
        used.wording == "raw" and "drop" in (used.negations, used.bare_names)
    ):
        table = read_table(texts_folder(project, params, manifest.dataset, texts.rule) / TABLE)[0]
    if table is not None and used.llm_file is None and used.wording in ("aligned", "summary"):
        lost_sentences(table, load_card(manifest.dataset)).stop_above(manifest.dataset)
    if table is not None and used.wording == "summary" and used.llm_file is None:
        table = summary_table(table)
    return training_texts(manifest, used, table), used


def unanswered(project: Project, texts: TextParams, manifest: Manifest) -> str | None:
    """What the texts of a model's recorded run lack, as one line; None where nothing, or for other texts.

    Raises DataError where more than UNANSWERED_AT_MOST of the reports or sentences have no answer, or of the
    recorded sentences are not in these reports, and for a run of another task.
    """
    from benchmark.prompts.llm.aligner import report_sentences
    from benchmark.prompts.llm.protocol import ALIGN, SUMMARISE
    from benchmark.prompts.training_texts import study_reports

    used = texts_used(texts, manifest)
    if not _recorded(used):
        return None
    path = project.file(str(used.llm_file))
    table, info = read_table(path)
    task = ALIGN if used.wording == "llm" else SUMMARISE
    if info.get("task", task.name) != task.name:
        raise DataError(
            f"{path.name}: holds the answers of the task '{info['task']}', and texts.wording: {used.wording} "
            f"reads those of '{task.name}'. Align these reports again "
            f"{'without' if task is ALIGN else 'with'} --summary."
        )
    reports = study_reports(manifest)
    own = {(s.study, s.text) for s in report_sentences(reports, used.rule, task)}
    here = set(zip(table["study_id"].astype(str), table["text"], strict=True))
    answered, studies = {study for study, _ in here}, {study for study, _ in own}
    recorded = {(study, text) for study, text in here if study in reports}
    if (foreign := len(recorded - own)) > UNANSWERED_AT_MOST * len(recorded):
        raise DataError(
            f"{path.name}: {foreign:,} of {len(recorded):,} recorded texts are not in these reports: it is "
            f"of other sections than texts.rule: {used.rule}, or of other reports. Align these reports again "
            f"(`bench prompts align --rule {used.rule}`)."
        )
    lacking = len(studies - answered)
    failed, asked = int(info.get("failed", 0)), int(info.get("sentences", 0))
    said = (
        f"{path.name}: no answer for {lacking:,} of {len(reports):,} reports, {failed:,} of {asked:,} failed"
    )
    if lacking > UNANSWERED_AT_MOST * len(reports) or failed > UNANSWERED_AT_MOST * asked:
        raise DataError(
            f"{said}; these would not train, and at most {UNANSWERED_AT_MOST:.0%} may. Align these reports "
            "again (`bench prompts align --retry-failed`), or use `texts.wording: aligned`."
        )
    return f"{said}; they do not train" if lacking or failed else None


def _recorded(texts: TextParams) -> bool:
    """Whether the texts are those of a model's recorded run."""
    return texts.llm_file is not None and texts.wording in ("llm", "summary")


def text_provenance(project: Project, texts: TextParams) -> dict[str, Any]:
    """What a run records about its texts; never the texts."""
    found: dict[str, Any] = texts.model_dump()
    if texts.llm_file is not None:
        found["llm_sha256"] = hash_file(project.file(texts.llm_file))
    return found
