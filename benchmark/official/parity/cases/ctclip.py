"""CT-CLIP: CT-ViT, both projections, logits, and the probability of the first of two sentences."""

from __future__ import annotations

import torch

from benchmark.core.checkpoints import take
from benchmark.core.features import TextFeatures
from benchmark.official.bert import bert_from_state
from benchmark.official.checkpoints import official_method
from benchmark.official.ctclip import PARTS, CtClipVolumes, projected_states
from benchmark.official.parity.check import Checker, Tolerance
from benchmark.official.parity.fixture import Fixture
from benchmark.official.parity.registry import case
from methods.blocks import unit

_CLOSE = Tolerance(rtol=1e-5, atol=1e-5)


@case("ct-clip/end_to_end", arrays=("in/volume", "mid/codes", "out/probability"))
@torch.no_grad()
def end_to_end(fixture: Fixture, checker: Checker) -> None:
    state = fixture.state()
    image = CtClipVolumes(state, str(fixture.path)).eval()
    volume, ids, mask = (fixture.tensor(f"in/{name}") for name in ("volume", "input_ids", "attention_mask"))
    checker.close("mid/encoded_tokens", image.network.encode(volume), _CLOSE)
    checker.close("mid/codes", image.network(volume), _CLOSE)
    seen = image(volume)
    checker.close("out/image_latents", unit(seen.pooled), _CLOSE)

    model = bert_from_state(take(state, PARTS[1]), fixture.setting("bert_heads"))
    texts = projected_states(model, state["to_text_latent.weight"], ids, mask)
    checker.close("out/text_latents", unit(texts[:, 0]), _CLOSE)

    said = TextFeatures(texts[:, 0], texts, mask.bool())
    logits = official_method("clip", state, image.width, texts.shape[-1]).eval()(seen, said)
    checker.close("out/logits", logits, _CLOSE)
    checker.close("out/probability", logits.unflatten(1, (-1, 2)).softmax(-1)[..., 0], _CLOSE)
