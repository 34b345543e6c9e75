"""Cards: the official evaluation as data, and errors that name file and line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from benchmark.core.errors import CardError, UnknownName
from benchmark.data.cards import card_folders, card_names, datasets_folder, load_card, read_card
from benchmark.data.readers import READERS
from benchmark.prompts.lexicon import load_lexicon

OFFICIAL = {
    "padchest": "padchest.yaml",
    "chestxray14": "chestxray14.yaml",
    "openi": "openi.yaml",
    "chexpert": "chexpert5.yaml",
}


def spec(shared: Path, name: str) -> dict:
    return yaml.safe_load((shared / "specs" / "labels" / OFFICIAL[name]).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", card_names())
def test_every_card_is_complete(name):
    card = load_card(name)
    assert card.reader in READERS.names()
    assert card.citation
    assert card.access
    assert set(card.prompts.classes) == set(card.classes)
    lexicon = load_lexicon()
    for concepts in card.concepts.values():
        for concept in concepts:
            assert concept in lexicon, concept
    for key, protocol in card.protocols.items():
        classes = card.protocol_classes(key)
        assert len(set(classes)) == len(classes)
        assert set(protocol.positives) <= set(classes)
        for label in classes:
            assert card.prompts.text(label, protocol.prompts)
    if card.access.lower().find("physionet") >= 0 or "agreement" in card.licence:
        assert card.remote_llm == "forbidden"
        assert not card.redistribute


@pytest.mark.parametrize("name", sorted(OFFICIAL))
def test_official_classes_order_prompts_and_counts(name, shared):
    card, official = load_card(name), spec(shared, name)
    rows = official["classes"]
    names = [row.get("label", row.get("key")) for row in rows]
    assert list(card.protocol_classes("carzero")) == names
    protocol = card.protocol("carzero")
    assert protocol.official
    assert protocol.views == "all"
    assert protocol.images == official["n_images"]
    assert protocol.positives == {n: row["images"] for n, row in zip(names, rows, strict=True)}
    for label, row in zip(names, rows, strict=True):
        prompt = card.prompts.classes[label]
        assert prompt.prompt == row["prompt"]
        assert prompt.negative == "There is no " + row["prompt"].removeprefix("There is ")


def test_padchest_strata_and_subsets(shared):
    card, official = load_card("padchest"), spec(shared, "padchest")
    groups = card.strata()
    assert {k: len(v) for k, v in groups.items()} == {"head": 67, "medium": 105, "tail": 20}
    assert {c["label"]: c["group"] for c in official["classes"]} == {
        name: group for group, names in groups.items() for name in names
    }
    assert card.subsets["padchest20"] == groups["tail"]
    assert len(card.subsets["padchest100"]) == 100
    counts = card.protocol("carzero").positives
    rarest = {counts[c] for c in card.subsets["padchest100"]}
    assert max(rarest) <= min(n for c, n in counts.items() if c not in card.subsets["padchest100"])
    assert list(card.subsets["padchest5"]) == official["subsets"]["padchest5"]
    assert set(card.protocol_classes("carzero")) - set(card.protocol_classes("findings-only")) == set(
        card.pseudo
    )


def test_padchest_classes_are_sorted_strings_without_normal():
    classes = load_card("padchest").classes
    assert list(classes) == sorted(classes)
    assert len(classes) == 192
    assert "normal" not in classes


def test_openi_strata_follow_the_official_rule(shared):
    card, official = load_card("openi"), spec(shared, "openi")
    assert list(card.strata()["head"]) == official["groups"]["head"]
    assert list(card.strata()["tail"]) == official["groups"]["tail"]
    rules = {row["key"]: tuple(row["match"]) for row in official["classes"]}
    assert card.label_rules["substring"].terms == rules


def test_the_wrong_official_prompt_has_a_corrected_set():
    book = load_card("padchest").prompts
    assert "Brain" not in book.text("dai", "corrected")
    assert book.text("dai") == "There is DAI (Diffuse Axonal Injury)"
    assert "Defibrillator" in book.text("dai", "corrected")
    assert book.text("pneumonia", "corrected") == "There is Pneumonia"
    with pytest.raises(UnknownName, match=r"prompt set 'corected'. Did you mean 'corrected'"):
        book.text("dai", "corected")
    with pytest.raises(UnknownName, match="Did you mean 'pneumonia'"):
        book.text("pneumona")


def test_names_suggest_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'padchest'"):
        load_card("pad-chest")
    with pytest.raises(UnknownName, match=r"Did you mean 'findings-only'"):
        load_card("padchest").protocol("findings_only")


@pytest.fixture
def folder(tmp_path) -> Path:
    shutil.copytree(datasets_folder() / "chexpert5x200", tmp_path / "chexpert5x200")
    return tmp_path / "chexpert5x200"


def edit(folder: Path, old: str, new: str, file: str = "card.yaml") -> int:
    """Replace once; the line of the change."""
    path = folder / file
    text = path.read_text(encoding="utf-8")
    assert text.count(old) >= 1
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return text[: text.index(old)].count("\n") + 1


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("licence:", "license:", "license: unknown key. Did you mean 'licence'?"),
        ("role: evaluation", "role: evaluating", "role: "),
        ("    task: classification", "    tasks: classification", "protocols.argmax.tasks: unknown key"),
        (
            "    task: classification",
            "    task: groundin",
            "Did you mean 'grounding'?",
        ),
        ("missing: negative", "missing: maybe", "labels.missing"),
        ("name: chexpert5x200", "name: other", "name 'other' is not the folder's name"),
        ("redistribute: false", "redistribute: }", "not valid YAML"),
        ("role: evaluation", "role: evaluation\nrole: both", "the key 'role' stands twice"),
    ],
)
def test_a_wrong_card_names_file_and_line(folder, old, new, says):
    line = edit(folder, old, new)
    with pytest.raises(CardError) as caught:
        read_card(folder)
    text = str(caught.value)
    assert says in text
    assert "\n" not in text
    where = text.split("card.yaml:")[1].split(":")[0]
    assert abs(int(where) - line) <= 1


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("{uncertain: negative, missing: negative}", "{uncertain: negative}", "missing: Field required"),
        ("    classes: all", "    classes: [Edema, Oedema]", "class 'Oedema', which `concepts` lacks"),
        ("    classes: all", "    classes: five", "no subset is called 'five'"),
        ("default_protocol: argmax", "default_protocol: best", "`default_protocol` must name one"),
        ("reader: chexpert5x200", "reader: table", "`table` options go with `reader: table`"),
        ("Edema: 200", "Oedema: 200", "class 'Oedema'"),
        ("uncertain: negative", "uncertain: {Edema: positive}", "`uncertain` must name every class"),
        (
            "    task: classification",
            "    task: classification\n    prompts: kind",
            "prompts.yaml has no set 'kind'",
        ),
    ],
)
def test_a_card_that_contradicts_itself(folder, old, new, says):
    edit(folder, old, new)
    with pytest.raises(CardError) as caught:
        read_card(folder)
    assert says in str(caught.value)


def test_prompts_are_checked_too(folder):
    edit(folder, "  Edema:", "  Oedema:", "prompts.yaml")
    with pytest.raises(CardError, match=r"class 'Oedema'"):
        read_card(folder)
    edit(folder, "    display:", "    shown:", "prompts.yaml")
    with pytest.raises(CardError, match=r"prompts.yaml:\d+: classes.Atelectasis.\w+: "):
        read_card(folder)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "negative: There is no Pulmonary Edema",
            "negative: There is Pulmonary Edema",
            "`prompt` and `negative` are both",
        ),
        ("source: as CheXpert", "template: Signs of {finding}", "template"),
    ],
)
def test_prompts_that_no_score_could_use(folder, old, new, says):
    edit(folder, old, new, "prompts.yaml")
    with pytest.raises(CardError, match=says):
        read_card(folder)


def test_folders_of_ones_own_come_first(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("CXR_ALIGNBENCH_DATASETS", str(tmp_path))
    edit(folder, "title: CheXpert 5x200", "title: mine")
    assert load_card("chexpert5x200").title == "mine"
    assert card_folders()["padchest"] == datasets_folder() / "padchest"
    edit(folder, "title: mine", "title: changed")
    assert load_card("chexpert5x200").title == "changed"
    monkeypatch.setenv("CXR_ALIGNBENCH_DATASETS", str(tmp_path / "absent"))
    with pytest.raises(CardError, match="is not a folder"):
        card_names()


def test_cards_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        load_card("openi").title = "x"


@pytest.mark.parametrize("name", ["card.yaml", "prompts.yaml"])
def test_a_folder_or_a_loop_of_links_for_a_card_is_one_line(folder, monkeypatch, tmp_path, name):
    monkeypatch.setenv("CXR_ALIGNBENCH_DATASETS", str(tmp_path))
    path = folder / name
    for make, says in ((Path.mkdir, "is a folder"), (lambda p: p.symlink_to(p), "cannot be read")):
        path.rmdir() if path.is_dir() else path.unlink()
        make(path)
        with pytest.raises(CardError, match=says) as caught:
            read_card(folder)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
