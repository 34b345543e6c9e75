"""One module a method: how its fixtures map onto our code. Importing this package registers all cases."""

from benchmark.evaluation.parity.cases import (
    carzero,
    clip,
    localisation,
    metrics,
    texts,
    volumes,
)

__all__ = ["carzero", "clip", "localisation", "metrics", "texts", "volumes"]
