"""A local Ray cluster for tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

STORE = 80 * 2**20
"""Bytes of a node's object store, the smallest that Ray takes."""


def head(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head with one core; tests add nodes by `cluster.add_node(num_cpus=1, object_store_memory=STORE)`."""
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # 15 by default, which a busy machine hardly serves
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False},
    )
    yield cluster
    cluster.shutdown()
