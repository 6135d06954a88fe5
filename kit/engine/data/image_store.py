"""Files -> pixels: whole images or crops of them, as large as they are needed, decoded once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from torch.utils.data import get_worker_info

from kit.competition.decode import ColorMode, UnreadableImageError, decode
from kit.competition.layouts.base import BOX
from kit.engine.data.foreground import Foreground
from kit.engine.data.pixel_file import PixelFile

Box = tuple[int, int, int, int]
Loaded = np.ndarray | UnreadableImageError


class Picture(NamedTuple):
    """What one sample shows: an image, or the part of it in a box (xmin, ymin, xmax, ymax), in pixels."""

    path: str
    box: Box | None = None


def pictures_of(samples: pd.DataFrame) -> list[Picture]:
    """Return what samples (``path``, perhaps ``xmin ymin xmax ymax``) show, in their order.

    Where a box is missing, as of extra images among crops, that is the whole image.
    """
    if BOX[0] not in samples:
        return [Picture(path) for path in samples["path"]]
    whole = samples[BOX].isna().any(axis=1)
    boxes = zip(*(samples[side].fillna(0).astype(int).tolist() for side in BOX), strict=True)
    rows = zip(samples["path"], boxes, whole, strict=True)
    return [Picture(path, None if is_whole else box) for path, box, is_whole in rows]


@dataclass(frozen=True)
class Rendering:
    """How a picture is taken from its file.

    Attributes:
        margin: What a crop shows around its box, as a share of the box's own sides.
        foreground: What becomes of the background; None: it stays.
        side: To how many pixels the shorter side of larger pictures is reduced; None: they stay.
    """

    mode: ColorMode
    margin: float = 0.0
    foreground: Foreground | None = None
    side: int | None = None

    def take(self, root: Path, pictures: Sequence[Picture]) -> list[Loaded]:
        """Return some pictures (H, W, C) of one file, which is decoded once; or that their box lies outside.

        Raises:
            UnreadableImageError: The file cannot be decoded.
        """
        path = root / pictures[0].path
        if self.foreground is None and all(picture.box is None for picture in pictures):
            return [reduced(decode(path, self.mode, self.side), self.side)] * len(pictures)
        image = decode(path, self.mode)
        return [self._part(path, picture, image) for picture in pictures]

    def _part(self, path: Path, picture: Picture, image: np.ndarray) -> Loaded:
        left, top, right, bottom = region = self._region(picture, image.shape[0], image.shape[1])
        pixels = image[top:bottom, left:right]
        if pixels.size == 0:
            return UnreadableImageError(f"the box {picture.box} lies outside the image")
        if self.foreground is not None:
            inner = _relative(picture.box, region) if picture.box else None
            pixels = self.foreground.apply(path, region, inner, pixels)
        return np.ascontiguousarray(reduced(pixels, self.side))

    def _region(self, picture: Picture, height: int, width: int) -> Box:
        return (
            (0, 0, width, height)
            if picture.box is None
            else _widened(picture.box, self.margin, width, height)
        )

    def most_bytes(self, picture: Picture, height: int, width: int) -> int:
        """Return how many bytes a picture can take, out of an image of that size."""
        left, top, right, bottom = self._region(picture, height, width)
        if right <= left or bottom <= top:
            return 0
        rows, columns = bottom - top, right - left
        if self.foreground is None or self.foreground.how != "crop":  # what is cut out is reduced less
            rows, columns = reduced_shape(rows, columns, self.side)
        longer = max(rows, columns) + 1  # a JPEG that is decoded smaller may round another way
        return min(rows, columns) * longer * (3 if self.mode == "rgb" else 1)

    @property
    def label(self) -> str:
        """What tells renderings apart."""
        foreground = f"{self.foreground.how} {self.foreground.version}" if self.foreground else "none"
        return f"{self.mode}, margin {self.margin}, foreground {foreground}, side {self.side}"


def reduced(pixels: np.ndarray, side: int | None) -> np.ndarray:
    """Return an image (H, W, C) whose shorter side has at most ``side`` pixels, each the mean of its area."""
    height, width, channels = pixels.shape
    rows, columns = reduced_shape(height, width, side)
    if (rows, columns) == (height, width):
        return pixels
    smaller: np.ndarray = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA)
    return smaller.reshape(rows, columns, channels)


def reduced_shape(height: int, width: int, side: int | None) -> tuple[int, int]:
    """Return height and width once the shorter one has at most ``side`` pixels.

    >>> reduced_shape(600, 800, 300), reduced_shape(600, 800, None)
    ((300, 400), (600, 800))
    """
    shorter = min(height, width)
    if side is None or shorter <= side:
        return height, width
    return round(height * side / shorter), round(width * side / shorter)


def _widened(box: Box, margin: float, width: int, height: int) -> Box:
    """Return a box with its margin, cut at the borders of the image."""
    across, down = round(margin * (box[2] - box[0])), round(margin * (box[3] - box[1]))
    left, top = max(0, box[0] - across), max(0, box[1] - down)
    return left, top, min(width, box[2] + across), min(height, box[3] + down)


def _relative(box: Box, region: Box) -> Box:
    return box[0] - region[0], box[1] - region[1], box[2] - region[0], box[3] - region[1]


class ImageStore:
    """The pictures of one competition.

    Args:
        root: What paths are relative to.
        kept: Where what was decoded is kept; None: nowhere, every look decodes.
    """

    def __init__(self, root: Path, rendering: Rendering, kept: PixelFile[Picture] | None = None) -> None:
        self.root = root
        self.rendering = rendering
        self.kept = kept
        self.of_file: dict[str, list[Picture]] = {}
        for picture in kept.slots if kept else ():
            self.of_file.setdefault(picture.path, []).append(picture)

    def load(self, picture: Picture) -> np.ndarray:
        """Return a picture, (H, W, C) uint8; one that is kept is read-only, since all share its memory.

        Raises:
            UnreadableImageError: Its file cannot be decoded.
        """
        (pixels,) = self.load_all([picture])
        if isinstance(pixels, UnreadableImageError):
            raise pixels
        return pixels

    def load_all(self, pictures: Sequence[Picture]) -> list[Loaded]:
        """Return pictures as ``load``, or why they cannot be read; what is not kept is decoded in threads.

        A loader process has one core, and decodes in turn.
        """
        kept = [self._kept(picture) for picture in pictures]
        missing: dict[str, list[Picture]] = {}
        for picture, pixels in zip(pictures, kept, strict=True):
            if pixels is None:
                missing.setdefault(picture.path, []).append(picture)
        decoded = self._decode_files(list(missing.values()))
        return [
            decoded[each].pop() if pixels is None else pixels
            for each, pixels in zip(pictures, kept, strict=True)
        ]

    def _kept(self, picture: Picture) -> np.ndarray | None:
        return self.kept.read(picture) if self.kept else None

    def _decode_files(self, files: Sequence[Sequence[Picture]]) -> dict[Picture, list[Loaded]]:
        """Return pictures file by file: each as often as it is asked for, none of the same memory."""
        if len(files) < 2 or get_worker_info() is not None:
            decoded = [self._try_decode(pictures) for pictures in files]
        else:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                decoded = list(pool.map(self._try_decode, files))
        found: dict[Picture, list[Loaded]] = {}
        for pictures, of_file in zip(files, decoded, strict=True):
            for picture in pictures:
                pixels, given = of_file[picture], found.setdefault(picture, [])
                given.append(pixels.copy() if given and isinstance(pixels, np.ndarray) else pixels)
        return found

    def _try_decode(self, pictures: Sequence[Picture]) -> Mapping[Picture, Loaded]:
        try:
            return self._decode(pictures)
        except UnreadableImageError as error:
            return dict.fromkeys(pictures, error)

    def _decode(self, pictures: Sequence[Picture]) -> dict[Picture, Loaded]:
        """Return pictures out of their one file, and keep what else of that file is wanted."""
        if self.kept is None:
            wanted = list(dict.fromkeys(pictures))
            return dict(zip(wanted, self.rendering.take(self.root, wanted), strict=True))
        wanted = list(dict.fromkeys([*pictures, *self.of_file.get(pictures[0].path, [])]))
        taken = dict(zip(wanted, self.rendering.take(self.root, wanted), strict=True))
        for picture, pixels in taken.items():
            if isinstance(pixels, np.ndarray):
                self.kept.write(picture, pixels)
        return taken
