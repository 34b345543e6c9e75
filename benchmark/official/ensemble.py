"""Official checkpoints under settings of their own, and CheXzero's ensemble of several.

    s(x, t) = mean over members of ⟨v_m, u_m⟩        v, u: unit vectors of one member's towers

CheXzero averages the probabilities σ(c⁺ - c⁻) of its checkpoints (zero_shot.py, ensemble_models). Here the
cosines are averaged, so that prompts are scored one by one as everywhere: σ is all but linear in a
difference d of two cosines, and the mean of σ(d_m) departs from σ of the mean by at most 0.05 times the
variance of the d_m.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchmark.core.errors import BenchError
from benchmark.core.features import ImageFeatures
from benchmark.encoders.base import ImageEncoder, TextEncoder, TokenBatch
from benchmark.official.checkpoints import OfficialModel, load_official, official_method
from benchmark.official.settings import Checkpoint
from methods.blocks import unit


class EnsembleImage(ImageEncoder):
    """Unit vectors of every member side by side: their cosine is the mean of the members' cosines.

    Raises BenchError where the members see images otherwise.
    """

    def __init__(self, members: Sequence[ImageEncoder]) -> None:
        first = members[0]
        super().__init__(first.card.model_copy(update={"name": f"{first.card.name}-of-{len(members)}"}))
        if any((m.preprocessing, m.grid) != (first.preprocessing, first.grid) for m in members):
            raise BenchError("members of an ensemble take images of different sizes; give one architecture.")
        self.members = nn.ModuleList(members)
        self.width, self.grid = sum(m.width for m in members), first.grid

    def forward(self, images: Tensor) -> ImageFeatures:
        found: list[ImageFeatures] = [member(images) for member in self.members]
        pooled = torch.cat([unit(one.pooled) for one in found], -1)
        return ImageFeatures(pooled, torch.cat([unit(one.local) for one in found], -1), self.grid)


class EnsembleText(TextEncoder):
    """Unit vectors of every member's text tower side by side; members share their vocabulary."""

    def __init__(self, members: Sequence[TextEncoder]) -> None:
        first = members[0]
        super().__init__(first.card.model_copy(update={"name": f"{first.card.name}-of-{len(members)}"}))
        if any(m.card.max_length != first.card.max_length for m in members):
            raise BenchError("members of an ensemble read texts of different lengths; give one architecture.")
        self.members = nn.ModuleList(members)
        self.width = sum(m.width for m in members)
        self._tokenize = first.tokenize

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        return self._tokenize(texts)

    def hidden(self, tokens: TokenBatch) -> tuple[Tensor, Tensor]:
        found: list[tuple[Tensor, Tensor]] = [member.hidden(tokens) for member in self.members]  # type: ignore[operator]
        return torch.cat([unit(p) for p, _ in found], -1), torch.cat([unit(s) for _, s in found], -1)


def load_with(method: str, asked: Checkpoint) -> OfficialModel:
    """Released weights under the settings asked for, an ensemble where there are members.

    Raises BenchError for a head that the file does not hold, or members that are no ensemble.
    """
    settings, layout = asked.settings, asked.layout
    found = load_official(method, asked.file, tokenizer=asked.tokenizer, layout=layout, settings=settings)
    held = getattr(found.method.config, "head", None)
    if settings.head is not None and settings.head != held:
        raise BenchError(
            f"{asked.file}: its head is '{held}', not '{settings.head}': that is another checkpoint."
        )
    if not settings.member:
        return found
    return joined([found, *(load_official(method, member, layout=layout) for member in settings.member)])


def joined(models: Sequence[OfficialModel]) -> OfficialModel:
    """An ensemble of CheXzero checkpoints, under the first one's scale, which no ranking sees. Raises
    BenchError where one of them is of another release."""
    first = models[0]
    if any(model.pair is not None for model in models):
        raise BenchError("an ensemble is one of CheXzero's checkpoints; CT-CLIP has none.")
    image, text = EnsembleImage([m.image for m in models]), EnsembleText([m.text for m in models])
    scale = {"logit_scale": first.method.state_dict()["logit_scale"]}
    module = official_method("clip", scale, image.width, text.width)
    unused = tuple(dict.fromkeys(name for m in models for name in m.unused))
    return OfficialModel(module.eval(), image.eval(), text.eval(), first.release, unused)
