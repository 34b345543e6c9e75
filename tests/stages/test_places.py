"""The same project in two folders, for two users, in two time zones: the same hashes and the same tables.
`make places` shows it of the whole smallest profile, through DVC."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from tests import places

pytestmark = pytest.mark.slow


@pytest.mark.filterwarnings("ignore")
def test_nothing_of_the_place_is_in_what_is_hashed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = yaml.safe_load((root / "params.yaml").read_text())
    params |= {"methods": ["clip"], "seeds": [0], "prompt_ablation": {}, "attribution": {}, "profiles": {}}
    params["tasks"] = {"retrieval": {"datasets": ["mimic_cxr"], "pairs": 20}}
    params["cells"] = {"clip-dot": params["cells"]["clip-dot"]}
    params["data"].update(evaluate=["chestxray14"], ablate_on=["chestxray14"])
    params["twins"].update(size=64, images={"mimic_cxr": 96, "chestxray14": 80})
    params["twins"].update(side=24, volumes={"ct_rate": 70})
    params["ct"] = {"evaluate": ["ct_rate"], "tasks": {"retrieval": {"datasets": ["ct_rate"], "pairs": 20}}}
    params["training"].update(epochs=1, batch_size=32)
    one = places.project(tmp_path / "one", params, link=True)
    two = places.project(tmp_path / "another name" / "and deeper" / "two", params, link=True)
    monkeypatch.chdir(one)
    places.run_stages(one)
    places.run(two, sys.executable, "-m", "tests.places", "stages", **places.elsewhere(tmp_path))
    for read in (places.outputs, places.tables):
        left, right = read(one), read(two)
        assert left.keys() == right.keys()
        assert len(left) > 10
        assert [name for name in left if left[name] != right[name]] == []
    assert places.holding(one, str(one)) == []
