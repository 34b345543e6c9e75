"""What weights have seen of a set: zero-shot, seen images, seen reports, seen labels, or unknown."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from benchmark.data.overlaps import overlapping
from benchmark.encoders.card_files import card_at, encoder_entry, given_as_path
from benchmark.encoders.cards import EncoderCard, Seen

UNKNOWN = "unknown"
Exposure = tuple[Seen, ...]
NOT_SAID: Exposure = (Seen(dataset=UNKNOWN, what=("images", "reports", "labels"), source=UNKNOWN),)
READING = (
    "Seen: what the weights of encoders and methods were fitted to of this set, or of one that holds its "
    "images: its labels, else its reports, else its images, with the split where it is known; zero-shot: "
    "nothing of it; unknown: those who made the weights do not say everything."
)
_ORDER = ("labels", "reports", "images")


def exposure_of(seen: Sequence[Seen] | str) -> Exposure:
    """`seen` of a card as a tuple."""
    return NOT_SAID if isinstance(seen, str) else tuple(seen)


def exposure_of_encoder(spec: Any, kind: str) -> Exposure:
    """Of a name, path or card, without loading weights; `unknown` for what a package builds cardless."""
    if isinstance(spec, str):
        spec = card_at(spec, kind) if given_as_path(spec) else encoder_entry(spec)
    card = spec if isinstance(spec, EncoderCard) else None
    return exposure_of(card.seen if card is not None else getattr(spec, "seen", UNKNOWN))


def trained_on(dataset: str) -> Exposure:
    """What a method that is trained here on a set's images and reports adds to its encoders'."""
    return (Seen(dataset=dataset, split="train", what=("images", "reports"), source="trained here"),)


def joined(parts: Iterable[Exposure]) -> Exposure:
    """Without repetitions, in their order."""
    return tuple(dict.fromkeys(seen for part in parts for seen in part))


def level(exposure: Exposure, dataset: str, overlaps: Collection[str] | None = None) -> str:
    """What these weights have seen of a set. overlaps: sets with images of it, by default those declared.

    Reports and labels of an overlapping set are of the same images, so they count as this set's.
    """
    same = {dataset, *(overlapping(dataset) if overlaps is None else overlaps)}
    here = [seen for seen in exposure if seen.dataset in same]
    for what in _ORDER:
        splits = [seen.split for seen in here if what in seen.what]
        if splits:
            said = sorted({split for split in splits if split != UNKNOWN})
            return f"seen {what}" + (f" ({', '.join(said)})" if said else "")
    return UNKNOWN if any(seen.dataset == UNKNOWN for seen in exposure) else "zero-shot"


def as_records(exposure: Exposure) -> list[dict[str, Any]]:
    """For JSON."""
    return [seen.model_dump(mode="json") for seen in exposure]
