"""`bench ls`: what there is: methods with their switches, datasets, encoders, readers, aligners."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from benchmark.commands.common import JsonOption, emit

if TYPE_CHECKING:
    from benchmark.core.registry import Registry
    from benchmark.data.cards import Card
    from benchmark.encoders.cards import EncoderCard

EPILOG = "bench ls methods · bench ls methods carzero · bench ls encoders --json"
KINDS = ("methods", "datasets", "encoders", "readers", "aligners", "tasks")


class Listed(NamedTuple):
    """One of a kind, for JSON and for people."""

    value: Mapping[str, Any]
    text: str


def command(
    kind: Annotated[
        str | None, typer.Argument(help=f"{', '.join(KINDS)}; without it, the names of all.")
    ] = None,
    name: Annotated[str | None, typer.Argument(help="One of them, in full.")] = None,
    as_json: JsonOption = False,
) -> int:
    """List methods (switches, defaults, official values), datasets, encoders, readers, aligners or tasks.

    What cannot be loaded is listed with the reason; the others are shown as ever.
    """
    from benchmark.core.errors import BenchError, UnknownName

    if kind is None:
        every = {each: _names(each) for each in KINDS}
        emit(every, "\n".join(f"{each:<10} {', '.join(names)}" for each, names in every.items()), as_json)
        return 0
    kind = f"{kind}s" if f"{kind}s" in KINDS else kind
    if kind not in KINDS:
        raise UnknownName("kind", kind, KINDS, f"One of {', '.join(KINDS)}.")
    if name is not None and name not in _names(kind):
        raise UnknownName(kind.removesuffix("s"), name, _names(kind), f"See `bench ls {kind}`.")
    describe = {"methods": _method, "datasets": _dataset, "encoders": _encoder}.get(kind)
    rows: dict[str, Listed] = {}
    for each in [name] if name else _names(kind):
        try:
            rows[each] = describe(each) if describe else _callable(kind, each)
        except BenchError as error:
            if name:
                raise
            rows[each] = Listed({"error": str(error)}, str(error))
    found = {each: row.value for each, row in rows.items()}
    emit({kind: found}, "\n\n".join(row.text for row in rows.values()), as_json)
    return 0


def _names(kind: str) -> list[str]:
    if kind == "datasets":
        from benchmark.data.cards import card_names

        return card_names()
    if kind == "encoders":
        from benchmark.encoders.card_files import encoder_names

        return encoder_names()
    if kind == "methods":
        from benchmark.grid.asked import known_methods

        return known_methods().names()
    return _registry(kind).names()


def _registry(kind: str) -> Registry[Any]:
    if kind == "readers":
        from benchmark.data.readers import READERS

        return READERS
    if kind == "tasks":
        from benchmark.core.tasks import TASKS

        return TASKS
    from benchmark.prompts.aligned import ALIGNERS

    return ALIGNERS


def _callable(kind: str, name: str) -> Listed:
    """First line of what the file of a reader, aligner or task says of itself, and where it is."""
    import sys

    item = _registry(kind).get(name)
    about = sys.modules[item.__module__].__doc__ or item.__doc__ or ""
    title, module = about.strip().split("\n")[0], item.__module__
    return Listed({"title": title, "module": module}, f"{name}: {title}\n  {module}")


class _Switch(NamedTuple):
    """A field of a method's options."""

    name: str
    type: str
    default: Any
    official: Any
    description: str | None


def _method(name: str) -> Listed:
    """Title, switches and the two named settings of a method, as its file declares them."""
    from benchmark.grid.declared import about, declared

    kind = declared(name)
    official = kind.settings("official")
    switches = []
    for option, field in kind.Config.model_fields.items():
        default = field.get_default(call_default_factory=True)
        own = official.get(option, default)
        switches.append(_Switch(option, _type(field.annotation), default, own, field.description))
    recipe = kind.OFFICIAL_RECIPE
    title = about(kind).split("\n")[0]
    trains_on = "all" if kind.Config.model_fields["multi_positive"].default else "one"
    settings = None if recipe is None else recipe.model_dump(mode="json")
    value = {
        "title": title,
        "module": kind.__module__,
        "trains_on": trains_on,
        "switches": [switch._asdict() for switch in switches],
        "official_recipe": settings,
    }
    lines = [title, f"  {name}, {kind.__module__}, trains on {trains_on} sentence(s) of an image"]
    return Listed(value, "\n".join([*lines, *_switch_lines(switches, settings)]))


def _dataset(name: str) -> Listed:
    from benchmark.data.cards import load_card

    card: Card = load_card(name)
    classes = {key: len(card.protocol_classes(key)) for key in card.protocols}
    value = {
        "title": card.title,
        "version": card.version,
        "role": card.role,
        "modality": card.modality,
        "classes": len(card.classes),
        "protocols": classes,
        "licence": card.licence,
        "access": card.access,
        "redistribute": card.redistribute,
        "remote_llm": card.remote_llm,
    }
    protocols = ", ".join(f"{key} ({count} classes)" for key, count in classes.items())
    text = (
        f"{name}: {card.title} ({card.version}), {card.modality}, {card.role}\n"
        f"  protocols: {protocols or 'none'}\n  licence: {card.licence}; access: {card.access}"
    )
    return Listed(value, text)


def _encoder(name: str) -> Listed:
    from benchmark.encoders.card_files import encoder_entry
    from benchmark.encoders.cards import EncoderCard

    entry = encoder_entry(name)
    if not isinstance(entry, EncoderCard):
        note = (inspect.getdoc(entry) or inspect.getdoc(inspect.getmodule(entry)) or "").strip()
        return Listed({"kind": "plug-in", "note": note}, f"{name}: plug-in. {note}")
    kind = "image" if hasattr(entry, "preprocessing") else "text"
    text = (
        f"{name}: {kind}, {entry.source} {entry.architecture}\n"
        f"  weights: {entry.weights}{_pin_text(entry)}\n  licence: {entry.licence}\n"
        f"  seen: {_seen_text(entry)}\n  {entry.note}"
    ).rstrip()
    return Listed({"kind": kind, **entry.model_dump(mode="json")}, text)


def _type(annotation: Any) -> str:
    """A readable form of a field's type: choices joined by |."""
    from typing import get_args, get_origin

    choices = get_args(annotation)
    if get_origin(annotation) is not None and str(get_origin(annotation)).endswith("Literal"):
        return "|".join(map(str, choices))
    if choices and get_origin(annotation) is not tuple:
        return "|".join("none" if choice is type(None) else _type(choice) for choice in choices)
    return str(getattr(annotation, "__name__", annotation)) if not choices else str(annotation)


def _switch_lines(switches: Sequence[_Switch], recipe: Mapping[str, Any] | None) -> list[str]:
    """Switches with their descriptions, then the recipe without what is off in it."""
    import shutil
    import textwrap

    width = min(shutil.get_terminal_size((110, 24)).columns, 140)
    lines = []
    for switch in switches:
        default, official = _value(switch.default), _value(switch.official)
        head = f"  {switch.name} = {default}"
        if official != default:
            head += f" (official {official})"
        lines.append(f"{head}  [{switch.type}]")
        lines += textwrap.wrap(
            switch.description or "", width, initial_indent="      ", subsequent_indent="      "
        )
    if recipe:
        shown = {key: value for key, value in recipe.items() if value not in (None, [], 0.0, 0)}
        text = ", ".join(f"{key} {_value(value)}" for key, value in shown.items())
        lines += textwrap.wrap(text, width, initial_indent="  official recipe: ", subsequent_indent="      ")
    return lines


def _pin_text(card: EncoderCard) -> str:
    """Which file it is, to the byte; of the hub without that, that it must be downloaded first."""
    if card.weights.startswith("hub:") and not (card.revision and card.sha256):
        return " (not pinned: no commit and hash were verified; download it and give its folder)"
    pins = {"revision": card.revision, "sha256": card.sha256}
    shown = [f"{name} {pin[:12]}…" for name, pin in pins.items() if pin]
    return f" ({', '.join(shown)})" if shown else ""


def _seen_text(card: EncoderCard) -> str:
    if card.seen == "unknown":
        return "unknown"
    return "; ".join(f"{s.dataset} ({', '.join(s.what)})" for s in card.seen) or "nothing"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "-".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
