"""CARZero: cross-attention alignment (Lai et al. 2024, CVPR, sec. 3.2-3.3).

    F(M, q):  M̂ = LN(M),  x = LN(q)                              M: memory (S, d), q: query (d,)
              x ← x + MHA_l(LN2_l(x), M̂, M̂);  x ← x + FF_l(LN3_l(x))        l = 1 … L
              r = LN(x);  F = head(r)                            LN: one shared LayerNorm, r: SimR
    image_memory[i, t] = F([image_i; patches of i], text_t)
    text_memory[i, t]  = F([text_t; words of t], image_i)
    loss = Σ over the two directions of (CE_rows + CE_cols) / 2;   score = mean of the two directions

Source: laihaoran/CARZero models/{dqn_wo_self_atten_mlp,transformer_decoder}.py,
CARZero_model_dqn_wo_self_atten_gl_mlp.py, loss/dqn_cos_loss.py, CARZero.py (fa4e09c).

Differs from the official code: words beyond a text's end are masked; the released model attends 97
columns, zeros included, which is `mask_padding: false, text_columns: 97` (Q-Z1). The shared LayerNorm is
kept (Q-Z2); the tensors that never act (self_attn, norm1, logit_scale) are not created and the importer
skips them (Q-Z3); there is no temperature (Q-Z4). `head: mlp` is the released one, `linear` the paper's
wording (Q-Z13), `cosine` the released "projected pair" ablation: 10 · cos of the two SimR, both
cross-entropies summed. Hidden sizes follow the width where they are not named (official ff 1024, head
1024-512-256, at width 768). Pairs do not see one another, so a larger batch changes nothing (Q-Z11);
`query_self_attention`, an unreleased variant that breaks this, exists for parity only and is refused with
tiles. Keys and values are projected once per image and once per text; queries of the first layer once as
well. The encoder's projections to `width` are ours: upstream both encoders are 768 wide. Sentence
splitting, flips, validation captions and learning-rate quirks (Q-Z5 … Q-Z10, Q-Z12) belong to the data
and training rooms. All sentences of an image as positives (`multi_positive`) are ours: both cross-
entropies become `blocks.contrast`, which leaves the image's other sentences out of the denominator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from benchmark.core.errors import BenchError, ParamsError
from benchmark.core.features import ImageFeatures, TextFeatures
from methods.base import METHODS, Losses, Method, MethodConfig, Pairs, Prepared, Recipe
from methods.blocks import OfficialState, contrast, cosine, projection


class CARZeroConfig(MethodConfig, frozen=True):
    """CARZero and its switches."""

    width: int = Field(
        128, gt=0, description="official 768 (configs/mimic_pretrain_llm_dqn_wo_self_atten_mlp_gl)"
    )
    layers: int = Field(2, gt=0, description="decoder layers; official 4 (decoder_number_layer)")
    heads: int = Field(4, gt=0, description="official 4 (hard-coded; the config's H is not read)")
    feedforward: int | None = Field(
        None, gt=0, description="official 1024 (hard-coded); default 4/3 of width"
    )
    features: Literal["global", "local", "both"] = Field(
        "both", description="what the memories hold; official both (…_gl); global and local are ablations"
    )
    head: Literal["mlp", "linear", "cosine"] = Field(
        "mlp",
        description="official mlp (dqn_wo_self_atten_mlp.py); linear and cosine (…_cos_proj) are ablations",
    )
    head_widths: tuple[int, ...] | None = Field(
        None, description="official 1024-512-256; default 4/3, 2/3 and 1/3 of width"
    )
    directions: Literal["both", "image_memory", "text_memory"] = Field(
        "both", description="official both; image_memory: text queries over patches; text_memory: the reverse"
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="official 0.1 (attention, feed-forward, head)")
    mask_padding: bool = Field(True, description="official false: zero columns are attended (Q-Z1)")
    text_columns: int | None = Field(
        None, gt=0, description="official 97 columns (data.text.word_num); only read without mask_padding"
    )
    init_std: float | None = Field(
        None,
        gt=0,
        description="of every weight matrix; official 0.02; default 0.02 · √(768 / width), the same gain",
    )
    query_self_attention: bool = Field(
        False,
        description="official false; true is dqn.py, whose scores depend on the other queries; parity only",
    )


@METHODS.register("carzero")
class CARZero(Method):
    """Learned similarity: a cross-attention decoder with a head, in two directions."""

    name = "carzero"
    title = "CARZero"
    order, marker, dash, colour = 0, "o", "-", "#0173b2"
    Config = CARZeroConfig
    config: CARZeroConfig
    MAP_IS_ATTENTION = True
    OFFICIAL: ClassVar[dict[str, Any]] = {
        "width": 768, "layers": 4, "feedforward": 1024, "head_widths": (1024, 512, 256),
        "mask_padding": False, "text_columns": 97, "init_std": 0.02,
    }  # fmt: skip
    OFFICIAL_RECIPE = Recipe(
        optimiser="adam", learning_rate=5e-5, betas=(0.5, 0.999), weight_decay=1e-6, decay_exempt="none",
        batch_size=256, batch_schedule=((0, 64), (2, 128), (6, 256)), epochs=15, clip_norm=0.25,
        schedule="constant", patience=10, precision="float16 mixed",
        source="CARZero configs/mimic_pretrain_llm_dqn_wo_self_atten_mlp_gl.yaml, datasets/data_module.py",
    )  # fmt: skip

    def __init__(self, config: CARZeroConfig, image_dim: int, text_dim: int) -> None:
        super().__init__(config, image_dim, text_dim)
        width = config.width
        if width % config.heads:
            raise ParamsError(
                f"carzero.heads: {config.heads} does not divide width {width}; change one of them."
            )
        if config.head == "cosine" and config.directions != "both":
            raise ParamsError("carzero.head: cosine compares the two directions; set directions: both.")
        self.image_project = projection(image_dim, width, config.project)
        self.text_project = projection(text_dim, width, config.project)
        self.decoder_norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))
        self.head = _head(config)
        self.dropout = nn.Dropout(config.dropout)
        spread = config.init_std or 0.02 * (768 / width) ** 0.5
        for weight in [*self.layers.parameters(), *self.head.parameters()]:
            if weight.ndim > 1:
                nn.init.normal_(weight, std=spread)

    def prepare_image(self, image: ImageFeatures) -> Prepared:
        pooled = self.image_project(self.image_norm.pooled(image.pooled))
        local = self.image_project(self.image_norm.local(image.local))
        return self._prepare(pooled, local, None, "image_memory")

    def prepare_text(self, text: TextFeatures) -> Prepared:
        pooled = self.text_project(self.text_norm.pooled(text.pooled))
        local, weight = self._columns(text)
        return self._prepare(pooled, self.text_project(local), weight, "text_memory")

    def interact(self, image: Prepared, text: Prepared, *, scoring: bool) -> Pairs:
        pairs: Pairs = {}
        if self.config.directions != "text_memory":
            pairs["image_memory"] = self._decode(image, text)  # (I, T, d)
        if self.config.directions != "image_memory":
            pairs["text_memory"] = self._decode(text, image).transpose(0, 1)
        if self.config.head == "cosine":
            return {"cosine": 10 * cosine(pairs["image_memory"], pairs["text_memory"])}
        return {name: self.head(self.dropout(simr)).squeeze(-1) for name, simr in pairs.items()}  # (I, T)

    def score_pairs(self, pairs: Pairs) -> Tensor:
        return torch.stack(list(pairs.values())).mean(0)

    def objective(
        self, pairs: Pairs, positives: Tensor, image: Prepared, text: Prepared, findings: Tensor | None
    ) -> Losses:
        parts = {}
        for name, logits in pairs.items():
            rows, columns = contrast(logits, positives)
            parts[name] = rows + columns if name == "cosine" else (rows + columns) / 2
        return Losses(torch.stack(list(parts.values())).sum(), {k: v.detach() for k, v in parts.items()})

    def similarity_map(self, image: ImageFeatures, text: TextFeatures) -> Tensor | None:
        """Attention of the image memory, mean of heads and of the last four layers, without the global
        token and not renormalised (official get_grounding_map). (I, T, *grid)"""
        if self.config.features == "global" or self.config.directions == "text_memory":
            return None
        first = 1 if self.config.features == "both" else 0
        maps = self.attention(image, text)["image_memory"][-4:].mean(0)[..., first:]
        return maps.unflatten(-1, image.grid)

    def attention(self, image: ImageFeatures, text: TextFeatures) -> dict[str, Tensor]:
        """Attention averaged over heads: image_memory (L, I, T, S), text_memory (L, T, I, S); S starts
        with the global token where the memory has one, and all columns of a text are kept."""
        with torch.enable_grad():
            prepared_image, prepared_text = self.prepare_image(image), self.prepare_text(text)
        maps: dict[str, list[Tensor]] = {"image_memory": [], "text_memory": []}
        if self.config.directions != "text_memory":
            self._decode(prepared_image, prepared_text, maps["image_memory"])
        if self.config.directions != "image_memory":
            self._decode(prepared_text, prepared_image, maps["text_memory"])
        return {name: torch.stack(found) for name, found in maps.items() if found}

    def _stack(self) -> list[DecoderLayer]:
        return [cast(DecoderLayer, layer) for layer in self.layers]

    def _prepare(self, pooled: Tensor, local: Tensor, weight: Tensor | None, own: str) -> Prepared:
        """Memory side as keys and values of every layer, query side as the decoder's input."""
        tensors: dict[str, Tensor] = {}
        if self.config.directions in ("both", own):
            parts = {"global": [pooled[:, None]], "local": [local], "both": [pooled[:, None], local]}
            memory = self.decoder_norm(torch.cat(parts[self.config.features], 1))  # (N, S, d)
            for index, layer in enumerate(self._stack()):
                tensors[f"key{index}"], tensors[f"value{index}"] = layer.memory(memory)  # (N, H, S, d/H)
            if weight is not None and self.config.features != "global":
                ones = weight.new_zeros(len(weight), 1 if self.config.features == "both" else 0)
                tensors["weight"] = torch.cat([ones, weight], 1)
        if self.config.directions != own:
            tensors["query"] = self.decoder_norm(pooled)  # (N, d)
            tensors["query0"] = self._stack()[0].query(tensors["query"])  # (N, d)
        return Prepared(tensors, len(pooled))

    def _columns(self, text: TextFeatures) -> tuple[Tensor, Tensor]:
        """Word columns (T, L, D) and the logarithm of each one's multiplicity in the softmax (T, L).

        Masked columns have a very negative one. Without `mask_padding` the zero columns are equal, so
        where no gradient is needed one of them stands for all, which is the same softmax.
        """
        local, mask = self.text_norm.local(text.local), text.mask
        if self.config.mask_padding:
            return local, torch.zeros_like(local[..., 0]).masked_fill(~mask, torch.finfo(local.dtype).min / 4)
        columns = self.config.text_columns or local.shape[1]
        if bool(mask[:, columns:].any()):
            raise ParamsError(f"carzero.text_columns: a text has more than {columns} words; raise the value.")
        if torch.is_grad_enabled():
            local = functional.pad(local, (0, 0, 0, columns - local.shape[1]))
            return local, torch.zeros_like(local[..., 0])
        kept = min(local.shape[1] + 1, columns)
        local = functional.pad(local, (0, 0, 0, max(kept - local.shape[1], 0)))[:, :kept]
        weight = torch.zeros_like(local[..., 0])
        weight[:, -1] += torch.log(torch.tensor(float(columns - kept + 1)))
        return local, weight

    def _decode(self, memory: Prepared, query: Prepared, maps: list[Tensor] | None = None) -> Tensor:
        """SimR of every memory with every query, (M, Q, d)."""
        x = query.tensors["query"].expand(len(memory), -1, -1)  # (M, Q, d)
        first = query.tensors["query0"].expand(len(memory), -1, -1)
        weight = memory.tensors.get("weight")
        for index, layer in enumerate(self._stack()):
            key, value = memory.tensors[f"key{index}"], memory.tensors[f"value{index}"]
            if self.config.query_self_attention:
                x = layer.attend_queries(x)
            start = index == 0 and not self.config.query_self_attention
            x = layer(x, first if start else layer.query(x), key, value, weight, maps)
        simr: Tensor = self.decoder_norm(x)
        return simr

    @classmethod
    def official_options(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        own = _official(state)
        heads = {name for name in own.tensors if name.startswith("mlp_head.") and name.endswith("weight")}
        widths = [own.shape(name)[0] for name in sorted(heads, key=lambda name: int(name.split(".")[1]))]
        return {
            **cls.settings("official"),
            "width": own.shape("decoder_norm.weight")[0],
            "layers": own.layers("decoder.layers."),
            "feedforward": own.shape("decoder.layers.0.linear1.weight")[0],
            "head": "linear" if len(widths) == 1 else "mlp",
            "head_widths": tuple(widths[:-1]) if len(widths) > 1 else None,
        }

    @classmethod
    def import_official(
        cls, state: Mapping[str, Tensor], *, self_attention: bool = False
    ) -> dict[str, Tensor]:
        """Also checks that the two stored copies of the shared LayerNorm are equal. `self_attention` keeps
        the query self-attention of dqn.py, which the released checkpoint stores and never uses."""
        own = _official(state)
        table = {}
        for part in ("weight", "bias"):
            copy = own.tensors.pop(f"decoder.norm.{part}", None)
            if copy is not None and not torch.equal(copy, own.all[f"decoder_norm.{part}"]):
                raise BenchError(
                    f"CARZero checkpoint: decoder.norm.{part} and decoder_norm.{part} differ, but they are "
                    "one module; the file is damaged."
                )
            table[f"decoder_norm.{part}"] = f"decoder_norm.{part}"
        own.tensors.pop("logit_scale", None)
        renamed = {"multihead_attn": "attention", "norm2": "norm_query", "norm3": "norm_feedforward"}
        if self_attention:
            renamed |= {"self_attn": "self_attention", "norm1": "norm_self"}
        for index in range(own.layers("decoder.layers.")):
            there, here = f"decoder.layers.{index}.", f"layers.{index}."
            for official in ("self_attn", "norm1"):
                for name in [n for n in own.tensors if n.startswith(f"{there}{official}.")]:
                    if not self_attention:
                        own.tensors.pop(name)
            for module, ours in renamed.items():
                for leaf in _ATTENTION if "attn" in module else ("weight", "bias"):
                    table[f"{there}{module}.{leaf}"] = f"{here}{ours}.{leaf}"
            for module in ("linear1", "linear2"):
                for leaf in ("weight", "bias"):
                    table[f"{there}{module}.{leaf}"] = f"{here}{module}.{leaf}"
        steps = (0, 3, 6, 9) if "mlp_head.3.weight" in own.tensors else (0,)
        for step in steps:
            for leaf in ("weight", "bias"):
                table[f"mlp_head.{step}.{leaf}"] = f"head.{step}.{leaf}"
        return own.rename(table)


_ATTENTION = ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")


def _official(state: Mapping[str, Tensor]) -> OfficialState:
    bare = {name.rpartition("fusion_module.")[2]: tensor for name, tensor in state.items()}
    return OfficialState("CARZero", bare, "CARZero.", ("img_encoder.", "text_encoder."))


class DecoderLayer(nn.Module):
    """One pre-norm decoder layer: cross-attention and feed-forward, ReLU."""

    def __init__(self, config: CARZeroConfig) -> None:
        super().__init__()
        width, hidden = config.width, config.feedforward or config.width * 4 // 3
        self.norm_query = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, config.heads, dropout=config.dropout, batch_first=True)
        self.norm_feedforward = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(config.dropout)
        if config.query_self_attention:
            self.norm_self = nn.LayerNorm(width)
            self.self_attention = nn.MultiheadAttention(width, config.heads, config.dropout, batch_first=True)

    def memory(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """(N, S, d) normalised → keys and values (N, H, S, d/H)."""
        width = memory.shape[-1]
        weight, bias = self.attention.in_proj_weight, self.attention.in_proj_bias
        both = functional.linear(memory, weight[width:], bias[width:])  # (N, S, 2d)
        key, value = both.unflatten(-1, (2, self.attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return key, value

    def query(self, x: Tensor) -> Tensor:
        """(…, d) → projected queries (…, d)."""
        width = x.shape[-1]
        weight, bias = self.attention.in_proj_weight[:width], self.attention.in_proj_bias[:width]
        return functional.linear(self.norm_query(x), weight, bias)

    def attend_queries(self, x: Tensor) -> Tensor:
        normed = self.norm_self(x)
        mixed: Tensor = self.self_attention(normed, normed, normed, need_weights=False)[0]
        return x + self.dropout(mixed)

    def forward(
        self,
        x: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        weight: Tensor | None,
        maps: list[Tensor] | None,
    ) -> Tensor:
        """x, query: (M, Q, d); key, value: (M, H, S, d/H); weight: (M, S) added to the attention logits."""
        query = query.unflatten(-1, (key.shape[1], -1)).transpose(1, 2)  # (M, H, Q, d/H)
        bias = None if weight is None else weight[:, None, None, :].to(query.dtype)
        if maps is not None:
            logits = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
            maps.append((logits if bias is None else logits + bias).softmax(-1).mean(1))  # (M, Q, S)
        if bias is not None:
            bias = bias.expand(-1, key.shape[1], query.shape[2], -1)
        drop = self.dropout.p if self.training else 0.0
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=drop)
        again = torch.is_grad_enabled()  # without a gradient, buffers are reused: half the time on a CPU
        attended = self.dropout(self.attention.out_proj(attended.transpose(1, 2).flatten(2)))
        x = _add(x, attended)
        hidden = functional.relu(self.linear1(self.norm_feedforward(x)), inplace=not again)
        hidden = self.dropout(self.linear2(self.dropout(hidden)))
        return _add(x, hidden)


def _add(x: Tensor, fresh: Tensor) -> Tensor:
    """x + fresh, into the buffer of `fresh` where that loses nothing (autocast keeps x wider)."""
    if torch.is_grad_enabled() or fresh.dtype != x.dtype:
        return x + fresh
    return fresh.add_(x)


def _head(config: CARZeroConfig) -> nn.Module:
    """SimR (…, d) → (…, 1). Indices 0, 3, 6, 9 of the official Sequential; the first dropout acts on SimR."""
    if config.head == "cosine":
        return nn.Sequential()
    if config.head == "linear":
        return nn.Sequential(nn.Linear(config.width, 1))
    width, steps = config.width, []
    for hidden in config.head_widths or (width * 4 // 3, width * 2 // 3, max(width // 3, 1)):
        steps += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(config.dropout)]
        width = hidden
    return nn.Sequential(*steps, nn.Linear(width, 1))
