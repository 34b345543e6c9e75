"""Sex and age as the tables of any set write them; what is not understood is counted."""

from __future__ import annotations

import pandas as pd

from benchmark.core.cells import age_in_years, blanks
from benchmark.data.readers.common import Log

SEXES = {"F": "F", "FEMALE": "F", "M": "M", "MALE": "M"}


def sexes(raw: pd.Series, log: Log) -> pd.Series:
    """F, M or null. raw: text, its index the names of the images."""
    found = raw.str.strip().str.upper().map(lambda v: SEXES.get(v))
    log.see("sex is neither F nor M", raw.index[found.isna() & ~blanks(raw)])
    return found


def ages(raw: pd.Series, log: Log) -> pd.Series:
    """Years, NaN where there are none. raw: text as `age_in_years` reads it, its index the names."""
    found = raw.map(age_in_years, na_action="ignore").astype(float)
    log.see("age is not understood", raw.index[found.isna() & ~blanks(raw)])
    return found
