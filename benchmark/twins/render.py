"""A visit's findings and view → pixels and regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from benchmark.twins.anatomy.canvas import Canvas
from benchmark.twins.anatomy.frontal import build_frontal
from benchmark.twins.anatomy.lateral import build_lateral
from benchmark.twins.anatomy.shape import Shape, draw_shape
from benchmark.twins.case import Finding, Region, TwinImage, TwinPatient
from benchmark.twins.catalogue import catalogue, lesion_scale, strength
from benchmark.twins.detector import expose
from benchmark.twins.findings import shapes as _  # noqa: F401  registers the reshapers
from benchmark.twins.findings.base import PAINTERS, RESHAPERS, Draw
from benchmark.twins.geometry import bounding_box
from benchmark.twins.population import Visit, generator
from benchmark.twins.sites import Site


def render(
    visit: Visit, order: int, findings: Sequence[Finding], site: Site, size: int, seed: int
) -> TwinImage:
    """Image number `order` of a visit. Each finding has its own random stream, so that leaving one out
    changes nothing else."""
    view = visit.views[order]
    look = generator(seed, site.name, "exposure", visit.number, order)
    canvas, masks = draw_canvas(visit.patient, view, findings, size, seed, site.name, visit.number)
    poor = any(f.concept == "suboptimal study" for f in findings)
    depth, masks = _pose(canvas.depth, masks, look, view == "AP", poor)
    style = site.style
    if poor:
        style = style.model_copy(
            update={
                "exposure": style.exposure * 0.06,
                "blur": 0.006,
                "spread": style.spread * 2,
                "border": 1.0,
            }
        )
    pixels = expose(depth, style, view == "AP", look)
    regions = []
    for concept, mask in masks:
        inside = mask > 0.25
        box = bounding_box(inside)
        if box is not None:
            regions.append(Region(concept, box, inside))
    return TwinImage(visit.first_image + order, view, pixels, tuple(regions))  # type: ignore[arg-type]


def draw_canvas(
    patient: TwinPatient, view: str, findings: Sequence[Finding], size: int, seed: int, site: str, visit: int
) -> tuple[Canvas, list[tuple[str, np.ndarray]]]:
    """Anatomy with findings, before pose and exposure, and the lesion masks with their concepts."""
    concepts = catalogue()
    shape = draw_shape(patient, view, generator(seed, site, "habitus", patient.number))
    calls: list[tuple[str, Draw]] = []
    for finding in findings:
        concept = concepts[finding.concept]
        owner = ("patient", patient.number) if concept.stays else ("visit", visit)
        rng_seed = (seed, site, *owner, finding.concept)
        power = strength(concept, finding.severity)
        lot = generator(*rng_seed, "size").standard_normal() if concept.spread else 0.0
        scale = lesion_scale(concept, finding.severity, float(lot))
        for i, (name, options) in enumerate(concept.draw.items()):
            calls.append((name, Draw(finding, power, options, generator(*rng_seed, i), scale)))
    for name, draw in calls:
        if name in RESHAPERS:
            shape = RESHAPERS[name](shape, draw)
    shape = _bounded(shape)
    rng = generator(seed, site, "anatomy", patient.number)
    canvas = build_lateral(shape, size, rng) if view == "L" else build_frontal(shape, size, view, rng)  # type: ignore[arg-type]
    masks: list[tuple[str, np.ndarray]] = []
    for name, draw in calls:
        if name not in RESHAPERS:
            masks += [(draw.finding.concept, mask) for mask in PAINTERS.get(name)(canvas, draw)]
    return canvas, masks


def _bounded(shape: Shape) -> Shape:
    """Keep sums of several reshapers within what the builders can draw."""
    return replace(
        shape,
        heart_ratio=min(max(shape.heart_ratio, 0.32), 0.74),
        heart_round=min(shape.heart_round, 1.2),
        dome_right=min(max(shape.dome_right, 0.54), 0.80),
        dome_left=min(max(shape.dome_left, 0.54), 0.81),
        apex=min(shape.apex, 0.19),
        fat=min(shape.fat, 1.1),
        bone=max(shape.bone, 0.4),
        air=min(max(shape.air, 0.75), 1.18),
        shift=float(np.clip(shape.shift, -0.11, 0.11)),
        trachea_shift=float(np.clip(shape.trachea_shift, -0.055, 0.055)),
        arch_radius=min(shape.arch_radius, 0.075),
        upper_mediastinum=min(shape.upper_mediastinum, 0.075),
        hilum_right=min(shape.hilum_right, 2.1),
        hilum_left=min(shape.hilum_left, 2.1),
        vessels=min(shape.vessels, 1.9),
        barrel=min(max(shape.barrel, -0.05), 0.08),
        rib_slope=min(shape.rib_slope, 1.9),
        spine_bend=float(np.clip(shape.spine_bend, -0.06, 0.06)),
    )


def _pose(
    depth: np.ndarray,
    masks: list[tuple[str, np.ndarray]],
    rng: np.random.Generator,
    portable: bool,
    poor: bool,
) -> tuple[np.ndarray, list[tuple[str, np.ndarray]]]:
    """Rotation in the image plane, scale and offset of the patient before the detector."""
    size = depth.shape[0]
    loose = 2.5 if poor else 1.6 if portable else 1.0
    angle, zoom, dx, dy = rng.normal(0, 1, 4) * (1.3 * loose, 0.025 * loose, 0.012 * loose, 0.012 * loose)
    matrix = cv2.getRotationMatrix2D(
        (size / 2, size / 2), float(angle), float(np.clip(1.03 + zoom, 0.9, 1.2))
    )
    matrix[:, 2] += (dx * size, dy * size)
    moved = cv2.warpAffine(
        depth, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return moved, [(concept, cv2.warpAffine(mask, matrix, (size, size))) for concept, mask in masks]
