"""Airspace and interstitial opacities, collapse, bands: tissue where there should be air."""

from __future__ import annotations

import numpy as np

from benchmark.twins.anatomy.canvas import ZONES, Canvas, sides_of
from benchmark.twins.findings.base import Draw
from benchmark.twins.geometry import blob, ellipse, fill, grid, smooth, soften, strokes, texture


def zone_mask(canvas: Canvas, side: str, place: str | None, edge: float = 0.05) -> np.ndarray:
    """(S, S) lung of one side faded out above and below the zone `place`; the whole lung without a place."""
    lung = soften(canvas.lungs[side], 0.004)
    if place not in ZONES:
        return lung
    low, high = ZONES[place]
    low = -1 if low < 0.15 and place != "upper lung zone" else low
    high = 2 if high > 0.85 else high
    top, bottom = canvas.level(side, max(low, 0)), canvas.level(side, min(high, 0.999))
    _, y = grid(canvas.size)
    above = 1.0 if low <= 0 else np.clip((y - top) / edge + 0.5, 0, 1)
    below = 1.0 if high >= 1 else np.clip((bottom - y) / edge + 0.5, 0, 1)
    return (lung * above * below).astype(np.float32)


def patch(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Ill-defined airspace opacities. options: radius, density, mottle (0 even, 1 patchy), count, zone."""
    o, rng, size = draw.options, draw.rng, canvas.size
    masks = []
    for side in sides_of(draw.finding.side):
        for _ in range(o.get("count", 1)):
            spot = canvas.spot(side, o.get("zone", draw.finding.location), rng, (0.3, 0.75))
            r = min(o["radius"] * (0.75 + 0.3 * draw.strength) * draw.scale * rng.uniform(0.85, 1.2), 0.24)
            shape = soften(fill(blob(spot, (r, r * rng.uniform(0.75, 1.2)), rng, 0.3), size), 0.3 * r)
            mottle = o.get("mottle", 0.0)
            alpha = shape * (1 + mottle * 0.55 * texture(size, 0.014, rng)).clip(0.1, 1.8)
            density = o["density"] * (0.55 + 0.45 * draw.strength) * rng.uniform(0.85, 1.1)
            masks.append(canvas.opacify((density * alpha).clip(0, 0.95)) * 2.2)
    return masks


def lobe(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Dense consolidation of part of a lobe, sharp at the fissure."""
    rng, size = draw.rng, canvas.size
    masks = []
    for side in sides_of(draw.finding.side):
        place = draw.finding.location or "lower lobe"
        zone = zone_mask(canvas, side, place, edge=0.03 if rng.random() < 0.5 else 0.07)
        spot = canvas.spot(side, place, rng, (0.3, 0.7))
        r = min(0.13 * (0.6 + 0.5 * draw.strength) * draw.scale * rng.uniform(0.9, 1.2), 0.26)
        shape = soften(fill(blob(spot, (1.1 * r, r), rng, 0.25), size), 0.22 * r)
        alpha = draw.options["density"] * (0.7 + 0.3 * draw.strength) * zone * shape
        alpha = alpha * (1 + 0.18 * texture(size, 0.012, rng))
        masks.append(canvas.opacify(alpha.clip(0, 0.95)) * 2)
    return masks


def collapse(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Atelectasis. options.part: base (hazy wedge over the dome), segment (wedge), lobe, lung."""
    part, rng, size = draw.options["part"], draw.rng, canvas.size
    masks = []
    for side in sides_of(draw.finding.side):
        out = canvas.outward(side) if not canvas.lateral else 1
        if part == "lung":
            masks.append(
                canvas.opacify(0.93 * soften(canvas.lungs[side], 0.003) * (0.5 if canvas.lateral else 1)) * 2
            )
            continue
        if part == "lobe":
            upper = (draw.finding.location or "").startswith("upper")
            hilum = canvas.points[f"hilum_{side}"]
            if upper:
                top = canvas.points[f"apex_{side}"]
                corners = [
                    (top[0] - out * 0.08, top[1] - 0.03),
                    (top[0] + out * 0.16, top[1] + 0.02),
                    (hilum[0] + out * 0.14, hilum[1] - 0.12),
                    (hilum[0] + out * 0.02, hilum[1] - 0.01),
                    (hilum[0] - out * 0.05, hilum[1] - 0.05),
                ]
            else:
                dome = canvas.points[f"dome_{side}"]
                corners = [
                    (hilum[0], hilum[1]),
                    (hilum[0] + out * 0.08, hilum[1] + 0.15),
                    (dome[0] + out * 0.02, dome[1] + 0.03),
                    (dome[0] - out * 0.15, dome[1] + 0.06),
                    (hilum[0] - out * 0.05, hilum[1] + 0.1),
                ]
            wedge = soften(fill(smooth(corners, closed=True, steps=4), size), 0.006)
            masks.append(canvas.opacify((0.85 * wedge).clip(0, 1)) * 2)
            continue
        dome = canvas.points[f"dome_{side}"]
        if part == "segment":
            spot = canvas.spot(side, draw.finding.location, rng, (0.4, 0.7))
            hilum = canvas.points[f"hilum_{side}"]
            d = np.array(spot) - np.array(hilum)
            n = np.array([-d[1], d[0]]) / (np.hypot(*d) + 1e-6)
            wedge = fill(
                np.array([hilum + 0.25 * d, spot + 0.055 * n, spot + 0.25 * d, spot - 0.055 * n]), size
            )
            masks.append(canvas.opacify(0.6 * soften(wedge, 0.006)) * 2.5)
            continue
        height = (0.055 + 0.05 * draw.strength) * draw.scale * rng.uniform(0.85, 1.2)
        x = dome[0] + rng.uniform(-0.05, 0.03) * out
        haze = ellipse((x, dome[1] + 0.01), (0.17 * min(draw.scale, 1.2), height), size, 0.12 * out, 0.5)
        bands = [
            smooth(
                [
                    (x - 0.1, dome[1] - h),
                    (x, dome[1] - h - 0.012),
                    (x + 0.1, dome[1] - h + rng.normal(0, 0.012)),
                ]
            )
            for h in rng.uniform(0.01, height, 3)
        ]
        alpha = (0.5 + 0.15 * draw.strength) * haze * (0.8 + 0.2 * texture(size, 0.012, rng)) + 0.4 * soften(
            strokes(bands, 0.006, size), 0.002
        )
        masks.append(canvas.opacify(alpha.clip(0, 0.9)) * 2.2)
    return masks


def plates(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Linear bands. options: count, width, length, density, zone, flat (horizontal)."""
    o, rng, size = draw.options, draw.rng, canvas.size
    masks = []
    for side in sides_of(draw.finding.side):
        curves = []
        for _ in range(o["count"]):
            spot = np.array(canvas.spot(side, o.get("zone", draw.finding.location), rng, (0.3, 0.65)))
            angle = rng.normal(0, 0.14) if o.get("flat") else rng.uniform(-1.2, 1.2)
            half = 0.5 * o["length"] * rng.uniform(0.75, 1.2) * np.array([np.cos(angle), np.sin(angle)])
            bend = 0.08 * np.array([-half[1], half[0]]) * rng.normal()
            curves.append(smooth([spot - half, spot + bend, spot + half]))
        density = o["density"] * (0.75 + 0.25 * draw.strength)
        lines = soften(strokes(curves, o["width"] * (0.8 + 0.2 * draw.strength), size), 0.0016)
        masks.append(canvas.add(density * 0.62 * lines * np.clip(canvas.air * 1.6, 0, 1), 1.0) * 1.6)
    return masks


def veil(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Ground glass: haze through which vessels are seen. options: density, radius, zone."""
    o, rng, size = draw.options, draw.rng, canvas.size
    masks = []
    for side in sides_of(draw.finding.side):
        spot = canvas.spot(side, o.get("zone", draw.finding.location), rng, (0.35, 0.65))
        r = min(o.get("radius", 0.13) * draw.scale * rng.uniform(0.85, 1.15), 0.26)
        shape = soften(fill(blob(spot, (0.8 * r, 1.1 * r), rng, 0.2), size), 0.3 * r)
        density = o["density"] * (0.7 + 0.35 * draw.strength)
        masks.append(
            canvas.opacify((density * shape * (1 + 0.12 * texture(size, 0.02, rng))).clip(0, 0.8)) * 4
        )
    return masks


def interstitial(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Fine lines all over or in a zone. options: amount, style reticular or net (coarser, honeycomb-like)."""
    o, rng, size = draw.options, draw.rng, canvas.size
    net = o["style"] == "net"
    noise = texture(size, 0.0075 if net else 0.0052, rng)
    lines = np.exp(-((noise / 0.42) ** 2))  # zero crossings of smooth noise form a net
    masks = []
    for side in sides_of(draw.finding.side):
        zone = 0.3 * canvas.lungs[side] + 0.7 * zone_mask(canvas, side, draw.finding.location, 0.2)
        amount = o["amount"] * (0.65 + 0.35 * draw.strength)
        alpha = zone * amount * (0.40 * lines + 0.035)
        canvas.opacify(alpha.clip(0, 0.9).astype(np.float32))
        masks.append(zone)
        if canvas.lateral:
            break
    return masks


def fibrosis(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Coarse net and traction lines near the pleura and the bases. options: amount, zone."""
    o, rng, size = draw.options, draw.rng, canvas.size
    noise = texture(size, 0.0085, rng)
    net = np.exp(-((noise / 0.38) ** 2))
    masks = []
    for side in sides_of(draw.finding.side):
        zone = zone_mask(canvas, side, o.get("zone", draw.finding.location or "lower lung zone"), 0.16)
        rim = 0.35 + canvas.wall(side, 0.05)
        if draw.scale < 1.6:  # less than the whole zone: a part of it around a point near the wall
            spot = canvas.spot(
                side, o.get("zone", draw.finding.location or "lower lung zone"), rng, (0.6, 0.95)
            )
            part = ellipse(spot, (0.13 * draw.scale, 0.16 * draw.scale), size, 0, 0.25)
            zone = zone * part
        alpha = o["amount"] * (0.55 + 0.4 * draw.strength) * zone * rim * (0.62 * net + 0.14)
        canvas.opacify(alpha.clip(0, 0.92).astype(np.float32))
        masks.append(zone * rim.clip(0, 1))
        if canvas.lateral:
            break
    return masks


def edema(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Perihilar haze like the wings of a bat. options: amount."""
    rng, size = draw.rng, canvas.size
    masks = []
    for side in sides_of(draw.finding.side or "bilateral"):
        hilum = canvas.points[f"hilum_{side}"]
        out = canvas.outward(side) if not canvas.lateral else 0
        wing = ellipse((hilum[0] + out * 0.055, hilum[1] + 0.06), (0.17, 0.24), size, 0, 0.8)
        amount = draw.options["amount"] * (0.55 + 0.45 * draw.strength)
        cloud = 1 + 0.16 * texture(size, 0.028, rng) + 0.15 * texture(size, 0.007, rng)
        masks.append(canvas.opacify((amount * wing * cloud).clip(0, 0.9)) * 2.5)
        if canvas.lateral:
            break
    return masks


def kerley(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Short horizontal lines at the lateral base."""
    rng, size = draw.rng, canvas.size
    masks = []
    for side in sides_of(draw.finding.side or "bilateral"):
        rows, first, last = canvas.rows(side)
        curves = []
        for _ in range(10):
            i = int(rng.uniform(0.6, 0.93) * len(rows))
            edge = (first[i] if canvas.outward(side) < 0 else last[i]) / size
            y = rows[i] / size
            inward = -canvas.outward(side) * rng.uniform(0.02, 0.06)
            curves.append(np.array([(edge, y), (edge + inward, y + rng.normal(0, 0.005))]))
        masks.append(canvas.add(strokes(curves, 0.0045, size), 0.34 * (0.8 + 0.2 * draw.strength)))
    return masks


def bronchogram(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Air-filled branching bronchi inside a consolidation."""
    rng, size = draw.rng, canvas.size
    masks = []
    for side in sides_of(draw.finding.side):
        hilum = np.array(canvas.points[f"hilum_{side}"])
        end = np.array(canvas.spot(side, draw.finding.location, rng, (0.4, 0.7)))
        d = end - hilum
        n = np.array([-d[1], d[0]])
        curves = [smooth([hilum, hilum + 0.5 * d, end])]
        for k, turn in ((0.35, 0.45), (0.5, -0.5), (0.65, 0.4), (0.75, -0.35)):
            start = hilum + k * d
            curves.append(smooth([start, start + 0.25 * d + turn * 0.4 * n, start + 0.45 * d + turn * n]))
        dark = soften(strokes(curves, 0.011, size), 0.002) * soften(
            np.clip(1 - canvas.air * 1.6, 0, 1), 0.006
        )
        masks.append(canvas.aerate(0.24 * dark * canvas.lungs[side]) * 8)
    return masks


def bronchi(canvas: Canvas, draw: Draw) -> list[np.ndarray]:
    """Bronchiectasis: ring shadows and tram lines. options.count: rings a side."""
    rng, size = draw.rng, canvas.size
    masks = []
    t = np.linspace(0, 2 * np.pi, 14)
    for side in sides_of(draw.finding.side):
        rings, trams = [], []
        centre = np.array(canvas.spot(side, draw.finding.location, rng, (0.25, 0.55)))
        for _ in range(draw.options["count"]):
            c = centre + rng.normal(0, 0.036, 2)
            r = rng.uniform(0.009, 0.016) * (0.8 + 0.3 * draw.strength)
            rings.append(np.stack([c[0] + r * np.cos(t), c[1] + r * np.sin(t)], axis=1))
        for _ in range(3):
            a = centre + rng.normal(0, 0.03, 2)
            d = (a - np.array(canvas.points[f"hilum_{side}"])) * 0.35
            n = np.array([-d[1], d[0]]) / (np.hypot(*d) + 1e-6) * 0.006
            trams += [np.array([a + n, a + d + n]), np.array([a - n, a + d - n])]
        lines = strokes(rings + trams, 0.0045, size) * canvas.lungs[side]
        masks.append(soften(canvas.add(lines, 0.46), 0.006) * 3)
    return masks
