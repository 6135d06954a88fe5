"""Resize with antialiasing like Pillow, with which timm's weights were trained and evaluated.

OpenCV cannot: where an image shrinks, its bicubic skips pixels; its mean over areas is another filter, and
takes three times as long.
"""

from __future__ import annotations

from typing import Any

import albumentations as A
import cv2
import numpy as np
import torch
from PIL import ImageColor
from torch.nn import functional

from kit.registry import Registry

INTERPOLATIONS = {"nearest": cv2.INTER_NEAREST, "bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
SMOOTH = {INTERPOLATIONS[name]: name for name in ("bilinear", "bicubic")}


class RandomResizedCrop(A.RandomResizedCrop):  # type: ignore[misc]
    """A crop of random area and shape, as large as the model takes it."""

    def apply(self, img: np.ndarray, crop_coords: tuple[int, int, int, int], **params: Any) -> np.ndarray:
        """Return the crop (xmin, ymin, xmax, ymax) of an image (H, W, C) uint8."""
        left, top, right, bottom = crop_coords
        return resized(img[top:bottom, left:right], self.size, self.interpolation)


class Fit(A.ImageOnlyTransform):  # type: ignore[misc]
    """A way to bring an image of any shape to ``size`` by ``size`` pixels, the same for every seed.

    Attributes:
        keeps_all: Whether the whole image is kept; then it becomes square before it is cropped at random.
        resized: The shorter side before a center crop, in pixels.
        background: The color of padding.
    """

    keeps_all = False

    def __init__(self, resized: int, size: int, interpolation: int, background: str = "white") -> None:
        super().__init__(p=1)
        self.resized, self.size, self.interpolation = resized, size, interpolation
        self.background = background

    def square(self, img: np.ndarray) -> np.ndarray:
        """Return an image (H, W, C) uint8 as a square that random crops are taken from."""
        return img

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        """Return the options, as albumentations describes a step."""
        return "resized", "size", "interpolation", "background"


fits: Registry[type[Fit]] = Registry("fit")


@fits.register("crop")
class ResizeAndCrop(Fit):
    """Resize the shorter side to ``resized`` pixels, then crop the center, ``size`` by ``size``."""

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        """Return the center of an image (H, W, C) uint8, in memory of its own."""
        scale = self.resized / min(img.shape[:2])
        rows, columns = (max(1, round(side * scale)) for side in img.shape[:2])
        top, left = (rows - self.size) // 2, (columns - self.size) // 2
        whole = resized(img, (rows, columns), self.interpolation)
        return np.ascontiguousarray(whole[top : top + self.size, left : left + self.size])

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        """Return the options, as albumentations describes a step."""
        return "resized", "size", "interpolation"


@fits.register("letterbox")
class Letterbox(Fit):
    """Resize the longer side to ``size`` pixels, and pad the shorter one to the same on both sides."""

    keeps_all = True

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        """Return the whole image (H, W, C) uint8 and its padding, in memory of its own."""
        scale = self.size / max(img.shape[:2])
        rows, columns = (max(1, round(side * scale)) for side in img.shape[:2])
        return padded(resized(img, (rows, columns), self.interpolation), self.background)

    def square(self, img: np.ndarray) -> np.ndarray:
        """Return the image (H, W, C) uint8 with padding."""
        return padded(img, self.background)


@fits.register("squash")
class Squash(Fit):
    """Resize both sides to ``size`` pixels: the whole image, with other proportions."""

    keeps_all = True

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        """Return the whole image (H, W, C) uint8, squashed, in memory of its own."""
        return resized(img, (self.size, self.size), self.interpolation)

    def square(self, img: np.ndarray) -> np.ndarray:
        """Return the image (H, W, C) uint8, its shorter side stretched."""
        side = max(img.shape[:2])
        return resized(img, (side, side), self.interpolation)


class Square(A.ImageOnlyTransform):  # type: ignore[misc]
    """Make the whole image square as ``fit`` does, before a random crop."""

    def __init__(self, fit: Fit) -> None:
        super().__init__(p=1)
        self.fit = fit

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        """Return the square image (S, S, C) uint8."""
        return self.fit.square(img)

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        """Return the options, as albumentations describes a step."""
        return ("fit",)


def padded(image: np.ndarray, color: str) -> np.ndarray:
    """Return an image (H, W, C) uint8, padded on both sides to a square of its longer side.

    Channels that are no colors have the gray level of the color.
    """
    rows, columns, channels = image.shape
    side = max(rows, columns)
    if rows == columns:
        return image
    fill = ImageColor.getcolor(color, "RGB" if channels == 3 else "L")
    square = np.empty((side, side, channels), np.uint8)
    square[:] = fill
    top, left = (side - rows) // 2, (side - columns) // 2
    square[top : top + rows, left : left + columns] = image
    return square


class Shift(A.ImageOnlyTransform):  # type: ignore[misc]
    """Move the image by up to ``share`` of its shorter side in each direction; the edge is repeated."""

    def __init__(self, share: float) -> None:
        super().__init__(p=1)
        self.share = share

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        """Return an image (H, W, C) uint8 of the same shape, moved by whole pixels."""
        rows, columns = img.shape[:2]
        most = max(1, round(self.share * min(rows, columns)))
        down, right = (self.py_random.randint(-most, most) for _ in range(2))
        row = np.clip(np.arange(rows) - down, 0, rows - 1)
        column = np.clip(np.arange(columns) - right, 0, columns - 1)
        moved: np.ndarray = img[row[:, None], column]
        return moved

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        """Return the options, as albumentations describes a step."""
        return ("share",)


def resized(image: np.ndarray, shape: tuple[int, int], interpolation: int) -> np.ndarray:
    """Return an image (H, W, C) uint8 of another shape (rows, columns), in memory of its own.

    Args:
        interpolation: As OpenCV numbers it. But for the nearest pixel, a pixel weighs all that it covers.
    """
    rows, columns = shape
    if image.shape[:2] == (rows, columns):
        return image.copy()
    if interpolation not in SMOOTH:
        nearest: np.ndarray = cv2.resize(image, (columns, rows), interpolation=interpolation)
        return nearest.reshape(rows, columns, -1)
    # A batch of one that lies channels-last, for then the result does; a copy, since images are read-only.
    batch = torch.from_numpy(image[None].copy()).permute(0, 3, 1, 2)
    smooth = functional.interpolate(batch, (rows, columns), mode=SMOOTH[interpolation], antialias=True)
    pixels: np.ndarray = smooth[0].permute(1, 2, 0).numpy()
    return pixels
