"""A store that cannot be used is one line, without the key that its address may hold."""

from __future__ import annotations

import pytest

from benchmark.core.errors import BenchError
from benchmark.stages.tracking import Tracker


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("postgresql+nodriver://me:secret@db/x", "cannot be used"),
        ("postgresql://me:secret@127.0.0.1:1/x", "MLflow store postgresql://127.0.0.1:1/x"),
        ("mssql+pymssql://me:secret@127.0.0.1:1/x", "needs the package pymssql"),
        ("nonsense://x", "cannot be used"),
    ],
)
def test_a_store_that_cannot_be_used(tmp_path, monkeypatch, uri, said) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(BenchError, match=said) as caught:
        Tracker(tmp_path, "run", {})
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
