from __future__ import annotations

import pytest
import yaml

from benchmark.core.errors import CardError, UnknownName
from benchmark.prompts.lexicon import load_lexicon


def test_every_class_name_of_padchest_is_a_concept(shared):
    card = yaml.safe_load((shared / "specs/labels/padchest.yaml").read_text())
    lexicon = load_lexicon()
    labels = [entry["label"] for entry in card["classes"]]
    assert len(labels) == 192
    assert [label for label in labels if label not in lexicon] == []


def test_descendants_and_ancestors_are_inverse():
    lexicon = load_lexicon()
    assert {"pneumothorax", "hydropneumothorax"} <= lexicon.descendants("pneumothorax")
    assert "pneumothorax" not in lexicon.descendants("pleural effusion")
    for identifier in lexicon.concepts:
        for below in lexicon.descendants(identifier):
            assert identifier in lexicon.ancestors(below)


def test_no_phrase_belongs_to_two_concepts_of_the_same_kind():
    owners: dict[str, str] = {}
    for concept in load_lexicon().concepts.values():
        if concept.kind == "anatomy":
            continue
        for phrase in dict.fromkeys([concept.name, *concept.synonyms, *concept.abbreviations]):
            key = phrase.lower()
            assert owners.setdefault(key, concept.id) == concept.id, f"{phrase}: {owners[key]}, {concept.id}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: {name: a, kind: finding, parents: [b]}", r"lexicon.yaml:1: .*unknown parent 'b'"),
        ("a: {name: a, kind: thing}", r"lexicon.yaml:1: concept 'a': kind"),
        ("a:\n  {name: a, kind: finding, colour: red}", r"lexicon.yaml:2: .*colour"),
        (
            "a: {name: a, kind: finding, parents: [b]}\nb: {name: b, kind: finding, parents: [a]}",
            r"lexicon.yaml:1: .*own ancestor",
        ),
        ("- a", "must be a mapping"),
    ],
)
def test_malformed_lexicons_are_named(tmp_path, text, message):
    path = tmp_path / "lexicon.yaml"
    path.write_text(text)
    with pytest.raises(CardError, match=message):
        load_lexicon(path)


def test_unknown_concept_suggests():
    with pytest.raises(UnknownName, match="pleural effusion"):
        load_lexicon()["pleural efusion"]
