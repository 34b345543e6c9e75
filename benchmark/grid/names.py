"""The names of datasets, protocols, encoders and methods in params.yaml, held against those that exist."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache

from benchmark.core.errors import BenchError, CardError, UnknownName
from benchmark.core.located import Loc
from benchmark.data.card_faults import check_own_card
from benchmark.data.cards import card_names, load_card
from benchmark.grid.asked import known_methods
from benchmark.grid.declared import declared
from benchmark.grid.params import Params
from benchmark.twins.ct.catalogue import SITES as CT_SITES


def wrong_names(params: Params) -> Iterator[tuple[Loc, str]]:
    """Where an unknown name stands, and one line that says the nearest known one."""
    cards = card_names()
    for loc, name in _datasets(params):
        yield from _unknown(loc, "dataset", name, cards, "See `bench ls datasets`.")
    yield from _own_cards(params)
    yield from _without_twin(params)
    for name in params.twins.volumes:
        hint = "Twins of CT volumes are of these sets alone."
        yield from _unknown(("twins", "volumes", name), "CT twin", name, CT_SITES, hint)
    yield from _protocols(params)
    yield from _encoders(params)
    for field, names in (
        (("methods",), params.methods),
        (("prompt_ablation", "methods"), params.prompt_ablation.methods),
    ):
        for loc, name in _listed(field, names):
            yield from _unknown(loc, "method", name, known_methods().names(), "See `bench ls methods`.")
    yield from _called_otherwise(params)
    yield from _titled_alike(params)
    yield from _attributed(params)


def check_own_name(method: str) -> None:
    """Raises BenchError for a class that calls itself otherwise than it is registered, as a copied file does:
    its weights would be loaded into the method of that name. Raises what `declared` raises."""
    own = declared(method).name
    if own != method:
        raise BenchError(
            f"method '{method}': its class says name = '{own}', whose scores its weights would be given. "
            f'Write name = "{method}".'
        )


def _called_otherwise(params: Params) -> Iterator[tuple[Loc, str]]:
    for number, name in enumerate(params.methods):
        try:
            check_own_name(name)
        except BenchError as error:
            yield ("methods", number), f"methods.{number}: {error}"


def _titled_alike(params: Params) -> Iterator[tuple[Loc, str]]:
    """Tables name rows, and find published values, by the title of a method."""
    titles = {declared(name).title: name for name in params.method}
    for number, name in enumerate(params.methods):
        other = titles.setdefault(declared(name).title, name)
        if other != name:
            yield (
                ("methods", number),
                f"methods.{number}: '{name}' has the title of '{other}', by which tables tell rows apart; "
                "give its class another one.",
            )


def _unknown(loc: Loc, kind: str, name: str, known: Collection[str], hint: str) -> Iterator[tuple[Loc, str]]:
    if name not in known:
        yield loc, f"{'.'.join(map(str, loc))}: {UnknownName(kind, name, known, hint)}"


def _datasets(params: Params) -> Iterator[tuple[Loc, str]]:
    data = params.data
    yield ("data", "train"), data.train
    yield ("ct", "train"), params.ct.train
    yield from _listed(("ct", "evaluate"), params.ct.evaluate)
    for field, names in (("evaluate", data.evaluate), ("ablate_on", data.ablate_on)):
        yield from _listed(("data", field), names)
    for field, keys in (("roots", data.roots), ("protocols", data.protocols)):
        yield from ((("data", field, name), name) for name in keys)
    yield from ((("twins", "images", name), name) for name in params.twins.images)
    yield from _listed(("prompt_ablation", "datasets"), params.prompt_ablation.datasets)
    yield from _listed(("robustness", "evaluate"), params.robustness.evaluate)
    for task, settings in params.tasks.items():
        yield from _listed(("tasks", task), settings.datasets)
    for task, settings in params.ct.tasks.items():
        yield from _listed(("ct", "tasks", task), settings.datasets)
    for at, cells in ((("cells",), params.cells), (("ct", "cells"), params.ct.cells)):
        for name, cell in cells.items():
            yield from _listed((*at, name, "evaluate"), cell.evaluate or ())


def _own_cards(params: Params) -> Iterator[tuple[Loc, str]]:
    known = card_names()
    for name, loc in {name: loc for loc, name in _datasets(params) if name in known}.items():
        try:
            check_own_card(name)
        except CardError as error:
            yield loc, str(error)


def _attributed(params: Params) -> Iterator[tuple[Loc, str]]:
    known = [*(f"{method}-main" for method in params.methods), *params.cells]
    for name, own in params.attribution.items():
        for key, cell in own.cells.items():
            loc = ("attribution", name, "cells", key)
            yield from _unknown(loc, "cell", cell, known, "Name METHOD-main or a key of cells.")


def _listed(loc: tuple[str, ...], names: Iterable[str]) -> Iterator[tuple[Loc, str]]:
    return (((*loc, number), name) for number, name in enumerate(names))


def _without_twin(params: Params) -> Iterator[tuple[Loc, str]]:
    from benchmark.twins.build import WRITERS

    for name in params.twins.images:
        hint = "This dataset is read from files only."
        yield from _unknown(("twins", "images", name), "twin", name, WRITERS.names(), hint)


def _protocols(params: Params) -> Iterator[tuple[Loc, str]]:
    for dataset, name in params.data.protocols.items():
        known = load_card(dataset).protocols
        yield from _unknown(
            ("data", "protocols", dataset), "protocol", name, known, f"See `bench ls datasets {dataset}`."
        )


def _encoders(params: Params) -> Iterator[tuple[Loc, str]]:
    from benchmark.encoders.card_files import encoder_entry, encoder_names
    from benchmark.encoders.cards import EncoderCard, ImageCard, TextCard

    kinds: list[tuple[Loc, str | EncoderCard | None, type]] = [
        (("encoders", "image"), params.encoders.image, TextCard),
        (("encoders", "text"), params.encoders.text, ImageCard),
        (("ct", "image"), params.ct.image, TextCard),
    ]
    for at, cells in ((("cells",), params.cells), (("ct", "cells"), params.ct.cells)):
        for cell, own in cells.items():
            kinds += [
                ((*at, cell, "encoders", "image"), own.encoders.image, TextCard),
                ((*at, cell, "encoders", "text"), own.encoders.text, ImageCard),
            ]
    for setting, changed in params.robustness.settings.items():
        above = ("robustness", "settings", setting)
        kinds += [
            ((*above, "image"), changed.image, TextCard),
            ((*above, "text"), changed.text, ImageCard),
        ]
    known, entry = encoder_names(), lru_cache(maxsize=None)(encoder_entry)
    for loc, name, other in kinds:
        kind = loc[-1]
        if name is None or isinstance(name, EncoderCard):
            continue
        if name not in known:
            yield from _unknown(loc, "encoder", name, known, "See `bench ls encoders`.")
        elif isinstance(entry(name), other):
            yield (
                loc,
                f"{'.'.join(map(str, loc))}: encoder '{name}' is no {kind} encoder. See `bench ls encoders`.",
            )
