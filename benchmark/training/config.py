"""How a training run is carried out; the settings themselves stand in `benchmark.core.settings`."""

from __future__ import annotations

from benchmark.core.settings import ENGINE as ENGINE
from benchmark.core.settings import TrainConfig as TrainConfig
from benchmark.core.settings import train_config as train_config
