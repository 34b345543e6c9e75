"""The base of every section of params.yaml, and of the other files that people write."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Unknown keys are errors, and numbers that are none (`.inf`, `.nan`); values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
