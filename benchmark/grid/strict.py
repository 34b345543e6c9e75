"""The base of every section of params.yaml."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Unknown keys are errors; values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid")
