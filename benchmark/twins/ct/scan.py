"""A scan: the patient's anatomy with findings, then what each reconstruction makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from benchmark.twins.case import Finding, Sentence, TwinPatient
from benchmark.twins.catalogue import lesion_scale, strength
from benchmark.twins.ct.body import BLOOD, Habitus, Phantom, build, draw_habitus
from benchmark.twins.ct.catalogue import CTSite, Kernel, catalogue
from benchmark.twins.ct.findings.base import PAINTERS, Stroke
from benchmark.twins.ct.space import FIELD, Space
from benchmark.twins.population import Visit, generator

OUTSIDE = -1024
"""What scanners write outside the round field of view."""
LARGE_HEART = "large_heart"


@dataclass(frozen=True)
class Lesion:
    """One drawn lesion. mask: (Z, Y, X) bool."""

    concept: str
    mask: np.ndarray

    @property
    def box(self) -> tuple[int, int, int, int, int, int]:
        """x, y, z, width, depth, height in voxels."""
        spans = []
        for axis in (2, 1, 0):
            at = np.flatnonzero(self.mask.any(axis=tuple(a for a in range(3) if a != axis)))
            spans.append((int(at[0]), int(at[-1] - at[0] + 1)))
        (x, w), (y, d), (z, h) = spans
        return x, y, z, w, d, h


@dataclass(frozen=True)
class Reconstruction:
    """hu: (Z, Y, X) int16, z to the head, y to the back, x to the left. number: over the whole twin."""

    number: int
    kernel: Kernel
    hu: np.ndarray


@dataclass(frozen=True)
class TwinScan:
    """One scan with its reconstructions. spacing: (z, y, x) in mm."""

    patient: TwinPatient
    number: int
    order: int
    days: int
    enhanced: bool
    spacing: tuple[float, float, float]
    volumes: tuple[Reconstruction, ...]
    lesions: tuple[Lesion, ...]
    findings: tuple[Finding, ...]
    sentences: tuple[Sentence, ...] = ()
    sections: tuple[tuple[str, str], ...] = ()


def draw(
    patient: TwinPatient, findings: Sequence[Finding], site: CTSite, side: int, seed: int, visit: int
) -> tuple[Phantom, list[Lesion], bool]:
    """Anatomy with findings before noise. Each finding has its own stream, so that leaving one out changes
    nothing else of the patient."""
    name = site.people.name
    body = generator(seed, name, "habitus", patient.number)
    pose = generator(seed, name, "pose", visit)
    habitus = draw_habitus(patient, body)
    enhanced = bool(pose.random() < site.contrast)
    blood = float(pose.uniform(160, 260)) if enhanced else BLOOD
    habitus = replace(habitus, blood=blood, breath=float(np.clip(pose.normal(0, 7), -15, 12)))
    space = Space.of(side, float(pose.normal(0, 0.03)), (float(pose.normal(0, 4)), float(pose.normal(0, 4))))
    strokes = [s for finding in findings for s in _strokes(finding, patient, name, seed, visit)]
    for step, stroke in strokes:
        if step == LARGE_HEART:
            habitus = _larger(habitus, stroke)
    phantom = build(space, habitus, generator(seed, name, "anatomy", patient.number))
    lesions = []
    for step, stroke in strokes:
        for mask in PAINTERS.get(step)(phantom, stroke):
            inside = mask > min(0.3, 0.5 * float(mask.max()))
            if inside.any():
                lesions.append(Lesion(stroke.finding.concept, inside))
    return phantom, lesions, enhanced


def _strokes(
    finding: Finding, patient: TwinPatient, site: str, seed: int, visit: int
) -> list[tuple[str, Stroke]]:
    concept = catalogue()[finding.concept]
    owner = ("patient", patient.number) if concept.stays else ("visit", visit)
    lot = float(generator(seed, site, *owner, concept.id, "size").standard_normal())
    scale, power = lesion_scale(concept, finding.severity, lot), strength(concept, finding.severity)
    return [
        (step, Stroke(finding, power, scale, options, generator(seed, site, *owner, concept.id, i)))
        for i, (step, options) in enumerate(concept.draw.items())
    ]


def _larger(habitus: Habitus, stroke: Stroke) -> Habitus:
    gain = stroke.options["gain"] * (0.6 + 0.45 * stroke.strength)
    return replace(habitus, heart=habitus.heart * (1 + gain))


def scan(visit: Visit, findings: Sequence[Finding], site: CTSite, side: int, seed: int) -> TwinScan:
    """A pure function of its arguments."""
    phantom, lesions, enhanced = draw(visit.patient, findings, site, side, seed, visit.number)
    volumes = []
    for order, kernel in enumerate(visit.views):
        rng = generator(seed, site.people.name, "noise", visit.number, order)
        hu = reconstruct(phantom.hu, phantom.space, kernel, rng)  # type: ignore[arg-type]
        volumes.append(Reconstruction(visit.first_image + order, kernel, hu))  # type: ignore[arg-type]
    return TwinScan(
        visit.patient, visit.number, visit.order, visit.days, enhanced, phantom.space.voxel, tuple(volumes),
        tuple(lesions), tuple(findings),
    )  # fmt: skip


def reconstruct(hu: np.ndarray, space: Space, kernel: Kernel, rng: np.random.Generator) -> np.ndarray:
    """(Z, Y, X) int16: the kernel's sharpness, its noise, and nothing outside the round field of view.

    soft: smooth, little noise; sharp: edges raised, more noise; thick: averaged along the body.
    """
    noise = rng.standard_normal(hu.shape, dtype=np.float32)
    if kernel == "sharp":
        smooth = ndimage.gaussian_filter(hu, (0, 0.8, 0.8))
        image = hu + 0.45 * (hu - smooth) + 34 * noise
    else:
        along = 0.7 if kernel == "thick" else 0.0
        image = ndimage.gaussian_filter(hu, (along, 0.45, 0.45))
        image += 24 * ndimage.gaussian_filter(noise, (0, 0.6, 0.6))
    image = np.clip(np.rint(image), -1024, 3071).astype(np.int16)
    line = (np.arange(image.shape[2]) + 0.5) / image.shape[2] * FIELD - FIELD / 2
    round_field = np.hypot(line[None, :], line[:, None]) > FIELD / 2
    image[:, round_field] = OUTSIDE
    return np.asarray(image)
