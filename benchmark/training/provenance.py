"""What a run records beside its numbers: commit, versions, memory."""

from __future__ import annotations

import contextlib
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

PACKAGES = ("cxr-alignbench", "torch", "timm", "open_clip_torch", "transformers", "numpy", "safetensors")


def commit() -> str | None:
    """The checkout's commit, `-dirty` where tracked files differ; None outside one.

    What the pipeline itself writes does not count: dvc.lock and reports.
    """
    head = _git("rev-parse", "HEAD")
    if not head:
        return None
    changed = _git(
        "status", "--porcelain", "--untracked-files=no", "--", ":/", ":(exclude,top)dvc.lock",
        ":(exclude,top)reports",
    )  # fmt: skip
    return head + ("-dirty" if changed else "")


def _git(*arguments: str) -> str | None:
    root = Path(__file__).resolve().parents[2]
    try:
        found = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide numbers."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def reset_peak_memory(device: torch.device) -> None:
    """Start to measure anew, so that a process that trains several cells does not report the largest for all.
    Where the system has no such switch (other than Linux) the peak stays that of the process's life."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory_bytes(device: torch.device) -> int:
    """Highest memory since `reset_peak_memory`: of the device's allocator on CUDA, of this process
    elsewhere."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return next(int(x.split()[1]) * 1024 for x in status.splitlines() if x.startswith("VmHWM:"))
    except (OSError, StopIteration, ValueError):
        pass
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def device_name(device: torch.device) -> str:
    """The accelerator's or processor's name."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    if device.type == "cpu":
        try:
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
        except OSError:
            pass
    return platform.processor() or device.type
