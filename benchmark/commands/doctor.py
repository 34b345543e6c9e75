"""`bench doctor`: is this machine ready?"""

from __future__ import annotations

from benchmark.commands.common import JsonOption, emit

EPILOG = "bench doctor · bench doctor --json"


def command(as_json: JsonOption = False) -> int:
    """Check versions, devices, disk and data roots. Exit 1 where something would stop a run."""
    from benchmark.grid.layout import Project
    from benchmark.stages.doctor import examine

    report = examine(Project.find())
    lines = [
        f"Python {report['python']} on {report['platform']}, {report['cores']} cores",
        f"devices   {', '.join(report['devices'])}",
        "processor {name}, fingerprint {fingerprint}: {meaning}".format(**report["processor"]),
        f"disk      {report['disk_free_gb']} GB free, cache {report['cache_gb']} GB",
        "packages  " + ", ".join(f"{k} {v}" for k, v in report["packages"].items() if v),
        *[f"{name:<20} {state}" for name, state in report["data"].items()],
    ]
    lines += [f"problem   {p}" for p in report["problems"]] or ["No problems found."]
    emit(report, "\n".join(lines), as_json)
    return 1 if report["problems"] else 0
