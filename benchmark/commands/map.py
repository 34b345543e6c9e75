"""`bench map`: where a model looks in one image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.commands.common import JsonOption, emit
from benchmark.core.tables import TWIN_NOTICE

if TYPE_CHECKING:
    from benchmark.stages.look import Looked
    from benchmark.stages.look_volume import LookedVolume

DEFAULT = "radzero"

EPILOG = (
    'bench map data/twins/chestxdet10/test_data/10490.png "There is pleural effusion" --method radzero · '
    'bench map chest.nii.gz "There is a nodule" --method carzero --out nodule.png · '
    'bench map chest.dcm "There is a nodule" --model hf:models/clip · '
    'bench map chest.png "There is Pneumothorax" --method radzero --checkpoint FILE --tokenizer DIR'
)


def command(
    image: Annotated[
        Path, typer.Argument(help="A radiograph (PNG, JPEG, DICOM) or CT volume (NIfTI, .npz, DICOM folder).")
    ],
    text: Annotated[str, typer.Argument(help='What is asked, as in "There is pleural effusion".')],
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            help="A method's main cell or a cell of params.yaml; default: radzero without --model.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A model of two towers instead: hf:FOLDER, open_clip:FOLDER, hf:NAME of cards."),
    ] = None,
    architecture: Annotated[
        str | None, typer.Option(help="open_clip's name of the network of --model open_clip:FILE.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Training of the cell; default: its first.")] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="Official checkpoint of --method instead of a training.")
    ] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Folder of the tokenizer of --checkpoint.")] = None,
    layout: Annotated[
        str | None,
        typer.Option(help="chexzero: what --checkpoint is, where its tensors are also those of open_clip."),
    ] = None,
    class_name: Annotated[
        str | None,
        typer.Option("--class", help="Whose boxes are the truth; default: the class that the text names."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The picture; default: a name in data/maps/.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Draw the model's map for one text over one image, with the score; of a CT volume in three planes.

    An image of a prepared set (a twin, or official files under data.roots) brings its boxes and masks:
    whether the maximum hits them, CNR, IoU and Dice are printed too. Pictures stay on this disk.
    """
    from benchmark.core.errors import ParamsError
    from benchmark.grid.asked import check_layout, check_model
    from benchmark.grid.modality import on_volumes
    from benchmark.reporting.figures.overlay import overlay
    from benchmark.reporting.figures.planes import planes
    from benchmark.reporting.figures.style import save_png
    from benchmark.stages.entry import context
    from benchmark.stages.look import dual_model, look, official_model, trained_model
    from benchmark.stages.look_volume import LookedVolume, is_volume, look_volume

    if model is not None and (method is not None or seed is not None):
        raise ParamsError("--model is asked as it is: give it without --method and --seed.")
    check_model(model, architecture, checkpoint, tokenizer)
    if checkpoint is not None and seed is not None:
        raise ParamsError(
            "--seed chooses a training of this project; --checkpoint is not one. Leave one out."
        )
    if checkpoint is None and tokenizer is not None:
        raise ParamsError("--tokenizer goes with --checkpoint; trainings use the run's shared encoders.")
    check_layout(layout, checkpoint)
    if out is not None and out.suffix.lower() != ".png":
        raise ParamsError(f"--out {out}: the picture is a PNG; name it so.")
    project, params = context()
    volume = is_volume(image)
    if volume:
        params = on_volumes(params)
    if model is not None:
        asked = dual_model(model, architecture)
    elif checkpoint is not None:
        asked = official_model(method or DEFAULT, checkpoint, tokenizer, layout)
    else:
        asked = trained_model(project, params, method or DEFAULT, seed)
    given = project, params, asked, image, text, class_name
    found = look_volume(*given) if volume else look(*given)
    path = out or project.root / "data" / "maps" / file_name(found)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(planes(found) if isinstance(found, LookedVolume) else overlay(found), path)
    picture = project.relative(path)
    emit(as_value(found, picture), as_text(found, picture), as_json)


def file_name(found: Looked | LookedVolume) -> str:
    """`<image>-<model>-<text>.png`, of letters, digits and dashes."""
    from benchmark.grid.layout import slug

    return f"{slug(found.image.stem)[:60]}-{slug(found.model)}-{slug(found.text)[:60]}.png"


def as_value(found: Looked | LookedVolume, picture: str) -> dict[str, Any]:
    known, measures = found.known, found.measures
    return {
        "picture": picture,
        "text": found.text,
        "model": found.model,
        "map": found.kind,
        "axes": found.axes,
        "score": found.score,
        "dataset": None if known is None else known.dataset,
        "origin": None if known is None else known.origin,
        "image_id": None if known is None else known.image_id,
        "class": None if known is None else known.cls,
        "positive": None if known is None else known.positive,
        "truth": None if measures is None else vars(measures),
    }


def as_text(found: Looked | LookedVolume, picture: str) -> str:
    known, truth = found.known, found.measures
    lines = [picture, f'{found.model}: {found.kind} map for "{found.text}", score {found.score:.4f}']
    if known is None:
        return "\n".join([*lines, "in no prepared set: no truth to hold the map against"])
    notice = TWIN_NOTICE if known.origin == "twin" else "official data: the picture is not to be shared"
    lines.append(f"{known.dataset}, image {known.image_id}  {notice}")
    if known.cls is None:
        return "\n".join([*lines, "the text names no class of the set; --class says whose boxes count"])
    label = {True: "positive", False: "negative", None: "not known"}[known.positive]
    lines.append(f"class {known.cls}: {label}")
    if truth is None:
        return "\n".join([*lines, "no box or mask of it in this image: nothing to hold the map against"])
    place = "point" if found.axes == 2 else "token"
    cnr = "undefined" if truth.cnr is None else f"{truth.cnr:.3f}"
    lines += [
        f"pointing game  {'hit' if truth.hit else 'miss'} (a random {place} hits {truth.chance:.3f})",
        f"CNR            {cnr}",
        f"IoU, Dice      {truth.iou:.3f}, {truth.dice:.3f} at the map's own best threshold",
        f"               {truth.iou_fixed:.3f}, {truth.dice_fixed:.3f} at RadZero's fixed 0.7",
    ]
    return "\n".join(lines)
