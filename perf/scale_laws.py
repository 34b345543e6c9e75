"""The laws of `perf/scale.py`: their terms, the sizes they are fitted and checked at, and the fit.

A term is a product of sizes. Letters: N images, T texts (of a batch, in training), P patch tokens, D channels
of images, texts and the shared space alike, S seeds; and what follows from them: M = P + 1 tokens with the
global one, B = N / T batches, F = the images that inputs are standardised by. Why each is there:

    seconds     1, S         what is done once a run: keys, the optimiser, files
                B, B·D²      a step: Python's part, and every weight is updated
                N, N·D       an image or a tile of them: Python's part; norms and sums of its global vector
                N·P·D, N·M·D features are read, widened to single precision and standardised
                F·P·D        the statistics of that (with M it is N·M·D: there F is N)
                N·D²         projection of global vectors;  N·M·D²: of tokens, with RadZero's align layers
                N·M²·D       their self-attention (RadZero)
                N·T          a pair's score and its loss, and the rows of a pair's layers
                N·T·D        a pair by its vectors (CLIP), its attended vector (RadZero), its words (CARZero)
                N·T·D²       a pair through the decoder (CARZero)
                N·T·M, N·T·M·D  a pair's softmax over tokens, its attention to them
    memory      1            Python and torch with this project
                N·T          the scores;  T·D: the texts, prepared
                P·D, M·D     a tile of images;  D: of pairs;  M: of pairs and tokens;  D²: the weights
    … training  D²           weights, gradients, Adam's moments, the best weights
                T·M·D        a batch of T images;  T²·D, T²·M: its pairs, kept for the backward pass
                F·M·D        the tokens by which inputs are standardised, in double precision
    both        N·P·D        pages of the features that were read: mapped files, kept until others want room

Disk: features N·D (pooled, 4 bytes) and N·P·D (tokens, 2); scores N·T (4); weights S·D², S·D (matrices and
vectors, 4 bytes a number); 1, N and S for the heads of files.

Coefficients are least squares of the relative errors and none is negative, since no work takes less than
nothing; one that is 0 stands for work that the fit cannot tell from that of another term. A term that begins
with 4 has that coefficient: the few scores of RadZero and CARZero here are too small to be seen in memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from benchmark.training.loop import STATISTICS_IMAGES
from perf.scale_work import Size

TOLERANCE = 0.15
LETTERS = "NTPD"
WIDTHS, FEW, TOKENS = (64, 192, 320, 384), (2, 4, 8, 10), (32, 64, 128, 160)
SIZES = {
    ("scoring", "clip"): {"N": (16384, 32768, 65536, 81920), "T": (128, 256, 512, 640), "P": FEW},
    ("scoring", "radzero"): {"N": (128, 256, 512, 640), "T": (256, 512, 1024, 1280), "P": TOKENS},
    ("scoring", "carzero"): {"N": (128, 256, 512, 640), "T": (64, 128, 256, 320), "P": TOKENS},
    ("training", "clip"): {"N": (3072, 6144, 12288, 15360), "T": (32, 96, 256, 384), "P": (8, 16, 32, 40)},
    ("training", "radzero"): {"N": (48, 96, 192, 288), "T": (12, 24, 48, 96), "P": TOKENS},
    ("training", "carzero"): {"N": (48, 96, 192, 288), "T": (12, 24, 48, 96), "P": TOKENS},
}
"""Three sizes that a law is fitted at, and a larger one that it is checked at. Every image of a training has
one text, and N is a multiple of T, so that all batches are full."""
SEEDS = (1, 2, 3, 5)
PARTS = ("standardising", "steps")
"""Of a training: what each takes at its peak."""

FEATURES, SCORES, WEIGHTS = ("1", "N·D", "N·P·D"), ("1", "N", "N·T"), ("S", "S·D", "S·D²")
TERMS: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {
    ("scoring", "clip"): {
        "seconds": ("1", "N", "N·P·D", "N·D²", "N·T", "N·T·D"),
        "memory": ("1", "N·P·D", "N·T", "T·D", "P·D", "D", "D²"),
    },
    ("scoring", "radzero"): {
        "seconds": ("1", "N·M·D", "N·M·D²", "N·M²·D", "N·T·M·D", "N·T·M", "N·T·D"),
        "memory": ("1", "N·P·D", "4·N·T", "T·D", "M·D", "D", "M", "D²"),
    },
    ("scoring", "carzero"): {
        "seconds": ("1", "N·M·D", "N·M·D²", "N·T", "N·T·D", "N·T·D²", "N·T·M·D"),
        "memory": ("1", "N·P·D", "4·N·T", "T·D", "M·D", "D", "D²"),
    },
    ("training", "clip"): {
        "seconds": (
            "S", "S·B", "S·B·D²", "S·N·D", "S·N·P·D", "S·F·P·D", "S·N·D²", "S·N·T", "S·N·T·D",
        ),
        "standardising": ("1", "N·P·D", "F·P·D", "D"),
        "steps": ("1", "N·P·D", "D²", "T·P·D", "T²", "T²·D"),
    },
    ("training", "radzero"): {
        "seconds": ("S", "S·B", "S·B·D²", "S·N·M·D", "S·N·M·D²", "S·N·M²·D", "S·N·T·D", "S·N·T·M·D"),
        "standardising": ("1", "F·M·D", "D"),
        "steps": ("1", "N·P·D", "D²", "T·M·D", "T²·D", "T²·M"),
    },
    ("training", "carzero"): {
        "seconds": (
            "S", "S·B", "S·B·D²", "S·N·M·D", "S·N·M·D²", "S·N·T", "S·N·T·D", "S·N·T·D²", "S·N·T·M·D",
        ),
        "standardising": ("1", "F·M·D", "D"),
        "steps": ("1", "N·P·D", "D²", "T·M·D", "T²·D", "T²·M"),
    },
}  # fmt: skip
for (_work, _), _terms in TERMS.items():
    _terms |= {"features": FEATURES, "made": SCORES} if _work == "scoring" else {"made": WEIGHTS}


@dataclass(frozen=True)
class Law:
    """Σ coefficient · term, in seconds or bytes."""

    terms: tuple[str, ...]
    coefficients: tuple[float, ...]

    def told(self, size: Size) -> float:
        pairs = zip(self.coefficients, self.terms, strict=True)
        return math.fsum(c * amount(term, size) for c, term in pairs)

    def __str__(self) -> str:
        parts = zip(self.coefficients, self.terms, strict=True)
        return " + ".join(t if t[0] == "4" else f"{c:.2g}" + f"·{t}" * (t != "1") for c, t in parts if c)


def amount(term: str, size: Size) -> float:
    known = {**size, "1": 1, "4": 4, "M": size["P"] + 1, "B": size["N"] / size["T"]}
    known["F"] = min(size["N"], STATISTICS_IMAGES)
    return math.prod(known[factor[0]] ** (2 if factor.endswith("²") else 1) for factor in term.split("·"))


def fitted(terms: tuple[str, ...], sizes: Sequence[Size], values: Sequence[float]) -> Law:
    matrix = np.array([[amount(term, size) for term in terms] for size in sizes]) / np.array(values)[:, None]
    scale = matrix.max(0)
    known = np.array([term.startswith("4") for term in terms])
    coefficients = 1 / scale
    target = 1 - matrix[:, known].sum(1)
    coefficients[~known] *= nnls((matrix / scale)[:, ~known], target)[0]
    coefficients[known] = 1
    return Law(terms, tuple(float(c) for c in coefficients))


def fit_sizes(work: str, method: str) -> list[Size]:
    """Nine sizes (an orthogonal array): each letter takes each of its three sizes three times, and each two
    letters every combination once, so that products are told apart. More seeds at the smallest."""
    levels = SIZES[work, method] | {"D": WIDTHS}
    rows = [(a, b, (a + b) % 3, (a + 2 * b) % 3) for a in range(3) for b in range(3)]
    found = [{x: levels[x][n] for x, n in zip(LETTERS, row, strict=True)} | {"S": 1} for row in rows]
    more = SEEDS[1:3] if work == "training" else ()
    return found + [found[0] | {"S": seeds} for seeds in more]


def check_sizes(work: str, method: str) -> dict[str, Size]:
    """Each letter at its fourth size while the others are in the middle; and all at their fourth. CLIP, which
    is fitted at few tokens so that other terms are seen beside them, also at many, on the fewest images."""
    levels = SIZES[work, method] | {"D": WIDTHS}
    middle, last = ({x: levels[x][n] for x in LETTERS} | {"S": 1} for n in (1, 3))
    found = {x: middle | {x: last[x]} for x in LETTERS} | {"all": last}
    if (work, method) == ("scoring", "clip"):
        few = {x: levels[x][0] for x in LETTERS} | {"S": 1}
        found |= {f"{tokens} tokens": few | {"P": tokens, "D": WIDTHS[1]} for tokens in TOKENS[1:]}
    if work == "training":
        found["S"] = {x: levels[x][0] for x in LETTERS} | {"S": SEEDS[3]}
    return found


def laws(
    work: str, method: str, took: Sequence[Mapping[str, float]], sizes: Sequence[Size]
) -> dict[str, Law]:
    return {
        quantity: fitted(terms, sizes, [found[quantity] for found in took])
        for quantity, terms in TERMS[work, method].items()
    }


def compared(
    found: Mapping[str, Law], size: Size, was: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """(told, was) of each quantity. The peak of a training is that of its part which is higher; its files are
    also held against the numbers of the method, 4 bytes each."""
    pairs = {quantity: (law.told(size), was[quantity]) for quantity, law in found.items()}
    parts = [pairs.pop(part) for part in PARTS if part in pairs]
    if parts:
        pairs["memory"] = (max(told for told, _ in parts), max(value for _, value in parts))
    if "numbers" in was:
        pairs["weights"] = (4 * was["numbers"], was["made"])
    return pairs


def spelled(found: Mapping[str, Law], quantity: str) -> str:
    if quantity in found:
        return str(found[quantity])
    if quantity == "weights":
        return "4 bytes a number, parameters and statistics of inputs"
    return f"max({', '.join(str(found[part]) for part in PARTS)})"
