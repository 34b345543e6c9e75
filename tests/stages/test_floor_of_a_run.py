"""What `bench run` says of a floor that is not there: its command makes it, under the settings of the run."""

from __future__ import annotations

import re
import shlex

import pytest
import yaml

RUN = ("run", "--method", "clip", "--dataset", "chestxray14", "--seeds", "0")


@pytest.mark.parametrize(
    "asked",
    [
        (),
        ("--set", "training.epochs=1", "--set", "statistics.level=0.9"),
        ("--protocol", "nih", "--profile", "short"),
    ],
    ids=["as configured", "set", "profile"],
)
def test_the_command_that_is_told_makes_the_floor_of_the_same_settings(fresh_copy, bench, asked) -> None:
    params = yaml.safe_load((fresh_copy / "params.yaml").read_text())
    params["cells"] = {"clip-shuffled": {
        "method": "clip", "table": "floor", "label": "CLIP, shuffled pairs", "texts": {"pairs": "shuffled"},
    }}  # fmt: skip
    params["profiles"] = {"short": {"training": {"epochs": 1}}}
    (fresh_copy / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    code, first, err = bench(fresh_copy, *RUN, *asked)
    assert code == 0, err
    told = [line for line in first.splitlines() if line.startswith("floor: ") and "`" in line]
    assert told
    for command in dict.fromkeys(re.findall(r"`bench (.*?)`", "\n".join(told))):
        code, _, err = bench(fresh_copy, *shlex.split(command))
        assert code == 0, err
    code, again, err = bench(fresh_copy, *RUN, *asked)
    assert code == 0, err
    below = [line.strip() for line in again.splitlines() if "floor: " in line]
    assert not any("`" in line for line in below), below
    rows = {line.split("  ")[0] for line in below}
    assert rows >= {"floor: CLIP, shuffled pairs", "floor: untrained methods"}
    configured = fresh_copy / "runs" / "clip-shuffled" / "seed-0" / "run.json"
    assert configured.is_file() == (asked == ()), "what is configured is not written over"
