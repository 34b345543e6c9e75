"""What a card of one's own may not say: each is one line that names the file, before anything is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from benchmark.cli import main
from benchmark.core.tables import META_COLUMNS
from benchmark.data.card_faults import faults
from benchmark.data.cards import card_names, load_card

Change = Callable[[dict[str, Any], dict[str, Any]], object]
CARD: dict[str, Any] = {
    "name": "ward", "title": "Ward", "version": "1", "role": "evaluation", "reader": "table",
    "licence": "internal", "access": "ask.", "citation": "none", "redistribute": False,
    "remote_llm": "forbidden", "cluster_unit": "patient",
    "table": {
        "file": "labels.csv", "image": "file", "patient": "person", "split": "set",
        "labels": {"kind": "columns", "columns": {"Edema": "a", "Mass": "b"}},
    },
    "default_protocol": "only",
    "protocols": {"only": {"official": False, "classes": "all", "split": ["test"],
                           "labels": {"uncertain": "ignore", "missing": "negative"}}},
    "concepts": {"Edema": ["pulmonary edema"], "Mass": ["pulmonary mass"]},
}  # fmt: skip
PROMPTS: dict[str, Any] = {
    "classes": {
        name: {"prompt": f"There is {name}", "negative": "No finding", "display": name.lower()}
        for name in ("Edema", "Mass")
    }
}


@pytest.fixture
def ward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Writes the card with a change and gives its data root."""
    monkeypatch.setenv("CXR_ALIGNBENCH_DATASETS", str(tmp_path / "cards"))
    root = tmp_path / "ward"
    root.mkdir()
    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 256, (16, 16)).astype(np.uint8)
        Image.fromarray(pixels).save(root / f"{i}.png")
    rows = [f"{i}.png,p{i},test,{i % 2},{i // 2}" for i in range(4)]
    (root / "labels.csv").write_text("\n".join(["file,person,set,a,b", *rows]) + "\n")

    def write(change: Change | None = None, name: str = "ward") -> str:
        card, prompts = yaml.safe_load(yaml.safe_dump([CARD, PROMPTS]))
        card["name"] = name
        if change is not None:
            change(card, prompts)
        folder = tmp_path / "cards" / name
        folder.mkdir(parents=True)
        (folder / "card.yaml").write_text(yaml.safe_dump(card))
        (folder / "prompts.yaml").write_text(yaml.safe_dump(prompts))
        return str(root)

    return write


@pytest.fixture
def home(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the configuration of the checkout and nothing made."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "params.yaml").write_bytes((root / "params.yaml").read_bytes())
    monkeypatch.setenv("CXR_ALIGNBENCH_HOME", str(folder))
    return folder


def called(name: str) -> Change:
    """The first class has another name."""

    def change(card: dict[str, Any], prompts: dict[str, Any]) -> None:
        for given in (card["concepts"], prompts["classes"], card["table"]["labels"]["columns"]):
            given[name] = given.pop("Edema")

    return change


def text(kind: str, value: str) -> Change:
    return lambda _card, prompts: prompts["classes"]["Mass"].update({kind: value})


REFUSED: dict[str, tuple[Change, str]] = {
    **{f"class {name}": (called(name), "name of a column of every manifest") for name in META_COLUMNS},
    **{f"class {name}": (called(name), "name of an average") for name in ("macro", "micro", "weighted")},
    "class with a blank": (called(" Edema"), "begins or ends with a blank"),
    "class of a source": (called("Mass@mined"), "second set of labels"),
    "class of a list": (called("list:Mass"), "image list"),
    "one column": (
        lambda card, _: card["table"]["labels"]["columns"].update(Mass="a"), "both read column 'a'"
    ),
    "no class": (
        lambda card, _: card["protocols"]["only"].update(classes=[]), "protocols.only.classes: names no class"
    ),
    "overlap": (lambda card, _: card.update(overlaps=["mimic-cxr"]), "Did you mean 'mimic_cxr'"),
    "blank prompt": (text("prompt", " "), "prompts.yaml: classes.Mass.prompt: is blank"),
    "blank negative": (text("negative", ""), "prompts.yaml: classes.Mass.negative: is blank"),
    "one prompt": (text("prompt", "there is Edema"), "is that of class 'Edema' too"),
    "one display": (text("display", "edema"), "is that of class 'Edema' too"),
    "one text of a set": (
        lambda _, prompts: prompts.update(sets={"mine": {"Edema": "x", "Mass": "x"}}),
        "prompts.yaml: sets.mine.Mass: 'x' is that of class 'Edema' too",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_card_may_not_say_is_one_line(
    case: str, ward: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    change, said = REFUSED[case]
    root = ward(change)
    assert main(["data", "check", "ward", "--data-root", root]) == 2
    err = capsys.readouterr().err.strip()
    assert said in err
    assert "\n" not in err
    assert "cards/ward/" in err.replace("\\", "/")


def test_a_right_card_has_no_fault(ward: Callable[..., str]) -> None:
    root = ward()
    assert main(["data", "check", "ward", "--data-root", root]) == 0


@pytest.mark.parametrize("name", card_names())
def test_cards_of_the_project_keep_the_rules(name: str) -> None:
    assert list(faults(load_card(name))) == []


@pytest.mark.parametrize("name", ["main", "all"])
@pytest.mark.usefixtures("home")
def test_a_set_cannot_be_called_as_several_sets(
    name: str, ward: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    root = ward(name=name)
    assert main(["data", "check", name, "--data-root", root]) == 2
    assert f"'{name}' stands for several sets" in capsys.readouterr().err
    assert main(["run", "--method", "clip", "--dataset", name]) == 2
    assert f"'{name}' stands for several sets" in capsys.readouterr().err


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("option", ["--dataset", "--train", "--set"])
def test_a_run_asks_a_card_before_it_reads(
    option: str, ward: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    root = ward(called("macro"))
    words = {
        "--dataset": ["--dataset", "ward", "--data-root", root],
        "--train": ["--dataset", "chestxray14", "--train", "ward", "--train-root", root],
        "--set": ["--dataset", "main", "--set", "data.evaluate=[ward]"],
    }[option]
    assert main(["run", "--method", "clip", *words]) == 2
    assert "class 'macro' has the name of an average" in capsys.readouterr().err


def test_a_folder_of_which_no_protocol_chooses_an_image_is_a_problem(
    ward: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    root = ward(lambda card, _: card["protocols"]["only"].update(split=["tset"]))
    assert main(["data", "check", "ward", "--data-root", root]) == 1
    assert "leaves no image of 4 (read: 4, split tset: 0" in capsys.readouterr().out
