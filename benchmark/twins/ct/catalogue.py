"""The findings of the CT twin, as data, and who has which: everything follows from seed, site and patient."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import yaml
from pydantic import BaseModel, ValidationError

from benchmark.core.errors import ParamsError, UnknownName
from benchmark.twins.case import Finding, TwinPatient
from benchmark.twins.catalogue import TwinConcept
from benchmark.twins.population import Visit, detail, generator
from benchmark.twins.sites import Site

REFERENCE_SCANS = 10_000
"""The denominator of `images` in catalogue.yaml."""


class CTSite(BaseModel, frozen=True, extra="forbid"):
    """people: who comes and how often; its views are the reconstructions of a scan. floor: least share of
    scans with a finding, so that a small twin has positives of the rarest. contrast: share of enhanced
    scans."""

    people: Site
    floor: float = 0.01
    contrast: float = 0.25
    reports: bool = True


_SCANS = {"soft": 0.62, "soft+sharp": 0.33, "soft+sharp+thick": 0.05}
SITES: dict[str, CTSite] = {
    "ct_rate": CTSite(
        people=Site(name="ct_rate", views=_SCANS, visits=1.25, female=0.42, age=(53.0, 16.0), healthy=0.1),
        floor=0.012,
    ),
    "ct_rate_lt": CTSite(
        people=Site(name="ct_rate_lt", views=_SCANS, visits=1.2, female=0.42, age=(56.0, 15.0), healthy=0.06),
        floor=0.05,
    ),
    "rad_chestct": CTSite(
        people=Site(
            name="rad_chestct", views={"thick": 1.0}, visits=1.2, female=0.5, age=(59.0, 14.0), healthy=0.04
        ),
        floor=0.03,
        contrast=0.5,
        reports=False,
    ),
}
DEFAULT_VOLUMES = {"ct_rate": 600, "ct_rate_lt": 160, "rad_chestct": 120}
Kernel = Literal["soft", "sharp", "thick"]


def ct_site(name: str) -> CTSite:
    """Raises UnknownName with the nearest site."""
    if name not in SITES:
        raise UnknownName("CT twin site", name, SITES)
    return SITES[name]


@lru_cache(maxsize=1)
def catalogue() -> dict[str, TwinConcept]:
    """All findings by id. Raises ParamsError where an entry is malformed."""
    path = Path(__file__).with_name("catalogue.yaml")
    concepts: dict[str, TwinConcept] = {}
    for key, value in yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader).items():
        try:
            concepts[key] = TwinConcept(id=key, es="", **value)
        except ValidationError as error:
            first = error.errors()[0]
            raise ParamsError(f"{path.name}: '{key}', {first['loc']}: {first['msg']}.") from None
    return concepts


def findings_of(visit: Visit, site: CTSite, seed: int) -> tuple[Finding, ...]:
    """What one scan shows: what stays by lot of the patient, growing with age, and the rest of the scan."""
    name, patient = site.people.name, visit.patient
    history = generator(seed, name, "history", patient.number)
    if history.random() < site.people.healthy:
        return ()
    episode = generator(seed, name, "episode", visit.number)
    chosen: dict[str, Finding] = {}
    for concept in catalogue().values():
        rng = history if concept.stays else episode
        lot = rng.random()
        if lot < _chance(concept, patient, site):
            _add(chosen, concept, rng, patient)
    return tuple(chosen.values())


def _chance(concept: TwinConcept, patient: TwinPatient, site: CTSite) -> float:
    mean, deviation = site.people.age
    share = max(concept.images / REFERENCE_SCANS, site.floor) / (1 - site.people.healthy)
    if not concept.stays:
        return share
    slope = 0.02
    return share * float(np.exp(slope * (patient.age - mean) - 0.5 * (slope * deviation) ** 2))


def _add(
    chosen: dict[str, Finding], concept: TwinConcept, rng: np.random.Generator, patient: TwinPatient
) -> None:
    if concept.id in chosen or not concept.age[0] <= patient.age <= concept.age[1]:
        return
    chosen[concept.id] = detail(concept, rng)
    for partner, chance in concept.partners.items():
        if rng.random() < chance:
            _add(chosen, catalogue()[partner], rng, patient)
