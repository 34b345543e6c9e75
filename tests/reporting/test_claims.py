"""Every row of docs/claims.md, made from results and held to the verdict that the page promises."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmark.core.errors import BenchError
from benchmark.evaluation.statistics.effects import Effect
from benchmark.evaluation.statistics.intervals import satterthwaite
from benchmark.evaluation.statistics.seeds import seed_parts
from benchmark.grid.layout import Project
from benchmark.reporting.claims import Claim, load_claims
from benchmark.reporting.effects import task_effect
from benchmark.reporting.evidence import CellInfo, Evidence
from benchmark.reporting.findings import equivalence
from benchmark.reporting.gather import gather
from benchmark.reporting.published import load_published
from benchmark.reporting.verdicts import judge, settles

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "claims.md").read_text(encoding="utf-8")
ROWS = {
    int(cells[0]): (cells[6], cells[7])
    for line in PAGE.splitlines()
    if re.match(r"\| \d+ \|", line)
    for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
}
BOTH = ("chestxray14", "chexpert")
CLEAR, WEAK = (0.2, 0.01), (0.01, 0.05)
"""(difference, standard error) of a clear and of a doubtful effect."""


def claim(name="x", needs="twin", family="f", **contrast):
    contrast = {"kind": "paired", "a": "carzero-main", "b": "clip-main", "datasets": "all"} | contrast
    source = {"paper": "P", "where": "Table 1"}
    kept = {k: v for k, v in contrast.items() if v is not None}
    return Claim.model_validate(
        {"id": name, "statement": "S.", "source": source, "needs": needs, "family": family, "contrast": kept}
    )


@pytest.fixture(scope="module")
def base(project) -> Evidence:
    return gather(Project(project), "all").evidence


def paired(base: Evidence, effects=(CLEAR, CLEAR), datasets=BOTH) -> Evidence:
    """carzero-main minus clip-main on each set as (difference, standard error); None: no honest test."""
    frame = base.comparisons[base.comparisons["dataset"].isin(datasets)].copy()
    for dataset, effect in zip(datasets, effects, strict=False):
        here = (frame["dataset"] == dataset) & (frame["class"] == "macro") & (frame["stratum"] == "all")
        first = here & (frame["method_a"] == "carzero-main") & (frame["method_b"] == "clip-main")
        second = here & (frame["method_b"] == "carzero-main") & (frame["method_a"] == "clip-main")
        assert (first | second).any()
        if effect is None:
            frame.loc[here, ["low", "high", "se", "df", "p"]] = float("nan")
            frame.loc[here, "note"] = "test undefined: too few positive patients"
            continue
        for rows, sign in ((first, 1), (second, -1)):
            delta, se = sign * effect[0], effect[1]
            frame.loc[rows, ["delta", "low", "high"]] = [delta, delta - 2 * se, delta + 2 * se]
            frame.loc[rows, ["se", "df", "p"]] = [se, 200.0, 0.5]
    return replace(base, comparisons=frame, seeds=same_over_seeds(base))


def same_over_seeds(base: Evidence) -> pd.DataFrame:
    """Every seed has the same value, so that means over sets rest on the given standard errors."""
    keys = ["name", "dataset", "class", "stratum", "metric"]
    return base.seeds.assign(value=base.seeds.groupby(keys, dropna=False)["value"].transform("mean"))


def with_seeds(evidence: Evidence, moves) -> Evidence:
    """The trainings of carzero-main differ from their mean by `moves` on every set."""
    kept = evidence.seeds[evidence.seeds["seed"] < len(moves)]
    moved = np.where(kept["name"] == "carzero-main", np.array(moves)[kept["seed"].astype(int)], 0.0)
    return replace(evidence, seeds=kept.assign(value=kept["value"] + moved))


def official(evidence: Evidence, trained: str = "official", checkpoints=()) -> Evidence:
    cells = {n: replace(c, variant="official") if n in checkpoints else c for n, c in evidence.cells.items()}
    sets = {d: {**about, "origin": "official"} for d, about in evidence.sets.items()}
    return replace(evidence, sets=sets, cells=cells, trained_on={"mimic_cxr": trained})


def checkpoint(base: Evidence, value, low, high, origin="official", images=100) -> Evidence:
    """An official checkpoint on one set whose published list has 100 images."""
    name, place = "carzero-official", "chexpert-official"
    row = {"run_id": name, "name": name, "dataset": place, "stratum": "all", "class": "macro"}
    row |= {"metric": "auroc", "value": value, "low": low, "high": high, "note": "", "encoder": "its own"}
    seed = row | {"seed": 0, "task": "classification"}
    about = {"dataset": "chexpert", "origin": origin, "images": images, "official_images": 100}
    return replace(
        base,
        metrics=pd.concat([base.metrics, pd.DataFrame([row])], ignore_index=True),
        seeds=pd.concat([base.seeds, pd.DataFrame([seed])], ignore_index=True),
        sets={**base.sets, place: about},
        cells={**base.cells, name: CellInfo(name, "carzero", "CARZero", "official", "official", "")},
    )


def gaps(base: Evidence, seeds: int) -> Evidence:
    head = {"dataset": "chexpert", "stratum": "all", "class": "macro", "metric": "modality_gap"}
    rows = [
        {**head, "task": "retrieval", "name": cell, "seed": seed, "value": value + 0.001 * seed**place}
        for place, (cell, value) in enumerate((("carzero-main", 0.2), ("clip-main", 0.6)), 1)
        for seed in range(seeds)
    ]
    frame = pd.concat([base.seeds, pd.DataFrame(rows)], ignore_index=True)
    return replace(base, seeds=frame, task_plan={"retrieval": ("chexpert",)})


def tasks(base: Evidence, values, seeds: int) -> Evidence:
    """metric → (cell, value) of a task on one set; each seed's interval reaches 0.02 to both sides."""
    head = {"dataset": "chexpert", "stratum": "all", "class": "macro", "task": "negation"}
    rows = [
        {**head, "name": cell, "metric": metric, "seed": seed, "value": value + 0.001 * seed,
         "low": value - 0.02, "high": value + 0.02}
        for metric, cell, value in values
        for seed in range(seeds)
    ]  # fmt: skip
    kept = base.seeds[base.seeds["seed"] < seeds]
    return replace(base, seeds=pd.concat([kept, pd.DataFrame(rows)], ignore_index=True))


def one(evidence: Evidence | None, own: Claim, others: int = 0, interaction=None):
    ledger = [own, *(claim(f"other-{i}", a="clip-main", b="medclip-main") for i in range(others))]
    return judge(ledger, evidence, interaction or (lambda *_: None))[0]


def absolute(base: Evidence, value, low, high, **more):
    own = claim(
        needs="official", kind="absolute", a="carzero-official", b=None, datasets=["chexpert"],
        published=0.84, margin=0.02,
    )  # fmt: skip
    return one(checkpoint(base, value, low, high, **more), own)


def between_strata(effect):
    own = claim(kind="interaction", stratum="tail", against="head", datasets=["chexpert"])
    return lambda base: one(base, own, interaction=lambda *_: effect)


NAN = float("nan")
STEADY = (np.full(3, 0.9), np.full(3, 0.7))
MAINS = ("carzero-main", "clip-main")
APART = [("auroc_absent", MAINS[0], 0.8), ("auroc_absent", MAINS[1], 0.5)]
ABSENT = claim(kind="task", metric="auroc_absent", datasets=["chexpert"])
CASES = {
    1: lambda e: one(paired(e), claim(needs="official")),
    2: lambda e: one(paired(e), claim()),
    3: lambda e: one(official(paired(e), "twin"), claim(needs="official")),
    4: lambda e: one(official(paired(e)), claim(needs="official")),
    5: lambda e: one(official(paired(e)), claim()),
    6: lambda e: one(official(paired(e), checkpoints=MAINS), claim(needs="official")),
    7: lambda e: one(official(paired(e), checkpoints=MAINS[:1]), claim(needs="official")),
    8: lambda e: one(paired(e), claim(margin=0.5)),
    9: lambda e: one(paired(e, (WEAK, WEAK)), claim()),
    10: lambda e: one(paired(e, ((0.2, 0.11), (0.2, 0.11))), claim(), others=9),
    11: lambda e: one(paired(e, datasets=BOTH[:1]), claim()),
    12: lambda e: one(paired(e, datasets=BOTH[:1]), claim(datasets="each")),
    13: lambda e: one(paired(e), claim(datasets=["chexpert", "padchest"])),
    14: lambda e: one(paired(e), claim(datasets="each")),
    15: lambda e: one(paired(e, (CLEAR, WEAK)), claim(datasets="each")),
    16: lambda e: one(paired(e, (CLEAR, (-0.2, 0.01))), claim(datasets="each")),
    17: lambda e: one(paired(e, (CLEAR, None)), claim()),
    18: lambda e: one(paired(e), claim(b="gloria-main")),
    19: lambda e: one(None, claim()),
    20: lambda e: absolute(e, 0.84, 0.839, 0.841, origin="twin"),
    21: lambda e: absolute(e, 0.84, 0.839, 0.841, images=99),
    22: lambda e: absolute(e, 0.845, 0.84, 0.85),
    23: lambda e: absolute(e, 0.845, 0.60, 0.95),
    24: lambda e: absolute(e, 0.87, 0.80, 0.92),
    25: lambda e: absolute(e, 0.70, 0.69, 0.71),
    26: lambda e: absolute(e, 0.845, None, None),
    27: between_strata(None),
    28: between_strata(Effect(0.2, NAN, NAN, NAN, NAN, ("chexpert",), "too few positive patients")),
    29: between_strata(Effect(0.2, 0.18, 0.22, 0.01, 50.0, ("chexpert",), seeds=STEADY)),
    30: lambda e: one(gaps(e, 1), claim(kind="gap", metric="modality_gap")),
    31: lambda e: one(gaps(e, 3), claim(kind="gap", metric="modality_gap")),
    32: lambda e: one(with_seeds(paired(e, ((0.16, 0.036), (0.16, 0.036))), (0.0, 0.06, -0.06)), claim()),
    33: lambda e: one(with_seeds(paired(e), (0.0,)), claim()),
    34: lambda e: one(tasks(e, APART[:1], 3), ABSENT),
    35: lambda e: one(tasks(e, APART, 3), ABSENT),
    36: lambda e: one(tasks(e, APART, 1), ABSENT),
    37: lambda e: one(
        tasks(e, [("pointing_game", MAINS[0], 0.3), ("pointing_game_mean_map", MAINS[0], 0.6)], 3),
        claim(kind="task", metric="pointing_game", metric_b="pointing_game_mean_map", b=MAINS[0],
              datasets=["chexpert"]),
    ),
}  # fmt: skip


def test_the_page_has_a_row_for_every_case():
    assert list(ROWS) == list(CASES)


@pytest.mark.parametrize("case", list(CASES))
def test_case(case, base):
    verdict, settled = ROWS[case]
    found = CASES[case](base)
    assert found.verdict == verdict, found
    assert settles(found.evidence, found.needs) == (settled == "yes")
    assert ("stays open" in found.wording) == (found.run and settled == "no")
    if found.run:
        assert all(place in found.wording for place in found.datasets)
        assert all(encoder in found.wording for encoder in found.encoders)
        assert found.encoders
        assert "seed" in found.wording
        assert found.setting in found.wording
    else:
        assert found.note
        assert found.stability is None


def test_undefined_names_the_set_and_the_reason(base):
    assert "chexpert: test undefined: too few positive patients" in CASES[17](base).note
    assert "compared on 1 of 2 sets; missing: chexpert" in CASES[12](base).note


def test_a_corrected_p_depends_on_the_ledger_and_not_on_the_results(base):
    ledger = [
        claim("a"),
        claim("b", datasets=["chexpert"]),
        claim("c", a="carzero-main", b="carzero-global"),
        claim("d", family="other"),
    ]
    whole = {j.claim: j for j in judge(ledger, paired(base), lambda *_: None)}
    without = base.metrics[base.metrics["name"] != "carzero-global"]
    less = {j.claim: j for j in judge(ledger, paired(replace(base, metrics=without)), lambda *_: None)}
    assert whole["c"].run
    assert less["c"].answer == "not run"
    for name in ("a", "b", "d"):
        assert whole[name].p_corrected == less[name].p_corrected
    assert whole["a"].p_corrected == pytest.approx(3 * whole["a"].p)
    assert whole["d"].p_corrected == whole["d"].p


def test_equivalence_agrees_with_the_interval_of_90_percent():
    """At 5% the tests hold exactly where the 90% interval lies inside the margin."""
    for half in (0.005, 0.0118, 0.0120, 0.03):
        reach = half * 1.6448536 / 1.9599640
        p, inside = equivalence(0.01, 0.01 - half, 0.01 + half, 0.02, 0.95)
        assert inside
        assert (p < 0.05) == (0.01 + reach < 0.02), half
    p, inside = equivalence(-0.05, -0.06, -0.04, 0.02, 0.95)
    assert not inside
    assert p < 0.001


def test_a_family_that_is_not_declared_is_one_line(tmp_path, root):
    text = (root / "reports" / "claims.yaml").read_text(encoding="utf-8")
    path = tmp_path / "claims.yaml"
    path.write_text(text.replace("family: ablations", "family: ablation", 1), encoding="utf-8")
    with pytest.raises(BenchError, match=r"of family 'ablation'.*Did you mean 'ablations'") as caught:
        load_claims(path)
    assert "\n" not in str(caught.value)
    line = text[: text.index("family: ablations")].count("\n") + 1
    assert str(caught.value).startswith(f"{path}:{line}: ")


LEDGERS = {
    "claims.yaml": (
        (r"stratum: all", "colour: red", "colour"),
        (r"datasets: all", "datasets: all, margin: wide", "margin"),
        (r"needs: \w+", "needs: nothing", "needs"),
    ),
    "published.yaml": (
        (r"value: [0-9.]+", "value: high", "value"),
        (r"source: [\w-]+", "source: nowhere", "not listed under sources"),
        (r"setting: ", "settings: ", "setting"),
    ),
}


@pytest.mark.parametrize(("name", "change"), [(n, c) for n in LEDGERS for c in LEDGERS[n]])
def test_what_does_not_fit_the_schema_is_named_with_its_line(tmp_path, root, name, change):
    pattern, other, word = change
    text = (root / "reports" / name).read_text(encoding="utf-8")
    found = re.search(pattern, text[text.index("\nrows:" if name == "published.yaml" else "\nclaims:") :])
    assert found
    at = found.start() + text.index("\nrows:" if name == "published.yaml" else "\nclaims:")
    changed = text[:at] + re.sub(pattern, other, text[at:], count=1)
    (tmp_path / name).write_text(changed, encoding="utf-8")
    with pytest.raises(BenchError, match=rf"{name}:\d+: .*{word}") as caught:
        (load_claims if name == "claims.yaml" else load_published)(tmp_path / name)
    line = int(str(caught.value).split(":")[1])
    assert line == changed[:at].count("\n") + 1


def test_a_verdict_that_other_seeds_would_not_give_is_withheld_and_says_so(base):
    steady, shaky, lone = (CASES[n](base) for n in (2, 32, 33))
    assert steady.stability == 1
    assert shaky.p_corrected < 0.05
    assert shaky.stability < 0.9
    assert "supported by the test, but in" in shaky.note
    assert lone.stability is None
    assert "one seed" in lone.note


def test_trainings_that_differ_by_rounding_count_as_other_seeds_do(base):
    own = paired(base, ((0.05, 0.02), (0.05, 0.02)))
    key = ("carzero-main", "chexpert", "all", "auroc")
    shaken = replace(own, rounding={key: np.array([0.3, -0.3, 0.3, -0.3, 0.0])})
    assert one(own, claim()).stability == 1
    assert one(shaken, claim()).stability < 0.9
    lone = replace(with_seeds(paired(base), (0.0,)), rounding=shaken.rounding)
    assert one(lone, claim()).stability is None  # one seed of each row


@pytest.mark.parametrize("names", [("a", "b"), ("a", "a")])
def test_an_effect_on_a_task_adds_the_patients_of_both_and_pairs_metrics_of_one_row(names):
    """Seeds are stored in any order; of two rows the spreads add, of one it is that of the differences."""
    values = np.array([[0.70, 0.80, 0.75], [0.60, 0.66, 0.61]])
    errors = np.array([[0.02, 0.03, 0.04], [0.01, 0.02, 0.03]])
    reach = stats.norm.ppf(0.95) * errors
    macros = {
        (name, "set", "all", metric): [
            SimpleNamespace(seed=s, value=v[s], low=v[s] - r[s], high=v[s] + r[s]) for s in order
        ]
        for name, metric, v, r, order in zip(names, "xy", values, reach, ((2, 0, 1), (1, 2, 0)), strict=True)
    }
    macros["none", "set", "all", "y"] = [SimpleNamespace(seed=0, value=0.5, low=np.nan, high=np.nan)]
    evidence = SimpleNamespace(level=0.9, by_seed=SimpleNamespace(macros=macros))
    found = task_effect(evidence, names, ("x", "y"), "set", "all")
    apart = values if names == ("a", "b") else [values[0] - values[1]]
    seeds = seed_parts([1.0] * len(apart), [np.var(v, ddof=1) for v in apart], [3] * len(apart))
    variance, df = satterthwaite([(np.square(errors).mean(axis=1).sum(), np.inf), *seeds])
    assert found.value == pytest.approx(values[0].mean() - values[1].mean())
    assert (found.se**2, found.df) == pytest.approx((variance, df))
    np.testing.assert_allclose(found.seeds, apart)
    assert task_effect(evidence, ("a", "none"), ("x", "y"), "set", "all") is None
    assert task_effect(evidence, ("a", "b"), ("x", "z"), "set", "all") is None
