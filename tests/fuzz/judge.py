"""One input on one target: what must be true whatever the bytes are."""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from pathlib import Path

from benchmark.core.errors import BenchError
from tests.fuzz.targets import Broken, Target

SECONDS = 60.0
"""Of the processor, as the clock of a busy machine says little; what only waits is killed by the campaign.
Far above what an input needs: processors that share their caches take several times as long for one work."""
GROWTH = 1 << 30
"""Bytes that one input may add to the peak memory of the process."""
LONGEST = 2000
"""Characters of one error."""


def peak() -> int:
    """Bytes that this process has needed at most; 0 where the system does not say."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def judge(target: Target, where: str, data: bytes) -> str:
    """Whether it is "read" or "refused". Raises Broken where an input does anything else than be read or be
    refused in one line, takes longer than SECONDS, needs more than GROWTH, or leaves a temporary file."""
    before, begun = peak(), time.process_time()
    with tempfile.TemporaryDirectory(prefix="fuzz-input-") as home, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(home)
        try:
            code = target.read(folder, where, data)
            outcome = "refused" if isinstance(code, int) and code == 2 else "read"
        except BenchError as error:
            said = str(error)
            if "\n" in said or not said or len(said) > LONGEST:
                raise Broken(
                    f"an error of {len(said)} characters and {said.count(chr(10))} line ends: {said[:300]}"
                ) from error
            outcome = "refused"
        left = [p.name for p in folder.rglob(".*") if p.is_file()]
    if left:
        raise Broken(f"temporary files are left: {left}")
    seconds, grown = time.process_time() - begun, peak() - before
    if seconds > SECONDS:
        raise Broken(f"took {seconds:.1f} s of the processor")
    if grown > GROWTH:
        raise Broken(f"needed {grown / GROWTH:.1f} GB more")
    return outcome
