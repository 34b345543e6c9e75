"""Findings that are a different anatomy: sizes, positions and curvatures."""

from __future__ import annotations

from dataclasses import replace

from benchmark.twins.anatomy.canvas import sides_of
from benchmark.twins.anatomy.shape import Shape
from benchmark.twins.findings.base import Draw, reshaper


@reshaper
def heart_size(shape: Shape, draw: Draw) -> Shape:
    """options: gain of the cardiothoracic ratio, round (0 to 1) for a globular outline."""
    gain = draw.options.get("gain", 0.11) * draw.strength
    return replace(
        shape,
        heart_ratio=shape.heart_ratio + gain,
        heart_round=shape.heart_round + draw.options.get("round", 0),
    )


@reshaper
def aorta_shape(shape: Shape, draw: Draw) -> Shape:
    """options: arch, descending, ascending, height, width: what is enlarged, in sides at strength 1."""
    o, s = draw.options, draw.strength
    return replace(
        shape,
        arch_radius=shape.arch_radius + o.get("arch", 0) * s,
        descending=shape.descending + o.get("descending", 0) * s,
        ascending=shape.ascending + o.get("ascending", 0) * s,
        arch_height=shape.arch_height + o.get("height", 0) * s,
        upper_mediastinum=shape.upper_mediastinum + o.get("width", 0) * s,
        arch_flip=bool(o.get("flip", shape.arch_flip)),
    )


@reshaper
def mediastinum_shape(shape: Shape, draw: Draw) -> Shape:
    """options: width of the whole, upper for the upper part, artery for the pulmonary trunk."""
    o, s = draw.options, draw.strength
    return replace(
        shape,
        mediastinum=shape.mediastinum + o.get("width", 0) * s,
        upper_mediastinum=shape.upper_mediastinum + o.get("upper", 0) * s,
        artery=shape.artery + o.get("artery", 0) * s,
    )


@reshaper
def displacement(shape: Shape, draw: Draw) -> Shape:
    """Pull trachea and, by options.heart, heart towards the side of the finding."""
    sign = -1 if draw.finding.side == "right" else 1
    far = 0.03 * draw.strength * draw.options.get("gain", 1.0)
    return replace(
        shape,
        trachea_shift=shape.trachea_shift + sign * far * draw.options.get("trachea", 1.0),
        shift=shape.shift + sign * far * draw.options.get("heart", 0.0),
    )


@reshaper
def hilum_size(shape: Shape, draw: Draw) -> Shape:
    gain = 1 + draw.options.get("gain", 0.6) * draw.strength
    sides = set(sides_of(draw.finding.side or "bilateral"))
    return replace(
        shape,
        hilum_right=shape.hilum_right * (gain if "right" in sides else 1),
        hilum_left=shape.hilum_left * (gain if "left" in sides else 1),
        vessels=shape.vessels * (1 + draw.options.get("vessels", 0) * draw.strength),
    )


@reshaper
def spine_curve(shape: Shape, draw: Draw) -> Shape:
    """options: bend sideways (scoliosis), round backwards (kyphosis)."""
    sign = -1 if draw.finding.side == "left" else 1
    return replace(
        shape,
        spine_bend=sign * draw.options.get("bend", 0) * draw.strength + 0.2 * shape.spine_bend,
        spine_round=shape.spine_round + draw.options.get("round", 0) * draw.strength,
        apex=shape.apex + 0.5 * draw.options.get("round", 0) * draw.strength,
    )


@reshaper
def inflation(shape: Shape, draw: Draw) -> Shape:
    """options: lower (domes down), flat (share of curve lost), air, narrow (heart), barrel, widen."""
    o, s = draw.options, draw.strength
    low = o.get("lower", 0) * s
    keep = 1 - min(o.get("flat", 0) * s, 0.95)
    return replace(
        shape,
        dome_right=shape.dome_right + low,
        dome_left=shape.dome_left + low,
        dome_curve_right=shape.dome_curve_right * keep,
        dome_curve_left=shape.dome_curve_left * keep,
        air=shape.air * (1 + o.get("air", 0) * s),
        heart_ratio=shape.heart_ratio * (1 - o.get("narrow", 0) * s),
        barrel=shape.barrel + o.get("barrel", 0) * s,
        half_width=shape.half_width * (1 + o.get("widen", 0) * s),
    )


@reshaper
def dome(shape: Shape, draw: Draw) -> Shape:
    """Raise a hemidiaphragm; options.curve makes the top rounder."""
    up = draw.options.get("up", 0.07) * draw.strength
    curve = 1 + draw.options.get("curve", 0) * draw.strength
    for side in sides_of(draw.finding.side):
        if side == "right":
            shape = replace(
                shape, dome_right=shape.dome_right - up, dome_curve_right=shape.dome_curve_right * curve
            )
        else:
            shape = replace(
                shape, dome_left=shape.dome_left - up, dome_curve_left=shape.dome_curve_left * curve
            )
    return shape


@reshaper
def mirrored_heart(shape: Shape, draw: Draw) -> Shape:
    return replace(shape, heart_flip=True, arch_flip=True)


@reshaper
def breast_size(shape: Shape, draw: Draw) -> Shape:
    """options: set (amount of breast shadow) or remove."""
    amount = 0.0 if draw.options.get("remove") else draw.options.get("set", 0.5) * draw.strength
    sides = set(sides_of(draw.finding.side))
    return replace(
        shape,
        breast_right=amount if "right" in sides else shape.breast_right,
        breast_left=amount if "left" in sides else shape.breast_left,
    )


@reshaper
def habitus(shape: Shape, draw: Draw) -> Shape:
    """options: fat (added), bone (factor), dip of the sternum, slope of the ribs, heart shift."""
    o, s = draw.options, draw.strength
    return replace(
        shape,
        fat=shape.fat + o.get("fat", 0) * s,
        bone=shape.bone * (1 + o.get("bone", 0) * s),
        sternum_dip=shape.sternum_dip + o.get("dip", 0) * s,
        rib_slope=shape.rib_slope * (1 + o.get("slope", 0) * s),
        shift=shape.shift + o.get("shift", 0) * s,
        barrel=shape.barrel + o.get("barrel", 0) * s,
    )
