"""Remove the background of images with OpenCV's GrabCut; masks are cached on disk.

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

from kit.competition.images.pixels import three_channel_view
from kit.storage.files import atomic_write

LONG_SIDE = 192  # pixels of the longer side for GrabCut: larger is much slower and hardly changes the mask
ITERATIONS = 4
BORDER = 0.1  # without a box, this share of each side is assumed to be background
MIN_SHARE = 0.02  # a foreground below this share of the rectangle counts as failure
VERSION = 1  # raise it when a constant above changes

Rectangle = tuple[int, int, int, int]


@dataclass(frozen=True)
class Foreground:
    """Background removal: ``mask`` blackens the background, ``crop`` crops to the foreground's bounding box.

    Attributes:
        folder: Folder of cached masks, one file per picture.
        decoding: The key of the options by which images are decoded.
    """

    mode: Literal["mask", "crop"]
    folder: Path
    decoding: str = ""
    version: ClassVar[int] = VERSION

    def apply(self, path: Path, region: Rectangle, box: Rectangle | None, pixels: np.ndarray) -> np.ndarray:
        """Return a picture (H, W, C) without its background.

        Args:
            path: The image file; the mask is computed again if its size or time changes.
            region: The part of the file in ``pixels``.
            box: Box of the object within ``pixels``; None: around the center.
        """
        mask = self._mask(path, region, box, pixels)
        if self.mode == "mask":
            return np.where(mask[:, :, None], pixels, np.zeros_like(pixels))
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]

    def _mask(self, path: Path, region: Rectangle, box: Rectangle | None, pixels: np.ndarray) -> np.ndarray:
        """Return the mask (H, W), bool, from its file, or computed and stored."""
        stat = path.stat()
        identity = repr((VERSION, self.decoding, str(path), stat.st_size, stat.st_mtime_ns, region, box))
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
    """Return the foreground mask, 255 or 0, with a longer side of at most ``LONG_SIDE`` pixels.

    If GrabCut finds nothing, the whole box or centered rectangle is foreground.

    Args:
        pixels: (H, W, C), uint8; GrabCut sees their three-channel view.
        box: Box of the object, in pixels; None: around the center.
    """
    height, width = pixels.shape[:2]
    scale = min(1.0, LONG_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(three_channel_view(pixels), size, interpolation=cv2.INTER_AREA)
    left, top, right, bottom = _initial_rectangle(box, size, scale)
    marks = np.zeros(small.shape[:2], np.uint8)
    found = np.zeros_like(marks)
    whole = np.zeros_like(marks)
    whole[top:bottom, left:right] = 255
    cv2.setRNGSeed(0)  # GrabCut initializes its color clusters at random
    rectangle = (left, top, right - left, bottom - top)
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    try:
        cv2.grabCut(small, marks, rectangle, background, foreground, ITERATIONS, cv2.GC_INIT_WITH_RECT)
        found[(marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)] = 255
    except cv2.error:
        return whole  # GrabCut fails on an image of one color
    return found if found.sum() >= MIN_SHARE * whole.sum() else whole


def _initial_rectangle(box: Rectangle | None, size: tuple[int, int], scale: float) -> Rectangle:
    """Return the initial rectangle of GrabCut; the border around it is the initial background."""
    width, height = size
    border = (max(1, round(BORDER * width)), max(1, round(BORDER * height))) if box is None else (1, 1)
    if box is None:
        return _at_least_one_pixel(border[0], border[1], width - border[0], height - border[1])
    left, top, right, bottom = (round(side * scale) for side in box)
    return _at_least_one_pixel(
        max(border[0], left),
        max(border[1], top),
        min(width - border[0], right),
        min(height - border[1], bottom),
    )


def _at_least_one_pixel(left: int, top: int, right: int, bottom: int) -> Rectangle:
    """Return the rectangle, enlarged to at least one pixel."""
    left, top = max(0, min(left, right - 1)), max(0, min(top, bottom - 1))
    return left, top, max(right, left + 1), max(bottom, top + 1)
