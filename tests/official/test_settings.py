"""Official checkpoints under settings of their own, on small files under the official names."""

from __future__ import annotations

from pathlib import Path

import official_checkpoints as made
import pytest
import torch
from torch.nn import functional as F

from benchmark.core.errors import BenchError, ParamsError
from benchmark.core.hashing import hash_file
from benchmark.encoders.base import fingerprint
from benchmark.official.ensemble import load_with
from benchmark.official.settings import Checkpoint, CheckpointSettings, parse_settings, settings_name
from benchmark.official.texts import MedCLIPText

TEXTS = ["there is edema", "no edema"]


def noise(side: int) -> torch.Tensor:
    seed = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, side, side), dtype=torch.uint8, generator=seed)


def test_settings_are_read_and_the_usual_ones_are_none(tmp_path: Path) -> None:
    assert parse_settings("radzero", ["size=224"]) == CheckpointSettings(size=224)
    assert parse_settings("radzero", ["size=518"]).recorded() == {}
    assert parse_settings("medclip", ["pooling=all_positions"]).recorded() == {"pooling": "all_positions"}
    assert parse_settings("carzero", ["text_columns=40"]).recorded() == {"text_columns": 40}
    for name in "ab":
        (tmp_path / name).write_text(name)
    files = [f"member={tmp_path / name}" for name in "ab"]
    members = parse_settings("clip", files)
    assert members == CheckpointSettings(member=(tmp_path / "a", tmp_path / "b"))
    assert members.recorded() == {"member": [hash_file(path) for path in members.member]}
    assert settings_name({"text_columns": 40}) == "text-columns-40"
    assert settings_name({"head": "linear", "features": "local"}) == "features-local-head-linear"
    assert settings_name({"member": ["x", "y"]}).startswith("ensemble-3-")


@pytest.mark.parametrize(
    ("method", "given", "said"),
    [
        ("radzero", ["siz=224"], "Did you mean 'size'"),
        ("radzero", ["size"], "no setting"),
        ("radzero", ["size=-1"], "expected a number of pixels"),
        ("radzero", ["size=224", "size=28"], "given twice"),
        ("carzero", ["text_columns=none"], "expected a number of columns"),
        ("medclip", ["pooling=max"], "expected masked or all_positions"),
        ("clip", ["member=no/such"], "no such file"),
        ("gloria", ["size=224"], "It has none"),
    ],
)
def test_what_is_no_setting_is_one_line(method: str, given: list[str], said: str) -> None:
    with pytest.raises(ParamsError, match=said) as caught:
        parse_settings(method, given)
    assert "\n" not in str(caught.value)


def test_radzero_at_another_size(tmp_path: Path) -> None:
    from transformers import Dinov2Config, Dinov2Model, MPNetConfig, MPNetModel

    torch.manual_seed(0)
    small = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 1}
    sees = Dinov2Model(Dinov2Config(**small, patch_size=14, image_size=56))
    reads = MPNetModel(MPNetConfig(**small, intermediate_size=24, vocab_size=40, max_position_embeddings=40))
    state = {f"vision_model.{k}": v for k, v in sees.state_dict().items()}
    state |= {f"text_model.{k}": v for k, v in reads.state_dict().items()}
    norm = {"weight": torch.ones(24), "bias": torch.zeros(24)}
    state |= {f"loss_fns.RadZeroLoss.layer_norm.{k}": v for k, v in norm.items()}
    state["loss_fns.RadZeroLoss.loss_temperature"] = torch.tensor([-2.6])
    file = str(tmp_path / "w.pt")
    torch.save({f"base_model.model.{k}": v for k, v in state.items()}, file)
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": [0.5], "image_std": [0.2]}')
    words = str(made.tokenizer(tmp_path / "words", 40))
    prints = []
    for size in (28, 56):
        found = load_with("radzero", Checkpoint(file, words, settings=CheckpointSettings(size=size)))
        assert (found.preprocessing.side, found.image.grid) == (size, (size // 14,) * 2)
        with torch.no_grad():
            scores = found.method(found.image.encode(noise(size)), found.text.encode(TEXTS))
        assert scores.shape == (2, 2)
        prints.append(fingerprint(found.image))
    assert prints[0] != prints[1], "features of one size are never taken for those of the other"
    with pytest.raises(BenchError, match="no multiple of its patches of 14 px"):
        load_with("radzero", Checkpoint(file, words, settings=CheckpointSettings(size=30)))


def test_medclip_pools_padding_as_released_under_a_key_of_its_own(tmp_path: Path) -> None:
    state, words = made.small_bert(40), made.tokenizer(tmp_path / "words", 40)
    masked, released = (MedCLIPText(state, words, "w", p) for p in ("masked", "all_positions"))
    with torch.no_grad():
        alone, batch = (
            (t.encode(["edema"]).pooled[0] for t in (masked, released)),
            ["edema", "edema right left"],
        )
        one, other = alone
        together = [t.encode(batch).pooled[0] for t in (masked, released)]
    torch.testing.assert_close(one, other)
    torch.testing.assert_close(together[0], one, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(together[1], one, atol=1e-3), "the padding of the batch counts"
    assert fingerprint(masked) != fingerprint(released)


def test_carzero_with_a_linear_head_and_local_features(tmp_path: Path) -> None:
    state = {k: v for k, v in made.carzero_state(40).items() if ".mlp_head." not in k}
    seed = torch.Generator().manual_seed(2)
    state["CARZero.fusion_module.mlp_head.0.weight"] = torch.randn(1, 64, generator=seed)
    state["CARZero.fusion_module.mlp_head.0.bias"] = torch.zeros(1)
    torch.save({"state_dict": state}, tmp_path / "linear.ckpt")
    words = str(made.tokenizer(tmp_path / "words", 40))
    file = str(tmp_path / "linear.ckpt")
    both, local = (
        load_with("carzero", Checkpoint(file, words, settings=asked))
        for asked in (CheckpointSettings(head="linear"), CheckpointSettings(features="local"))
    )
    assert [m.method.config.head for m in (both, local)] == ["linear", "linear"]
    assert [m.method.config.features for m in (both, local)] == ["both", "local"]
    with torch.no_grad():
        one, other = (m.method(m.image.encode(noise(32)), m.text.encode(TEXTS)) for m in (both, local))
    assert not torch.allclose(one, other, atol=1e-4)
    with pytest.raises(BenchError, match="its head is 'linear', not 'mlp'"):
        load_with("carzero", Checkpoint(file, words, settings=CheckpointSettings(head="mlp")))


def test_an_ensemble_scores_the_mean_of_its_cosines(tmp_path: Path) -> None:
    import open_clip

    cosines, files = [], []
    pixels = noise(32)
    for seed in range(3):
        torch.manual_seed(seed)
        model = open_clip.model.CLIP(
            embed_dim=16,
            vision_cfg=open_clip.CLIPVisionCfg(layers=1, width=64, patch_size=8, image_size=32),
            text_cfg=open_clip.CLIPTextCfg(context_length=77, vocab_size=49408, width=64, heads=1, layers=1),
            quick_gelu=True,
        ).eval()
        files.append(tmp_path / f"{seed}.pt")
        torch.save({k: v for k, v in model.state_dict().items() if k != "attn_mask"}, files[-1])
        with torch.no_grad():
            x = ((pixels.float() - 101.48761) / 83.43944)[:, None].expand(-1, 3, -1, -1)
            u = F.normalize(model.encode_image(x), dim=-1)
            cosines.append(u @ F.normalize(model.encode_text(open_clip.tokenize(TEXTS)), dim=-1).T)
    settings = parse_settings("clip", [f"member={file}" for file in files[1:]])
    found = load_with("clip", Checkpoint(str(files[0]), layout="chexzero", settings=settings))
    with torch.no_grad():
        scores = found.method(found.image.encode(pixels), found.text.encode(TEXTS))
    mean = torch.stack(cosines).mean(0)
    torch.testing.assert_close(scores / found.method.logit_scale.exp(), mean, rtol=1e-4, atol=1e-5)
    difference = torch.stack([c[:, 0] - c[:, 1] for c in cosines])
    official = difference.sigmoid().mean(0)
    ours = (mean[:, 0] - mean[:, 1]).sigmoid()
    assert ((official - ours).abs() <= 0.05 * difference.var(0, correction=0) + 1e-6).all()
