"""Plain re-statements of the official equations, loops and all, and fixtures made from them.

They share no code with the methods: the held-out tests run the parity command on what these write.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

SHARED_HEAD = (1024, 512, 256)


def write_case(folder: Path, name: str, info: dict, arrays: dict[str, object]) -> Path:
    """`<name>.json` and `<name>.npz` in the layout of the official fixtures; float64 becomes float32."""
    plain = {}
    for key, value in arrays.items():
        array = value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        plain[key] = array.astype(np.float32) if array.dtype == np.float64 else array
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / f"{name}.npz", **plain)
    shapes = {k: {"shape": list(v.shape), "dtype": v.dtype.name} for k, v in plain.items()}
    (folder / f"{name}.json").write_text(json.dumps({**info, "files": [f"{name}.npz"], "arrays": shapes}))
    return folder / f"{name}.json"


def leaves(rng: torch.Generator, **shapes: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """Leaves in float64 whose values are exact in float32."""
    return {
        name: torch.randn(shape, generator=rng).double().requires_grad_() for name, shape in shapes.items()
    }


class PlainDecoderLayer(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, heads)
        self.multihead_attn = nn.MultiheadAttention(width, heads)
        self.linear1, self.linear2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, x: torch.Tensor, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mixed, attention = self.multihead_attn(self.norm2(x), memory, memory)
        x = x + mixed
        return x + self.linear2(torch.relu(self.linear1(self.norm3(x)))), attention


class PlainFusion(nn.Module):
    """CARZero's fusion module under its official tensor names, one memory at a time."""

    def __init__(self, width: int, heads: int, layers: int, hidden: int, head: str) -> None:
        super().__init__()
        self.logit_scale = nn.Parameter(torch.tensor(2.6592))
        self.decoder_norm = nn.LayerNorm(width)
        self.decoder = nn.Module()
        layer = PlainDecoderLayer(width, heads, hidden)
        self.decoder.layers = nn.ModuleList(copy.deepcopy(layer) for _ in range(layers))
        self.decoder.norm = self.decoder_norm
        if head == "linear":
            self.mlp_head = nn.Sequential(nn.Linear(width, 1))
        else:
            steps: list[nn.Module] = []
            for out in SHARED_HEAD:
                steps += [nn.Linear(width, out), nn.ReLU(), nn.Dropout(0.1)]
                width = out
            self.mlp_head = nn.Sequential(*steps, nn.Linear(width, 1))

    def forward(self, memory: torch.Tensor, queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """memory (M, S, d), queries (Q, d) → logits (M, Q), attention (L, M, Q, S)."""
        logits, maps = [], []
        for one in memory:
            normed = self.decoder_norm(one)[:, None]
            x, rows = self.decoder_norm(queries)[:, None], []
            for layer in self.decoder.layers:
                x, attention = layer(x, normed)
                rows.append(attention[0])
            logits.append(self.mlp_head(self.decoder_norm(x)).flatten())
            maps.append(torch.stack(rows))
        return torch.stack(logits), torch.stack(maps, 1)


def randomised(module: nn.Module, rng: torch.Generator) -> nn.Module:
    """Every parameter random, none at a special value; float64 values that float32 holds exactly."""
    with torch.no_grad():
        for parameter in module.parameters():
            scale = 0.4 / max(parameter.shape[-1], 1) ** 0.5 if parameter.ndim > 1 else 0.3
            start = 1.0 if parameter.ndim == 1 else 0.0
            parameter.copy_(
                start * (torch.rand((), generator=rng) < 0.5)
                + scale * torch.randn(parameter.shape, generator=rng)
            )
    return module.double().eval()


def both_directions(fusion: PlainFusion, data: dict[str, torch.Tensor], memory: str):  # type: ignore[no-untyped-def]
    local_image = data["img_emb_l"].flatten(2).transpose(1, 2)
    local_text = data["text_emb_l"].transpose(1, 2)
    parts = {
        "gl": lambda g, local: torch.cat([g[:, None], local], 1),
        "local": lambda g, local: local,
        "global": lambda g, local: g[:, None],
    }[memory]
    i2t, attention_i2t = fusion(parts(data["img_emb_g"], local_image), data["text_emb_g"])
    t2i, attention_t2i = fusion(parts(data["text_emb_g"], local_text), data["img_emb_g"])
    return i2t, t2i, attention_i2t, attention_t2i


def carzero_case(folder: Path, seed: int, head: str, memory: str, width: int, heads: int) -> Path:
    rng = torch.Generator().manual_seed(seed)
    fusion = randomised(PlainFusion(width, heads, layers=3, hidden=20, head=head), rng)
    batch, grid, columns = 3, (2, 3), 5
    data = leaves(
        rng,
        img_emb_g=(batch, width),
        img_emb_l=(batch, width, *grid),
        text_emb_g=(batch, width),
        text_emb_l=(batch, width, columns),
    )
    lengths = torch.tensor([5, 3, 4])
    with torch.no_grad():
        data["text_emb_l"] *= (torch.arange(columns) < lengths[:, None])[:, None]
    i2t, t2i, attention_i2t, attention_t2i = both_directions(fusion, data, memory)
    target = torch.arange(batch)

    def two_way(z: torch.Tensor) -> torch.Tensor:
        return (F.cross_entropy(z, target) + F.cross_entropy(z.T, target)) / 2

    losses = two_way(i2t), two_way(t2i)
    sum(losses).backward()
    arrays: dict[str, object] = {f"in/{k}": v for k, v in data.items()}
    arrays |= {"in/text_lens": lengths, "out/i2t_logits": i2t, "out/t2i_logits": t2i}
    arrays |= {"out/loss": sum(losses), "out/loss_i2t": losses[0], "out/loss_t2i": losses[1]}
    arrays |= {"out/attn_i2t": attention_i2t, "out/attn_t2i": attention_t2i}
    arrays |= {f"grad_in/{k}": torch.zeros_like(v) if v.grad is None else v.grad for k, v in data.items()}
    arrays |= {f"state/{k}": v for k, v in fusion.state_dict().items()}
    live = {k: p for k, p in fusion.named_parameters() if p.grad is not None}
    arrays |= {f"grad_state/{k}": p.grad for k, p in live.items()}
    dead = [k for k, p in fusion.named_parameters() if p.grad is None]
    info = {"method": "carzero", "case": "made", "num_heads": heads, "head": head, "memory": memory,
            "params_without_grad": dead}  # fmt: skip
    return write_case(folder, f"{head}_{memory}_{seed}", info, arrays)


def gloria_case(folder: Path, seed: int) -> Path:
    rng = torch.Generator().manual_seed(seed)
    d, f1, f2, grid, columns, batch = 9, 14, 11, (2, 4), 8, 3
    words = [
        ["[CLS]", "left", "mass", "[SEP]"],
        ["[CLS]", "no", "[UNK]", "new", "edema", "[SEP]"],
        ["[CLS]", "clear", "[SEP]"],
    ]
    words = [row + ["[PAD]"] * (columns - len(row)) for row in words]
    data = leaves(
        rng,
        img_feat_g=(batch, f1),
        img_feat_l=(batch, f2, *grid),
        text_emb_g=(batch, d),
        text_emb_l=(batch, d, columns),
    )
    with torch.no_grad():
        for row, sentence in enumerate(words):
            data["text_emb_l"][row, :, sentence.index("[SEP]") + 1 :] = 0
    shapes = {"global_embedder.weight": (d, f1), "global_embedder.bias": (d,)}
    shapes |= {"local_embedder.weight": (d, f2, 1, 1)}
    state = leaves(rng, **{f"img_encoder.{name}": shape for name, shape in shapes.items()})
    v = (
        data["img_feat_g"] @ state["img_encoder.global_embedder.weight"].T
        + state["img_encoder.global_embedder.bias"]
    )
    regions = F.conv2d(data["img_feat_l"], state["img_encoder.local_embedder.weight"])
    temp1, temp2, temp3 = 3.0, 4.0, 7.0
    glob = torch.zeros(batch, batch, dtype=torch.double)
    local, mean = torch.zeros_like(glob), torch.zeros_like(glob)
    lengths = [1 + sum(not w.startswith("[") for w in row) for row in words]
    maps = torch.zeros(batch, max(lengths), *grid, dtype=torch.double)
    for b in range(batch):
        for i in range(batch):
            u = data["text_emb_g"][i]
            glob[b, i] = temp3 * (v[b] @ u) / (v[b].norm() * u.norm())
            word = data["text_emb_l"][i, :, : lengths[i]]
            places = regions[b].flatten(1)
            first = (places.T @ word).softmax(1)
            attention = (temp1 * first.T).softmax(1)
            total = 0.0
            for j in range(lengths[i]):
                context = (attention[j] * places).sum(1)
                total = total + torch.exp(
                    temp2 * (context @ word[:, j]) / (context.norm() * word[:, j].norm())
                )
            local[b, i], mean[b, i] = temp3 * torch.log(total), temp3 * torch.log(total / lengths[i])
            if b == i:
                maps[i, : lengths[i]] = attention.unflatten(1, grid)
    target = torch.arange(batch)

    def directions(z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return F.cross_entropy(z, target), F.cross_entropy(z.T, target)

    g, w, m = directions(glob), directions(local), directions(mean)
    loss = 2.0 * sum(w) + 0.5 * sum(g)
    loss.backward()
    arrays: dict[str, object] = {f"in/{k}": x for k, x in data.items()} | {
        f"state/{k}": x for k, x in state.items()
    }
    arrays |= {"in/cap_lens": torch.tensor(lengths), "out/img_emb_g": v, "out/img_emb_l": regions}
    arrays |= {"out/global_logits": glob, "out/local_logits": local, "out/local_mean_logits": mean}
    arrays |= {
        f"out/{n}_loss{k}": x[k] for n, x in (("global", g), ("local", w), ("local_mean", m)) for k in (0, 1)
    }
    arrays |= {"out/loss": loss, "out/attn": maps}
    arrays |= {f"grad_in/{k}": x.grad for k, x in data.items()} | {
        f"grad_state/{k}": x.grad for k, x in state.items()
    }
    info = {"method": "gloria", "temp1": temp1, "temp2": temp2, "temp3": temp3, "local_loss_weight": 2.0,
            "global_loss_weight": 0.5, "sents": words}  # fmt: skip
    return write_case(folder, f"train_{seed}", info, arrays)


def clip_case(folder: Path, seed: int, bias: bool) -> Path:
    rng = torch.Generator().manual_seed(seed)
    data = leaves(rng, image_features_raw=(4, 13), text_features_raw=(4, 13), logit_scale=())
    if bias:
        data |= leaves(rng, logit_bias=())
    u, v = (x / x.norm(dim=1, keepdim=True) for x in (data["image_features_raw"], data["text_features_raw"]))
    logits = data["logit_scale"].exp() * u @ v.T + data.get("logit_bias", 0.0)
    loss = (F.cross_entropy(logits, torch.arange(4)) + F.cross_entropy(logits.T, torch.arange(4))) / 2
    loss.backward()
    arrays: dict[str, object] = {f"in/{k}": x for k, x in data.items()} | {
        f"grad_in/{k}": x.grad for k, x in data.items()
    }
    arrays |= {"out/image_features": u, "out/text_features": v, "out/logits_per_image": logits}
    arrays |= {"out/logits_per_text": logits.T, "out/loss": loss}
    return write_case(folder, f"loss_{seed}", {"method": "clip"}, arrays)


def radzero_case(folder: Path, seed: int) -> Path:
    """VL-CABS with dot attention off and a patch-only softmax, as loops; a stand-alone npz with `cfg`."""
    rng = torch.Generator().manual_seed(seed)
    d, patches, groups = 10, 7, [0, 0, 1, 2, 2, 2]
    data = leaves(rng, vision_tokens=(3, 1 + patches, d), text_features=(len(groups), d))
    state = leaves(rng, loss_temperature=(1,), **{"layer_norm.weight": (d,), "layer_norm.bias": (d,)})
    with torch.no_grad():
        state["loss_temperature"].fill_(float(np.float32(np.log(0.3))))

    def norm(x: torch.Tensor) -> torch.Tensor:
        centred = x - x.mean()
        x = centred / (centred.pow(2).mean() + 1e-5).sqrt()
        x = x * state["layer_norm.weight"] + state["layer_norm.bias"]
        return x / x.norm()

    t = state["loss_temperature"].exp()
    scores = torch.zeros(3, len(groups), patches, dtype=torch.double)
    logits = torch.zeros(len(groups), 3, dtype=torch.double)
    for i in range(3):
        keys = torch.stack([norm(x) for x in data["vision_tokens"][i, 1:]])
        for n in range(len(groups)):
            query = norm(data["text_features"][n])
            scores[i, n] = (keys @ query) / t
            attended = (scores[i, n].softmax(0)[:, None] * keys).sum(0)
            logits[n, i] = query @ (attended / attended.norm())
    scaled = logits / t
    e, terms = scaled.exp(), []
    for n, g in enumerate(groups):
        row = -torch.log(e[n, g] / (e[n].sum() + 1e-8) + 1e-8)
        others = sum(e[m, g] for m, other in enumerate(groups) if other != g)
        terms.append(row - torch.log(e[n, g] / (e[n, g] + others + 1e-8) + 1e-8))
    loss = sum(terms) / len(groups) / 2
    loss.backward()
    prefix = "loss_fns.RadZeroLoss."
    arrays: dict[str, object] = {f"in/{k}": x for k, x in data.items()} | {
        f"state/{prefix}{k}": x for k, x in state.items()
    }
    arrays |= {"in/group_map": torch.tensor(groups), "out/scores": scores, "out/logits": logits}
    arrays |= {"out/logits_over_temperature": scaled, "out/loss": loss}
    arrays |= {f"grad/{k}": x.grad for k, x in data.items()} | {
        f"grad/{prefix}{k}": x.grad for k, x in state.items()
    }
    cfg = {"hidden_dim": d, "mpnce_row_sum": False, "mpnce_col_sum": False, "attn_temperature": None,
           "text_features_l2_norm": False, "sim_op": "cos", "use_vision_cls_token": False}  # fmt: skip
    return write_npz(folder, f"made_{seed}", cfg, arrays)


def brgsa_case(folder: Path, seed: int) -> Path:
    rng = torch.Generator().manual_seed(seed)
    data = leaves(rng, image_embedding=(4, 6), text_embedding=(4, 6), dictionary=(15, 6))
    bank = data.pop("dictionary")
    v, t = data["image_embedding"], data["text_embedding"]

    def rebuild(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([(bank @ row).softmax(0) @ bank for row in x])

    def info_nce(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        cosines = torch.stack([torch.stack([F.cosine_similarity(x, y, dim=0) for y in b]) for x in a])
        return F.cross_entropy(8 * cosines, torch.arange(4))

    vr, tr = rebuild(v), rebuild(t)
    parts = {
        "mse_image": ((vr - v) ** 2).mean(), "mse_text": ((tr - t) ** 2).mean(),
        "info_i2t": info_nce(v, t), "info_t2i": info_nce(t, v),
        "info_recon_i2t": info_nce(vr, tr), "info_recon_t2i": info_nce(tr, vr),
    }  # fmt: skip
    loss = 0.25 * (parts["mse_image"] + parts["mse_text"]) + 2 * (parts["info_i2t"] + parts["info_t2i"])
    loss = loss + 0.5 * (parts["info_recon_i2t"] + parts["info_recon_t2i"])
    loss.backward()
    arrays: dict[str, object] = {f"in/{k}": x for k, x in data.items()} | {
        f"out/{k}": x for k, x in parts.items()
    }
    arrays |= {
        "state/dictionarylearning.dictionary.weight": bank,
        "out/loss": loss,
        "grad/dictionary": bank.grad,
    }
    arrays |= {"mid/image_reconstruction": vr, "mid/text_reconstruction": tr}
    arrays |= {f"grad/{k}": x.grad for k, x in data.items()}
    cfg = {"temp3": 8.0, "global_loss_weight": 2.0, "mse_loss_weight": 0.25, "global_recon_loss_weight": 0.5}
    return write_npz(folder, f"losses_{seed}", cfg, arrays)


def write_npz(folder: Path, name: str, cfg: dict, arrays: dict[str, object]) -> Path:
    path = write_case(folder, name, {}, arrays)
    path.unlink()
    with np.load(folder / f"{name}.npz") as made:
        plain = {key: made[key] for key in made.files}
    np.savez(folder / f"{name}.npz", cfg=np.array(json.dumps(cfg)), **plain)
    return folder / f"{name}.npz"
