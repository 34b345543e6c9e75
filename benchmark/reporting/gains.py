"""Whom the twins may favour: the gain of attention over patches against cosine similarity of whole images, by
the size of a class's lesions, and for classes whose prompt stands verbatim in the training texts or does not.

A method that attends to patches may live on small lesions, and one that matches phrases on prompts that it
was trained with; a generator with one scale and few phrases would flatter either.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from benchmark.core.tables import Manifest, read_table
from benchmark.data.cards import Card, load_card
from benchmark.evaluation.statistics.distributions import norm_ppf
from benchmark.evaluation.statistics.paired import Difference, difference
from benchmark.evaluation.statistics.panel import Panel, strata_contrast
from benchmark.evaluation.statistics.seeds import summarise
from benchmark.grid.parts import VOLUMES
from benchmark.prompts.lexicon import load_lexicon
from benchmark.reporting.joint import Scores, panels_of
from benchmark.stages.evaluation_sets import prompt_set
from benchmark.stages.prepare import source_of
from benchmark.stages.texts import has_reports, texts_of
from benchmark.stages.train import training_source
from benchmark.twins.build import truth_path

if TYPE_CHECKING:
    from pathlib import Path

    from benchmark.reporting.gather import Gathered

OVER = "clip-main"
ATTENDING = ("carzero-main", "radzero-main")
VERBATIM, OTHERS = "prompt verbatim", "prompt not verbatim"
LEAST_CLASSES = 4
"""Fewer classes have no interval of a rank correlation."""


@dataclass(frozen=True)
class Gain:
    """AUROC of `name` minus that of OVER on one dataset. by_size: Spearman's ρ of the gains of `sized`
    classes with the median area of their boxes, and its limits; None with fewer than LEAST_CLASSES. verbatim,
    others: the macro gain on classes of either kind, (classes, gain); apart: the first gain minus the second;
    None where a kind has no class."""

    name: str
    dataset: str
    sized: int
    by_size: tuple[float, float, float] | None
    verbatim: tuple[int, Difference] | None
    others: tuple[int, Difference] | None
    apart: Difference | None


def gains(gathered: Gathered) -> list[Gain]:
    """Of every method that attends to patches, on every set where it and CLIP have predictions and boxes or
    training sentences are known."""
    if gathered.part == VOLUMES:
        return []
    texts = training_sentences(gathered)
    found: list[Gain] = []
    for dataset in gathered.evidence.datasets:
        base = gathered.scores(OVER, dataset)
        others = [(n, own) for n in ATTENDING if (own := gathered.scores(n, dataset)) is not None]
        if base is not None and others:
            found += _on_set(gathered, dataset, base, others, texts)
    return found


def _on_set(
    gathered: Gathered,
    dataset: str,
    base: Scores,
    others: Sequence[tuple[str, Scores]],
    texts: Collection[str],
) -> Iterator[Gain]:
    card = load_card(dataset)
    groups = {}
    if texts:
        stated = verbatim(gathered, card, base.classes, texts)
        apart = tuple(c for c in base.classes if c not in stated)
        groups = {k: v for k, v in {VERBATIM: stated, OTHERS: apart}.items() if v}
    areas = box_areas(gathered, card, base.classes)
    if not groups and not areas:
        return
    lower = panels_of(replace(base, strata=groups))
    for name, own in others:
        upper = panels_of(replace(own, strata=groups))
        sized, by_size = _by_size(upper, lower, areas)
        kinds = {k: _gain(gathered, upper, lower, k) for k in groups}
        both = len(groups) == 2
        yield Gain(
            name,
            dataset,
            sized,
            by_size,
            (len(groups[VERBATIM]), kinds[VERBATIM]) if VERBATIM in kinds else None,
            (len(groups[OTHERS]), kinds[OTHERS]) if OTHERS in kinds else None,
            _gain(gathered, _contrasts(upper), _contrasts(lower)) if both else None,
        )


def _contrasts(panels: Sequence[Panel]) -> list[Panel]:
    found = [strata_contrast(panel, VERBATIM, OTHERS) for panel in panels]
    return [panel for panel in found if panel is not None]


def _gain(
    gathered: Gathered, upper: Sequence[Panel], lower: Sequence[Panel], stratum: str = ""
) -> Difference:
    """Of the macro mean over a stratum, or of the only column."""
    pair = summarise(upper), summarise(lower)
    names = [(c.name, c.stratum) for c in pair[0].columns]
    k = names.index(("macro", stratum)) if stratum else 0
    return difference(*pair, k, gathered.config.level, gathered.config.power)


def _by_size(
    upper: Sequence[Panel], lower: Sequence[Panel], areas: dict[str, float]
) -> tuple[int, tuple[float, float, float] | None]:
    columns = upper[0].columns
    change = np.mean([p.values for p in upper], axis=0) - np.mean([p.values for p in lower], axis=0)
    ks = [k for k, c in enumerate(columns) if c.single and c.name in areas and np.isfinite(change[k])]
    return len(ks), rank_correlation(change[ks], np.array([areas[columns[k].name] for k in ks]))


def rank_correlation(x: np.ndarray, y: np.ndarray, level: float = 0.95) -> tuple[float, float, float] | None:
    """Spearman's ρ of two (C,) arrays with its limits, √((1 + ρ²/2) / (C - 3)) being the standard error of
    artanh ρ (Bonett & Wright 2000); None with fewer than LEAST_CLASSES or without spread."""
    from scipy import stats

    if len(x) < LEAST_CLASSES or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    rho = float(stats.spearmanr(x, y).statistic)
    if abs(rho) > 1 - 1e-12:
        return rho, rho, rho
    reach = float(norm_ppf(0.5 + level / 2)) * np.sqrt((1 + rho**2 / 2) / (len(x) - 3))
    low, high = np.tanh(np.arctanh(rho) + np.array([-reach, reach]))
    return rho, float(low), float(high)


def training_sentences(gathered: Gathered) -> frozenset[str]:
    """What the training images' texts say, those held out for validation among them; empty where there are no
    training reports here."""
    project, params = gathered.project, gathered.params
    folder = project.prepared(source_of(project, params, params.data.train).name)
    if not (folder / "manifest.parquet").is_file():
        return frozenset()
    manifest = training_source(params, Manifest.load(folder)).manifest
    if not has_reports(manifest):
        return frozenset()
    texts, _ = texts_of(project, params, params.texts, manifest)
    return frozenset(plain(text) for own in texts for text in own)


def verbatim(
    gathered: Gathered, card: Card, classes: Sequence[str], texts: Collection[str]
) -> tuple[str, ...]:
    """The classes one of whose prompts is one of the texts."""
    protocol = gathered.evidence.sets[card.name]["protocol"]
    prompts = prompt_set(card, protocol, gathered.params.prompts)
    stated = {
        prompts.classes[c]
        for text, c, sign in zip(prompts.texts, prompts.class_of_text, prompts.polarity, strict=True)
        if sign > 0 and plain(text) in texts
    }
    return tuple(c for c in classes if c in stated)


def plain(text: str) -> str:
    """As sentences count as equal: without case, surplus space and a full stop at the end."""
    return " ".join(text.casefold().split()).rstrip(".")


def box_areas(gathered: Gathered, card: Card, classes: Sequence[str]) -> dict[str, float]:
    """Class → median area of the boxes of its findings, as share of the image, in all images of a twin; empty
    for official files, of which most classes have no boxes."""
    root = source_of(gathered.project, gathered.params, card.name).root
    path = truth_path(root)
    if gathered.origin(card.name) != "twin" or not path.is_file():
        return {}
    return areas_of(path, card, classes)


def areas_of(path: Path, card: Card, classes: Sequence[str]) -> dict[str, float]:
    """As `box_areas`, from the truth of a twin."""
    truth, meta = read_table(path)
    drawn = truth[(truth["source"] == "image") & (truth["presence"] == "present") & truth["w"].notna()]
    share = (drawn["w"] * drawn["h"]).astype(float) / float(meta["spec"]["size"]) ** 2
    lexicon = load_lexicon()
    found = {}
    for name in classes:
        concepts = set(card.concepts.get(name, ()))
        concepts = concepts.union(*(lexicon.descendants(c) for c in concepts if c in lexicon))
        own = share[drawn["concept"].isin(concepts)]
        if len(own):
            found[name] = float(own.median())
    return found
