"""Fingerprints that are kept, so that features on disk are found without a network that nothing asks for.

To build an encoder only to hash its tensors takes longer than anything else in a run that is finished. Its
fingerprint is used again while all that it is a function of is as it was when the network was last built:
the card, the state of the files of its weights and vocabulary, the code that builds it, the packages, the
machine and its kernels.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar

from benchmark.core import numerics
from benchmark.core.hashing import hash_value
from benchmark.core.kept_value import kept_value
from benchmark.core.preprocessing import Preprocessing
from benchmark.core.reuse import Key, key_of, source
from benchmark.core.states import installed, machine, state_of
from benchmark.encoders.base import ImageEncoder, TextEncoder, fingerprint
from benchmark.encoders.card_files import KINDS, files_of
from benchmark.encoders.cards import EncoderCard, ImageCard
from benchmark.encoders.factory import Spec, entry_of, place_of

E = TypeVar("E", ImageEncoder, TextEncoder)


@dataclass(frozen=True)
class KnownEncoder(Generic[E]):
    """An encoder by its card and fingerprint. build: its network, for what is not encoded yet."""

    card: EncoderCard
    fingerprint: str
    build: Callable[[], E]

    @property
    def preprocessing(self) -> Preprocessing:
        assert isinstance(self.card, ImageCard)
        return self.card.preprocessing


def known_encoder(
    spec: Spec, kind: Literal["image", "text"], cache: Path, build: Callable[[], E]
) -> E | KnownEncoder[E]:
    """The encoder by what is kept of it in `cache`, or else built, of which the fingerprint is then kept.

    A network that a function builds may read anything and is always built. Raises BenchError for a name or a
    card that is none of this kind, and what `build` raises.
    """
    card = entry_of(spec, kind)
    if not isinstance(card, KINDS[kind]):
        return build()
    assert isinstance(card, EncoderCard)
    place = cache / "encoders" / f"{hash_value([kind, card.model_dump(mode='json')])[:16]}.json"
    found = kept_value(place, lambda: _key(card, kind), lambda: fingerprint(build()))
    return KnownEncoder(card, str(found), build)


def fingerprint_of(encoder: E | KnownEncoder[E]) -> str:
    """The fingerprint, as it is kept or by the tensors."""
    return encoder.fingerprint if isinstance(encoder, KnownEncoder) else fingerprint(encoder)


def network_of(encoder: E | KnownEncoder[E]) -> E:
    """The encoder itself."""
    return encoder.build() if isinstance(encoder, KnownEncoder) else encoder


def _key(card: EncoderCard, kind: str) -> Key | None:
    """What a fingerprint is a function of; None where that cannot be told, as of files that are found by the
    name of a repository, or is changing at the moment."""
    if card.weights.startswith("hub:") or ":" in card.architecture or card.source == "open_clip":
        return None  # open_clip follows names of other models, in files and in its own tables, to the hub
    now = time.time_ns()
    try:
        files, packages = state_of(files_of(card)), installed()
    except OSError:
        return None
    if not (files.settled(now) and packages.settled(now)):
        return None
    return key_of(
        card=card.model_dump(mode="json"),
        files=files.digest,
        packages=packages.digest,
        source=source(place_of(card, kind).partition(":")[0]),
        numerics=[numerics.state(), *((name, os.environ.get(name)) for name in sorted(numerics.ENVIRONMENT))],
        machine=machine(),
    )
