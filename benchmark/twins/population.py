"""Patients, visits and what they have. Everything about visit i follows from (seed, site, i) alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from benchmark.core.hashing import derive_seed
from benchmark.twins.case import Finding, TwinPatient
from benchmark.twins.catalogue import REFERENCE_IMAGES, TwinConcept, catalogue
from benchmark.twins.sites import Site

PSEUDO = ("unchanged", "suboptimal study")


@dataclass(frozen=True)
class Visit:
    """One study before it is drawn. number and first_image count over the whole twin."""

    patient: TwinPatient
    number: int
    order: int
    """0 for the patient's first visit."""
    days: int
    views: tuple[str, ...]
    first_image: int


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Stream of one purpose."""
    return np.random.Generator(np.random.PCG64(derive_seed(seed, *names)))


def visits(site: Site, images: int, seed: int) -> Iterator[Visit]:
    """Visits until exactly `images` images are planned; the last visit may lose its later views."""
    patient_number = number = done = 0
    combos, weights = list(site.views), np.array(list(site.views.values()))
    while done < images:
        rng = generator(seed, site.name, "patient", patient_number)
        age = int(np.clip(rng.normal(*site.age), 1, 97))
        patient = TwinPatient(patient_number, "F" if rng.random() < site.female else "M", age)
        count = int(np.clip(rng.geometric(1 / site.visits), 1, 12))
        days = 0
        for order in range(count):
            if done >= images:
                break
            views = tuple(combos[rng.choice(len(combos), p=weights / weights.sum())].split("+"))
            views = views[: images - done]
            yield Visit(patient, number, order, days, views, done)
            done += len(views)
            number += 1
            days += int(rng.exponential(60)) + 1
        patient_number += 1


@lru_cache(maxsize=32)
def _rates(site_json: str) -> tuple[tuple[TwinConcept, float], ...]:
    """Probability of each concept on its own in a patient who is not healthy, partners' share taken off.

    Findings that stay come first, so that no passing one can displace them.
    """
    concepts = catalogue()
    key = Site.model_validate_json(site_json)
    target = {c.id: _target(c, key) for c in concepts.values() if c.id not in PSEUDO}
    brought = dict.fromkeys(target, 0.0)
    for concept in concepts.values():
        for partner, chance in concept.partners.items():
            brought[partner] += target.get(concept.id, 0.0) * chance
    return tuple(
        (
            concepts[c],
            max(0.15 * rate, rate - brought[c]) / (1 - min(key.healthy, 0.95)) / _eligible(concepts[c], key),
        )
        for c, rate in sorted(target.items(), key=lambda item: not concepts[item[0]].stays)
    )


def _eligible(concept: TwinConcept, site: Site) -> float:
    """Mean over the site's patients of the factor by which sex, age and frailty scale a concept's chance."""
    ages = np.arange(1, 98)
    weights = np.exp(-0.5 * ((ages - site.age[0]) / site.age[1]) ** 2)
    inside = (ages >= concept.age[0]) & (ages <= concept.age[1])
    factor = inside * (_frailty(ages, site) if concept.stays else 1.0)
    shares: dict[str | None, float] = {"F": site.female, "M": 1 - site.female, None: 1.0}
    return max(float((weights * factor).sum() / weights.sum()) * shares[concept.sex], 0.05)


def _target(concept: TwinConcept, site: Site) -> float:
    """Share of visits with the concept that the site aims at."""
    if concept.id in site.share:
        return site.share[concept.id]
    rate = concept.images / REFERENCE_IMAGES
    lift = 2 * site.floor
    if rate < lift:  # the tail is lifted, in the same order, so that a small twin still has positives
        rate = lift * (rate / lift) ** 0.3
    else:
        rate *= site.common
    return min(rate * site.rates.get(concept.id, 1.0), 0.6)


def findings_of(visit: Visit, site: Site, seed: int) -> tuple[Finding, ...]:
    """What is drawn at one visit.

    Findings that stay are drawn by lot of the patient, others by lot of the visit. The lots are an additive
    recurrence with the square root of a prime a concept, which keeps counts near their expectation.
    """
    patient = visit.patient
    stable = generator(seed, site.name, "history", patient.number)
    if stable.random() < site.healthy:
        return ()
    acute = generator(seed, site.name, "episode", visit.number)
    frail = float(_frailty(patient.age, site))
    chosen: dict[str, Finding] = {}
    for i, (concept, rate) in enumerate(_rates(site.model_dump_json())):
        if not _allowed(concept, patient):
            continue
        chance = rate * (frail if concept.stays else 1.0)
        index = patient.number if concept.stays else visit.number
        if _lot(seed, site.name, concept.id, i, index) < min(chance, 0.9):
            _add(chosen, concept, stable if concept.stays else acute, patient)
    extra = []
    if acute.random() < 0.014:
        extra.append(Finding("suboptimal study"))
    if visit.order and acute.random() < 0.3:
        extra.append(Finding("unchanged"))
    return (*chosen.values(), *extra)


def _add(
    chosen: dict[str, Finding], concept: TwinConcept, rng: np.random.Generator, patient: TwinPatient
) -> None:
    concepts = catalogue()
    if concept.id in chosen or any(c in chosen for c in concept.excludes):
        return
    if any(concept.id in concepts[c].excludes for c in chosen):
        return
    chosen[concept.id] = detail(concept, rng)
    for partner, chance in concept.partners.items():
        if rng.random() < chance and _allowed(concepts[partner], patient):
            _add(chosen, concepts[partner], rng, patient)


def detail(concept: TwinConcept, rng: np.random.Generator) -> Finding:
    """A finding of this concept with side, place and severity by lot."""
    sides, weights = list(concept.sides), np.array(list(concept.sides.values()))
    side = sides[rng.choice(len(sides), p=weights / weights.sum())] if sides else None
    place = concept.places[rng.integers(len(concept.places))] if concept.places else None
    grave = int(len(concept.severities) * rng.beta(1.1, 1.3)) if concept.severities else 0
    severity = concept.severities[grave] if concept.severities else None
    if place == "middle lobe" and side == "left":
        place = "lingula"
    return Finding(concept.id, "present", side, place, severity)


def _allowed(concept: TwinConcept, patient: TwinPatient) -> bool:
    return concept.age[0] <= patient.age <= concept.age[1] and concept.sex in (None, patient.sex)


def _frailty(age: int | np.ndarray, site: Site) -> np.ndarray:
    """Factor of lasting findings, which grow with age; mean about 1 over the site's ages."""
    mean, deviation = site.age
    return np.exp(0.028 * (np.asarray(age) - mean) - 0.5 * (0.028 * deviation) ** 2)


def _lot(seed: int, site: str, concept: str, order: int, index: int) -> float:
    step, start = _sequence(seed, site, concept, order)
    return (start + index * step) % 1.0


@lru_cache(maxsize=4096)
def _sequence(seed: int, site: str, concept: str, order: int) -> tuple[float, float]:
    return float(np.sqrt(_primes()[order])) % 1.0, derive_seed(seed, site, "lot", concept) / 2**63


@lru_cache(maxsize=1)
def _primes() -> tuple[int, ...]:
    sieve = np.ones(2000, bool)
    sieve[:2] = False
    for i in range(2, 45):
        sieve[i * i :: i] = False
    return tuple(int(p) for p in np.flatnonzero(sieve))
