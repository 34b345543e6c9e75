"""The same bits on every x86-64 processor with AVX2: `numerics: portable`.

A processor decides bits in four ways: which kernels a library picks, how a product of matrices is blocked,
how a library approximates an elementary function, and over how many cores a sum is split. Environment
variables pin the first before torch and numpy are loaded, and one thread the last (more cores take more cells
or batches at once); what is left open on some processors is replaced here, for float32 on a CPU:

- MKL takes kernels of its own for products of fewer than 4 rows or 12 columns; they are padded with zeros to
  that size, above which its strict mode gives the same sums on every processor seen.
- MKL's exp, log and sqrt differ between vendors; numpy's float32 functions, which do not, take their place.

Which processors were compared, and how: docs/reproducibility.md. Nothing here acts on a GPU.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmark.core.errors import ParamsError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Numerics = Literal["portable", "native"]

ALWAYS = {
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_NUM_THREADS": "1",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}
"""Read by OpenBLAS and numpy when they are loaded, and never again: twins, statistics and initial weights
rest on them, and what they cost does not show, so they are pinned under either setting."""

ENVIRONMENT = {
    **ALWAYS,
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "AVX2,STRICT",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}
"""With what torch, MKL and oneDNN read, for `portable`."""

ROWS, COLUMNS = 4, 12
"""The smallest float32 product whose sums MKL's strict mode orders alike on every processor seen."""

_library: torch.library.Library | None = None
_threads = 0
"""Of torch in this process before `apply`; 0 while that has not been asked for."""
_too_late = False


def wanted(arguments: Sequence[str], project: Path) -> Numerics:
    """What a command line asks for: `--set numerics=…`, else params.yaml at or above `project`.

    Looks for the one line only, as this runs before anything is loaded: portable where it is missing. A wrong
    value is refused later, where params.yaml is validated.
    """
    said = [a.rpartition("=")[2] for a in arguments if re.fullmatch(r"(--set=)?numerics=\w+", a)]
    if not said:
        for folder in (project, *project.parents):
            try:
                text = (folder / "params.yaml").read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                continue
            said = re.findall(r"^numerics:\s*(\w+)", text, re.MULTILINE)
            break
    return "native" if said and said[-1] == "native" else "portable"


def pin(numerics: Numerics, environment: MutableMapping[str, str] = os.environ) -> None:
    """Set the variables that decide kernels, for this process and those it starts.

    What a user has set stays; `apply` refuses it where it is another value. Call before torch or numpy is
    loaded: later it acts on new processes only.
    """
    global _too_late
    values = ENVIRONMENT if numerics == "portable" else ALWAYS
    missing = [name for name in values if name not in environment]
    for name in missing:
        environment[name] = values[name]
    _too_late = _too_late or (bool(missing) and bool({"numpy", "torch"} & set(sys.modules)))


def pinned() -> bool:
    """Whether the variables held the portable values before torch and numpy read them."""
    return not _too_late and all(os.environ.get(name) == value for name, value in ENVIRONMENT.items())


def state() -> Numerics:
    """What this process computes by: part of the key of features, and so of all that rests on them."""
    return "native" if _library is None else "portable"


def apply(numerics: Numerics) -> None:
    """Make torch compute as the setting says, in this process, from now on.

    Raises ParamsError where `portable` comes too late: torch or numpy was loaded with other kernels.
    """
    if numerics == "native":
        _restore()
    elif not _portable_machine():
        raise ParamsError(
            "numerics: portable needs an x86-64 processor with AVX2, which this is not. Set numerics: native "
            "in params.yaml; results then agree with other machines up to rounding."
        )
    elif not pinned():
        values = " ".join(f"{name}={value!r}" for name, value in ENVIRONMENT.items())
        raise ParamsError(
            "numerics: portable: torch was loaded with other kernels. Start with `bench`, or set before "
            f"Python starts: {values}. Or set numerics: native."
        )
    else:
        _replace()


@contextlib.contextmanager
def on_threads(count: int | None) -> Iterator[None]:
    """torch on so many threads of the CPU meanwhile, None as it stands: sums round by their number."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _portable_machine() -> bool:
    import platform

    import torch

    usual = platform.machine().lower() in ("x86_64", "amd64")
    return usual and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


def _replace() -> None:
    """One thread, and the replacements registered with torch's dispatcher, below autograd, so that backward
    passes use them."""
    global _library, _threads
    import warnings

    import numpy as np
    import torch

    _threads = _threads or torch.get_num_threads()
    torch.set_num_threads(1)
    if _library is not None:
        return
    _library = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of every kernel that is replaced on purpose
        for name, product in (("mm", _mm), ("addmm", _addmm), ("bmm", _bmm), ("mv", _mv), ("dot", _dot)):
            _library.impl(name, product, "CPU")
        for name, function in (("exp", np.exp), ("log", np.log), ("sqrt", np.sqrt)):
            _library.impl(name, _elementwise(name, function), "CPU")
            _library.impl(f"{name}_", _in_place(name, function), "CPU")


def _restore() -> None:
    global _library, _threads
    if _threads:
        sys.modules["torch"].set_num_threads(_threads)
        _threads = 0
    if _library is not None:
        _library._destroy()
        _library = None


def _small(a: Tensor, rows: int, columns: int) -> bool:
    return a.dtype == sys.modules["torch"].float32 and (rows < ROWS or columns < COLUMNS)


def _padded(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """(…, m, k), (…, k, n) → the same with zeros up to ROWS and COLUMNS."""
    from torch.nn.functional import pad

    rows, columns = max(0, ROWS - a.shape[-2]), max(0, COLUMNS - b.shape[-1])
    return pad(a, (0, 0, 0, rows)), pad(b, (0, columns))


# torch's own kernels are reached through the `out=` variants, which are registered apart and stay.
def _mm(a: Tensor, b: Tensor) -> Tensor:
    import torch

    m, n = a.shape[0], b.shape[1]
    if not _small(a, m, n):
        return torch.mm(a, b, out=a.new_empty(m, n))
    wide, tall = _padded(a, b)
    return torch.mm(wide, tall, out=a.new_empty(wide.shape[0], tall.shape[1]))[:m, :n].contiguous()


def _addmm(c: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    import torch

    m, n = a.shape[0], b.shape[1]
    if not _small(a, m, n):
        return torch.addmm(c, a, b, beta=beta, alpha=alpha, out=a.new_empty(m, n))
    product = _mm(a, b) * alpha
    return product + c * beta if beta else product


def _bmm(a: Tensor, b: Tensor) -> Tensor:
    import torch

    count, m, n = a.shape[0], a.shape[1], b.shape[2]
    if not _small(a, m, n):
        return torch.bmm(a, b, out=a.new_empty(count, m, n))
    wide, tall = _padded(a, b)
    out = a.new_empty(count, wide.shape[1], tall.shape[2])
    return torch.bmm(wide, tall, out=out)[:, :m, :n].contiguous()


def _mv(a: Tensor, x: Tensor) -> Tensor:
    import torch

    return _mm(a, x[:, None])[:, 0] if _small(a, 1, 1) else torch.mv(a, x, out=a.new_empty(a.shape[0]))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum()


def _elementwise(name: str, function: Callable[..., Any]) -> Callable[[Tensor], Tensor]:
    import torch

    own = getattr(torch, name)

    def kernel(x: Tensor) -> Tensor:
        if not x.is_floating_point():
            x = x.to(torch.get_default_dtype())
        out = torch.empty_like(x)
        if x.dtype != torch.float32:
            return own(x, out=out)
        _call(function, x, out)
        return out

    return kernel


def _in_place(name: str, function: Callable[..., Any]) -> Callable[[Tensor], Tensor]:
    import torch

    own = getattr(torch, name)

    def kernel(x: Tensor) -> Tensor:
        if x.dtype != torch.float32:
            x.copy_(own(x, out=torch.empty_like(x)))
        else:
            _call(function, x, x)
        return x

    return kernel


def _call(function: Callable[..., Any], x: Tensor, out: Tensor) -> None:
    import numpy as np

    with np.errstate(all="ignore"):  # as torch: inf and nan are values
        function(x.detach().numpy(), out=out.detach().numpy())
