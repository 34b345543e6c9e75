"""`bench doctor`: is this machine ready?"""

from __future__ import annotations

from benchmark.commands.common import JsonOption, emit

EPILOG = "bench doctor · bench doctor --json"


def command(as_json: JsonOption = False) -> int:
    """Check versions, devices, disk and data roots. Exit 1 where something would stop a run."""
    from dataclasses import asdict

    from benchmark.grid.layout import Project
    from benchmark.stages.doctor import examine

    found = examine(Project.find())
    lines = [f"Python {found.python} on {found.platform}, {found.cores} cores"]
    lines.append(f"devices   {', '.join(found.devices)}")
    if found.processor is not None:
        own = found.processor
        lines.append(f"processor {own.name}, fingerprint {own.fingerprint}: {own.meaning}")
    lines += [
        f"disk      {found.disk_free_gb} GB free, cache {found.cache_gb} GB",
        "packages  " + ", ".join(f"{k} {v}" for k, v in found.packages.items() if v),
        *[f"{name:<20} {state}" for name, state in found.data.items()],
    ]
    lines += [f"problem   {p}" for p in found.problems] or ["No problems found."]
    emit(asdict(found), "\n".join(lines), as_json)
    return 1 if found.problems else 0
