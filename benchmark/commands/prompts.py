"""`bench prompts`: reports → sentences → prompts, shown, written and scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands.common import JsonOption, emit, progress

if TYPE_CHECKING:
    from benchmark.prompts.llm.backends import Backend
    from benchmark.prompts.scoring import Agreement

EPILOG = (
    "bench prompts show reports/s50414267.txt · "
    "bench prompts align NLMCXR_reports.tgz --dataset openi --out aligned.parquet · "
    "bench prompts score --dataset openi --reports NLMCXR_reports.tgz --json"
)
app = typer.Typer(
    no_args_is_help=True,
    help="Align reports, show text → sentences → prompts side by side, and score the aligner.",
    epilog=EPILOG,
)


LLM, REPLAY = "llm", "replay"
"""Aligners that need a model or its recorded answers, besides those that are registered."""

SourceArgument = Annotated[
    Path,
    typer.Argument(
        metavar="REPORTS", help="File or folder: .txt, Open-I .xml or .tgz, .csv, manifest.parquet."
    ),
]
RuleOption = Annotated[
    str, typer.Option("--rule", help="Sections to read: findings+impression, findings, impression or all.")
]


@app.command("align")
def align(
    source: SourceArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Parquet file to write.")],
    dataset: Annotated[
        str | None, typer.Option(help="Whose reports these are; decides what may be sent.")
    ] = None,
    rule: RuleOption = "findings+impression",
    aligner: Annotated[
        str,
        typer.Option(help="rules, llm (a model), replay (recorded answers), or one of `bench ls aligners`."),
    ] = "rules",
    endpoint: Annotated[
        str | None, typer.Option(help="OpenAI-compatible address, e.g. http://127.0.0.1:8080/v1.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model of the endpoint, or path of a local GGUF file or folder.")
    ] = None,
    recorded: Annotated[Path | None, typer.Option(help="File of recorded answers, for replay.")] = None,
    cache: Annotated[Path, typer.Option(help="Folder of answers; nothing in it is asked again.")] = Path(
        ".cache/llm"
    ),
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Requests at a time.")] = 4,
    time_out: Annotated[float, typer.Option(min=0.1, help="Seconds for one request.")] = 60.0,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Ask failed sentences again.")] = False,
    consent: Annotated[
        list[str] | None,
        typer.Option(
            "--i-have-permission-to-send-reports-of",
            metavar="DATASET",
            help="Allow a remote endpoint for a dataset whose card forbids it.",
        ),
    ] = None,
    summary: Annotated[
        bool, typer.Option("--summary", help="Condense each report to its high-level findings instead.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Write the aligned sentences of reports to a Parquet file, one row a finding.

    Sentences that name no concept are counted; where more than 1% of them name a class of --dataset that the
    lexicon lacks, nothing is written. Exit 1 if no sentence was answered acceptably.
    """
    from benchmark.core.errors import ParamsError
    from benchmark.core.hashing import hash_file
    from benchmark.core.tables import write_table
    from benchmark.data.cards import load_card
    from benchmark.prompts.aligned import ALIGNERS, align_report, aligned_table
    from benchmark.prompts.lexicon import load_lexicon
    from benchmark.prompts.lost import lost_sentences
    from benchmark.prompts.rules import RuleAligner
    from benchmark.prompts.sources import read_reports
    from benchmark.prompts.training_texts import summary_table

    card = load_card(dataset) if dataset else None
    if out.suffix != ".parquet":
        raise ParamsError(f"--out {out}: name a .parquet file.")
    if aligner not in (LLM, REPLAY):
        rules, lexicon = ALIGNERS.get(aligner)(), load_lexicon()
        reports = read_reports(source)
        with progress() as bar:
            steps = bar.track(reports.items(), total=len(reports), description="align")
            table = aligned_table((key, align_report(text, rules, lexicon, rule)) for key, text in steps)
        lost = lost_sentences(table, card)
        lost.stop_above(dataset or "")
        if summary:
            table = summary_table(table)
        info = {
            "aligner": aligner,
            "task": "summarise" if summary else "align",
            "aligner_hash": rules.hash,
            "sentences": lost.sentences,
            "unnamed": lost.unnamed,
            "outside_lexicon": dict(lost.concepts),
        }
        write_table(out, table, {**info, "rule": rule})
        sentences, said, silent = lost.sentences, lost.said(), False
    else:
        from benchmark.prompts.llm.aligner import align_with_llm, replay, require_consent
        from benchmark.prompts.llm.protocol import ALIGN, SUMMARISE

        task = SUMMARISE if summary else ALIGN
        if aligner == REPLAY:
            if recorded is None:
                raise ParamsError("--aligner replay needs --recorded FILE.")
            result = replay(read_reports(source), recorded, rule=rule, task=task)
        else:
            backend = _backend(endpoint, model, concurrency, time_out)
            forbidden = card is not None and card.remote_llm == "forbidden"
            require_consent(dataset, forbidden, backend, consent or ())
            reports = read_reports(source)
            with progress() as bar:
                step = bar.add_task("ask", total=None)
                result = align_with_llm(
                    reports,
                    backend,
                    cache,
                    rule=rule,
                    task=task,
                    retry_failed=retry_failed,
                    aligner=RuleAligner(),
                    progress=lambda done, total: bar.update(step, completed=done, total=total),
                )
        result.save(out)
        table, made = result.table, result.made
        info = {"aligner": aligner, **asdict(made)}
        why = ", ".join(f"{n:,} {reason}" for reason, n in made.reasons.items())
        counts = f"asked {made.asked:,}, reused {made.reused:,}, failed {made.failed:,}"
        sentences, said = made.sentences, [counts + (f" ({why})" if why else "")]
        silent = made.failed == sentences > 0
    studies, findings = int(table["study_id"].nunique()), int(table["aligned"].notna().sum())
    digest = hash_file(out)
    lines = [
        f"{studies:,} reports, {sentences:,} sentences, {findings:,} findings",
        *said,
        f"{out}  sha256 {digest[:12]}",
    ]
    told = {"studies": studies, "findings": findings, "out": str(out), "sha256": digest}
    emit({**info, **told}, "\n".join(lines), as_json)
    return int(silent)


@app.command("show")
def show(
    source: SourceArgument,
    rule: RuleOption = "findings+impression",
    limit: Annotated[int, typer.Option(min=1, help="Reports to show.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Print reports as text → sentences → prompts, side by side. Prints report text."""
    from benchmark.prompts.aligned import align_report
    from benchmark.prompts.rules import RuleAligner
    from benchmark.prompts.sources import read_reports

    rules = RuleAligner()
    shown = []
    for key, text in list(read_reports(source).items())[:limit]:
        sentences = align_report(text, rules, rules.lexicon, rule)
        shown.append((key, text, sentences))
    if as_json:
        listed = [
            {
                "study_id": key,
                "text": text,
                "sentences": [
                    {
                        "section": s.section,
                        "text": s.text,
                        "aligned": list(s.aligned),
                        "findings": [vars(x) for x in s.statements],
                    }
                    for s in sentences
                ],
            }
            for key, text, sentences in shown
        ]
        emit({"reports": listed}, "", True)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for key, text, sentences in shown:
        table = Table(
            "section", "sentence", "prompts", title=f"report {key}", title_justify="left", show_lines=True
        )
        for s in sentences:
            table.add_row(Text(s.section), Text(s.text), Text("\n".join(s.aligned) or "-"))
        table.caption = (
            f"{sum(not s.aligned for s in sentences)} of {len(sentences)} sentences name no concept"
        )
        console.print(Text(text.strip()), "", table, "", sep="\n")


@app.command("score")
def score(
    dataset: Annotated[
        str, typer.Option(help="openi: against the MeSH terms of the reports. Others: labels in a table.")
    ] = "openi",
    reports: Annotated[Path | None, typer.Option(help="Open-I XML, or a CSV of reports and labels.")] = None,
    truth: Annotated[Path | None, typer.Option(help="<twin>.truth.parquet of `bench data twin`.")] = None,
    rule: RuleOption = "findings+impression",
    terms: Annotated[
        str, typer.Option(help="Label rule of the card: substring (CARZero) or exact.")
    ] = "substring",
    certain: Annotated[
        bool, typer.Option("--certain", help="Count what is present only, not what may be.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Precision, recall and F1 of the rule aligner, on real or on synthetic reports.

    A table of reports needs a column Report, report_text or text and a column of 0 and 1 for each class.
    """
    from benchmark.core.errors import ParamsError, UnknownName
    from benchmark.core.tables import TWIN_NOTICE, read_table
    from benchmark.data.cards import load_card
    from benchmark.prompts.report_labels import label_concepts
    from benchmark.prompts.rules import RuleAligner
    from benchmark.prompts.scoring import Counted, label_agreement, openi_agreement, pooled, truth_agreement
    from benchmark.prompts.sources import labelled_reports, read_openi

    rules = RuleAligner()
    counted: Counted = "present" if certain else "present+uncertain"
    left_out: list[str] = []
    table = reports is not None and reports.name.lower().endswith((".csv", ".csv.gz"))
    if truth is not None:
        load_card(dataset)
        parts = truth_agreement(read_table(truth)[0], rules, rules.lexicon)
        origin, count = TWIN_NOTICE, None
    elif reports is not None and table:
        concepts = label_concepts(dataset)
        frame, left_out = labelled_reports(reports, tuple(concepts))
        parts = label_agreement(frame, concepts, rules, rules.lexicon, rule=rule, counted=counted)
        parts = {**parts, "all classes": pooled(parts)}
        origin, count = "official", len(frame)
    elif reports is not None:
        card = load_card(dataset)
        if card.reader != "openi":
            raise ParamsError(
                f"{dataset}: its reports carry no terms to score against. Give a CSV with "
                "a label column a class, or --truth of its twin."
            )
        if terms not in card.label_rules:
            raise UnknownName("label rule", terms, card.label_rules)
        read = read_openi(reports)
        parts = openi_agreement(
            read,
            card,
            rules,
            rules.lexicon,
            rule=rule,
            counted=counted,
            terms=terms,
        )
        parts = {**parts, "all classes": pooled(parts)}
        origin, count = "official", len(read)
    else:
        raise ParamsError("nothing to score. Give --reports (Open-I XML, or a CSV) or --truth (of a twin).")
    value = {
        "dataset": dataset,
        "origin": "twin" if truth else "official",
        "reports": count,
        "rule": rule,
        "aligner_hash": rules.hash,
        "left_out": left_out,
        **({"micro_f1": parts["all classes"].f1} if "all classes" in parts else {}),
        "scores": {name: part.summary() for name, part in parts.items()},
    }
    head = f"{dataset}: {f'{count:,} reports, ' if count else ''}{origin}"
    emit(value, "\n".join([head, *left_out, *_scores(parts)]), as_json)


def _backend(endpoint: str | None, model: str | None, concurrency: int, time_out: float) -> Backend:
    from benchmark.core.errors import ParamsError
    from benchmark.prompts.llm.backends import Endpoint, LocalModel

    if model is None:
        raise ParamsError("--aligner llm needs --model: a path, or with --endpoint the name of its model.")
    if endpoint is None:
        return LocalModel(Path(model))
    return Endpoint(endpoint, model, time_out=time_out, concurrency=concurrency)


def _scores(parts: Mapping[str, Agreement]) -> list[str]:
    def figure(x: float | None) -> str:
        return "    -" if x is None else f"{x:5.3f}"

    return [
        f"{'':22}precision recall    F1  right surplus missed",
        *(
            f"{name:22}    {figure(own.precision)}  {figure(own.recall)} {figure(own.f1)}"
            f" {own.right:6,} {own.surplus:7,} {own.missed:6,}"
            for name, own in parts.items()
        ),
    ]
