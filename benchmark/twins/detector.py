"""From attenuation to a stored radiograph: primary beam, scatter, quantum noise, display curve, site look."""

from __future__ import annotations

import cv2
import numpy as np
from pydantic import BaseModel, Field

from benchmark.twins.geometry import grid, soften, texture


class Style(BaseModel, frozen=True, extra="forbid"):
    """Look of one site's radiographs.

    gamma: display curve (1 is linear, below 1 brightens lungs). exposure: relative dose.
    sharpen: gain of the unsharp mask. blur: focal spot and motion, fraction of the side.
    border: share of images with a dark collimator rim. marker: letters burned into a corner.
    spread: how much gamma, dose and window vary between the images of the site.
    """

    gamma: float = Field(default=0.85, gt=0)
    exposure: float = Field(default=1.0, gt=0)
    scatter: float = Field(default=0.12, ge=0)
    blur: float = Field(default=0.001, ge=0)
    sharpen: float = Field(default=0.5, ge=0)
    border: float = Field(default=0.1, ge=0, le=1)
    marker: str = ""
    spread: float = Field(default=0.1, ge=0)
    low: float = 0.22
    high: float = 2.75


def expose(depth: np.ndarray, style: Style, portable: bool, rng: np.random.Generator) -> np.ndarray:
    """Radiograph (S, S) float32 in [0, 1], black is air.

    Beer-Lambert transmission exp(-depth), scatter as a wide blur of the primary, noise of variance
    proportional to the detected intensity, logarithm, window, display curve, unsharp mask.
    """
    size = depth.shape[0]
    spread = style.spread * (1.6 if portable else 1.0)
    dose, gamma, shift, stretch, tilt = rng.normal(0, 1, 5)
    blur = style.blur * (2.0 if portable else 1.0)
    primary = np.exp(-np.maximum(soften(depth, blur), 0))
    share = style.scatter * (1.5 if portable else 1.0)
    primary += np.float32(share) * soften(primary, 0.08)
    photons = np.float32(1.6e4 * style.exposure * np.exp(2 * spread * dose))
    primary += texture(size, 0, rng) * np.sqrt(primary / photons)
    seen = -np.log(np.maximum(primary, np.float32(1e-3)))
    low = style.low + 0.35 * spread * shift - 0.11 * share
    high = style.high + 0.8 * spread * stretch
    image = np.clip((seen - np.float32(low)) / np.float32(high - low), 0, None)
    if portable:
        _, y = grid(size)
        image = image * (1 + np.float32(0.25 * spread * tilt) * (y - 0.5))
    if style.sharpen:
        image = image + np.float32(style.sharpen) * (image - soften(image, 0.012))
    image = np.clip(image, 0, 1.25) / np.float32(1.25)
    image = image ** np.float32(style.gamma * np.exp(spread * gamma))
    return _frame(image * np.float32(1.06), style, rng)


def _frame(image: np.ndarray, style: Style, rng: np.random.Generator) -> np.ndarray:
    size = image.shape[0]
    if rng.random() < style.border:
        left, right, top, bottom = (int(size * abs(rng.normal(0, 0.025))) for _ in range(4))
        image[:top], image[size - bottom :], image[:, :left], image[:, size - right :] = (
            0.02,
            0.02,
            0.02,
            0.02,
        )
    if style.marker:
        x = int(size * rng.uniform(0.02, 0.08))
        y = int(size * rng.uniform(0.07, 0.14))
        letters = np.zeros((size, size), np.uint8)
        thick = max(1, size // 180)
        cv2.putText(
            letters, style.marker, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size / 420, 242, thick, cv2.LINE_AA
        )
        image = np.maximum(image, letters.astype(np.float32) / 255)
    return np.clip(image, 0, 1, out=image).astype(np.float32, copy=False)
