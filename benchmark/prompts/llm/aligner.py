"""From reports to a table of aligned sentences by a language model, resumable at every answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.core.errors import BenchError, DataError
from benchmark.core.tables import write_table
from benchmark.prompts.aligned import ALIGNED_COLUMNS
from benchmark.prompts.llm.backends import Backend, NoAnswer, Refused
from benchmark.prompts.llm.checks import place_of
from benchmark.prompts.llm.protocol import (
    ALIGN,
    LLMTask,
    Reason,
    messages,
    parse_answer,
    spoilt,
    to_statement,
)
from benchmark.prompts.llm.record import Record, SentenceAnswer, read_record, sentence_key
from benchmark.prompts.rules import RuleAligner
from benchmark.prompts.sections import report_sections, select, selected_text
from benchmark.prompts.sentences import split_sentences

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[int, int], None]
"""Called with (done, total) sentences."""
_SILENT_BATCHES = 3
"""Batches in a row without an answer before the run stops."""


@dataclass(frozen=True)
class PlacedSentence:
    """Where a sentence stands."""

    study: str
    number: int
    section: str
    text: str


@dataclass(frozen=True)
class Made:
    """How a table was made. distinct: sentences of another text each. reasons: why sentences failed → how
    many did. reused: answers that were there. asked: sentences that were sent."""

    task: str
    prompt_version: int
    prompt_hash: str
    sentences: int
    distinct: int
    failed: int
    reasons: dict[str, int]
    model: str
    reused: int
    asked: int


@dataclass(frozen=True)
class LLMResult:
    """table: ALIGNED_COLUMNS; a failed sentence has a row whose `aligned` and later columns are null."""

    table: pd.DataFrame
    made: Made

    def save(self, path: Path | str) -> None:
        """One Parquet file; equal answers give equal bytes, so that a pipeline can depend on it."""
        kept = {k: v for k, v in asdict(self.made).items() if k not in ("reused", "asked")}
        write_table(path, self.table, {"aligner": "llm", **kept})


def require_consent(
    dataset: str | None, forbidden: bool, backend: Backend, consents: Collection[str]
) -> None:
    """Refuse to send reports of a dataset that forbids it, or of an unknown one, to another machine.

    Raises BenchError unless the dataset is named in `consents` (`unknown` where there is no dataset).
    """
    name = dataset or "unknown"
    if backend.remote and (forbidden or dataset is None) and name not in consents:
        why = "its data use agreement forbids it" if dataset else "it is not known whose reports these are"
        raise BenchError(
            f"reports of {name} may not go to a remote endpoint: {why}. Use a model on this machine, or, "
            f"with written permission, add --i-have-permission-to-send-reports-of {name}."
        )


def align_with_llm(
    reports: Mapping[str, str],
    backend: Backend,
    cache: Path | str,
    *,
    rule: str = "findings+impression",
    task: LLMTask = ALIGN,
    tries: int = 2,
    retry_failed: bool = False,
    aligner: RuleAligner | None = None,
    progress: Progress | None = None,
) -> LLMResult:
    """Align reports (study → text). A sentence goes to the back end once, however often it occurs.

    task: SUMMARISE asks for the high-level findings of whole reports; the table then has a row a finding and
    the selected report as `text`.
    cache: folder; answers are appended to `<cache>/<key of prompt and model>.jsonl` as they arrive, so that a
    killed run goes on where it stopped. tries: how often an invalid answer is asked for; what stays invalid
    is recorded as failed and not asked again unless `retry_failed`.
    Raises BenchError where the back end is down (what was answered is kept).
    """
    aligner = aligner or RuleAligner()
    sentences = list(report_sentences(reports, rule, task))
    if not sentences:
        raise DataError("no sentence in these reports; check the folder and --rule.")
    distinct = {sentence_key(s.text): s.text for s in sentences}
    record = Record(Path(cache) / f"{backend.identity[:16]}-{task.hash[:16]}.jsonl", backend.identity, task)
    known = {k for k, e in record.answers.items() if not (retry_failed and e.failed)}
    todo = {key: text for key, text in distinct.items() if key not in known}
    try:
        _ask_all(todo, backend, record, tries, aligner, progress, len(distinct), task)
    finally:
        record.close()
    reused = len(distinct) - len(todo)
    return _result(sentences, record.answers, aligner, task, backend.identity, reused, len(todo))


def replay(
    reports: Mapping[str, str],
    recorded: Path | str,
    *,
    rule: str = "findings+impression",
    task: LLMTask = ALIGN,
    aligner: RuleAligner | None = None,
) -> LLMResult:
    """Align from a recorded file alone; nothing is asked. A sentence that it lacks is failed (`no answer`).

    Raises DataError where the file was recorded with another prompt.
    """
    aligner = aligner or RuleAligner()
    head, answers = read_record(recorded)
    if head.prompt != task.hash:
        raise DataError(
            f"{recorded}: was recorded with another prompt version or for another task. Record it again."
        )
    sentences = list(report_sentences(reports, rule, task))
    return _result(sentences, answers, aligner, task, head.model, len(answers), 0)


def report_sentences(
    reports: Mapping[str, str], rule: str, task: LLMTask = ALIGN
) -> Iterator[PlacedSentence]:
    """Sentences of reports in order, or for a task on whole reports the selected text of each."""
    for study, report in reports.items():
        if task.whole:
            text = selected_text(report, rule)
            if text:
                yield PlacedSentence(study, 0, "summary", text)
            continue
        number = 0
        for section, text in select(report_sections(report), rule):
            for sentence in split_sentences(text):
                yield PlacedSentence(study, number, section, sentence)
                number += 1


def _ask_all(
    todo: Mapping[str, str],
    backend: Backend,
    record: Record,
    tries: int,
    aligner: RuleAligner,
    progress: Progress | None,
    total: int,
    task: LLMTask,
) -> None:
    keys = list(todo)
    batches = [keys[i : i + backend.batch] for i in range(0, len(keys), backend.batch)]
    done, silent = total - len(keys), 0
    running: set[Future[dict[str, SentenceAnswer] | None]] = set()
    with ThreadPoolExecutor(backend.concurrency) as pool:
        try:
            queue = iter(batches)
            while True:
                for batch in queue:
                    texts = {key: todo[key] for key in batch}
                    running.add(pool.submit(_ask, texts, backend, tries, aligner, task))
                    if len(running) >= backend.concurrency:
                        break
                if not running:
                    return
                ready, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ready:
                    running.discard(future)
                    answers = future.result()
                    silent = silent + 1 if answers is None else 0
                    if silent >= _SILENT_BATCHES:
                        raise BenchError(
                            "the language model does not answer. Finished sentences are kept; start it "
                            "and run the same command again to resume."
                        )
                    if answers is not None:
                        record.add(answers)
                        done += len(answers)
                        if progress:
                            progress(done, total)
        finally:
            _keep_finished(running, record)


def _keep_finished(running: set[Future[dict[str, SentenceAnswer] | None]], record: Record) -> None:
    """On the way out: what is already on its way is paid for, so it is kept."""
    for future in running:
        if not future.cancel() and future.exception() is None:
            record.add(future.result() or {})


def _ask(
    texts: Mapping[str, str], backend: Backend, tries: int, aligner: RuleAligner, task: LLMTask
) -> dict[str, SentenceAnswer] | None:
    """Answers to one batch; None where the back end gave no answer at all."""
    numbered = dict(enumerate(texts.values(), 1))
    keys = dict(enumerate(texts, 1))
    found: dict[str, SentenceAnswer] = {}
    left: dict[int, str] = numbered
    reasons: dict[int, Reason] = {}
    for _ in range(tries):
        try:
            good, reasons = parse_answer(backend.complete(messages(left, task)), left, aligner, task)
        except Refused:
            good, reasons = {}, dict.fromkeys(left, "refused")
        except NoAnswer:
            if not found and not reasons:
                return None
            reasons = {n: reasons.get(n, "no answer") for n in left}
            break
        found.update({keys[n]: SentenceAnswer(findings=findings) for n, findings in good.items()})
        left = {n: text for n, text in left.items() if n not in good}
        if not left:
            break
    return {**found, **{keys[n]: SentenceAnswer(failed=reasons[n]) for n in left}}


def _result(
    sentences: Sequence[PlacedSentence],
    answers: Mapping[str, SentenceAnswer],
    aligner: RuleAligner,
    task: LLMTask,
    model: str,
    reused: int,
    asked: int,
) -> LLMResult:
    import pandas as pd

    rows: list[tuple[object, ...]] = []
    reasons: Counter[str] = Counter()
    for s in sentences:
        answer = answers.get(sentence_key(s.text), SentenceAnswer(failed="no answer"))
        head = (s.study, s.number, s.section, s.text)
        # A recorded file may be anyone's, so that its findings are held against the sentence again.
        failed = answer.failed or spoilt(answer.findings, s.text, aligner, task)
        if failed:
            reasons[failed] += 1
        for finding in () if failed else answer.findings:
            statement, text = to_statement(finding, aligner)
            concept = statement.concept if statement else None
            place = place_of(finding.location, aligner) if finding.location else None
            severity = finding.severity.lower() if finding.severity else None
            rows.append((*head, text, concept, finding.presence, finding.side, place, severity))
        if failed or not answer.findings:
            rows.append((*head, *[None] * 6))
    frame = pd.DataFrame(rows, columns=list(ALIGNED_COLUMNS))
    frame = frame.astype({name: "Int32" if name == "sentence" else "string" for name in ALIGNED_COLUMNS})
    made = Made(
        task=task.name,
        prompt_version=task.version,
        prompt_hash=task.hash,
        sentences=len(sentences),
        distinct=len({sentence_key(s.text) for s in sentences}),
        failed=reasons.total(),
        reasons=dict(sorted(reasons.items())),
        model=model,
        reused=reused,
        asked=asked,
    )
    return LLMResult(frame, made)
