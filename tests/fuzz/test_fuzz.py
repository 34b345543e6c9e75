"""A minute of damaged and odd inputs, the same ones every time; `make fuzz` tries a hundred thousand."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.judge import judge
from tests.fuzz.targets import TARGETS, Input

pytestmark = pytest.mark.filterwarnings("ignore")
INPUTS = 2000
"""Of all targets together; about a minute of one core."""
WEIGHTS = sum(target.weight for target in TARGETS.values())


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_inputs_are_read_or_refused_in_one_line(name: str) -> None:
    target = TARGETS[name]

    @settings(
        max_examples=max(8, INPUTS * target.weight // WEIGHTS),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(target.inputs())
    def every_input(one: Input) -> None:
        judge(target, *one)

    every_input()
