"""The outlines of ten objects, and wobbly copies of them.

An outline is a list of polygons [N,2] within 1.05 of the middle, y downwards. The first
is the object's edge, the others are holes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Polygon: TypeAlias = NDArray[np.float64]
Outline: TypeAlias = Sequence[Polygon]

#: Largest distance of neighboring points once an edge is divided.
_STEP = 0.08
#: Number of waves of a wobble, and their smallest and largest number of radians per
#: unit of length.
_WAVES, _FREQUENCIES = 3, (1.5, 5.0)


def _circle(
    radius: float, *, center: tuple[float, float] = (0.0, 0.0), points: int = 40
) -> Polygon:
    angles = np.linspace(0, 2 * math.pi, points, endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius + center


def _star() -> Outline:
    angles = np.arange(10) * math.pi / 5 - math.pi / 2
    radii = np.where(np.arange(10) % 2, 0.42, 1.0)
    return [np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None]]


def _heart() -> Outline:
    t = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return [np.stack([x, -y], axis=1) / 17.0]


def _crescent() -> Outline:
    outer = np.linspace(0.3 * math.pi, 1.7 * math.pi, 40)
    tips = np.stack([np.cos(outer), np.sin(outer)], axis=1)
    end_x, end_y = tips[0]
    # An arc through both tips around a center to the right.
    center = 0.55
    radius = math.hypot(end_x - center, end_y)
    half = math.atan2(end_y, end_x - center)
    inner = np.linspace(2 * math.pi - half, half, 30)
    arc = np.stack([center + radius * np.cos(inner), radius * np.sin(inner)], axis=1)
    return [np.concatenate([tips, arc[1:-1]])]


def _points(*points: tuple[float, float]) -> Polygon:
    return np.array(points, np.float64)


_A = 0.3
OUTLINES: dict[str, Outline] = {
    "arrow": [
        _points(
            *((-0.95, -0.22), (0.1, -0.22), (0.1, -0.65), (0.95, 0.0)),
            *((0.1, 0.65), (0.1, 0.22), (-0.95, 0.22)),
        )
    ],
    "bolt": [
        _points(
            *((0.1, -0.98), (-0.55, 0.15), (-0.05, 0.15)),
            *((-0.25, 0.95), (0.55, -0.25), (0.05, -0.25), (0.45, -0.88)),
        )
    ],
    "crescent": _crescent(),
    "cross": [
        _points(
            *((-_A, -0.9), (_A, -0.9), (_A, -_A), (0.9, -_A), (0.9, _A), (_A, _A)),
            *((_A, 0.9), (-_A, 0.9), (-_A, _A), (-0.9, _A), (-0.9, -_A), (-_A, -_A)),
        )
    ],
    "heart": _heart(),
    "house": [
        _points(
            *((0.0, -0.95), (0.85, -0.2), (0.62, -0.2), (0.62, 0.75)),
            *((-0.62, 0.75), (-0.62, -0.2), (-0.85, -0.2)),
        ),
        _points((-0.15, 0.75), (-0.15, 0.2), (0.2, 0.2), (0.2, 0.75)),
    ],
    "key": [
        np.concatenate(
            [
                _circle(0.4, center=(-0.55, 0.0))[2:-1],
                _points(
                    *((-0.17, -0.12), (0.95, -0.12), (0.95, 0.4), (0.75, 0.4)),
                    *((0.75, 0.12), (0.55, 0.12), (0.55, 0.35), (0.35, 0.35)),
                    *((0.35, 0.12), (-0.17, 0.12)),
                ),
            ]
        ),
        _circle(0.18, center=(-0.55, 0.0), points=16),
    ],
    "ring": [_circle(0.9), _circle(0.5)],
    "star": _star(),
    "tree": [
        _points(
            *((0.0, -0.98), (0.45, -0.3), (0.25, -0.3), (0.7, 0.45), (0.15, 0.45)),
            *((0.15, 0.9), (-0.15, 0.9), (-0.15, 0.45), (-0.7, 0.45)),
            *((-0.25, -0.3), (-0.45, -0.3)),
        )
    ],
}


def wobbly(outline: Outline, rng: np.random.Generator, *, amount: float) -> Outline:
    """Returns the outline with its points moved by up to about `amount`, smoothly."""
    frequencies = rng.uniform(*_FREQUENCIES, (_WAVES, 1)) * _directions(rng)
    phases = rng.uniform(0, 2 * math.pi, _WAVES)
    shifts = _directions(rng) * amount * rng.uniform(0.3, 1.0, (_WAVES, 1))

    def move(polygon: Polygon) -> Polygon:
        points = _divided(polygon)
        waves = np.sin(points @ frequencies.T + phases)
        return points + waves @ shifts / math.sqrt(_WAVES)

    return [move(polygon) for polygon in outline]


def blob(rng: np.random.Generator) -> Outline:
    """Returns an outline of no class: a polygon around the middle."""
    corners = int(rng.integers(4, 9))
    angles = np.sort(rng.uniform(0, 2 * math.pi, corners))
    radii = rng.uniform(0.4, 1.0, corners)
    return [np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None]]


def _directions(rng: np.random.Generator) -> Polygon:
    angles = rng.uniform(0, 2 * math.pi, _WAVES)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _divided(polygon: Polygon) -> Polygon:
    """Returns the polygon with points on its edges, at most `_STEP` apart."""
    parts = []
    for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        count = max(1, math.ceil(np.linalg.norm(end - start) / _STEP))
        parts.append(start + (end - start) * (np.arange(count) / count)[:, None])
    return np.concatenate(parts)
