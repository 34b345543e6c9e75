"""CT-CLIP's checkpoint under its official names, tiny: volumes of an official tree in, a table out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import official_checkpoints as made
import pytest
import torch

from benchmark.cli import main
from benchmark.core.errors import BenchError
from benchmark.data.cards import load_card
from benchmark.data.volume_steps import STEPS
from benchmark.official.checkpoints import load_official
from benchmark.official.parity.fixture import load_fixture
from benchmark.prompts.class_prompts import class_prompts
from benchmark.stages.released import paired

CASE = Path(__file__).parent / "fixtures" / "ct_clip" / "end_to_end.npz"
KEYS = CASE.with_name("checkpoint_keys.json")
WORDS = 20


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return load_fixture(CASE).state()


@pytest.fixture(scope="module")
def released(state: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(checkpoint, tokenizer), saved as released: a flat state dict."""
    folder = tmp_path_factory.mktemp("ct_clip")
    older = {"text_transformer.embeddings.position_ids": torch.zeros(1, 16, dtype=torch.long)}
    torch.save({**state, **older}, folder / "CT-CLIP_v2.pt")
    return folder / "CT-CLIP_v2.pt", made.tokenizer(folder / "tokenizer", WORDS)


def test_a_volume_is_read_as_released(released: tuple[Path, Path], state: dict[str, torch.Tensor]) -> None:
    """Slabs along the body, x before y, Hounsfield units / 1000; the mean over the slabs projected."""
    model = load_official("clip", released[0], tokenizer=released[1], heads=1)
    assert (model.release, model.image.modality, model.image.grid) == ("ct-clip", "ct", (1, 1, 1))
    assert model.image.steps == STEPS["ct-clip"].model_copy(
        update={"shape": (240, 12, 12), "spacing": (1.5, 30.0, 30.0)}
    )
    hounsfield = torch.randint(-1000, 1000, (1, 8, 12, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        seen = model.image.encode(hounsfield.to(torch.int16))
        codes = model.image.network(hounsfield.permute(0, 1, 3, 2)[:, None] / 1000)
        expected = codes.mean(1).reshape(1, -1) @ state["to_visual_latent.weight"].T
    torch.testing.assert_close(seen.pooled, expected)
    assert {name.split(".")[0] for name in model.unused} == {
        "visual_transformer", "text_transformer", "to_visual_latent_extra", "to_text_latent_extra",
    }  # fmt: skip
    text = model.text.encode(["There is pleural effusion"])
    assert model.method.similarity_map(seen, text) is None


def test_a_class_is_a_pair_of_sentences() -> None:
    pair = ("{} is present.", "{} is not present.")
    for name in ("ct_rate", "ct_rate_lt"):
        card = load_card(name)
        asked = class_prompts(paired(card, pair), "ct-clip", "pos-neg", template="official")
        positive = [text for text, side in zip(asked.texts, asked.polarity, strict=True) if side == 1]
        assert [t.lower() for t in positive] == [
            card.prompts.text(c, "ct-clip").lower() for c in card.protocol_classes("ct-clip")
        ]
        assert all(t.replace(" is present", " is not present") in asked.texts for t in positive)
    assert (
        len(
            class_prompts(
                paired(load_card("rad_chestct"), pair), "rest", "pos-neg", template="official"
            ).texts
        )
        == 134
    )


def test_the_command_scores_volumes_of_an_official_tree(
    released: tuple[Path, Path],
    tmp_path: Path,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(root / "params.yaml", tmp_path)
    monkeypatch.setenv("CXR_ALIGNBENCH_HOME", str(tmp_path))
    wanted = ["run", "--method", "clip", "--checkpoint", str(released[0]), "--tokenizer", str(released[1])]
    tree = made.ct_rate_tree(tmp_path / "CT-RATE")
    asked = ["--dataset", "ct_rate", "--protocol", "ct-clip", "--data-root", str(tree), "--json"]
    assert main([*wanted, *asked]) == 0
    found = json.loads(capsys.readouterr().out)
    about = found["datasets"][0]
    assert (about["dataset"], about["images"], about["protocol"]) == ("ct_rate", 2, "ct-clip")
    assert {row["dataset"] for row in found["exposure"]} >= {"ct_rate", "mimic_cxr"}
    assert {row["prompts"] for row in found["metrics"]} == {"pos-neg"}
    auroc = [r["value"] for r in found["metrics"] if r["metric"] == "auroc" and r["class"] == "Cardiomegaly"]
    assert auroc[0] in (0.0, 0.5, 1.0)  # of two volumes

    assert main([*wanted, "--dataset", "chestxray14"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "chestxray14: it holds plane radiographs, and the official ct-clip checkpoint reads CT volumes"
        in said
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"visual_transformer.vq._codebook.embed": None}, "lacks 'vq._codebook.embed'"),
        ({"visual_transformer.to_patch_emb.2.weight": None}, "lacks 'to_patch_emb.2.weight'"),
        ({"visual_transformer.enc_temporal_transformer.norm_out.gamma": None}, "norm_out.gamma"),
        ({"visual_transformer.other": (1,)}, "other"),
        ({"image_classifier.weight": (1,)}, "belong to no part of the model: image_classifier.weight"),
        ({"temperature": None}, "it needs a temperature"),
        ({"to_text_latent.weight": None}, "'to_text_latent.weight' is missing"),
        ({"to_text_latent.weight": (12, 7)}, "reads 7 channels"),
        ({"to_visual_latent.weight": (12, 16 * 7)}, "no square of tokens"),
        ({"to_visual_latent.weight": (11, 144)}, "of one width"),
        ({"visual_transformer.to_patch_emb.2.weight": (16, 33)}, "33 voxels"),
    ],
)
def test_a_file_that_does_not_fit_says_what_is_wrong(
    change: dict[str, tuple[int, ...] | None],
    said: str,
    state: dict[str, torch.Tensor],
    released: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    made_up = dict(state)
    for name, shape in change.items():
        made_up.pop(name, None)
        if shape is not None:
            made_up[name] = torch.zeros(shape)
    torch.save(made_up, tmp_path / "w.pt")
    with pytest.raises(BenchError, match=said) as refused:
        load_official("clip", tmp_path / "w.pt", tokenizer=released[1], heads=1)
    assert "\n" not in str(refused.value)


def test_a_layout_is_not_asked_of_a_file_that_says_what_it_is(released: tuple[Path, Path]) -> None:
    with pytest.raises(BenchError, match="leave out --layout"):
        load_official("clip", released[0], tokenizer=released[1], layout="chexzero")
    with pytest.raises(BenchError, match="--tokenizer"):
        load_official("clip", released[0])


def test_released_sizes(state: dict[str, torch.Tensor]) -> None:
    """The names of the tiny file are those of the released one, layer for layer."""
    keys = json.loads(KEYS.read_text())["keys"]
    more = {
        n for n in keys if ".layers.2." in n or ".layers.3." in n or "temporal_transformer.layers.1." in n
    }
    more |= {n for n in keys if n.startswith("text_transformer.encoder.layer.") and n.split(".")[3] != "0"}
    assert set(state) == set(keys) - more - {"text_transformer.embeddings.position_ids"}
    assert np.prod(keys["to_visual_latent.weight"]) == 512 * 24 * 24 * 512
