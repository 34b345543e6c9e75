"""Tables that pages repeat from committed ones hold the same values."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path

import pandas as pd
import pytest


def table(text: str, head: str) -> list[list[str]]:
    """Rows of the Markdown table that begins so, its head first and its rule left out."""
    lines = text[text.index(head) :].split("\n\n")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in rows if not re.fullmatch(r"[\s:|-]+", "".join(row))]


@pytest.fixture
def fairness(root: Path) -> str:
    return (root / "docs" / "fairness.md").read_text(encoding="utf-8")


def test_the_table_of_the_readme_is_the_overview(root: Path) -> None:
    head = "| Method | padchest | padchest (padchest20) |"
    shown = table((root / "README.md").read_text(encoding="utf-8"), head)
    text = (root / "reports" / "tables" / "overview.md").read_text(encoding="utf-8").replace("\\~", "~")
    whole = table(text, head)
    places = [whole[0].index(name) for name in shown[0]]
    assert shown == [[row[k] for k in places] for row in whole]
    readme = (root / "README.md").read_text(encoding="utf-8")
    notes = [line for line in text.splitlines() if re.match(r"- \[\d+\]", line)]
    assert [line for line in readme.splitlines() if re.match(r"- \[\d+\]", line)] == notes


def test_the_committed_page_holds_the_committed_tables(root: Path) -> None:
    """The page kept the limits of an earlier code when the tables were made again without it."""
    page = (root / "reports" / "site" / "index.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="text/plain" id="csvs">(.*?)</script>', page, re.S)
    assert found
    tables = json.loads(gzip.decompress(base64.b64decode(found[1])))
    assert {"overview", "zero_shot", "per_class"} <= tables.keys()
    for name, text in tables.items():
        assert text == (root / "reports" / "tables" / f"{name}.csv").read_bytes().decode(), name


def test_budgets_are_those_of_the_curves(root: Path, fairness: str) -> None:
    rows = pd.read_csv(root / "reports" / "robustness" / "convergence.csv")
    best = rows.groupby(["budget", "method"]).agg(held=("val_auroc", "max"), test=("test_auroc", "first"))
    shown = table(fairness, "| epochs | CLIP | MedCLIP |")
    for epochs, *cells in shown[1:]:
        for name, cell in zip(shown[0][1:], cells, strict=True):
            own = best.loc[int(epochs.split(",")[0]), name.lower()]
            for printed, value in zip(cell.split(", "), own, strict=True):
                assert abs(float(printed) - value) <= 0.00051, (epochs, name)


def test_settings_are_those_of_the_study_of_robustness(root: Path, fairness: str) -> None:
    ranks = pd.read_csv(root / "reports" / "robustness" / "ranks.csv")
    shown = table(fairness, "| setting | τ on PadChest |")[1:]
    padchest, other = (ranks[ranks["dataset"] == name] for name in ("padchest", "chestxray14"))
    assert len(shown) == len(padchest) == len(other)
    for cells, a, b in zip(shown, padchest.itertuples(), other.itertuples(), strict=True):
        leads = f"{a.carzero_value - a.clip_value:+.3f}, {a.radzero_value - a.clip_value:+.3f}"
        taus = [f"{x.tau_value:.2f} ({x.tau_low:.2f} to {x.tau_high:.2f})" for x in (a, b)]
        assert cells[-1] == leads, cells
        assert a.setting == "default" or [c.replace("−", "-") for c in cells[1:3]] == taus, cells


def test_choices_are_those_of_the_search(root: Path, fairness: str) -> None:
    found = pd.read_csv(root / "reports" / "tuning" / "search.csv").set_index("method")
    for name, rate, _, _, *values, ranks in table(fairness, "| method | chosen rate |")[1:]:
        own = found.loc[name]
        assert float(rate) == pytest.approx(own["rate"], rel=1e-2)
        assert values == [f"{own[k]:.3f}" for k in ("chosen", "in_use", "untuned")]
        assert ranks == ", ".join(f"{own[f'tracking_{k}']:.2f}"[1:] for k in ("padchest", "chestxray14"))


def test_trained_encoders_are_those_of_their_table(root: Path) -> None:
    page = (root / "docs" / "encoders.md").read_text(encoding="utf-8")
    rows = pd.read_csv(root / "reports" / "encoders" / "trained_encoders.csv")
    names = {"frozen": "nothing", "LoRA": "LoRA of the image encoder"}
    for title, *cells, _ in table(page, "| | ChestX-ray14 | PadChest | training |")[1:]:
        method, _, trained = title.partition(", ")
        for dataset, cell in zip(("chestxray14", "padchest"), cells, strict=True):
            own = rows[(rows["method"] == method) & (rows["dataset"] == dataset)]
            whole = names.get(trained, trained.replace("stage", "stage of the image encoder"))
            own = own[own["trained"] == whole].iloc[0]
            printed = [float(n) for n in re.findall(r"[+-]?\.\d+", cell)]
            value = [own[k] for k in ("value", "difference", "difference_low", "difference_high")]
            assert all(abs(a - b) <= 0.00051 for a, b in zip(printed, value, strict=False)), title
