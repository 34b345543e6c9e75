"""Python of a model folder is never run, and no loader of transformers is called anywhere else."""

from __future__ import annotations

import ast
import io
import json
import re
import sys

import pytest

from benchmark.core.errors import BenchError
from benchmark.core.pretrained import from_folder, no_remote_code, refuse_code, untrained

LOADERS = re.compile(r"\.(from_pretrained|from_config)\(|hf_hub_download|torch\.hub|trust_remote_code=True")


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A model folder whose Python leaves a trace when it runs, and a standard input that always says yes."""
    trace = tmp_path / "ran"
    folder = tmp_path / "model"
    folder.mkdir()
    auto = {
        "AutoConfig": "trap.Config",
        "AutoModel": "trap.Model",
        "AutoModelForCausalLM": "trap.Model",
        "AutoTokenizer": ["trap.Tokenizer", "trap.Tokenizer"],
    }
    (folder / "trap.py").write_text(f"open({str(trace)!r}, 'w').close()\n")
    (folder / "config.json").write_text(json.dumps({"model_type": "trap", "auto_map": auto}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"auto_map": auto, "tokenizer_class": "T"}))
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 50))
    yield folder
    assert not trace.exists()


def test_no_loader_runs_the_code_of_a_folder(trap) -> None:
    for kind in ("AutoConfig", "AutoModel", "AutoTokenizer", "AutoModelForCausalLM"):
        with pytest.raises(BenchError, match="never done here"):
            from_folder(kind, trap)
    with pytest.raises(BenchError, match="auto_map"):
        untrained(trap)


def test_no_command_path_runs_the_code_of_a_folder(trap) -> None:
    from benchmark.encoders.factory import text_encoder
    from benchmark.official.texts import load_tokenizer
    from benchmark.prompts.llm.backends import LocalModel

    for weights, architecture in ((f"path:{trap}", ""), ("random", str(trap))):
        card = {"name": "x", "source": "transformers", "weights": weights, "architecture": architecture,
                "licence": "none", "seen": ()}  # fmt: skip
        with pytest.raises(BenchError):
            text_encoder(card)
    card = {"name": "x", "source": "open_clip", "weights": "random", "architecture": f"local-dir:{trap}",
            "licence": "none", "seen": ()}  # fmt: skip
    with pytest.raises(BenchError):
        text_encoder(card)
    with pytest.raises(BenchError):
        load_tokenizer(trap, 10)
    with pytest.raises(BenchError):
        LocalModel(trap).complete([{"role": "user", "content": "x"}])


def test_other_libraries_cannot_ask_either(trap) -> None:
    """open_clip calls transformers without a word about trust."""
    from transformers import AutoConfig, AutoTokenizer, dynamic_module_utils

    before = dynamic_module_utils.TIME_OUT_REMOTE_CODE
    for kind in (AutoConfig, AutoTokenizer):
        with no_remote_code(), pytest.raises(ValueError, match="custom code|interactive"):
            kind.from_pretrained(str(trap))
    assert before == dynamic_module_utils.TIME_OUT_REMOTE_CODE


@pytest.mark.parametrize("place", ["model", "text", "deep"])
def test_code_is_seen_wherever_the_configuration_names_it(tmp_path, place) -> None:
    inner = {"auto_map": {"AutoModel": "other/repo--x.Y"}}
    value = {"model": inner, "text": {"text_config": inner}, "deep": {"a": [{"b": inner}]}}[place]
    (tmp_path / "config.json").write_text(json.dumps(value))
    with pytest.raises(BenchError, match="auto_map"):
        refuse_code(tmp_path)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "[]", "7", '{"model_type": 3}', "\xff"])
def test_damaged_folders_are_one_line(tmp_path, text) -> None:
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(BenchError) as caught:
        from_folder("AutoModel", tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(BenchError, match="no such folder"):
        from_folder("AutoModel", "someone/some-model")


def test_loaders_are_called_in_one_module(root) -> None:
    found = {
        str(path.relative_to(root))
        for package in ("benchmark", "methods", "perf")
        for path in (root / package).rglob("*.py")
        if LOADERS.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"benchmark/core/pretrained.py"}


def test_every_call_of_a_loader_trusts_no_code(root) -> None:
    """By the syntax tree, so that neither a line break nor another name for the value hides a call."""
    calls = []
    for path in (p for package in ("benchmark", "methods", "perf") for p in (root / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            given = {k.arg: k.value for k in node.keywords}
            loads = isinstance(node.func, ast.Attribute) and node.func.attr in (
                "from_pretrained",
                "from_config",
            )
            if loads or "trust_remote_code" in given:
                value = given.get("trust_remote_code")
                assert isinstance(value, ast.Constant), f"{path}:{node.lineno}"
                assert value.value is False, f"{path}:{node.lineno}"
                calls.append(node)
    assert len(calls) >= 2
