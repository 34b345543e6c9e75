"""Cards of encoders as YAML: shipped in `known/`, one's own, a single file, or a mapping in params.yaml.

Files of one's own lie in the folders of $CXR_ALIGNBENCH_ENCODERS. A file that is called NAME.yaml is the card
`NAME`. Unknown keys are errors that name file and line.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchmark.core.errors import CardError, ParamsError, UnknownName, closest
from benchmark.core.located import Located, read_located
from benchmark.encoders.cards import ENCODERS, EncoderCard, ImageCard, TextCard

VARIABLE = "CXR_ALIGNBENCH_ENCODERS"
KINDS: Mapping[str, type[EncoderCard]] = {"image": ImageCard, "text": TextCard}
_FILE = (".yaml", ".yml")


def card_paths() -> dict[str, Path]:
    """Name → file of every card. One in a folder of one's own hides a shipped one of that name.

    Raises CardError where $CXR_ALIGNBENCH_ENCODERS names what is no folder.
    """
    own = [Path(p).expanduser() for p in os.environ.get(VARIABLE, "").split(os.pathsep) if p]
    for folder in own:
        if not folder.is_dir():
            raise CardError(f"${VARIABLE}: {folder} is not a folder.")
    found: dict[str, Path] = {}
    for folder in [*own, Path(__file__).parent / "known"]:
        for path in sorted(p for p in folder.iterdir() if p.suffix in _FILE):
            found.setdefault(path.stem, path)
    return found


def encoder_names() -> list[str]:
    """Every name: of a card, or of what a package or a file of `known/` registers."""
    return sorted({*card_paths(), *ENCODERS.names()})


def encoder_entry(name: str) -> Any:
    """The card of a name, or the function that builds its encoder. Raises UnknownName, BenchError."""
    path = card_paths().get(name)
    if path is not None:
        return read_encoder_card(path)
    if name not in ENCODERS.names():
        raise UnknownName("encoder", name, encoder_names(), "See `bench ls encoders`.")
    return ENCODERS.get(name)


def read_encoder_card(path: Path | str) -> EncoderCard:
    """The card in one file. `path:` in it may be relative to the file.

    Raises CardError, naming file and line, for unknown keys, lacking ones, a kind that is neither image nor
    text, and a name that is not the file's.
    """
    path = Path(path)
    file = read_located(path, CardError)
    kind = file.value.pop("kind", None)
    if kind not in KINDS:
        raise CardError(f"{file.place(['kind'])}: kind: expected image or text (got {kind!r:.40}).")
    card = _built(KINDS[kind], file)
    if card.name != path.stem:
        raise CardError(f"{file.place(['name'])}: name '{card.name}' is not the file's, '{path.stem}'.")
    place, _, where = card.weights.partition(":")
    if place != "path" or Path(where).expanduser().is_absolute():
        return card
    return card.model_copy(update={"weights": f"path:{path.resolve().parent / where}"})


def card_of(spec: Mapping[str, Any], kind: str) -> EncoderCard:
    """The card of a mapping: all of a card's fields, or `card: NAME` with the fields that differ.

    kind: image or text. `size` is short for that of the preprocessing: where the weights have a grid of
    positions, it is interpolated. Raises ParamsError in one line, and as `encoder_entry`.
    """
    given = dict(spec)
    name = given.pop("card", None)
    if name is not None:
        base = encoder_entry(str(name))
        if not isinstance(base, KINDS[kind]):
            raise ParamsError(f"encoder '{name}' is no {kind} encoder with a card. See `bench ls encoders`.")
        given = {**base.model_dump(), "name": f"{name}, changed", **given}
        if "weights" in spec:  # the pins are those of other files
            given = {**given, **{pin: spec.get(pin) for pin in ("sha256", "revision")}}
    if "size" in given:
        side = given.pop("size")
        given["preprocessing"] = {**_plain(given.get("preprocessing")), "size": side, "crop": None}
    try:
        return KINDS[kind].model_validate(given)
    except ValidationError as error:
        raise ParamsError(f"encoder {given.get('name', '?')}: {_said(error, KINDS[kind])}") from None


def files_of(card: EncoderCard) -> list[Path]:
    """Where the weights and the vocabulary of a card lie on this machine: files and folders, there or not.

    Those of the hub are pinned by the card. transformers and open_clip read sizes and vocabulary from what
    lies beside a file of weights.
    """
    found = []
    for text in (card.weights, str(getattr(card, "tokenizer", ""))):
        kind, _, where = text.partition(":")
        if kind == "path":
            found.append(Path(where).expanduser())
        elif kind == "package":
            package, _, inside = where.partition("/")
            module = importlib.util.find_spec(package)
            folders = (module.submodule_search_locations or ()) if module is not None else ()
            found += [Path(folder) / inside for folder in folders]
    if card.weights == "random" and given_as_path(card.architecture):
        found.append(Path(card.architecture))
    if card.source in ("transformers", "open_clip"):
        files = [path for path in found if path.is_file()]
        found += [near for path in files for near in sorted(path.parent.iterdir()) if near.is_file()]
    return found


def given_as_path(spec: str) -> bool:
    """Whether a string names a file or folder rather than an encoder."""
    return "/" in spec or os.sep in spec or spec.endswith(_FILE)


def card_at(path: str, kind: str) -> EncoderCard:
    """The card of a YAML file, or of a folder with a model of transformers (`folder_cards`).

    Raises BenchError in one line where there is neither, or one of the other kind.
    """
    where = Path(path).expanduser()
    if where.is_dir():
        from benchmark.encoders.folder_cards import folder_card

        return folder_card(where, kind)
    if where.suffix not in _FILE or not where.is_file():
        raise ParamsError(f"encoder {path}: neither a card (.yaml) nor a folder with a model's config.json.")
    card = read_encoder_card(where)
    if not isinstance(card, KINDS[kind]):
        raise ParamsError(f"encoder '{card.name}' of {path} is no {kind} encoder.")
    return card


def _built(model: type[EncoderCard], file: Located) -> EncoderCard:
    try:
        return model.model_validate(file.value)
    except ValidationError as error:
        first = error.errors()[0]
        raise CardError(f"{file.place(first['loc'])}: {_said(error, model)}") from None


def _said(error: ValidationError, model: type[EncoderCard]) -> str:
    """The first fault: an unknown key before a lacking one, as it explains it."""
    faults = error.errors()
    first = next((f for f in faults if f["type"] == "extra_forbidden"), faults[0])
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        near = closest(str(first["loc"][-1]), model.model_fields)
        return f"unknown key '{key}'." + (f" Did you mean '{near}'?" if near else "")
    if first["type"] == "missing":
        hint = " Write `seen: unknown` where nothing is stated." if key == "seen" else ""
        return f"{key}: is required.{hint}"
    if first["loc"][:1] == ("seen",):
        return f"{key}: a list of {{dataset, split, what, source}}, or `unknown`: {first['msg']}."
    return f"{key}: {first['msg']} (got {first['input']!r:.60})."


def _plain(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
