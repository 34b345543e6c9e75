"""BrgSA's checkpoint under its official names and shapes, one layer deep: volumes in, scores out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import official_checkpoints as made
import pytest
import torch
from torch.nn import functional as F

from benchmark.cli import main
from benchmark.core.errors import ParamsError
from benchmark.data.volumes import prepare_volume
from benchmark.official.checkpoints import load_official
from benchmark.reporting.run_report import _same_modality

WIDTH, HIDDEN, VOCABULARY = 768, 3072, 28996


def brgsa_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the released file (specification 2.9), with one block in either tower."""
    image, text = "img_encoder.model.", "text_encoder.model."
    shapes: dict[str, tuple[int, ...]] = {
        f"{image}cls_token": (1, 1, WIDTH),
        f"{image}pos_embed": (1, 2745, WIDTH),
        f"{image}patch_embed.proj.weight": (WIDTH, 1, 16, 16, 8),
        f"{image}patch_embed.proj.bias": (WIDTH,),
        f"{text}embeddings.word_embeddings.weight": (VOCABULARY, WIDTH),
        f"{text}embeddings.position_embeddings.weight": (512, WIDTH),
        f"{text}embeddings.token_type_embeddings.weight": (2, WIDTH),
        f"{text}embeddings.position_ids": (1, 512),
        "dictionarylearning.dictionary.weight": (2048, WIDTH),
    }
    square = {
        **{f"{text}encoder.layer.0.attention.self.{part}": WIDTH for part in ("query", "key", "value")},
        f"{text}encoder.layer.0.attention.output.dense": WIDTH,
        f"{text}pooler.dense": WIDTH,
        f"{image}blocks.0.attn.proj": WIDTH,
        f"{image}blocks.0.attn.qkv": 3 * WIDTH,
        f"{image}blocks.0.mlp.fc1": HIDDEN,
        f"{text}encoder.layer.0.intermediate.dense": HIDDEN,
        **{f"img_encoder.{part}": WIDTH for part in ("global_embedder", "local_embedder")},
        **{f"text_encoder.{part}": WIDTH for part in ("emb_global", "emb_local")},
    }
    for name, rows in square.items():
        shapes |= {f"{name}.weight": (rows, WIDTH), f"{name}.bias": (rows,)}
    for name in (f"{image}blocks.0.mlp.fc2", f"{text}encoder.layer.0.output.dense"):
        shapes |= {f"{name}.weight": (WIDTH, HIDDEN), f"{name}.bias": (WIDTH,)}
    norms = [f"{image}blocks.0.norm1", f"{image}blocks.0.norm2", f"{image}norm"]
    norms += [f"{text}{part}.LayerNorm" for part in ("embeddings", "encoder.layer.0.attention.output")]
    norms += [f"{text}encoder.layer.0.output.LayerNorm"]
    for name in norms:
        shapes |= {f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)}
    return shapes


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("brgsa")
    tensors = {f"gloria.{name}": value for name, value in made.filled(brgsa_shapes()).items()}
    torch.save({"state_dict": tensors}, folder / "brgsa.ckpt")
    return folder / "brgsa.ckpt", made.tokenizer(folder / "tokenizer", VOCABULARY)


def test_a_volume_is_scored_as_published(released: tuple[Path, Path]) -> None:
    """Half the sum of cos(v, t) and cos(v̂, t), with t not reconstructed (specification 2.8)."""
    model = load_official("brgsa", released[0], tokenizer=released[1])
    assert model.image.modality == "ct"
    assert len(model.image.network.blocks) == 1
    hounsfield = np.random.default_rng(0).integers(-1000, 400, (20, 40, 40)).astype(np.int16)
    prepared = prepare_volume(hounsfield, (1.5, 1.5, 3.0), shape_zyx=(16, 32, 32))
    with torch.no_grad():
        image = model.image.encode(torch.from_numpy(prepared.round().astype(np.int16))[None])
        text = model.text.encode(["There is Cardiomegaly", "There is Pleural effusion"])
        scores = model.method(image, text)
        state = torch.load(released[0], weights_only=True)["state_dict"]

        def linear(name: str, x: torch.Tensor) -> torch.Tensor:
            return F.linear(x, state[f"gloria.{name}.weight"], state[f"gloria.{name}.bias"])

        v = linear("img_encoder.global_embedder", image.pooled)
        t = linear("text_encoder.emb_global", text.pooled)
        bank = state["gloria.dictionarylearning.dictionary.weight"]
        rebuilt = (v @ bank.T).softmax(1) @ bank
        expected = (F.cosine_similarity(v, t) + F.cosine_similarity(rebuilt, t)) / 2
    assert image.grid == (2, 2, 2)
    assert image.local.shape == (1, 8, WIDTH)
    torch.testing.assert_close(scores[0], expected, rtol=1e-4, atol=1e-5)


def test_a_checkpoint_for_volumes_says_why_it_does_not_score_radiographs(
    released: tuple[Path, Path],
    tmp_path: Path,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(root / "params.yaml", tmp_path)
    monkeypatch.setenv("CXR_ALIGNBENCH_HOME", str(tmp_path))
    wanted = ["run", "--method", "brgsa", "--checkpoint", str(released[0]), "--tokenizer", str(released[1])]
    assert main([*wanted, "--dataset", "chestxray14"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "chestxray14: it holds plane radiographs, and the official brgsa checkpoint reads CT volumes" in said
    )
    assert "Traceback" not in said


def test_the_same_kind_of_images_passes() -> None:
    _same_modality("carzero", "cxr", ["chestxray14", "openi"])
    with pytest.raises(ParamsError, match="--dataset openi: it holds plane radiographs"):
        _same_modality("brgsa", "ct", ["openi"])


@pytest.mark.timeout(300)
def test_the_command_scores_volumes_of_an_official_tree(
    released: tuple[Path, Path],
    tmp_path: Path,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Full size: 256 x 256 x 128 voxels, 4,096 tokens, 18 prompts."""
    shutil.copy(root / "params.yaml", tmp_path)
    monkeypatch.setenv("CXR_ALIGNBENCH_HOME", str(tmp_path))
    wanted = ["run", "--method", "brgsa", "--checkpoint", str(released[0]), "--tokenizer", str(released[1])]
    data = ["--dataset", "ct_rate", "--data-root", str(made.ct_rate_tree(tmp_path / "CT-RATE")), "--json"]
    assert main([*wanted, *data]) == 0, capsys.readouterr().err
    found = json.loads(capsys.readouterr().out)
    about = found["datasets"][0]
    assert (about["dataset"], about["images"]) == ("ct_rate", 2)
