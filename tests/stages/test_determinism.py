"""An older processor and two threads: the same twins, and the same numbers but for rounding. The same bytes
in two folders are asked for in test_places.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from benchmark.cli import main

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]

ACROSS_MACHINES = 0.02
"""Of a macro AUROC after one epoch; longer training carries rounding further (docs/read-the-tables.md)."""
OLDER = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
"""Makes torch and its libraries compute as on a processor without AVX."""


def pipeline(home: Path, root: Path, threads: int = 1, numerics: str = "portable") -> dict[str, bytes]:
    """Twin to tables in a clean folder; name → bytes of every table and of the twin's own files."""
    home.mkdir()
    params = yaml.safe_load((root / "params.yaml").read_text())
    params |= {"methods": ["clip", "carzero"], "seeds": [0, 1], "numerics": numerics}
    params |= {"cells": {}, "attribution": {}, "prompt_ablation": {}, "tasks": {}, "profiles": {}}
    params["data"].update(evaluate=["chestxray14"])
    params["twins"].update(size=64, images={"mimic_cxr": 96, "chestxray14": 96})
    params["training"].update(epochs=1, batch_size=32)
    (home / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXR_ALIGNBENCH_HOME", str(home))
        torch.set_num_threads(threads)
        try:
            for name in ("mimic_cxr", "chestxray14"):
                assert main(["stage", "prepare", name]) == 0
            assert main(["stage", "features"]) == 0
            assert main(["stage", "cells", "main", "--jobs", "1"]) == 0
            assert main(["stage", "summarise", "main"]) == 0
            assert main(["report", "tables", "--part", "main"]) == 0
        finally:
            torch.set_num_threads(before)
    twins = home / "data" / "twins"
    files = [*(home / "reports" / "tables").iterdir(), *(p for p in twins.rglob("*") if p.is_file())]
    return {str(path.relative_to(home)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def first(root, tmp_path_factory) -> tuple[Path, dict[str, bytes]]:
    home = tmp_path_factory.mktemp("determinism") / "first"
    return home, pipeline(home, root)


@pytest.mark.slow
def test_another_machine_changes_values_by_rounding_only(first, root, tmp_path) -> None:
    """Two threads and no AVX stand in for it: sums are added in another order, by other instructions."""
    home, one = first
    other = tmp_path / "other"
    code = (
        "from pathlib import Path; from tests.stages.test_determinism import pipeline; "
        f"pipeline(Path({str(other)!r}), Path({str(root)!r}), threads=2, numerics='native')"
    )
    subprocess.run(
        [sys.executable, "-c", code], cwd=root, env={**os.environ, **OLDER}, check=True, timeout=300
    )
    twins = [name for name in one if name.startswith("data/twins/")]
    assert twins
    assert all((other / name).read_bytes() == one[name] for name in twins), "twins do not depend on it"
    values = [
        pd.read_parquet(place / "results/summary/main/metrics.parquet").query("metric == 'auroc'")
        for place in (home, other)
    ]
    keys = ["run_id", "class", "stratum"]
    joined = values[0].merge(values[1], on=keys, suffixes=("", "_other"))
    assert len(joined) == len(values[0])
    apart = (joined["value"] - joined["value_other"]).abs()
    macro = apart[joined["class"] == "macro"]
    assert macro.max() <= ACROSS_MACHINES
