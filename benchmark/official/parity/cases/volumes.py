"""BrgSA's volume side: preprocessing and the 3-D vision transformer."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from benchmark.data.volumes import prepare_volume
from benchmark.official.parity.cases.features import backward
from benchmark.official.parity.check import Checker, Tolerance
from benchmark.official.parity.fixture import Fixture
from benchmark.official.parity.registry import case
from benchmark.official.vit3d import Tokens3D, ViT3D

_HU = Tolerance(atol=1e-3)
_NETWORK = Tolerance(rtol=1e-5, atol=2e-5)
_IMAGE = "img_encoder.model."


@case("brgsa/volume_preprocess", arrays=("*in/volume_zyx", "*out/volume_zyx"))
def volume_preprocessing(fixture: Fixture, checker: Checker) -> None:
    for name in [n for n in fixture.arrays if n.endswith("in/volume_zyx")]:
        place = name.removesuffix("in/volume_zyx")
        ours = prepare_volume(
            fixture.array(name),
            fixture.array(f"{place}in/spacing_xyz").tolist(),
            fixture.array(f"{place}in/target_shape_zyx").tolist(),
            outside=0.0,
        )
        checker.close(f"{place}out/volume_zyx", ours, _HU)


def build_vit3d(fixture: Fixture, state: dict[str, Tensor], heads: int | None = None) -> ViT3D:
    """The network of a fixture's weights, loaded. Widths come from the weights, the rest from settings."""
    own = {name.removeprefix(_IMAGE): value for name, value in state.items() if name.startswith(_IMAGE)}
    info = fixture.info
    grid = None
    if "img_size" in info:
        grid = [size // patch for size, patch in zip(info["img_size"], info["patch_size"], strict=True)]
    network = ViT3D.from_state(
        own,
        heads=heads or info["heads"],
        base_grid=grid,
        block_eps=info.get("block_ln_eps", 1e-6),
        final_eps=info.get("final_ln_eps", 1e-5),
    )
    network.load_state_dict(own)
    return network.eval()


def embed_image(state: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """The global embedder, which the official code applies to the class token and the patches alike."""
    return functional.linear(
        tokens, state["img_encoder.global_embedder.weight"], state["img_encoder.global_embedder.bias"]
    )


@case("brgsa/vit3d", arrays=("init/pos_embed_sincos", "*in/volume"))
def vit3d(fixture: Fixture, checker: Checker) -> None:
    state = fixture.state()
    network = build_vit3d(fixture, state)
    fresh = ViT3D.from_state(
        {n.removeprefix(_IMAGE): v for n, v in state.items() if n.startswith(_IMAGE)},
        heads=fixture.setting("heads"),
        base_grid=network.base_grid,
    )
    checker.close("init/pos_embed_sincos", fresh.pos_embed, Tolerance(atol=1e-6))
    for name in [n for n in fixture.arrays if n.endswith("in/volume")]:
        place = name.removesuffix("in/volume")
        volume = fixture.tensor(name, grad=True)
        tokens: Tokens3D = network(volume)
        image, patches = embed_image(state, tokens.cls), embed_image(state, tokens.patches)
        checker.close(f"{place}mid/pos_embed_used", network.positions(tokens.grid), _NETWORK)
        checker.close(f"{place}out/cls_feature", tokens.cls, _NETWORK)
        checker.close(f"{place}out/patch_features", tokens.patches, _NETWORK)
        checker.close(f"{place}out/image_embedding", image, _NETWORK)
        checker.close(f"{place}out/patch_embeddings", patches, _NETWORK)
        backward(image.sum())
        checker.close(f"{place}grad/volume", volume.grad, _NETWORK)
