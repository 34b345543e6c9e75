from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from evidence_case import add_checkpoint

from benchmark.cli import main
from benchmark.core.errors import BenchError
from benchmark.grid.layout import Project
from benchmark.grid.params_file import load_params
from benchmark.reporting.claims import Claim, load_claims, load_ledger
from benchmark.reporting.effects import dataset_effect, mean_effect, seed_values
from benchmark.reporting.gather import gather
from benchmark.reporting.interactions import interaction
from benchmark.reporting.outputs import PartReport
from benchmark.reporting.published import load_published
from benchmark.reporting.site.content import write_site
from benchmark.reporting.tables.zero_shot import zero_shot
from benchmark.reporting.verdicts import judge

PUBLISHED = Path(__file__).resolve().parents[2] / "reports" / "published.yaml"
SOURCE = {"paper": "P", "where": "Table 1"}


def claim(name="x", needs="official", required=False, statement="A beats B.", **contrast):
    contrast = {"kind": "paired", "a": "carzero-main", "b": "clip-main", "datasets": "all"} | contrast
    contrast = {k: v for k, v in contrast.items() if v is not None}
    return Claim.model_validate(
        {
            "id": name,
            "statement": statement,
            "source": SOURCE,
            "contrast": contrast,
            "needs": needs,
            "family": "f",
            "required": required,
        }
    )


@pytest.fixture(scope="module")
def gathered(project):
    return gather(Project(project))


def verdict(gathered, *claims):
    return judge(claims, gathered.evidence, partial(interaction, gathered))


def test_a_clear_gain_is_supported_on_twins_and_never_more(gathered):
    (found,) = verdict(gathered, claim())
    assert found.verdict == "supported on synthetic twins"
    assert found.evidence == "twin"
    assert "synthetic images" in found.wording
    assert "not evidence about patients" in found.wording
    assert "stays open" in found.wording
    assert found.low > 0
    assert found.p_corrected < 0.05


def test_the_reverse_is_contradicted_and_a_margin_decides(gathered):
    reverse, greedy, modest = verdict(
        gathered,
        claim("r", a="clip-main", b="carzero-main"),
        claim("g", margin=0.6),
        claim("m", margin=0.05),
    )
    assert [j.answer for j in (reverse, greedy, modest)] == ["contradicted", "contradicted", "supported"]


def test_no_difference_is_inconclusive(gathered):
    frame = gathered.evidence.comparisons.copy()
    frame["delta"], frame["low"], frame["high"] = 0.001, -0.1, 0.1
    frame["se"], frame["df"] = 0.05, 20.0
    blurred = replace(gathered.evidence, comparisons=frame)
    (found,) = judge([claim()], blurred, partial(interaction, gathered))
    assert found.answer == "inconclusive"


def test_each_needs_every_set(gathered):
    (each,) = verdict(gathered, claim(datasets="each"))
    assert each.answer == "supported"
    ps = [
        dataset_effect(gathered.evidence, "carzero-main", "clip-main", d, "all", "auroc").p_against(0)
        for d in gathered.evidence.sets
    ]
    assert each.p == pytest.approx(max(ps))
    frame = gathered.evidence.comparisons.copy()
    turned = frame["dataset"] == "chexpert"
    frame.loc[turned, ["delta", "low", "high"]] = -frame.loc[turned, ["delta", "high", "low"]].to_numpy()
    (mixed,) = judge(
        [claim(datasets="each")],
        replace(gathered.evidence, comparisons=frame),
        partial(interaction, gathered),
    )
    assert mixed.answer == "contradicted"
    assert len(mixed.parts) == 2


def test_average_over_sets_keeps_the_seeds_joint(gathered):
    """Same models on both sets: a shift of a seed moves both, so averaging must not halve its variance."""
    evidence = gathered.evidence
    both = list(evidence.sets)
    shift = {0: -0.2, 1: 0.0, 2: 0.2}
    seeds = evidence.seeds.copy()
    pairs = evidence.comparisons.copy()
    touched = (seeds["name"] == "carzero-main") & (seeds["metric"] == "auroc") & (seeds["class"] == "macro")
    seeds.loc[touched, "value"] += seeds.loc[touched, "seed"].map(shift)
    shifted = replace(evidence, seeds=seeds)
    a, b = (seed_values(shifted, n, both, "all", "auroc") for n in ("carzero-main", "clip-main"))
    for k, dataset in enumerate(both):
        pooled = (a[:, k].var(ddof=1) + b[:, k].var(ddof=1)) / 2 * (2 / 3)
        row = (pairs["dataset"] == dataset) & (pairs["stratum"] == "all") & (pairs["class"] == "macro")
        pairs.loc[row, "se"], pairs.loc[row, "df"] = np.sqrt(pooled + 1e-4), 4.0
    found = mean_effect(replace(shifted, comparisons=pairs), "carzero-main", "clip-main", both)
    joint = (a.mean(axis=1).var(ddof=1) + b.mean(axis=1).var(ddof=1)) / 2 * (2 / 3)
    assert found.se**2 == pytest.approx(joint + 2 * 1e-4 / 4, rel=1e-6)
    naive = (
        sum(
            float(s) ** 2
            for s in pairs.loc[
                (pairs["stratum"] == "all")
                & (pairs["class"] == "macro")
                & (pairs["metric"] == "auroc")
                & (pairs["method_b"] == "carzero-main")
                & (pairs["method_a"] == "clip-main"),
                "se",
            ]
        )
        / 4
    )
    assert found.se**2 > 1.7 * naive


def test_other_prompts(gathered):
    (found,) = verdict(gathered, claim(b="carzero-main", prompts={"a": "template", "b": "name"}))
    assert found.answer == "supported"
    assert found.effect == pytest.approx(
        mean_effect(
            gathered.evidence, "carzero-main", "carzero-main · name", list(gathered.evidence.sets)
        ).value
    )


def test_interaction_is_the_joint_difference_of_strata(gathered):
    evidence = gathered.evidence
    effect = interaction(gathered, "carzero-main", "clip-main", "chestxray14", "medium", "head")
    value = {
        (n, s): evidence.value(n, "chestxray14", s)["value"]
        for n in ("carzero-main", "clip-main")
        for s in ("medium", "head")
    }
    expected = (value["carzero-main", "medium"] - value["clip-main", "medium"]) - (
        value["carzero-main", "head"] - value["clip-main", "head"]
    )
    assert effect.value == pytest.approx(expected, abs=1e-5)
    assert effect.low < effect.value < effect.high
    (found,) = verdict(
        gathered, claim(kind="interaction", stratum="medium", against="head", datasets=["chestxray14"])
    )
    assert found.effect == pytest.approx(effect.value)
    (absent,) = verdict(
        gathered, claim(kind="interaction", stratum="nowhere", against="head", datasets=["chexpert"])
    )
    assert absent.answer == "not run"


def test_a_twin_never_speaks_to_a_published_number(gathered):
    contrast = {
        "kind": "absolute",
        "a": "carzero-main",
        "published": 0.84,
        "margin": 0.5,
        "datasets": ["chexpert"],
    }
    found = Claim.model_validate(
        {
            "id": "n",
            "statement": "s",
            "source": SOURCE,
            "contrast": contrast,
            "needs": "official",
            "family": "f",
        }
    )
    (own,) = verdict(gathered, found)
    assert own.verdict == "not run"
    assert "synthetic twin" in own.note


@pytest.mark.slow
def test_an_official_checkpoint_on_the_whole_official_list_settles_a_published_number(project, tmp_path):
    work = tmp_path / "work"
    shutil.copytree(project, work)
    add_checkpoint(work, "chexpert", 200)
    own = gather(Project(work), "all")
    assert own.evidence.sets["chexpert-official"]["origin"] == "official"
    assert own.evidence.value("carzero-main", "chexpert-official") is None
    value = own.evidence.value("carzero-official", "chexpert-official")["value"]
    contrast = {"kind": "absolute", "a": "carzero-official", "margin": 0.01, "datasets": ["chexpert"]}

    def answer(published: float, gathered=own):
        (found,) = verdict(gathered, claim(**contrast, published=published, b=None))
        return found

    assert answer(value + 0.005).verdict == "inconclusive", "200 images do not place it within 0.01"
    assert answer(value + 0.005).evidence == "official"
    contrast["margin"] = 0.1
    assert answer(value + 0.005).verdict == "supported"
    assert answer(value - 0.3).verdict == "contradicted"
    rows = [
        r
        for r in zero_shot(own.evidence, load_published(PUBLISHED)).records()
        if r["cell"] == "carzero-official"
    ]
    assert [(r["dataset"], r["origin"]) for r in rows] == [("chexpert-official", "official")]
    assert rows[0]["verdict"] == "not comparable (200 images, published on 668)"
    assert "carzero-official" in write_site(PartReport(Project(work), "all")).read_text(encoding="utf-8")
    part = gather(Project(work), "all")
    part.evidence.sets["chexpert-official"]["official_images"] = 668
    assert "not comparable" in answer(value, part).note


def test_trained_on_a_twin_is_twin_evidence_even_on_official_sets(gathered):
    official = {d: {**about, "origin": "official"} for d, about in gathered.evidence.sets.items()}
    (found,) = judge([claim()], replace(gathered.evidence, sets=official), partial(interaction, gathered))
    assert found.evidence == "twin"


def test_gap_is_smaller_is_better(gathered):
    import pandas as pd

    head = {"dataset": "chexpert", "stratum": "all", "class": "macro", "metric": "modality_gap"}
    rows = [
        {**head, "name": cell, "seed": seed, "value": value + 0.01 * seed**2}
        for cell, value in (("carzero-main", 0.2), ("clip-main", 0.6))
        for seed in range(3)
    ]
    rows[0]["value"] += 0.004
    seeds = pd.concat([gathered.evidence.seeds, pd.DataFrame(rows)], ignore_index=True)
    (found,) = judge(
        [claim(kind="gap", metric="modality_gap", datasets=["chexpert"])],
        replace(gathered.evidence, seeds=seeds),
        partial(interaction, gathered),
    )
    assert found.answer == "supported"
    assert found.effect == pytest.approx(0.4, abs=0.01)
    bridged = [{**r, "metric": "modality_gap_bridged"} for r in rows if r["name"] == "carzero-main"]
    other = [{**r, "value": 0.9} for r in rows if r["name"] == "carzero-main"]
    apart = [r for r in rows if r["name"] == "clip-main"]
    seeds = pd.concat([gathered.evidence.seeds, pd.DataFrame(bridged + other + apart)], ignore_index=True)
    (found,) = judge(
        [claim(kind="gap", metric="modality_gap_bridged", metric_b="modality_gap", datasets=["chexpert"])],
        replace(gathered.evidence, seeds=seeds),
        partial(interaction, gathered),
    )
    assert found.effect == pytest.approx(0.4, abs=0.01)


def test_the_ledger_of_the_project(root, inside, capsys):
    claims = load_claims(root / "reports" / "claims.yaml")
    assert len(claims) >= 20
    assert main(["verify", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert [c["claim"] for c in value["claims"]] == [c.id for c in claims]
    for one in value["claims"]:
        assert one["verdict"] == "not run" or "synthetic twins" in one["verdict"]
        assert f"bench verify {one['claim']}" in one["command"]
    assert main(["verify", "cross-attention-beats-cosine", "--json"]) == 0
    (alone,) = json.loads(capsys.readouterr().out)["claims"]
    (among,) = [c for c in value["claims"] if c["claim"] == alone["claim"]]
    assert alone["p_corrected"] == among["p_corrected"] > alone["p"]


def test_answers_load_no_torch(inside):
    """Of results that are there, found anew and kept, of methods, and of what is mistyped; nor what makes
    tables, bundles and trainings."""
    code = """if True:
        import sys
        from benchmark.cli import main
        kept = (["verify"], ["explain", "carzero", "chexpert"])
        wrong = ["run", "--method", "clip", "--dataset", "chexpert", "--set", "training.epoch=3"]
        for words in (*kept, ["ls", "methods"], *kept, wrong):
            codes = main(words)
            heavy = {"torch", "sklearn", "transformers", "mlflow", "matplotlib", "scipy.stats", "ruamel.yaml"}
            heavy |= {"benchmark.exchange", "benchmark.reporting.tables", "benchmark.stages.train"}
            print(words[0], codes, sorted(heavy & {*sys.modules}), file=sys.stderr)
    """
    shutil.rmtree(inside / ".cache" / "answers", ignore_errors=True)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said = [line for line in done.stderr.splitlines() if line.endswith("]")]
    answers = ["verify 0 []", "explain 0 []"]
    assert said == [*answers, "ls 0 []", *answers, "run 2 []"], done.stderr
    assert any((inside / ".cache" / "answers").glob("*.json"))


def test_a_kept_answer_loads_no_tables(inside):
    assert main(["verify"]) == 0
    code = """if True:
        import sys
        from benchmark.cli import main
        main(["verify"])
        print(sorted({"pandas", "pyarrow", "scipy"} & {*sys.modules}), file=sys.stderr)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1:] == ["[]"], done.stderr


def test_comparisons_are_read_as_they_stand(gathered):
    evidence = gathered.evidence
    keys = ["method_a", "method_b", "dataset", "stratum", "class", "metric"]
    for row in evidence.comparisons.to_dict("records"):
        found = evidence.pair(*(row[k] for k in keys))
        assert repr(found) == repr(row)


def test_every_cell_of_the_ledger_is_in_the_grid(root):
    params = load_params(root / "params.yaml")
    grid = {f"{method}-main" for method in params.methods} | set(params.cells)
    grid |= {f"{method}-{end}" for method in params.methods for end in ("official", "ct")}
    grid |= set(params.ct.cells)
    ledger = load_ledger(root / "reports" / "claims.yaml")
    for one in ledger.claims:
        assert {one.contrast.a, getattr(one.contrast, "b", one.contrast.a)} <= grid, one.id
    for own in ledger.predictions:
        assert set(own.rows) <= grid, own.id


def test_required_and_contradicted_is_exit_1(inside, capsys):
    turned = claim("turned", "twin", True, "CLIP beats CARZero.", a="clip-main", b="carzero-main")
    ledger = {"families": {"f": "F."}, "claims": [turned.model_dump(mode="json", exclude_none=True)]}
    path = inside / "reports" / "claims.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(ledger), encoding="utf-8")
    try:
        assert main(["verify"]) == 1
        assert "CONTRADICTED ON SYNTHETIC TWINS" in capsys.readouterr().out
    finally:
        path.unlink()


def test_unknown_claim_and_bad_ledger_are_one_line(inside, tmp_path, capsys):
    assert main(["verify", "cross-atention-beats-cosine"]) == 2
    assert "Did you mean 'cross-attention-beats-cosine'?" in capsys.readouterr().err
    path = tmp_path / "claims.yaml"
    entry = claim("a").model_dump(mode="json", exclude_none=True)
    entry["contrast"]["margn"] = 1
    path.write_text(yaml.safe_dump({"families": {"f": "F."}, "claims": [entry]}), encoding="utf-8")
    with pytest.raises(BenchError, match=r"claims\.yaml:\d+: claim 'a': contrast\.margn: ") as caught:
        load_claims(path)
    assert "\n" not in str(caught.value)
