"""What an image shows, without what lies behind it: OpenCV's GrabCut, its masks kept on disk.

C. Rother, V. Kolmogorov, A. Blake: "GrabCut" - interactive foreground extraction using iterated graph cuts,
SIGGRAPH 2004.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import cv2
import numpy as np

from kit.storage.files import atomic_write

LONG_SIDE = 192  # px GrabCut works on: its time grows faster than the pixels, its outline hardly changes
ITERATIONS = 4
CENTRED = 0.1  # without a box the subject is looked for within this share of the border
LEAST = 0.02  # a smaller share of the rectangle is no subject but a failure
VERSION = 1  # of all the above: a change makes masks anew

Rectangle = tuple[int, int, int, int]


@dataclass(frozen=True)
class Foreground:
    """The subject of pictures: ``mask`` blackens what lies behind it, ``crop`` cuts to its bounding box.

    Attributes:
        folder: Where masks are kept, one file per picture.
    """

    how: Literal["mask", "crop"]
    folder: Path
    version: ClassVar[int] = VERSION

    def apply(self, path: Path, region: Rectangle, box: Rectangle | None, pixels: np.ndarray) -> np.ndarray:
        """Return a picture (H, W, C) without its background.

        Args:
            path: Its file: a mask is made again when size or time of the file changed.
            region: The part of the file that ``pixels`` shows.
            box: Where the subject is, within ``pixels``; None: around the center.
        """
        mask = self._kept(path, region, box, pixels)
        if self.how == "mask":
            return np.where(mask[:, :, None], pixels, np.zeros_like(pixels))
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]

    def _kept(self, path: Path, region: Rectangle, box: Rectangle | None, pixels: np.ndarray) -> np.ndarray:
        """Return the mask (H, W), bool, from its file if there is one that can be read."""
        stat = path.stat()
        identity = repr((VERSION, str(path), stat.st_size, stat.st_mtime_ns, region, box))
        file = self.folder / f"{hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()}.png"
        small = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) if file.exists() else None
        if small is None:
            small = small_mask(pixels, box)
            with atomic_write(file) as draft:
                draft.write_bytes(cv2.imencode(".png", small)[1].tobytes())
        height, width = pixels.shape[:2]
        mask: np.ndarray = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST) > 0
        return mask


def small_mask(pixels: np.ndarray, box: Rectangle | None) -> np.ndarray:
    """Return where the subject of a picture is: 255 there and 0 elsewhere, at most ``LONG_SIDE`` px long.

    Where GrabCut finds nothing, the subject is all of the box, or of the centred rectangle.

    Args:
        pixels: (H, W, 3) or (H, W, 1), uint8.
        box: Where the subject is, in pixels; None: around the center.
    """
    height, width = pixels.shape[:2]
    scale = min(1.0, LONG_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    small = cv2.cvtColor(small, cv2.COLOR_GRAY2RGB) if small.ndim == 2 else small
    left, top, right, bottom = _start(box, size, scale)
    marks = np.zeros(small.shape[:2], np.uint8)
    found = np.zeros_like(marks)
    whole = np.zeros_like(marks)
    whole[top:bottom, left:right] = 255
    cv2.setRNGSeed(0)  # its color clusters start at random
    rectangle = (left, top, right - left, bottom - top)
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    try:
        cv2.grabCut(small, marks, rectangle, background, foreground, ITERATIONS, cv2.GC_INIT_WITH_RECT)
        found[(marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)] = 255
    except cv2.error:
        return whole  # an image of one color has no clusters
    return found if found.sum() >= LEAST * whole.sum() else whole


def _start(box: Rectangle | None, size: tuple[int, int], scale: float) -> Rectangle:
    """Return the rectangle that GrabCut starts from: with a border around it, or it knows no background."""
    width, height = size
    border = (max(1, round(CENTRED * width)), max(1, round(CENTRED * height))) if box is None else (1, 1)
    if box is None:
        return _ordered(border[0], border[1], width - border[0], height - border[1])
    left, top, right, bottom = (round(side * scale) for side in box)
    return _ordered(
        max(border[0], left),
        max(border[1], top),
        min(width - border[0], right),
        min(height - border[1], bottom),
    )


def _ordered(left: int, top: int, right: int, bottom: int) -> Rectangle:
    """Return the rectangle with an area of one pixel at least."""
    left, top = max(0, min(left, right - 1)), max(0, min(top, bottom - 1))
    return left, top, max(right, left + 1), max(bottom, top + 1)
