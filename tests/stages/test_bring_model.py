"""docs/bring-your-model.md as written, on tiny models that are saved here: rows, intervals, what was seen."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from benchmark.core.tables import read_table
from benchmark.encoders.weights import WeightsError, check_grid
from benchmark.grid.layout import Project
from benchmark.grid.request import Request, plan
from tests.stages.test_documented_commands import write_models

pytestmark = pytest.mark.filterwarnings("ignore")

PAGE = Path(__file__).parents[2] / "docs" / "bring-your-model.md"
ROWS = {"siglip-model": "template", "clip-model": "pos-neg", "open-clip-model": "template"}


@pytest.mark.slow
def test_the_page_as_written(fresh_copy, root, bench, monkeypatch) -> None:
    write_models(fresh_copy, root)
    monkeypatch.setenv("CXR_ALIGNBENCH_ENCODERS", str(fresh_copy / "my-encoders"))
    blocks = re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.S)
    commands = [line for block in blocks for line in block.splitlines() if line.startswith("bench")]
    assert len(commands) == 6
    for command in commands:
        words = shlex.split(command)[1:]
        if words[0] == "ls":
            code, out, err = bench(fresh_copy, *words)
            assert (code, "seen: mimic_cxr (images)" in out) == (0, True), err
            continue
        short = () if "--model" in words else ("--set", "seeds=[0]", "--set", "training.epochs=1")
        code, out, err = bench(fresh_copy, *words, *short, "--json")
        assert code == 0, err
        found = json.loads(out)
        seen = found["datasets"][0]["seen"]
        if "--model" in words:
            assert seen == "unknown"
        else:
            assert seen == ("zero-shot" if "models/bert" not in command else "unknown")
        macro = [r for r in found["metrics"] if r["class"] == "macro" and r["metric"] == "auroc"]
        assert any(r["low"] < r["value"] < r["high"] for r in macro if r["stratum"] == "all")
    for name, prompts in ROWS.items():
        path = next((fresh_copy / "results").glob(f"{name}*/seed-0/chestxray14/metrics.parquet"))
        rows = read_table(path)[0]
        assert set(rows["variant"].str.partition("~")[0]) == {"model"}
        assert set(rows["prompts"].str.partition(":")[0]) == {prompts}
    said = json.loads((fresh_copy / "runs" / "clip-model" / "seed-0" / "source.json").read_text())
    assert said["seen"][0]["dataset"] == "unknown"


def test_a_model_under_other_features_does_not_share_its_row(fresh_copy, bench) -> None:
    """Its scores at half precision would be written over those at full precision, set by set."""
    from tests.encoders import tiny_models as tiny

    tiny.clip(fresh_copy / "mine")
    asked = ("run", "--dataset", "chestxray14", "--model", "hf:mine")
    for more in ((), ("--set", "encoders.precision=float32"), ("--set", "encoders={precision: float32}")):
        code, _, err = bench(fresh_copy, *asked, *more)
        assert code == 0, err
    found = sorted((fresh_copy / "results").glob("mine-model*/seed-0/chestxray14/metrics.parquet"))
    assert len(found) == 2, "one row as configured and one at full precision"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("numerics=native", True),
        ("encoders.precision=float32", True),
        ("texts.rule=findings", True),
        ("twins.seed=5", True),
        ("prompts.style=name", True),
        ("statistics.level=0.9", True),
        ("encoders.precision=float16", False),
    ],
)
def test_what_changes_the_numbers_of_published_weights_is_in_their_name(root, tmp_path, change, named):
    (tmp_path / "params.yaml").write_text((root / "params.yaml").read_text())
    cell = plan(Project(tmp_path), Request("clip", "openi", sets=(change,)), published=True).cells[0]
    assert ("~" in cell.name) == named


def test_two_models_of_one_name_do_not_share_a_row(fresh_copy, bench) -> None:
    """As checkpoint-500 of two trainings: results of the first on other sets would stay in the row."""
    from tests.encoders import tiny_models as tiny

    tiny.clip(fresh_copy / "a" / "step.500")
    tiny.pair(fresh_copy / "b" / "step.500")
    asked = ("run", "--dataset", "chestxray14", "--model")
    for _ in range(2):
        code, _, err = bench(fresh_copy, *asked, "hf:a/step.500")
        assert code == 0, err
    found = next((fresh_copy / "results").glob("step-500-model*/seed-0/chestxray14/metrics.parquet"))
    before = found.read_bytes()
    code, _, err = bench(fresh_copy, *asked, "hf:b/step.500")
    assert code == 2
    assert "step-500-model: results of weights" in err
    assert "or give the model's folder another name" in err
    assert found.read_bytes() == before


def test_a_map_of_a_model_of_two_towers(root, tmp_path, bench) -> None:
    import numpy as np
    from PIL import Image

    from tests.encoders import tiny_models as tiny

    (tmp_path / "params.yaml").write_text((root / "params.yaml").read_text())
    tiny.clip(tmp_path / "clip")
    tiny.siglip(tmp_path / "siglip")
    tiny.open_clip_folder(tmp_path / "oc")
    noise = np.random.default_rng(0).integers(0, 256, (40, 48), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "film.png")
    asked = ("map", str(tmp_path / "film.png"), "there is no effusion")
    for spec, name in (("hf:clip", "clip-model"), ("open_clip:oc", "oc-model")):
        code, out, err = bench(tmp_path, *asked, "--model", spec, "--json")
        assert code == 0, err
        value = json.loads(out)
        assert (value["model"], value["map"], value["dataset"]) == (name, "similarity", None)
        assert (tmp_path / value["picture"]).read_bytes().startswith(b"\x89PNG")
    for image, more, said in (
        ("missing.png", ("--model", "hf:siglip"), "has no map. Its image vector is pooled"),
        ("film.png", ("--model", "hf:clip", "--method", "clip"), "without --method and --seed"),
        ("film.png", ("--model", "hf:clip", "--checkpoint", "x"), "without --checkpoint and --tokenizer"),
        ("film.png", ("--architecture", "ViT-B-32"), "goes with --model"),
        ("film.png", ("--model", "hf:nowhere"), "unknown model 'nowhere'"),
    ):
        code, _, err = bench(tmp_path, "map", image, "there is no effusion", *more)
        assert (code, err.count("\n")) == (2, 1), err
        assert said in err


def test_a_checkpoint_under_settings_of_its_own_is_a_row_of_its_own(fresh_copy, bench) -> None:
    import torch

    from tests.official import official_checkpoints as made

    words = made.tokenizer(fresh_copy / "words", 60)
    torch.save({"state_dict": made.carzero_state(60)}, fresh_copy / "w.ckpt")
    code, out, err = bench(
        fresh_copy, "run", "--method", "carzero", "--dataset", "chestxray14", "--checkpoint", "w.ckpt",
        "--tokenizer", str(words), "--official", "features=local", "--json",
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["settings"] == {"features": "local"}
    name = "carzero-official@features-local"
    said = json.loads((fresh_copy / "runs" / name / "seed-0" / "source.json").read_text())
    assert said["settings"] == {"features": "local"}
    assert (fresh_copy / "results" / name / "seed-0" / "chestxray14" / "metrics.parquet").is_file()
    for more, text in (
        (("--official", "features=local"), "give both"),
        (("--official", "sise=3", "--checkpoint", "no/such"), "no setting of an official carzero checkpoint"),
    ):
        code, _, err = bench(fresh_copy, "run", "--method", "carzero", "--dataset", "chestxray14", *more)
        assert (code, err.count("\n")) == (2, 1), err
        assert text in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--model", "hf:nowhere"), "unknown model 'nowhere'"),
        (("--model", "hf:nowhere", "--method", "clip"), "give --method NAME, or --model"),
        ((), "give --method NAME, or --model"),
        (("--model", "hf:nowhere", "--recipe", "official"), "--recipe: nothing of it acts on published"),
        (("--model", "hf:nowhere", "--seeds", "0,1", "--train", "openi"), "--train, --seeds: nothing"),
        (("--model", "hf:nowhere", "--set", "training.epochs=3"), "--set training.epochs: nothing"),
        (("--model", "hf:nowhere", "--set", "encoders.image=rad-dino"), "--set encoders.image: nothing"),
        (("--model", "hf:nowhere", "--set", "encoders={image: rad-dino}"), "--set encoders.image: nothing"),
        (("--model", "hf:nowhere", "--set", "ct.training.epochs=3"), "--set ct.training.epochs: nothing"),
        (("--model", "hf:nowhere", "--set", "texts.negations=drop"), "--set texts.negations: nothing"),
        (("--model", "hf:nowhere", "--shard", "1/2"), "--shard: nothing"),
        (("--method", "clip", "--checkpoint", "x", "--set", "prompts.style=name"), "prompts.style: nothing"),
        (("--method", "clip", "--gpus", "1"), "go with --cluster"),
        (("--method", "clip", "--minutes", "9"), "go with --cluster"),
        (("--method", "clip", "--architecture", "x"), "--architecture goes with"),
        (("--method", "clip", "--layout", "chexzero"), "goes with --checkpoint"),
        (("--method", "clip", "--set", "encoders.image=no/such"), "neither a card"),
        (("--method", "clip", "--set", "encoders.image={card: dinov2-base}"), "is not pinned"),
        (("--method", "clip", "--set", "encoders.image=rad-dino"), "huggingface-cli download microsoft/rad-"),
        (("--method", "clip", "--set", "encoders.text={card: minilm-l6, layrs: 2}"), "Did you mean 'layers'"),
        (("--method", "clip", "--set", "encoders.image=minilm-l6"), "no image encoder"),
        (("--method", "clip", "--set", "encoders.image={card: efficientnet-lite0, stage: 99}"), "stage 99"),
    ],
)
def test_what_cannot_run_is_one_line_before_any_data(words, said, root, tmp_path, bench) -> None:
    (tmp_path / "params.yaml").write_text((root / "params.yaml").read_text())
    code, _, err = bench(tmp_path, "run", "--dataset", "chestxray14", *words)
    assert (code, err.count("\n")) == (2, 1), err
    assert said in err
    assert not (tmp_path / "data").exists()


def test_files_that_are_no_such_encoder_are_one_line_before_any_data(
    root, tmp_path, bench, monkeypatch
) -> None:
    from tests.encoders import tiny_models as tiny

    (tmp_path / "params.yaml").write_text((root / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    tiny.vision(tmp_path / "dinov2", "Dinov2")
    pinned = f"revision: {'a' * 40}, sha256: {'b' * 64}"
    normal = f"preprocessing: {{size: 3, mean: {tiny.MEAN}, std: {tiny.STD}}}"
    for words, said in (
        ("{card: efficientnet-lite0, weights: 'path:no/such.pth'}", "no such file"),
        (f"{{card: efficientnet-lite0, sha256: {'b' * 64}}}", "the card pins bbbbbbbbbbbb"),
        (f"{{card: rad-dino, {pinned}}}", "neither in the hub's cache here nor to be had"),
        (f"{{card: rad-dino, weights: 'path:dinov2', {normal}}}", "preprocessing.size"),
    ):
        asked = ("--method", "clip", "--set", f"encoders.image={words}")
        code, _, err = bench(tmp_path, "run", "--dataset", "chestxray14", *asked)
        assert code == 2
        assert said in err.strip().splitlines()[-1]
        assert not (tmp_path / "data").exists()
    asked = ("--method", "clip", "--set", "encoders.text=./dinov2")
    code, _, err = bench(tmp_path, "run", "--dataset", "chestxray14", *asked)
    assert (code, err.count("\n")) == (2, 1), err
    assert "a Dinov2Model has no text tower" in err
    with pytest.raises(WeightsError, match="200 patch tokens form no grid of 14 x 14"):
        check_grid("x", 200, (14, 14))
