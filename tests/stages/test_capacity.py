"""A container's and a cluster's part of the machine bounds what more processes may take."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from benchmark.stages import capacity

GIB = 2**30


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


@pytest.fixture
def groups(tmp_path, monkeypatch) -> Path:
    """An empty tree of control groups on a machine of 8 cores with 64 GiB free."""
    monkeypatch.setattr(capacity, "GROUPS", tmp_path)
    monkeypatch.setattr(capacity, "OWN", tmp_path / "own")
    monkeypatch.setattr(capacity, "cores", lambda: 8)

    class Free:
        available = 64 * GIB

    monkeypatch.setattr(psutil, "virtual_memory", Free)
    return tmp_path


def test_without_groups_it_is_the_machine(groups: Path) -> None:
    assert (capacity.usable_cores(), capacity.free_memory()) == (8, 64 * GIB)


def test_groups_of_version_2_bound_it_and_so_do_those_around_them(groups: Path) -> None:
    (groups / "own").write_text("0::/pod/job\n")
    write(groups / "pod", cpu__max="250000 100000", memory__max="max", memory__current="5")
    write(groups / "pod/job", cpu__max="max 100000", memory__max=str(9 * GIB), memory__current=str(4 * GIB),
          memory__stat=f"anon 7\ninactive_file {GIB}\nactive_file 3\n")  # fmt: skip
    assert (capacity.usable_cores(), capacity.free_memory()) == (2, 6 * GIB)


def test_groups_of_version_1_too(groups: Path) -> None:
    (groups / "own").write_text("4:memory:/job\n3:cpu,cpuacct:/job\n2:pids:/job\n")
    write(groups / "cpu/job", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    write(groups / "cpu", cpu__cfs_quota_us="50000", cpu__cfs_period_us="100000")
    write(groups / "memory/job", memory__limit_in_bytes=str(3 * GIB), memory__usage_in_bytes=str(2 * GIB),
          memory__stat=f"inactive_file 5\ntotal_inactive_file {GIB}\n")  # fmt: skip
    assert capacity.usable_cores() == 1  # half a core is one process
    assert capacity.free_memory() == 2 * GIB


def test_an_overdrawn_group_leaves_nothing(groups: Path) -> None:
    (groups / "own").write_text("0::/\n")
    write(groups, memory__max="1000", memory__current="4000")
    assert capacity.free_memory() == 0
