"""Cards as YAML: every shipped one, those of one's own, changes, and one line for each fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmark.core.errors import BenchError, CardError, ParamsError
from benchmark.encoders.card_files import VARIABLE, card_at, card_of, card_paths, encoder_entry, encoder_names
from benchmark.encoders.cards import EncoderCard, ImageCard

FIELDS: dict[str, Any] = {
    "kind": "text", "name": "mine", "source": "transformers", "weights": "path:model", "licence": "MIT",
    "seen": "unknown",
}  # fmt: skip


def write(folder: Path, stem: str = "mine", **changes: Any) -> Path:
    fields = {key: value for key, value in {**FIELDS, **changes}.items() if value is not ...}
    path = folder / f"{stem}.yaml"
    path.write_text(yaml.safe_dump(fields, sort_keys=False))
    return path


@pytest.mark.parametrize("name", card_paths())
def test_every_shipped_card_states_what_it_must(name: str) -> None:
    card = encoder_entry(name)
    assert card.name == name
    assert card.licence
    assert not card.weights.startswith("package:") or card.sha256
    for seen in () if card.seen == "unknown" else card.seen:
        assert len(seen.source) > 10, "where it is stated"


def test_the_cards_that_the_field_plugs_in_are_there() -> None:
    wanted = {
        "rad-dino", "medsiglip-448-image", "medsiglip-448-text", "biomedclip-image", "biomedclip-text",
        "dinov2-base", "dinov2-small", "dinov3-small", "xray-dinov2", "mrm-vit-b16", "xrv-densenet121",
        "cxr-bert", "bioclinicalbert", "carzero-bert", "pubmedbert", "sapbert", "mpnet", "minilm-l6",
        "efficientnet-lite0", "efficientnet-lite0-224", "efficientnet-lite2", "vit-b16", "slices-lite0",
    }  # fmt: skip
    assert wanted <= set(encoder_names())


def test_a_folder_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    write(tmp_path, "mpnet", name="mpnet", note="mine")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert encoder_entry("mine").weights == f"path:{tmp_path / 'model'}", "relative to the card"
    assert encoder_entry("mpnet").note == "mine", "hides the shipped one"
    assert card_at(str(tmp_path / "mine.yaml"), "text") == encoder_entry("mine")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "none"))
    with pytest.raises(CardError, match="is not a folder"):
        encoder_names()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "sound"}, r"mine.yaml:1: kind: expected image or text \(got 'sound'\)"),
        ({"poling": "cls"}, r"mine.yaml:7: unknown key 'poling'. Did you mean 'pooling'\?"),
        ({"seen": ...}, "seen: is required. Write `seen: unknown`"),
        ({"licence": ...}, "licence: is required"),
        ({"seen": [{"dataset": "x", "what": ["sounds"], "source": "y"}]}, "mine.yaml:6: seen.* a list of"),
        ({"source": "keras"}, "mine.yaml:3: source: Input should be 'timm'"),
        ({"name": "other"}, "mine.yaml:2: name 'other' is not the file's"),
        ({"sha256": "abc"}, "sha256: String should match pattern"),
    ],
)
def test_faults_name_file_line_and_key(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=said) as caught:
        card_at(str(write(tmp_path, **changes)), "text")
    assert "\n" not in str(caught.value)


def test_a_card_with_changes() -> None:
    changed = card_of({"card": "dinov2-base", "size": 448, "weights": "path:/m"}, "image")
    assert isinstance(changed, ImageCard)
    assert (changed.preprocessing.side, changed.weights) == (448, "path:/m")
    assert changed.preprocessing.mean == (0.485, 0.456, 0.406)
    pinned = card_of({"card": "minilm-l6", "weights": "path:/m"}, "text")
    assert pinned.sha256 is None, "the hash is that of the shipped file"
    assert isinstance(encoder_entry("minilm-l6"), EncoderCard)
    for spec, kind, said in (
        ({"card": "minilm-l6"}, "image", "no image encoder"),
        ({"card": "slices-lite0"}, "image", "no image encoder with a card"),
        ({"card": "minilm-l7"}, "text", "Did you mean 'minilm-l6'"),
        ({"card": "minilm-l6", "sizes": 3}, "text", "unknown key 'sizes'"),
        ({"name": "x", "source": "timm"}, "image", "is required"),
    ):
        with pytest.raises(BenchError, match=said) as caught:
            card_of(spec, kind)
        assert "\n" not in str(caught.value)


def test_paths_that_hold_no_encoder(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="neither a card"):
        card_at(str(tmp_path / "x.bin"), "image")
    with pytest.raises(BenchError, match=r"no config\.json"):
        card_at(str(tmp_path), "image")
    with pytest.raises(ParamsError, match="is no image encoder"):
        card_at(str(write(tmp_path)), "image")
