"""One patient drawn again with exactly one finding changed: pose, exposure, noise and other findings stay.

A scene is an image to draw. Every finding has a random stream of its own (`render`), so that what a scene
adds, takes away, moves to the other side or draws in another severity changes nothing but what it covers, the
light that it scatters and, for a finding that is a shape, the anatomy around it.
"""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from benchmark.prompts.lexicon import load_lexicon
from benchmark.twins.case import Finding, Side
from benchmark.twins.catalogue import TwinConcept, catalogue
from benchmark.twins.population import PSEUDO, Visit, detail, findings_of, generator, visits
from benchmark.twins.render import render
from benchmark.twins.sites import Site, site

Kind = Literal["base", "added", "removed", "moved", "graded", "companion", "both"]
SITE = "padchest"
AGES = (52, 74)
"""Between them every age limit of the catalogue is met."""
COMPANIONS = (
    ("pneumothorax", "chest drain tube"),
    ("pleural effusion", "chest drain tube"),
    ("cardiomegaly", "pacemaker"),
    ("cardiomegaly", "sternotomy"),
    ("pulmonary edema", "central venous catheter via jugular vein"),
    ("pneumonia", "endotracheal tube"),
    ("atelectasis", "NSG tube"),
)
"""(finding, device that often comes with it): what a model may read instead of the finding."""
_FRONTAL = "PA"
_OTHER: dict[Side, Side] = {"left": "right", "right": "left"}


@dataclass(frozen=True)
class Scene:
    """patient: index into `Plan.visits`. findings: all that is drawn. changed: the finding that sets the
    scene apart from the patient's base, None for the base itself. companion: drawn with it, or instead."""

    patient: int
    kind: Kind
    findings: tuple[Finding, ...]
    changed: Finding | None = None
    companion: str | None = None


@dataclass(frozen=True)
class Plan:
    """visits: one a patient. scenes: in order; the bases come first, one a patient in their order."""

    visits: tuple[Visit, ...]
    scenes: tuple[Scene, ...]
    seed: int

    def rows(self, kind: Kind, concept: str | None = None) -> np.ndarray:
        """Numbers of the scenes of a kind, of one concept where it is given."""
        return np.array(
            [
                i
                for i, s in enumerate(self.scenes)
                if s.kind == kind and (concept is None or (s.changed and s.changed.concept == concept))
            ],
            dtype=np.int64,
        )


def drawn_alone() -> tuple[str, ...]:
    """Concepts that can be added to a frontal image, in the order of the catalogue."""
    return tuple(c.id for c in catalogue().values() if c.draw and c.id not in PSEUDO)


def counterfactual_plan(concepts: Sequence[str], patients: int = 20, seed: int = 0) -> Plan:
    """Scenes of so many patients, half of them women: each as the site has them, each of `concepts` added
    where the patient may have it and has nothing like it, moved to the other side, in its other severities,
    beside a companion, and each of the patient's own findings taken away.

    Findings with a side lie on the right in one half of the patients and on the left in the other.
    """
    place = site(SITE)
    people = _people(place, patients, seed)
    bases = [_background(visit, place, seed) for visit in people]
    scenes = [Scene(i, "base", own) for i, own in enumerate(bases)]
    for concept in map(catalogue().__getitem__, concepts):
        for i, (visit, own) in enumerate(zip(people, bases, strict=True)):
            if not _may_add(concept, visit, own):
                continue
            finding = _finding(concept, i, seed)
            scenes.append(Scene(i, "added", (*own, finding), finding))
            if finding.side in _OTHER and _OTHER[finding.side] in concept.sides:
                moved = _on(finding, _OTHER[finding.side])
                scenes.append(Scene(i, "moved", (*own, moved), moved))
            for severity in concept.severities if len(concept.severities) > 1 else ():
                if severity != finding.severity:
                    graded = replace(finding, severity=severity)
                    scenes.append(Scene(i, "graded", (*own, graded), graded))
    for name, device in COMPANIONS:
        for i, (visit, own) in enumerate(zip(people, bases, strict=True)):
            if not all(_may_add(catalogue()[c], visit, own) for c in (name, device)):
                continue
            finding, extra = _finding(catalogue()[name], i, seed), _finding(catalogue()[device], i, seed)
            if extra.side and finding.side in ("left", "right"):
                extra = replace(extra, side=finding.side)
            scenes.append(Scene(i, "companion", (*own, extra), finding, device))
            scenes.append(Scene(i, "both", (*own, finding, extra), finding, device))
    for i, own in enumerate(bases):
        for finding in own:
            scenes.append(Scene(i, "removed", tuple(f for f in own if f != finding), finding))
    return Plan(tuple(people), tuple(scenes), seed)


def draw(plan: Plan, size: int, workers: int = 2) -> Iterator[np.ndarray]:
    """(S, S) float32 in [0, 1] of each scene, in order; the number of workers changes only the time."""
    numbers = [range(k, min(k + 64, len(plan.scenes))) for k in range(0, len(plan.scenes), 64)]
    if workers <= 1:
        yield from itertools.chain.from_iterable(_draw(plan, part, size) for part in numbers)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for part in pool.map(_draw, itertools.repeat(plan), numbers, itertools.repeat(size)):
            yield from part


def draw_scene(plan: Plan, scene: Scene, size: int, place: Site | None = None) -> np.ndarray:
    """(S, S) float32 in [0, 1] of one scene in the look of a site."""
    visit = plan.visits[scene.patient]
    return render(visit, 0, scene.findings, place or site(SITE), size, plan.seed).pixels


def _draw(plan: Plan, numbers: range, size: int) -> list[np.ndarray]:
    return [draw_scene(plan, plan.scenes[i], size) for i in numbers]


def _people(place: Site, count: int, seed: int) -> list[Visit]:
    wanted = {"F": count - count // 2, "M": count // 2}
    found: list[Visit] = []
    for visit in visits(place, 200 * count, seed):
        patient = visit.patient
        if visit.order or not AGES[0] <= patient.age <= AGES[1] or not wanted[patient.sex]:
            continue
        wanted[patient.sex] -= 1
        found.append(replace(visit, views=(_FRONTAL,)))
        if len(found) == count:
            break
    return found


def _background(visit: Visit, place: Site, seed: int) -> tuple[Finding, ...]:
    """What the patient has anyway, without remarks about the study."""
    return tuple(f for f in findings_of(visit, place, seed) if f.concept not in PSEUDO)


def _may_add(concept: TwinConcept, visit: Visit, own: Sequence[Finding]) -> bool:
    patient, lexicon = visit.patient, load_lexicon()
    if concept.sex not in (None, patient.sex) or not concept.age[0] <= patient.age <= concept.age[1]:
        return False
    for other in (f.concept for f in own):
        near = other in lexicon.descendants(concept.id) or concept.id in lexicon.descendants(other)
        if other == concept.id or near or other in concept.excludes:
            return False
        if concept.id in catalogue()[other].excludes:
            return False
    return True


def _finding(concept: TwinConcept, patient: int, seed: int) -> Finding:
    """The finding that a patient gets, on alternate sides where it may lie on either."""
    found = detail(concept, generator(seed, "counterfactual", concept.id, patient))
    if {"left", "right"} <= set(concept.sides):
        return _on(found, "left" if patient % 2 else "right")
    return found


def _on(finding: Finding, side: Side) -> Finding:
    """The finding on a side; the middle lobe of the right lung is the lingula of the left one."""
    place = finding.location
    if place in ("middle lobe", "lingula"):
        place = "middle lobe" if side == "right" else "lingula"
    return replace(finding, side=side, location=place)
