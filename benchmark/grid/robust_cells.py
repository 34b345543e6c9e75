"""The cells of a setting of `robustness`, made by rule: each method's main cell with what is changed."""

from __future__ import annotations

from typing import Any

from benchmark.core.errors import ParamsError, closest
from benchmark.grid.cell_params import CellParams
from benchmark.grid.declared import declared
from benchmark.grid.encoder_params import EncoderChanges
from benchmark.grid.modality import on_volumes
from benchmark.grid.params import Params, ablation_cell
from benchmark.grid.parts import VOLUMES
from benchmark.grid.robustness import SettingParams

BEFORE = "robustness/"
"""Before the name of a setting in the name of its group of cells, which is the `table` of those cells."""
HEAD = 64
"""Channels of a head of attention (docs/fairness.md)."""
SHOWN = {
    "name",
    "variant",
    "table",
    "label",
    "seeds",
    "tasks",
    "evaluate",
    "more_prompts",
    "more_prompts_on",
}
"""Fields of a cell that say where and how it is shown, not what is trained."""


def params_of(params: Params, group: str) -> Params:
    """The parameters of a group of cells: those of CT volumes for VOLUMES, those of a setting for its group,
    and these themselves for every other group. Raises ParamsError for a setting that is not there."""
    if group == VOLUMES:
        return on_volumes(params)
    return under_setting(params, group.removeprefix(BEFORE)) if group.startswith(BEFORE) else params


def under_setting(params: Params, name: str) -> Params:
    """The parameters under `robustness.settings.<name>`: its training images, and its cells in place of all
    others. A cell that `cells` has under the same name is one with it, so that it is trained once.

    Raises ParamsError where there is no such setting, or `cells` has something else under one of the names.
    """
    settings = params.robustness.settings
    if name not in settings:
        near = closest(name, settings)
        hint = f" Did you mean '{near}'?" if near else ""
        raise ParamsError(f"robustness: no setting '{name}' in params.yaml.{hint}")
    setting = settings[name]
    made = {f"{method}-{name}": _cell(params, setting, method, name) for method in params.methods}
    own = params.model_copy(update={"cells": made, "attribution": {}})
    for cell in made.keys() & params.cells.keys():
        one, other = (ablation_cell(p, cell).model_dump(mode="json", exclude=SHOWN) for p in (own, params))
        if one != other or setting.train_images is not None:
            raise ParamsError(
                f"robustness.settings.{name}: cells.{cell} is another cell of this name, and both would be "
                "written to one folder. Rename one of them."
            )
    if setting.train_images is None:
        return own
    data = params.data.model_copy(update={"train_images": setting.train_images})
    return own.model_copy(update={"data": data})


def _cell(params: Params, setting: SettingParams, method: str, name: str) -> CellParams:
    options: dict[str, Any] = {}
    if setting.width is not None:
        options["width"] = setting.width
        if "heads" in declared(method).Config.model_fields:
            options["heads"] = max(setting.width // HEAD, 1)
    encoders = {k: own for k in ("image", "text") if (own := getattr(setting, k)) is not None}
    return CellParams.model_validate(
        {
            "method": method,
            "table": f"{BEFORE}{name}",
            "label": setting.label,
            "options": options,
            "encoders": EncoderChanges.model_validate(encoders),
            "evaluate": params.robustness.evaluate or params.data.evaluate,
            "seeds": params.robustness.seeds,
        }
    )
