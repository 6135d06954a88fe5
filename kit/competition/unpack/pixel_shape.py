"""Find the height and width of images that a table stores as one row of pixel values each."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kit.errors import KitError, counted

MAX_ASPECT = 4  # of height and width
CLEARLY = 0.9  # neighbors must differ by this factor less than in the square, if the shape is no square
Layout = Callable[[np.ndarray], np.ndarray]


class Shape(NamedTuple):
    """How the values of a row form an image.

    Attributes:
        text: The shape, for people.
        image: (P,) -> (H, W) or (H, W, 3).
    """

    text: str
    image: Layout


def find_shape(rows: np.ndarray, path: Path) -> Shape:
    """Return the shape in which neighbors are alike, or else the square.

    Args:
        rows: Values of some images, (N, P).

    Raises:
        KitError: No shape fits clearly, and the number of values is not a square.
    """
    count = rows.shape[1]
    scored = {shape: _roughness(rows, shape) for shape in _candidates(count)}
    best = min(scored, key=lambda shape: scored[shape], default=None)
    square = next((shape for shape in scored if _is_square(shape, count)), None)
    others = [score for shape, score in scored.items() if shape is not best]
    reference = scored[square] if square else min(others, default=math.inf)
    if best is not None and scored[best] < CLEARLY * reference:
        return best
    if square is not None:
        return square
    raise KitError(
        path,
        f"has images of {counted(count, 'value')}, and no height and width make neighbors alike",
        "kit finds the shape where the images are not noise",
        "Write the images to PNG files yourself, named by their ids.",
        code="shape_unknown",
    )


def _candidates(count: int) -> list[Shape]:
    shapes = [
        Shape(f"{rows} x {count // rows}", lambda v, h=rows: v.reshape(h, -1))  # type: ignore[misc]
        for rows in _heights(count)
    ]
    if count % 3 == 0:
        for h in _heights(count // 3):
            w = count // 3 // h
            planes: Layout = lambda v, h=h, w=w: v.reshape(3, h, w).transpose(1, 2, 0)  # type: ignore[misc]  # noqa: E731
            pixels: Layout = lambda v, h=h, w=w: v.reshape(h, w, 3)  # type: ignore[misc]  # noqa: E731
            shapes.append(Shape(f"{h} x {w} x 3, channel by channel", planes))
            shapes.append(Shape(f"{h} x {w} x 3, pixel by pixel", pixels))
    return shapes


def _heights(count: int) -> list[int]:
    fitting = range(math.isqrt(count // MAX_ASPECT) or 1, math.isqrt(count * MAX_ASPECT) + 1)
    return [h for h in fitting if count % h == 0 and max(h, count // h) <= MAX_ASPECT * min(h, count // h)]


def _is_square(shape: Shape, count: int) -> bool:
    side = math.isqrt(count)
    return side * side == count and shape.text == f"{side} x {side}"


def _roughness(rows: np.ndarray, shape: Shape) -> float:
    """Return how much neighbors differ on average, down and across, (N, P)."""
    images = np.stack([shape.image(row) for row in rows]).astype(np.float64)
    return float(np.abs(np.diff(images, axis=1)).mean() + np.abs(np.diff(images, axis=2)).mean())
