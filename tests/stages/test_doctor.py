"""`bench doctor` on a machine that lacks something."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

from benchmark.stages import doctor


def test_a_machine_without_torch_is_told(bench, monkeypatch, tmp_path):
    def version(name: str) -> str:
        if name == "torch":
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(doctor, "version", version)
    (tmp_path / "params.yaml").write_text("profile: none\n")
    code, out, _ = bench(tmp_path, "doctor")
    assert code == 1
    assert "problem   torch is not installed" in out
    assert "processor" not in out
