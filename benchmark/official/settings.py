"""Settings of an official checkpoint: what its authors varied and its file does not say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from benchmark.core.errors import ParamsError, closest
from benchmark.core.hashing import hash_file, hash_value

Recorded = dict[str, int | str | list[str]]
"""Settings as a result records them: those that differ from the usual ones, files by their hash."""


@dataclass(frozen=True)
class CheckpointSettings:
    """The usual value of each, as released. Which method has which: `SETTINGS`."""

    size: int = 518
    pooling: Literal["masked", "all_positions"] = "masked"
    head: Literal["mlp", "linear"] | None = None
    features: Literal["both", "global", "local"] = "both"
    text_columns: int = 97
    member: tuple[Path, ...] = ()

    def changed(self) -> tuple[str, ...]:
        """Names of the settings that differ from the usual ones, in alphabetical order."""
        names = (own.name for own in fields(self))
        return tuple(sorted(name for name in names if getattr(self, name) != getattr(USUAL, name)))

    def recorded(self) -> Recorded:
        """Raises BenchError where a file of an ensemble cannot be read."""
        return {
            name: [hash_file(path) for path in self.member] if name == MEMBER else getattr(self, name)
            for name in self.changed()
        }


USUAL = CheckpointSettings()


@dataclass(frozen=True)
class Checkpoint:
    """Released weights and how they are read.

    file: as `core.checkpoints` reads it. tokenizer: folder of the text encoder's tokenizer, where the
    file has none. layout: `chexzero`, where its tensors could be another release's too.
    """

    file: str
    tokenizer: str | None = None
    layout: str | None = None
    settings: CheckpointSettings = USUAL


@dataclass(frozen=True)
class _Setting:
    """read: its text → the value, ValueError where it is none. says: help."""

    read: Callable[[str], Any]
    says: str


def _one_of(*known: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in known:
            raise ValueError(f"expected {' or '.join(known)}")
        return text

    return read


def _count(of: str) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) < 5 and 1 <= int(text) <= 4096):
            raise ValueError(f"expected a number of {of}")
        return int(text)

    return read


def _file(text: str) -> Path:
    if not Path(text).expanduser().is_file():
        raise ValueError("no such file")
    return Path(text).expanduser()


MEMBER = "member"
SETTINGS: Mapping[str, Mapping[str, _Setting]] = {
    "radzero": {"size": _Setting(_count("pixels"), "pixels of the image; the paper has 518 and 224")},
    "medclip": {
        "pooling": _Setting(
            _one_of("masked", "all_positions"), "of words: real ones, or padding too, as released"
        ),
    },
    "carzero": {
        "head": _Setting(_one_of("mlp", "linear"), "what the file must hold; linear is an ablation"),
        "features": _Setting(_one_of("both", "global", "local"), "of the released configurations"),
        "text_columns": _Setting(_count("columns"), "of words that are attended; released 97, word_num"),
    },
    "clip": {MEMBER: _Setting(_file, "a further CheXzero checkpoint of an ensemble; repeatable")},
}
"""Method → its settings. `clip` is CheXzero."""


def parse_settings(method: str, given: Sequence[str]) -> CheckpointSettings:
    """`size=224`, … → settings; `member` gathers its files in order.

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
    return replace(USUAL, **found)


def settings_name(recorded: Recorded) -> str:
    """`size-224`; of an ensemble how many checkpoints it has and a hash of the further ones."""
    parts = []
    for key, value in sorted(recorded.items()):
        if isinstance(value, list):
            parts.append(f"ensemble-{len(value) + 1}-{hash_value(value)[:8]}")
        else:
            parts.append(f"{key}-{value}".replace("_", "-"))
    return "-".join(parts)
