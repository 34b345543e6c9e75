"""Negation: whether "There is no X" ranks absence, and which of a true, a denied and a shorter report wins.

A dataset whose manifest holds `report_negated` and `report_omitted` beside `report` (the official CXR-Align)
is asked with its own reports; others with sentences made of their labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from benchmark.core.hashing import hash_array, hash_strings
from benchmark.core.tasks import TASKS, Task, TaskContext, TaskResult, TaskSettings
from benchmark.evaluation.evaluate import finish
from benchmark.evaluation.evaluation_data import are_findings
from benchmark.evaluation.negation import (
    Statements,
    choice_rows,
    polarity_rows,
    preference_rows,
    scored_in_parts,
    statements_of,
)
from benchmark.evaluation.statistics.influence import patient_codes
from benchmark.prompts.class_prompts import class_prompts

if TYPE_CHECKING:
    from benchmark.core.settings import StatisticsConfig
    from benchmark.evaluation.evaluation_data import EvaluationData
    from benchmark.evaluation.trial_rows import Rows
    from benchmark.prompts.class_prompts import PromptSet
    from methods.base import Method

REPORTS = ("report", "report_negated", "report_omitted")


class NegationSettings(TaskSettings, frozen=True):
    statements: int = Field(
        default=400, ge=1, description="at most so many images are given three statements"
    )


@TASKS.register("negation")
class Negation(Task):
    name = "negation"
    title = "Negation: presence, absence, and choice among statements"
    headlines = ("auroc_absent", "choice_true")
    shown = ("auroc_present", "auroc_absent", "auroc_contrast", "choice_true", "choice_negated")
    needs = frozenset({"labels"})
    order = 4
    own_protocol = False
    Settings = NegationSettings

    def evaluate(
        self, method: Method, data: EvaluationData, prompts: PromptSet, given: TaskContext
    ) -> TaskResult | None:
        assert isinstance(given.settings, NegationSettings)
        present, absent = sentences(data)
        both = [*present, *absent]
        store = data.encode(both)
        scores = given.score(method, data.images, data.rows, store.get(store.rows(both)))
        labels = stated(data)
        images = data.chosen.frame["image_id"].tolist()
        statements = own_statements(data) or statements_of(
            labels, images, present, absent, given.settings.statements
        )
        texts = data.encode(list(dict.fromkeys(t for three in statements.texts for t in three)))

        def ask(rows: np.ndarray, said: list[str]) -> np.ndarray:
            return given.score(method, data.images, data.rows[rows], texts.get(texts.rows(said)))

        chosen = scored_in_parts(statements, ask)
        if given.helper:
            return None
        patients, classes = data.chosen.patients, data.chosen.classes
        codes, clusters, grouped = patient_codes(patients, len(data))
        level = given.statistics.level
        positive, negated = scores[:, : len(classes)], scores[:, len(classes) :]
        rows: Rows = []
        if ((labels == 1).any(axis=0) & (labels == 0).any(axis=0)).any():
            rows += polarity_rows(positive, negated, labels, patients, classes, data.strata, given.statistics)
            rows += preference_rows(positive, negated, labels, classes, codes, clusters, level)
        if len(chosen):
            rows += choice_rows(chosen, codes[statements.images], clusters, level)
        return TaskResult(finish(rows, grouped), "pos-neg")

    def reads(self, data: EvaluationData, statistics: StatisticsConfig) -> dict[str, str]:
        """The wording of the prompts, and reports where they are asked, too."""
        found = super().reads(data, statistics)
        found["stated"] = hash_array(stated(data))
        found["sentences"] = hash_strings(text for side in sentences(data) for text in side)
        own = own_statements(data)
        if own is not None:
            found["reports"] = hash_strings(text for three in own.texts for text in three)
        return found


def sentences(data: EvaluationData) -> tuple[list[str], list[str]]:
    """(C,) "There is X" and (C,) "There is no X" of the classes."""
    found = class_prompts(data.card, data.chosen.info.protocol, style="pos-neg")
    present, absent = (
        [t for t, own in zip(found.texts, found.polarity, strict=True) if own == sign] for sign in (1, -1)
    )
    return present, absent


def stated(data: EvaluationData) -> np.ndarray:
    """(N, C) labels of the classes that are stated and denied; of those that are no findings ("No Finding",
    which nobody denies) every label is ignored."""
    return np.where(are_findings(data.card, data.chosen.classes), data.chosen.labels, -1).astype(np.int8)


def own_statements(data: EvaluationData) -> Statements | None:
    """The reports of the dataset, true, negated and omitted; None where it has not all three."""
    frame = data.chosen.frame
    if not set(REPORTS) <= set(frame):
        return None
    whole = frame[list(REPORTS)].fillna("")
    rows = np.flatnonzero((whole != "").all(axis=1).to_numpy())
    texts = [(str(a), str(b), str(c)) for a, b, c in whole.iloc[rows].itertuples(index=False, name=None)]
    return Statements(rows, tuple(texts))
