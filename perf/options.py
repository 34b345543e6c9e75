"""What every script of this folder begins and ends with; loads nothing: some choose kernels before torch."""

from __future__ import annotations

import argparse
import os


def described(doc: str | None, prog: str | None = None) -> argparse.ArgumentParser:
    """A parser whose --help begins with the docstring of a script. prog: how a module is called."""
    return argparse.ArgumentParser(
        prog, description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def machine() -> str:
    """The processor and its load, printed beside times; asked once all is measured, as it loads torch."""
    from benchmark.core.processor import name

    return f"{name()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
