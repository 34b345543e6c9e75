"""`bench map`: where a model looks in one image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.commands.common import JsonOption, emit
from benchmark.core.tables import TWIN_NOTICE

if TYPE_CHECKING:
    from benchmark.stages.look import Looked

DEFAULT = "radzero"

EPILOG = (
    'bench map data/twins/chestxdet10/test_data/10490.png "There is pleural effusion" --method radzero · '
    'bench map chest.dcm "There is a nodule" --model hf:models/clip --out nodule.png · '
    'bench map chest.png "There is Pneumothorax" --method radzero --checkpoint FILE --tokenizer DIR'
)


def command(
    image: Annotated[Path, typer.Argument(help="A radiograph: PNG, JPEG or DICOM.")],
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
    """Draw the model's map for one text over one image, with the score.

    An image of a prepared set (a twin, or official files under data.roots) brings its boxes and masks:
    whether the maximum hits them, CNR, IoU and Dice are printed too. Pictures stay on this disk.
    """
    from benchmark.core.errors import ParamsError
    from benchmark.grid.asked import check_layout, check_model
    from benchmark.reporting.figures.overlay import overlay
    from benchmark.reporting.figures.style import save_png
    from benchmark.stages.entry import context
    from benchmark.stages.look import dual_model, look, official_model, trained_model

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
    if model is not None:
        asked = dual_model(model, architecture)
    elif checkpoint is not None:
        asked = official_model(method or DEFAULT, checkpoint, tokenizer, layout)
    else:
        asked = trained_model(project, params, method or DEFAULT, seed)
    found = look(project, params, asked, image, text, class_name)
    path = out or project.root / "data" / "maps" / file_name(found)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(overlay(found), path)
    value = as_value(found, project.relative(path))
    emit(value, as_text(value), as_json)


def file_name(found: Looked) -> str:
    """`<image>-<model>-<text>.png`, of letters, digits and dashes."""
    from benchmark.stages.evaluate import slug

    return f"{slug(found.image.stem)[:60]}-{slug(found.model)}-{slug(found.text)[:60]}.png"


def as_value(found: Looked, picture: str) -> dict[str, Any]:
    known, measures = found.known, found.measures
    return {
        "picture": picture,
        "text": found.text,
        "model": found.model,
        "map": found.kind,
        "score": found.score,
        "dataset": None if known is None else known.dataset,
        "origin": None if known is None else known.origin,
        "image_id": None if known is None else known.image_id,
        "class": None if known is None else known.cls,
        "positive": None if known is None else known.positive,
        "truth": None if measures is None else vars(measures),
    }


def as_text(value: dict[str, Any]) -> str:
    lines = [
        value["picture"],
        f'{value["model"]}: {value["map"]} map for "{value["text"]}", score {value["score"]:.4f}',
    ]
    if value["dataset"] is None:
        return "\n".join([*lines, "in no prepared set: no truth to hold the map against"])
    notice = TWIN_NOTICE if value["origin"] == "twin" else "official data: the picture is not to be shared"
    lines.append(f"{value['dataset']}, image {value['image_id']}  {notice}")
    if value["class"] is None:
        return "\n".join([*lines, "the text names no class of the set; --class says whose boxes count"])
    label = {True: "positive", False: "negative", None: "not known"}[value["positive"]]
    lines.append(f"class {value['class']}: {label}")
    truth = value["truth"]
    if truth is None:
        return "\n".join([*lines, "no box or mask of it in this image: nothing to hold the map against"])
    cnr = "undefined" if truth["cnr"] is None else f"{truth['cnr']:.3f}"
    lines += [
        f"pointing game  {'hit' if truth['hit'] else 'miss'} (a random point hits {truth['chance']:.3f})",
        f"CNR            {cnr}",
        f"IoU, Dice      {truth['iou']:.3f}, {truth['dice']:.3f} at the map's own best threshold",
        f"               {truth['iou_fixed']:.3f}, {truth['dice_fixed']:.3f} at RadZero's fixed 0.7",
    ]
    return "\n".join(lines)
