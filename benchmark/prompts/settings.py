"""What training texts and inference prompts may be: the words of `texts` and `prompts` in params.yaml."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import BaseModel, Field, field_validator, model_validator

from benchmark.core.validation import complaint_at

Wording = Literal["raw", "aligned", "llm", "summary", "labels"]
Unit = Literal["report", "sentence"]
Kept = Literal["keep", "drop"]
Pairs = Literal["own", "shuffled"]
Rule = Literal["findings+impression", "findings", "impression", "all"]
Style = Literal["template", "official", "name", "synonyms", "ensemble", "pos-neg"]
Aggregation = Literal["mean-embedding", "mean-score", "max"]
STYLES: tuple[Style, ...] = get_args(Style)
AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)

FORMER_KINDS = {
    "raw_report": "wording: raw, unit: report",
    "raw_sentence": "wording: raw, unit: sentence",
    "aligned_report": "wording: aligned, unit: report",
    "aligned": "wording: aligned, unit: sentence",
    "llm": "wording: llm, unit: sentence",
    "labels": "wording: labels, unit: sentence",
}
"""What `texts.kind` once said in one word."""


class TextChanges(BaseModel, frozen=True, extra="forbid"):
    """Fields of the training texts, where a cell changes some of them."""

    wording: Wording = Field(
        default="aligned",
        description="raw: as the report says it; aligned: by rule, in the words of the prompts; llm: by a "
        "recorded model; summary: the high-level findings of the report, by a recorded model, or by rule "
        "where there is no llm_file; labels: from the labels, as for every dataset without reports",
    )
    unit: Unit = Field(default="sentence", description="report: all sentences of an image as one text")
    negations: Kept = Field(default="keep", description="drop: without sentences that only deny")
    bare_names: Kept = Field(
        default="keep", description="drop: without raw sentences that state a finding by its bare name"
    )
    pairs: Pairs = Field(
        default="own", description="shuffled: each image has the texts of another, a control of the training"
    )
    rule: Rule = Field(default="findings+impression", description="which report sections are read")
    llm_file: str | None = Field(default=None, description="recorded sentences, for wording: llm and summary")

    @model_validator(mode="before")
    @classmethod
    def _two_words_for_one(cls, value: Any) -> Any:
        if isinstance(value, dict) and "kind" in value:
            kind = value["kind"]
            instead = FORMER_KINDS.get(kind) if isinstance(kind, str) else None
            said = (
                f"write {instead}" if instead else "write wording and unit, as in wording: raw, unit: report"
            )
            raise complaint_at(("kind",), f"texts.kind is two words now: {said}.", kind)
        return value


class TextParams(TextChanges, frozen=True, extra="forbid"):
    """What the training texts are."""

    @model_validator(mode="after")
    def _agree(self) -> TextParams:
        if self.bare_names == "drop" and self.wording != "raw":
            raise ValueError(
                f"bare_names: drop goes with wording: raw, not with {self.wording}, which is names"
            )
        if self.wording == "llm" and self.llm_file is None:
            raise ValueError("wording: llm needs llm_file, which `bench prompts align --aligner llm` makes")
        return self

    @property
    def name(self) -> str:
        """Wording and unit as a line of output says them: `raw report`, `aligned sentence`, `labels`; a
        summary says whether a model or the rules made it."""
        if self.wording == "summary":
            return f"summary {self.unit} {'by model' if self.llm_file else 'by rule'}"
        return self.wording if self.wording == "labels" else f"{self.wording} {self.unit}"


class PromptParams(BaseModel, frozen=True, extra="forbid"):
    """How a class becomes text at inference."""

    style: Style = "template"
    template: str = Field(
        default="There is {}", description="{} stands for the class; official: the dataset's own prompts"
    )
    aggregation: Aggregation = "mean-score"

    @field_validator("template")
    @classmethod
    def _one_class(cls, template: str) -> str:
        if template != "official" and template.count("{}") != 1:
            raise ValueError("write {} exactly once, where the class goes")
        return template
