"""Sex and age as the tables of any set write them; what is not understood is counted."""

from __future__ import annotations

import pandas as pd

from benchmark.core.cells import age_in_years, blanks
from benchmark.data.readers.common import Log

OLDEST, OLD = 100, "age above 100, kept"
"""Years beyond which an age is counted, and what the count is called."""
YEAR = r"^\s*((?:18|19|20)\d\d)(?:\D|\d{4}(?!\d)|$)"
"""A year, alone or before the rest of a date (1936, 1936.0, 20130512, 2013-05-12), no spreadsheet's day."""
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
    log.see(OLD, raw.index[found > OLDEST])
    return found


def ages_at(study: pd.Series, birth: pd.Series, log: Log) -> pd.Series:
    """Whole years from the year of birth to that of the study; NaN where either is no year, or the study is
    the earlier one. study: text of a date, its year first. birth: text of a year. Both with the names of the
    images as their index."""
    year, born = (text.str.extract(YEAR, expand=False).astype(float) for text in (study, birth))
    log.see("no year of birth", birth.index[born.isna()])
    log.see("the date of the study does not begin with a year: no age", study.index[year.isna()])
    found = year - born
    log.see("born after the study: no age", found.index[found < 0])
    log.see(OLD, found.index[found > OLDEST])
    return found.where(found >= 0)
