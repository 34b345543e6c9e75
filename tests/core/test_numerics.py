"""Portable numerics: products and functions stay right, and their bits do not depend on the processor."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from benchmark.core import numerics, processor
from benchmark.core.errors import ParamsError
from methods.blocks import orthogonal_

SEEN = {
    "random numbers": "60d6f85b1eca",
    "products": "69e5ce253033",
    "elementary functions": "1a3d9cb3f967",
    "sums": "0fe2f5e29a3f",
    "convolutions": "41a10afa9673",
    "training": "4bae5ac74a71",
    "float64": "012d452298a5",
}
"""Of torch 2.14.1 and numpy 2.4.6 on the processors of docs/reproducibility.md."""


@pytest.fixture
def portable() -> Iterator[None]:
    try:
        numerics.apply("portable")
    except ParamsError as error:
        pytest.skip(str(error))
    yield
    numerics.apply("native")


@pytest.mark.parametrize("shape", [(1, 5, 1), (3, 64, 64), (4, 64, 11), (4, 64, 12), (49, 16, 1), (2, 0, 3)])
def test_products_are_those_of_float64(portable: None, shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    a, b, c = torch.randn(m, k), torch.randn(k, n), torch.randn(n)
    wanted = (a.double() @ b.double()).float()
    torch.testing.assert_close(a @ b, wanted)
    torch.testing.assert_close(functional.linear(a, b.T, c), wanted + c)
    torch.testing.assert_close(torch.addmm(c, a, b, beta=0.5, alpha=2.0), 2 * wanted + 0.5 * c)
    torch.testing.assert_close(torch.bmm(a[None].expand(3, m, k), b[None].expand(3, k, n))[2], wanted)
    torch.testing.assert_close(a @ b[:, 0], wanted[:, 0])
    assert (a @ b).is_contiguous()


@pytest.mark.parametrize("name", ["exp", "log", "sqrt"])
def test_functions_are_those_of_float64(portable: None, name: str) -> None:
    x = torch.rand(33, 7).T * 20 + 1e-6
    wanted = getattr(torch, name)(x.double()).float()
    torch.testing.assert_close(getattr(x, name)(), wanted, rtol=1e-6, atol=0)
    torch.testing.assert_close(getattr(x.clone(), f"{name}_")(), wanted, rtol=1e-6, atol=0)
    assert getattr(x, name)().stride() == x.stride()
    assert getattr(torch.tensor(4), name)().dtype == torch.float32
    assert getattr(x.double(), name)().dtype == torch.float64


def test_values_at_the_edge(portable: None) -> None:
    x = torch.tensor([float("inf"), float("-inf"), float("nan"), 0.0, -1.0])
    torch.testing.assert_close(
        x.exp(), torch.tensor([float("inf"), 0.0, float("nan"), 1.0, 0.36787945]), equal_nan=True
    )
    assert x.log().isnan().tolist() == [False, True, True, False, True]
    assert x.sqrt().isnan().tolist() == [False, True, True, False, True]


def test_gradients_pass_through(portable: None) -> None:
    a = torch.randn(3, 5, dtype=torch.float32, requires_grad=True)
    w = torch.randn(5, 1, requires_grad=True)
    ((a @ w).exp() + (a**2).sum(1, keepdim=True).log().sqrt()).sum().backward()
    a64, w64 = a.detach().double().requires_grad_(), w.detach().double().requires_grad_()
    ((a64 @ w64).exp() + (a64**2).sum(1, keepdim=True).log().sqrt()).sum().backward()
    torch.testing.assert_close(a.grad, a64.grad.float(), rtol=1e-4, atol=1e-5, equal_nan=True)
    torch.testing.assert_close(w.grad, w64.grad.float(), rtol=1e-4, atol=1e-5, equal_nan=True)


def test_native_gives_torch_its_own_kernels_back(portable: None) -> None:
    x = torch.randn(3, 64)
    numerics.apply("native")
    assert numerics._library is None
    torch.testing.assert_close(x @ x.T, (x.double() @ x.double().T).float())


def test_portable_computes_on_one_thread_until_native_returns_the_others() -> None:
    with numerics.on_threads(2):
        numerics.apply("portable")
        assert torch.get_num_threads() == 1
        with numerics.on_threads(3):
            assert torch.get_num_threads() == 3
        assert torch.get_num_threads() == 1
        numerics.apply("native")
        assert torch.get_num_threads() == 2


def test_an_orthogonal_matrix_is_one() -> None:
    for rows, columns in ((170, 64), (64, 170), (5, 5)):
        matrix = orthogonal_(torch.empty(rows, columns))
        small = matrix @ matrix.T if rows <= columns else matrix.T @ matrix
        torch.testing.assert_close(small, torch.eye(min(rows, columns)), rtol=0, atol=1e-6)


def test_the_fingerprint_is_the_one_seen(portable: None) -> None:
    """Fails on a processor that computes other bits: add it to docs/reproducibility.md and find out which."""
    import numpy

    if (torch.__version__.partition("+")[0], numpy.__version__) != ("2.14.1", "2.4.6"):
        pytest.skip("another torch or numpy than the recorded ones")
    assert processor.fingerprint() == SEEN


def test_a_fingerprint_leaves_the_random_state(portable: None) -> None:
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    assert processor.fingerprint() == processor.fingerprint()
    assert torch.equal(torch.rand(2), wanted)


def test_too_late_is_one_line() -> None:
    code = (
        "import torch\nfrom benchmark.core import numerics\nfrom benchmark.core.errors import ParamsError\n"
        "numerics.pin('portable')\n"
        "try:\n    numerics.apply('portable')\nexcept ParamsError as e:\n    print(e)"
    )
    clean = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": ":".join(p for p in sys.path if p),
        "ATEN_CPU_CAPABILITY": "default",
    }
    said = subprocess.run(
        [sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True
    ).stdout
    assert said.startswith("numerics: portable")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "text", "wanted"),
    [
        ([], "profile: twin\n", "portable"),
        ([], "profile: twin\nnumerics: native  # faster\n", "native"),
        (["run", "--set", "numerics=native"], "numerics: portable\n", "native"),
        (["run", "--set=numerics=portable"], "numerics: native\n", "portable"),
        ([], "# numerics: native\n", "portable"),
        ([], "numerics: nonsense\n", "portable"),
    ],
)
def test_what_a_command_line_asks_for(tmp_path: Path, arguments: list[str], text: str, wanted: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    assert numerics.wanted(arguments, inside) == wanted


def test_what_a_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numerics, "_too_late", False)
    environment = {"MKL_CBWR": "COMPATIBLE"}
    numerics.pin("portable", environment)
    assert environment["MKL_CBWR"] == "COMPATIBLE"
    assert environment["ATEN_CPU_CAPABILITY"] == "avx2"
    fast: dict[str, str] = {}
    numerics.pin("native", fast)
    assert set(fast) == set(numerics.ALWAYS)


def test_what_another_processor_means_for_the_tables(portable: None) -> None:
    here = processor.current()
    assert "same to the byte" in processor.against(here, here)
    assert "name no processor" in processor.against(None, here)
    assert "are native" in processor.against({**here, "numerics": "native"}, here)
    older = {**here, "versions": {**here["versions"], "torch": "2.0.0"}}
    assert "torch 2.0.0" in processor.against(older, here)
    other = {**here, "fingerprint": {**here["fingerprint"], "sums": "0"}}
    assert "in sums: values differ" in processor.against(other, here)
