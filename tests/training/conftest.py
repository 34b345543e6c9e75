"""The training data that these tests share."""

from __future__ import annotations

import pytest
from training_cases import make_data

from benchmark.training.data import TrainingData


@pytest.fixture(scope="session")
def data() -> TrainingData:
    return make_data()
