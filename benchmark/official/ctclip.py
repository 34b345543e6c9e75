"""CT-CLIP's released file: CT-ViT and CXR-BERT behind the shared interface, with the official preprocessing.

    v = W_v · flatten(mean over slabs of the codes),  t = W_t · [CLS],  score = exp(τ) · cos(v, t)

and a class is what "X is present." leads "X is not present." by. Tokens have no place in the space of v, so
that there are no similarity maps. Source: ibrahimethemhamamci/CT-CLIP `CT_CLIP/ct_clip/ct_clip.py`,
`scripts/{run_zero_shot,zero_shot,data_inference_nii}.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn
from transformers import BertModel

from benchmark.core.checkpoints import take
from benchmark.core.errors import BenchError
from benchmark.core.features import ImageFeatures
from benchmark.core.preprocessing import Preprocessing
from benchmark.data.volume_steps import STEPS, VolumeSteps
from benchmark.encoders.base import TextEncoder, TokenBatch
from benchmark.encoders.cards import ImageCard
from benchmark.encoders.volume_encoder import VolumeEncoder
from benchmark.official import ctvit
from benchmark.official.bert import bert_from_state
from benchmark.official.texts import bert_card, load_tokenizer, token_batch

PARTS = ("visual_transformer.", "text_transformer.", "to_visual_latent.", "to_text_latent.")
COPIES = ("to_visual_latent_extra.", "to_text_latent_extra.")
"""Copies of the projections that the released configuration never uses (`extra_latent_projection`: false)."""
LENGTH = 512


def unused(state: Mapping[str, Tensor]) -> set[str]:
    """Names of the volume encoder that the official inference does not read either."""
    return {f"{PARTS[0]}{name}" for name in ctvit.unused(take(state, PARTS[0]))}


class CtClipVolumes(VolumeEncoder):
    """Pooled: the projected volume. Tokens: that vector alone, on a grid of one cell."""

    def __init__(self, state: Mapping[str, Tensor], weights: str) -> None:
        # Preprocessing describes planes; of volumes only its mean and std would act, and there are none.
        super().__init__(
            ImageCard(
                name="ct-clip-ctvit",
                source="timm",
                architecture="ct-vit",
                weights=f"path:{weights}",
                licence="of the checkpoint",
                seen="unknown",
                preprocessing=Preprocessing(size=480, channels=1),
            )
        )
        self.network = ctvit.CTViT.from_state(take(state, PARTS[0]))
        matrix = _matrix(state, "to_visual_latent.weight", weights)
        places, rest = divmod(matrix.shape[1], self.network.width)
        cells = round(places**0.5)
        if rest or cells * cells != places or not cells:
            raise BenchError(
                f"{weights}: to_visual_latent reads {matrix.shape[1]:,} values, which is no square of "
                f"tokens of {self.network.width} channels."
            )
        self.project = nn.Parameter(matrix.float(), requires_grad=False)
        self.steps = _steps(cells * self.network.patch[1], weights)
        if self.steps.shape[0] % self.network.patch[0]:
            raise BenchError(f"{weights}: patches of {self.network.patch[0]} slices do not part the "
                             f"{self.steps.shape[0]} of a volume.")  # fmt: skip
        self.width, self.grid = matrix.shape[0], (1, 1, 1)

    def prepare(self, hounsfield: Tensor) -> Tensor:
        """(B, 1, Z, X, Y) float32 in [-1, 1]: a slab after the other, x before y as in the file (Q-T4)."""
        return hounsfield.to(self.project).div(1000).transpose(2, 3).unsqueeze(1)

    def forward(self, images: Tensor) -> ImageFeatures:
        codes = self.network(images)  # (B, t, x, y, D)
        pooled = codes.mean(1).flatten(1) @ self.project.T
        return ImageFeatures(pooled, pooled[:, None], self.grid)


def _steps(side: int, weights: str) -> VolumeSteps:
    """The official field of view on a network of another side."""
    official = STEPS["ct-clip"]
    if not side:
        raise BenchError(f"{weights}: patches without voxels.")
    z, y, x = official.spacing
    scale = official.shape[1] / side
    return official.model_copy(
        update={"spacing": (z, y * scale, x * scale), "shape": (official.shape[0], side, side)}
    )


class CtClipText(TextEncoder):
    """The projected [CLS] of the last layer; at most 512 tokens. Texts are not cleaned."""

    def __init__(
        self,
        state: Mapping[str, Tensor],
        tokenizer: Path | str | None,
        weights: str,
        heads: int | None = None,
    ) -> None:
        model = bert_from_state(take(state, PARTS[1]), heads)
        loaded = load_tokenizer(tokenizer, model.config.vocab_size)
        length = min(LENGTH, model.config.max_position_embeddings)
        card = bert_card("ct-clip-bert", loaded, weights, 1, length)
        super().__init__(card)
        matrix = _matrix(state, "to_text_latent.weight", weights)
        if matrix.shape[1] != model.config.hidden_size:
            raise BenchError(
                f"{weights}: to_text_latent reads {matrix.shape[1]:,} channels, and the text encoder has "
                f"{model.config.hidden_size:,}."
            )
        self.model, self.tokenizer = model, loaded
        self.project = nn.Parameter(matrix.float(), requires_grad=False)
        self.width = matrix.shape[0]

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        return token_batch(self.tokenizer, texts, self.card.max_length)

    def hidden(self, tokens: TokenBatch) -> tuple[Tensor, Tensor]:
        projected = projected_states(self.model, self.project, tokens.ids, tokens.attended)
        return projected[:, 0], projected


def projected_states(model: BertModel, matrix: Tensor, ids: Tensor, attended: Tensor) -> Tensor:
    """(B, L, d): the last hidden states, projected; that of [CLS], the first, is the text's."""
    states: Tensor = model(input_ids=ids, attention_mask=attended.long()).last_hidden_state
    return states @ matrix.T


def _matrix(state: Mapping[str, Tensor], name: str, weights: str) -> Tensor:
    matrix = state.get(name)
    if matrix is None or matrix.dim() != 2:
        raise BenchError(f"{weights}: no CT-CLIP checkpoint: '{name}' is missing or no matrix.")
    return matrix
