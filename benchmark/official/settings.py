"""Settings of an official checkpoint: what its authors varied and its file does not say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.core.errors import ParamsError, closest
from benchmark.core.hashing import hash_file, hash_value


@dataclass(frozen=True)
class Setting:
    """usual: the value without it. read: its text → the value, ValueError where it is none. says: help."""

    usual: Any
    read: Callable[[str], Any]
    says: str


def _one_of(*known: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in known:
            raise ValueError(f"expected {' or '.join(known)}")
        return text

    return read


def _side(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 4096):
        raise ValueError("expected a number of pixels")
    return int(text)


def _file(text: str) -> str:
    if not Path(text).expanduser().is_file():
        raise ValueError("no such file")
    return str(Path(text).expanduser())


MEMBER = "member"
SETTINGS: Mapping[str, Mapping[str, Setting]] = {
    "radzero": {"size": Setting(518, _side, "pixels of the image; the paper has 518 and 224")},
    "medclip": {
        "pooling": Setting(
            "masked", _one_of("masked", "all_positions"),
            "of words: real ones, or padding too, as released",
        ),
    },
    "carzero": {
        "head": Setting(None, _one_of("mlp", "linear"), "what the file must hold; linear is an ablation"),
        "features": Setting("both", _one_of("both", "global", "local"), "of the released configurations"),
    },
    "clip": {MEMBER: Setting((), _file, "a further CheXzero checkpoint of an ensemble; repeatable")},
}  # fmt: skip
"""Method → its settings. `clip` is CheXzero."""


def parse_settings(method: str, given: Sequence[str]) -> dict[str, Any]:
    """`size=224`, … → the settings that differ from the usual ones; `member` gathers its files in order.

    Raises ParamsError in one line for an unknown or repeated key, or a value that is none of its kind.
    """
    known = SETTINGS.get(method, {})
    found: dict[str, Any] = {}
    for text in given:
        key, mark, value = text.partition("=")
        if not mark or key not in known:
            near = closest(key, known)
            guess = f" Did you mean '{near}'?" if near else ""
            names = ", ".join(f"{name}= ({own.says})" for name, own in known.items())
            raise ParamsError(
                f"--official {text:.80}: no setting of an official {method} checkpoint.{guess} "
                + (f"There is {names}." if names else "It has none.")
            )
        try:
            read = known[key].read(value)
        except ValueError as error:
            raise ParamsError(f"--official {text:.80}: {error}.") from None
        if key == MEMBER:
            found[key] = (*found.get(key, ()), read)
        elif key in found:
            raise ParamsError(f"--official {key}: given twice.")
        else:
            found[key] = read
    return {key: value for key, value in found.items() if value != known[key].usual}


def as_recorded(settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Settings as a result records them, files by their hash, and the hashes of these files."""
    files = [hash_file(path) for path in settings.get(MEMBER, ())]
    return {**settings, **({MEMBER: files} if files else {})}, files


def settings_name(recorded: Mapping[str, Any]) -> str:
    """`size-224`; of an ensemble how many checkpoints it has and a hash of the further ones."""
    parts = []
    for key, value in sorted(recorded.items()):
        if key == MEMBER:
            parts.append(f"ensemble-{len(value) + 1}-{hash_value(list(value))[:8]}")
        else:
            parts.append(f"{key}-{str(value).replace('_', '-')}")
    return "-".join(parts)
