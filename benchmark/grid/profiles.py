"""Switching params.yaml from one profile to another."""

from __future__ import annotations

import yaml

from benchmark.core.files import read_yaml, write_text
from benchmark.grid.layout import Project
from benchmark.grid.params import apply_profile, load_params

HEADER = "# Written by `bench stage profile {name}`; `git checkout params.yaml` brings the default back.\n"


def write_profile(project: Project, name: str) -> str:
    """Merge `profiles.<name>` over params.yaml and write it back, validated before anything is written.

    Comments of the file are not kept, which is why the default profile is the file as committed.
    """
    load_params(project.params, name)
    merged = apply_profile(read_yaml(project.params), name, project.params)
    text = yaml.safe_dump(merged, sort_keys=False, allow_unicode=True, width=110)
    write_text(project.params, HEADER.format(name=name) + text)
    return f"params.yaml now holds profile '{name}'."
