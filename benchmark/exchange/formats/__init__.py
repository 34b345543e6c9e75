"""Formats of others: Every Eval Ever, Hugging Face's evaluation results, Croissant. Their libraries come with
`pip install 'cxr-alignbench[exchange]'`."""

from __future__ import annotations

import importlib
from types import ModuleType

from benchmark.core.errors import BenchError


def needed(module: str) -> ModuleType:
    """A library of the extra. Raises BenchError, with how to install it, where it is not there."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise BenchError(
            f"{module}: not installed. Run `pip install 'cxr-alignbench[exchange]'` and try again."
        ) from None
