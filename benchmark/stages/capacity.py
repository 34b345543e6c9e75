"""What this machine has for more processes, in a container or a job of a cluster too: cores and memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from benchmark.data.contents import cores

OWN = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")
"""Linux's control groups, by which containers and clusters give a part of a machine."""


def usable_cores() -> int:
    """Cores that this process may use: those that it is bound to, no more than its groups have a quota of."""
    found = [cores()]
    for folder in _groups("cpu"):
        said = _words(folder / "cpu.max") or [
            *_words(folder / "cpu.cfs_quota_us"), *_words(folder / "cpu.cfs_period_us")
        ]  # fmt: skip
        if len(said) == 2 and all(word.isdigit() for word in said):
            found.append(int(said[0]) // int(said[1]))
    return max(1, min(found))


def free_memory() -> int:
    """Bytes that processes may still take without swapping, no more than the limits of the groups leave. A
    group's pages of files that nobody uses count as free, as they do for the machine."""
    import psutil

    found = [int(psutil.virtual_memory().available)]
    for folder in _groups("memory"):
        for limit, used in (("max", "current"), ("limit_in_bytes", "usage_in_bytes")):
            said = [*_words(folder / f"memory.{limit}"), *_words(folder / f"memory.{used}")]
            if len(said) == 2 and all(word.isdigit() for word in said):
                stat = " ".join(_words(folder / "memory.stat"))
                files = re.findall(r"\b(?:total_)?inactive_file (\d+)", stat)
                found.append(int(said[0]) - int(said[1]) + int(files[-1] if files else 0))
    return max(0, min(found))


def _groups(controller: str) -> Iterator[Path]:
    """The folders of the groups that this process is in, with those around them: of version 2 one tree of all
    controllers, of version 1 one tree each."""
    try:
        lines = OWN.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = GROUPS / controller if controllers else GROUPS
        own = top / path.lstrip("/")
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(top))


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except OSError:
        return []
