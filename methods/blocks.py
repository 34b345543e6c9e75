"""Building blocks that several methods share: projections, cosines, contrastive losses, checkpoint names."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from benchmark.core.errors import BenchError, ParamsError
from benchmark.core.settings import MethodConfig

MAX_LOG_SCALE = math.log(100.0)


def projection(
    source: int, width: int, mode: Literal["auto", "always", "never"], *, bias: bool = True
) -> nn.Module:
    """Linear source → width, or the identity. Raises ParamsError where `never` meets different widths."""
    if mode == "always" or (mode == "auto" and source != width):
        return nn.Linear(source, width, bias=bias)
    if source != width:
        raise ParamsError(
            f"project: never, but the encoder is {source} wide and the shared space {width}; "
            f"set width: {source} or project: auto."
        )
    return nn.Identity()


class CosineConfig(MethodConfig, frozen=True):
    """What methods that compare by cosine offer for a comparison at equal capacity; ours, not upstream's."""

    head: Literal["linear", "mlp", "transformer"] = Field(
        "linear",
        description="of the image side after its projection; official linear (nothing more); transformer: "
        "RadZero's align layers over global and patch tokens; mlp: as many parameters, each token alone",
    )
    head_layers: int = Field(1, gt=0, description="layers of a head that is not linear; official none")


class TokenHead(nn.Module):
    """CosineConfig's `head`: projected image tokens (I, S, d), the global one first → (I, S, d)."""

    def __init__(self, config: CosineConfig) -> None:
        super().__init__()
        kind, width = config.head, config.width
        self.layers = nn.Sequential(
            *(
                AlignLayer(width, heads_of(width), 4.0) if kind == "transformer" else _MLPLayer(width)
                for _ in range(0 if kind == "linear" else config.head_layers)
            )
        )
        self.mixes = kind == "transformer"
        """Whether the global vector depends on the patches."""

    def forward(self, tokens: Tensor) -> Tensor:
        return cast(Tensor, self.layers(tokens))

    def patches(self, pooled: Tensor, local: Tensor) -> Tensor:
        """(I, d) and (I, P, d), both projected → the patches after the head, (I, P, d)."""
        return self(torch.cat([pooled[:, None], local], 1))[:, 1:]

    def pooled(self, pooled: Tensor, local: Callable[[], Tensor]) -> Tensor:
        """(I, d) global vectors of the head; `local` gives the (I, P, d) patches where they are needed."""
        tokens = torch.cat([pooled[:, None], local()], 1) if self.mixes else pooled[:, None]
        return self(tokens)[:, 0]


class AlignLayer(nn.Module):
    """A DINOv2 encoder layer: pre-norm, LayerScale, exact GELU, no dropout; PyTorch's default init."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.fc1 = nn.Linear(width, int(width * mlp_ratio))
        self.fc2 = nn.Linear(int(width * mlp_ratio), width)
        self.scale1, self.scale2 = nn.Parameter(torch.ones(width)), nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm1(x)  # (I, S, d)
        query, key, value = (
            part(normed).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = x + self.scale1 * self.out(mixed)
        return x + self.scale2 * cast(Tensor, self.fc2(functional.gelu(self.fc1(self.norm2(x)))))


class _MLPLayer(nn.Module):
    """x + W₂ GELU(W₁ LN(x)), 6 times as wide inside: 12 d² weights, as many as an AlignLayer has."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, 6 * width), nn.Linear(6 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + cast(Tensor, self.fc2(functional.gelu(self.fc1(self.norm(x)))))


def heads_of(width: int, heads: int | None = None, option: str = "head") -> int:
    """Attention heads: as said, else 64 channels each. Raises ParamsError where they do not divide width."""
    chosen = heads or max(width // 64, 1)
    if width % chosen:
        raise ParamsError(f"{option}: {chosen} does not divide width {width}; change one of them.")
    return chosen


def orthogonal_(matrix: Tensor) -> Tensor:
    """Fill (m, n) with orthonormal rows or columns, whichever are fewer, in place (Saxe et al. 2014).

    As torch's `nn.init.orthogonal_`, but factorised in float64 by numpy: torch's float32 factorisation rounds
    by the processor and the number of threads, and training carries that on.
    """
    rows, columns = matrix.shape
    drawn = torch.empty(max(rows, columns), min(rows, columns)).normal_()
    q, r = np.linalg.qr(drawn.double().numpy())
    q = q * np.sign(np.diag(r))
    with torch.no_grad():
        return matrix.copy_(torch.from_numpy(q.T if rows < columns else q))


def cosine(a: Tensor, b: Tensor, eps: float = 1e-8) -> Tensor:
    """Cosine over the last axis, a·b / max(|a||b|, eps); leading axes broadcast."""
    norms = torch.linalg.vector_norm(a, dim=-1) * torch.linalg.vector_norm(b, dim=-1)
    return (a * b).sum(-1) / norms.clamp(min=eps)


def cosine_matrix(a: Tensor, b: Tensor, eps: float = 1e-8) -> Tensor:
    """(I, d), (T, d) → (I, T) cosines with the same denominator."""
    norms = torch.linalg.vector_norm(a, dim=-1)[:, None] * torch.linalg.vector_norm(b, dim=-1)
    return (a @ b.T) / norms.clamp(min=eps)


def unit(x: Tensor) -> Tensor:
    """x / max(|x|, 1e-12) over the last axis."""
    return functional.normalize(x, dim=-1)


def contrast(logits: Tensor, positives: Tensor) -> tuple[Tensor, Tensor]:
    """The two directions of the contrastive loss: (image → texts, text → images), each a scalar.

    logits: (I, T). positives: (I, T) bool, several per row and column allowed, T may differ from I.
    Every positive is a term whose denominator leaves out the other positives of its row (or column), as in
    MP-NCE; terms are averaged within a row, then over the rows that have one:

        mean over i of mean over p in P(i) of -log( e^z_ip / (e^z_ip + Σ over n not in P(i) of e^z_in) )

    So every single-positive method trains on all sentences of an image (`multi_positive`), by a rule that is
    this project's and not upstream's. For diagonal positives it is the cross-entropy of the rows and of the
    columns, the official loss of all single-positive methods.
    """
    directions = []
    for dim in (1, 0):
        terms = torch.where(positives, positive_terms(logits, positives, dim), logits.new_zeros(()))
        count = positives.sum(dim)
        rows = terms.sum(dim) / count.clamp(min=1)
        directions.append(rows.sum() / (count > 0).sum().clamp(min=1))
    return directions[0], directions[1]


def positive_terms(logits: Tensor, positives: Tensor, dim: int) -> Tensor:
    """-log( e^z / (e^z + Σ over negatives along `dim`) ) of every cell; only those of positives count."""
    return -functional.logsigmoid(logits - negative_mass(logits, positives, dim))


def negative_mass(logits: Tensor, positives: Tensor, dim: int) -> Tensor:
    """log Σ exp over the negatives along `dim`, that axis kept; very negative where there is none."""
    lowest = torch.finfo(logits.dtype).min / 4
    return logits.masked_fill(positives, lowest).logsumexp(dim, keepdim=True).clamp(min=lowest)


def clamp_through(value: Tensor, low: float, high: float) -> Tensor:
    """Clamped value whose gradient passes as if there were no clamp."""
    return value + (value.clamp(low, high) - value).detach()


class OfficialState:
    """The method's part of an official checkpoint, with every key accounted for.

    state: official names, with or without the wrapper `prefix` (what follows its last occurrence counts).
    skip: prefixes of encoder tensors and of tensors that the official code stores and never uses.
    """

    def __init__(self, method: str, state: Mapping[str, Tensor], prefix: str, skip: Iterable[str]) -> None:
        self.method = method
        names = {(name.rpartition(prefix)[2] if prefix else name): name for name in state}
        skipped = tuple(skip)
        self.tensors = {short: state[name] for short, name in names.items() if not short.startswith(skipped)}
        self.all = {short: state[name] for short, name in names.items()}

    def rename(self, table: Mapping[str, str]) -> dict[str, Tensor]:
        """`table`: official name → ours. Raises BenchError listing missing and surplus names."""
        missing = sorted(set(table) - set(self.tensors))
        surplus = sorted(set(self.tensors) - set(table))
        if missing or surplus:
            parts = []
            if missing:
                parts.append(f"missing {', '.join(missing)}")
            if surplus:
                parts.append(f"surplus {', '.join(surplus)}")
            raise BenchError(
                f"not an official {self.method} checkpoint: {'; '.join(parts)}. "
                "Check the file and the --method option."
            )
        return {
            ours: self.tensors[name].detach().clone() for name, ours in table.items() if name in self.tensors
        }

    def layers(self, prefix: str) -> int:
        """Number of consecutive layers named `<prefix><index>.…`."""
        found = {int(name.removeprefix(prefix).split(".")[0]) for name in self.all if name.startswith(prefix)}
        return max(found) + 1 if found else 0

    def shape(self, name: str) -> tuple[int, ...]:
        """Raises BenchError where the tensor is missing."""
        if name not in self.all:
            raise BenchError(
                f"not an official {self.method} checkpoint: missing {name}. Check the file and --method."
            )
        return tuple(self.all[name].shape)


def class_scores(scores: Tensor, class_of_prompt: Tensor, rule: Literal["max", "mean"]) -> Tensor:
    """(N, P) prompt scores → (N, C): the best prompt of each class, or the mean over its prompts.

    class_of_prompt: (P,) int in 0 … C-1, every class present.
    """
    classes = [scores[:, class_of_prompt == index] for index in range(int(class_of_prompt.max()) + 1)]
    return torch.stack([own.amax(1) if rule == "max" else own.mean(1) for own in classes], 1)
