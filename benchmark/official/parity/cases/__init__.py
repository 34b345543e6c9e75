"""One module a method: how its fixtures map onto our code. Importing this package registers all cases."""

from benchmark.official.parity.cases import (
    brgsa,
    carzero,
    checkpoints,
    clip,
    ctclip,
    gloria,
    localisation,
    medclip,
    metrics,
    radzero,
    texts,
    volumes,
)

__all__ = [
    "brgsa",
    "carzero",
    "checkpoints",
    "clip",
    "ctclip",
    "gloria",
    "localisation",
    "medclip",
    "metrics",
    "radzero",
    "texts",
    "volumes",
]
