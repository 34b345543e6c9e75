"""DenseNet-121 of torchxrayvision, whose weights torchvision's network takes: one channel, within ±1024."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models import densenet121

from benchmark.core.features import ImageFeatures
from benchmark.encoders.base import ImageEncoder
from benchmark.encoders.cards import ImageCard
from benchmark.encoders.weights import WeightsError, load_into, read_tensors, weights_file, weights_path


class DenseImage(ImageEncoder):
    """The last map after the network's ReLU gives the tokens, their mean the pooled vector.

    Source: torchxrayvision models.py, DenseNet.features2. Its official files pickle a whole module, which is
    never unpickled here; the state dict of it is read, its classifier left out.
    """

    def __init__(self, card: ImageCard) -> None:
        super().__init__(card)
        if card.architecture != "densenet121" or card.preprocessing.channels != 1:
            raise WeightsError(
                f"encoder {card.name}: of torchxrayvision `architecture: densenet121` with "
                "`preprocessing.channels: 1` is known here."
            )
        if card.pooling != "mean":
            raise WeightsError(f"encoder {card.name}: a DenseNet has pooling: mean only.")
        path = weights_path(card)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.network = densenet121(weights=None).features
            self.network.conv0 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
        if path is not None:
            state = {
                name.removeprefix("features."): value
                for name, value in read_tensors(weights_file(path)).items()
                if name.startswith("features.")
            }
            load_into(self.network, state, card.name, path)
        self.width = 1024
        self.grid = (card.preprocessing.side // 32,) * 2

    def forward(self, images: Tensor) -> ImageFeatures:
        maps = self.network(images).relu()  # (B, 1024, h, w)
        local = maps.flatten(2).transpose(1, 2)
        return ImageFeatures(local.mean(1), local, tuple(maps.shape[-2:]))
