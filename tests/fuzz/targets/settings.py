"""What people write: YAML, the command line, and what a model answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.fuzz import mutations as m
from tests.fuzz import valid_files as v
from tests.fuzz.targets.base import Input, add, named, parser

# --- YAML ---------------------------------------------------------------------------------------------------


def _params(path: Path) -> object:
    from benchmark.grid.params import cell_named
    from benchmark.grid.params_file import load_params

    loaded = load_params(path)
    return [cell_named(loaded, name) for name in loaded.cells]


def _card(folder: Path, where: str, data: bytes) -> object:
    from benchmark.data.cards import read_card

    place = folder / "chestxray14"
    place.mkdir()
    for name in ("card.yaml", "prompts.yaml"):
        (place / name).write_bytes((v.ROOT / "datasets" / "chestxray14" / name).read_bytes())
    (place / where).write_bytes(data)
    return read_card(place)


def _card_inputs() -> st.SearchStrategy[Input]:
    files = {
        n: v.yaml_of(*(f"datasets/{d}/{n}" for d in ("chestxray14", "openi")))
        for n in ("card.yaml", "prompts.yaml")
    }
    return st.one_of(*(named(name, m.yaml_inputs(seeds)) for name, seeds in files.items()))


def _option(text: str) -> object:
    from benchmark.grid.params_file import load_params

    return load_params(v.ROOT / "params.yaml", sets=[text])


def _lexicon(path: Path) -> object:
    from benchmark.prompts.lexicon import load_lexicon

    return load_lexicon(path)


def _claims(path: Path) -> object:
    from benchmark.reporting.claims import load_claims

    return load_claims(path)


def _published(path: Path) -> object:
    from benchmark.reporting.published import load_published

    return load_published(path)


parser("params.yaml", "params.yaml", lambda: m.yaml_inputs(v.yaml_of("params.yaml")), _params)
add("cards and prompts", _card_inputs, _card)
parser("claims.yaml", "claims.yaml", lambda: m.yaml_inputs(v.yaml_of("reports/claims.yaml")), _claims)
parser(
    "published.yaml",
    "published.yaml",
    lambda: m.yaml_inputs(v.yaml_of("reports/published.yaml")),
    _published,
)
parser(
    "lexicon.yaml", "lexicon.yaml", lambda: m.mutated(v.yaml_of("datasets/lexicon.yaml"), m.YAML), _lexicon
)


# --- texts of the command line and of models ----------------------------------------------------------------


SETS = (
    b"training.epochs=",
    b"data.validation=",
    b"method.clip.options=",
    b"cells=",
    b"seeds=",
    b"prompts.template=",
    b"",
)


def _texts(folder: Path, where: str, data: bytes) -> object:
    from benchmark.grid.request import parse_seeds, parse_shard

    text = data.decode("utf-8", "replace")
    return _option(text) if where == "set" else parse_seeds(text) if where == "seeds" else parse_shard(text)


def _text_inputs() -> st.SearchStrategy[Input]:
    sets = st.tuples(st.sampled_from(SETS), m.odd_text(m.YAML)).map(b"".join)
    return named("set", sets) | named("seeds", m.odd_text()) | named("shard", m.odd_text())


ANSWER = {
    "sentences": [
        {
            "number": 1,
            "findings": [
                {
                    "finding": "pleural effusion",
                    "presence": "present",
                    "side": "left",
                    "location": "base",
                    "severity": "small",
                }
            ],
        }
    ]
}
SENTENCES = {1: "Small left pleural effusion at the base.", 2: "No pneumothorax."}


def _answer(path: Path) -> object:
    from benchmark.prompts.llm.protocol import parse_answer

    return parse_answer(path.read_bytes().decode("utf-8", "replace"), SENTENCES, _aligner())


def _record(path: Path) -> object:
    from benchmark.prompts.llm.record import read_record

    return read_record(path)


def _aligner() -> Any:
    from benchmark.prompts.rules import RuleAligner

    return _made("aligner", RuleAligner)


_things: dict[str, Any] = {}


def _made(name: str, make: Callable[[], Any]) -> Any:
    if name not in _things:
        _things[name] = make()
    return _things[name]


def _record_seed() -> bytes:
    head = {"prompt": "a" * 64, "model": {"kind": "endpoint"}}
    entry = {"key": "b" * 64, "findings": ANSWER["sentences"][0]["findings"]}
    return b"\n".join(
        [m.json_bytes(head), m.json_bytes(entry), m.json_bytes({"key": "c", "failed": "not JSON"}), b""]
    )


add("--set, --seeds, --shard", _text_inputs, _texts)
parser(
    "answers of a model",
    "answer.json",
    lambda: m.json_inputs([m.json_bytes(ANSWER)]) | m.odd_text(m.JSON),
    _answer,
)
parser("recorded answers", "record.jsonl", lambda: m.mutated([_record_seed()], m.JSON), _record)
