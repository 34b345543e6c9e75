"""`bench score` as its tests call it, and files for it."""

from __future__ import annotations

import json

from benchmark.cli import main


def run(capsys, *arguments) -> tuple[int, str, str]:
    code = main(["score", *map(str, arguments)])
    out = capsys.readouterr()
    return code, out.out, out.err


def score(capsys, *arguments) -> dict:
    code, out, err = run(capsys, *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def refused(capsys, *arguments) -> str:
    code, out, err = run(capsys, *arguments)
    assert code == 2, err
    assert out == ""
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


def auroc(result: dict, name: str = "macro") -> dict:
    rows = result["metrics"]
    return next(r for r in rows if (r["class"], r["stratum"], r["metric"]) == (name, "all", "auroc"))


def counts(result: dict) -> dict:
    return next(iter(result["counts"].values()))


def write(folder, scores, labels) -> list:
    scores.to_csv(folder / "s.csv", index=False)
    labels.to_csv(folder / "t.csv", index=False)
    return [folder / "s.csv", "--labels", folder / "t.csv"]
