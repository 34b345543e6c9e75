"""`bench ls`: what there is: methods with their switches, datasets, encoders, readers, aligners."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.commands.common import JsonOption, emit

if TYPE_CHECKING:
    from benchmark.core.registry import Registry
    from benchmark.data.cards import Card

EPILOG = "bench ls methods · bench ls methods carzero · bench ls encoders --json"
KINDS = ("methods", "datasets", "encoders", "readers", "aligners", "tasks")


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
        found = {each: _names(each) for each in KINDS}
        emit(found, "\n".join(f"{each:<10} {', '.join(names)}" for each, names in found.items()), as_json)
        return 0
    kind = kind if kind.endswith("s") else f"{kind}s"
    if kind not in KINDS:
        raise UnknownName("kind", kind, KINDS, f"One of {', '.join(KINDS)}.")
    if name is not None and name not in _names(kind):
        raise UnknownName(kind.removesuffix("s"), name, _names(kind), f"See `bench ls {kind}`.")
    describe = {"methods": _method, "datasets": _dataset, "encoders": _encoder}.get(kind)
    rows: dict[str, dict[str, Any]] = {}
    for each in [name] if name else _names(kind):
        try:
            rows[each] = describe(each) if describe else _callable(kind, each)
        except BenchError as error:
            if name:
                raise
            rows[each] = {"error": str(error)}
    show = {"methods": _method_text, "datasets": _dataset_text, "encoders": _encoder_text}.get(
        kind, _callable_text
    )
    shown = (row["error"] if "error" in row else show(each, row) for each, row in rows.items())
    emit({kind: rows}, "\n\n".join(shown), as_json)
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


def _callable(kind: str, name: str) -> dict[str, Any]:
    """First line of what the file of a reader, aligner or task says of itself, and where it is."""
    import sys

    item = _registry(kind).get(name)
    about = sys.modules[item.__module__].__doc__ or item.__doc__ or ""
    return {"title": about.strip().split("\n")[0], "module": item.__module__}


def _callable_text(name: str, row: dict[str, Any]) -> str:
    return f"{name}: {row['title']}\n  {row['module']}"


def _method(name: str) -> dict[str, Any]:
    """Title, switches and the two named settings of a method, as its file declares them."""
    from benchmark.grid.declared import about, declared

    kind = declared(name)
    official = kind.settings("official")
    switches = [
        {
            "name": option,
            "type": _type(field.annotation),
            "default": field.get_default(call_default_factory=True),
            "official": official.get(option, field.get_default(call_default_factory=True)),
            "description": field.description,
        }
        for option, field in kind.Config.model_fields.items()
    ]
    recipe = kind.OFFICIAL_RECIPE
    return {
        "title": about(kind).split("\n")[0],
        "module": kind.__module__,
        "trains_on": "all" if kind.Config.model_fields["multi_positive"].default else "one",
        "switches": switches,
        "official_recipe": None if recipe is None else recipe.model_dump(mode="json"),
    }


def _dataset(name: str) -> dict[str, Any]:
    from benchmark.data.cards import load_card

    card: Card = load_card(name)
    return {
        "title": card.title,
        "version": card.version,
        "role": card.role,
        "modality": card.modality,
        "classes": len(card.classes),
        "protocols": {key: len(card.protocol_classes(key)) for key in card.protocols},
        "licence": card.licence,
        "access": card.access,
        "redistribute": card.redistribute,
        "remote_llm": card.remote_llm,
    }


def _encoder(name: str) -> dict[str, Any]:
    from benchmark.encoders.card_files import encoder_entry
    from benchmark.encoders.cards import EncoderCard

    entry = encoder_entry(name)
    if not isinstance(entry, EncoderCard):
        return {"kind": "plug-in", "note": (entry.__doc__ or "").strip()}
    kind = "image" if hasattr(entry, "preprocessing") else "text"
    return {"kind": kind, **entry.model_dump(mode="json")}


def _type(annotation: Any) -> str:
    """A readable form of a field's type: choices joined by |."""
    from typing import get_args, get_origin

    choices = get_args(annotation)
    if get_origin(annotation) is not None and str(get_origin(annotation)).endswith("Literal"):
        return "|".join(map(str, choices))
    if choices and get_origin(annotation) is not tuple:
        return "|".join("none" if choice is type(None) else _type(choice) for choice in choices)
    return str(getattr(annotation, "__name__", annotation)) if not choices else str(annotation)


def _method_text(name: str, row: dict[str, Any]) -> str:
    import shutil
    import textwrap

    width = min(shutil.get_terminal_size((110, 24)).columns, 140)
    lines = [
        f"{row['title']}",
        f"  {name}, {row['module']}, trains on {row['trains_on']} sentence(s) of an image",
    ]
    for switch in row["switches"]:
        default, official = _value(switch["default"]), _value(switch["official"])
        head = f"  {switch['name']} = {default}"
        if official != default:
            head += f" (official {official})"
        lines.append(f"{head}  [{switch['type']}]")
        lines += textwrap.wrap(
            switch["description"] or "", width, initial_indent="      ", subsequent_indent="      "
        )
    recipe = row["official_recipe"]
    if recipe:
        shown = {key: value for key, value in recipe.items() if value not in (None, [], 0.0, 0)}
        text = ", ".join(f"{key} {_value(value)}" for key, value in shown.items())
        lines += textwrap.wrap(text, width, initial_indent="  official recipe: ", subsequent_indent="      ")
    return "\n".join(lines)


def _dataset_text(name: str, row: dict[str, Any]) -> str:
    protocols = ", ".join(f"{key} ({classes} classes)" for key, classes in row["protocols"].items())
    return (
        f"{name}: {row['title']} ({row['version']}), {row['modality']}, {row['role']}\n"
        f"  protocols: {protocols or 'none'}\n  licence: {row['licence']}; access: {row['access']}"
    )


def _encoder_text(name: str, row: dict[str, Any]) -> str:
    if row["kind"] == "plug-in":
        return f"{name}: plug-in. {row['note']}"
    return (
        f"{name}: {row['kind']}, {row['source']} {row['architecture']}\n"
        f"  weights: {row['weights']}{_pin_text(row)}\n  licence: {row['licence']}\n"
        f"  seen: {_seen_text(row['seen'])}\n  {row['note']}"
    ).rstrip()


def _pin_text(row: dict[str, Any]) -> str:
    """Which file it is, to the byte; of the hub without that, that it must be downloaded first."""
    if row["weights"].startswith("hub:") and not (row["revision"] and row["sha256"]):
        return " (not pinned: no commit and hash were verified; download it and give its folder)"
    pins = [f"{key} {row[key][:12]}…" for key in ("revision", "sha256") if row[key]]
    return f" ({', '.join(pins)})" if pins else ""


def _seen_text(seen: Any) -> str:
    if seen == "unknown":
        return "unknown"
    return "; ".join(f"{s['dataset']} ({', '.join(s['what'])})" for s in seen) or "nothing"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "-".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
