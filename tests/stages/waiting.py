"""Waiting for what other processes do."""

from __future__ import annotations

import time


def wait_for(found, seconds: float = 900):
    """The first value of `found()` that is true; fails where none comes in time."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, "nothing came in time"
        time.sleep(0.05)
    return value
