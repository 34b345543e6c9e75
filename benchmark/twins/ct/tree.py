"""Branching vessels and airways: a tree from one root to many ends, and the share of voxels that it fills."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.twins.ct.space import Space

MURRAY = 1 / 2.7
"""Radius of a branch over the number of its ends."""


@dataclass(frozen=True)
class Tree:
    """S segments. start, end: (S, 3) x, y, z in mm. radius: (S,) mm."""

    start: np.ndarray
    end: np.ndarray
    radius: np.ndarray

    def wider(self, factor: float, extra: float = 0.0) -> Tree:
        return Tree(self.start, self.end, self.radius * factor + extra)

    def only(self, keep: np.ndarray) -> Tree:
        """The segments of a mask (S,)."""
        return Tree(self.start[keep], self.end[keep], self.radius[keep])

    @property
    def middle(self) -> np.ndarray:
        return np.asarray((self.start + self.end) / 2)


def grow(root: np.ndarray, ends: np.ndarray, leaf: float, rng: np.random.Generator) -> Tree:
    """A tree that splits its ends (N, 3) in two along their longest axis until one is left."""
    start, end, count = [], [], []
    waiting = [(np.asarray(root, float), ends)]
    while waiting:
        here, own = waiting.pop()
        if len(own) == 1:
            start.append(here)
            end.append(own[0])
            count.append(1)
            continue
        middle = own.mean(0)
        there = here + (middle - here) * rng.uniform(0.3, 0.5) + rng.normal(0, 1.5, 3)
        start.append(here)
        end.append(there)
        count.append(len(own))
        axis = int(np.argmax(own.std(0) * rng.uniform(0.7, 1.3, 3)))
        order = np.argsort(own[:, axis])
        cut = max(int(len(own) * rng.uniform(0.35, 0.65)), 1)
        waiting += [(there, own[order[:cut]]), (there, own[order[cut:]])]
    return Tree(np.array(start), np.array(end), leaf * np.array(count, float) ** MURRAY)


def filled(space: Space, tree: Tree, rng: np.random.Generator) -> np.ndarray:
    """(Z, Y, X) share of each voxel inside the tree. Branches thinner than a voxel keep their volume."""
    if not len(tree.radius):
        return np.zeros(space.shape, np.float32)
    length = np.linalg.norm(tree.end - tree.start, axis=1)
    step = 0.6 * space.fine
    along = np.maximum(np.ceil(length / step).astype(int), 1)
    across = np.clip(np.ceil(2.5 * (tree.radius / step) ** 2).astype(int), 1, 40)
    count = along * across
    row = np.repeat(np.arange(len(count)), count)
    t = rng.random(len(row))[:, None]
    points = tree.start[row] * (1 - t) + tree.end[row] * t
    away = rng.normal(0, 1, (len(row), 3))
    d = (tree.end - tree.start) / np.maximum(length, 1e-6)[:, None]
    away -= (away * d[row]).sum(1)[:, None] * d[row]
    away /= np.maximum(np.linalg.norm(away, axis=1), 1e-6)[:, None]
    points += away * (tree.radius[row] * np.sqrt(rng.random(len(row))))[:, None]
    weights = (length * np.pi * tree.radius**2 / count)[row]
    return space.splat(points, weights)
