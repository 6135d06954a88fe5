"""Decode images or crops of images, reduce them to the needed size, and cache them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from torch.utils.data import get_worker_info

from kit.competition.images.decode import DEFAULTS, ColorMode, DecodeOptions, UnreadableImageError, decode
from kit.competition.layouts.base import BOX
from kit.engine.data.foreground import Foreground
from kit.engine.data.pixel_file import PixelFile
from kit.runtime.cores import usable_cores

Box = tuple[int, int, int, int]
PixelsOrError = np.ndarray | UnreadableImageError


class Picture(NamedTuple):
    """The image of one sample: a whole file, or a box (xmin, ymin, xmax, ymax) of it in pixels."""

    path: str
    box: Box | None = None


def pictures_of(samples: pd.DataFrame) -> list[Picture]:
    """Return the pictures of samples (``path``, optionally ``xmin ymin xmax ymax``), in their order.

    A sample without a box is the whole image.
    """
    if BOX[0] not in samples:
        return [Picture(path) for path in samples["path"]]
    whole = samples[BOX].isna().any(axis=1)
    boxes = zip(*(samples[side].fillna(0).astype(int).tolist() for side in BOX), strict=True)
    rows = zip(samples["path"], boxes, whole, strict=True)
    return [Picture(path, None if is_whole else box) for path, box, is_whole in rows]


@dataclass(frozen=True)
class ImageDecoder:
    """Decodes, crops and reduces pictures.

    Attributes:
        margin: Margin around a box, as a share of its sides.
        foreground: Background removal; None: keep the background.
        side: Pixels of the shorter side after reducing; smaller pictures stay; None: do not reduce.
        options: What else decides the pixels: colors behind transparency, the range of deep images.
    """

    mode: ColorMode
    margin: float = 0.0
    foreground: Foreground | None = None
    side: int | None = None
    options: DecodeOptions = DEFAULTS

    def decode(self, root: Path, pictures: Sequence[Picture]) -> list[PixelsOrError]:
        """Return pictures (H, W, C) of one file, decoded once; an error for a box outside the image.

        Raises:
            UnreadableImageError: The file cannot be decoded.
        """
        path = root / pictures[0].path
        if self.foreground is None and all(picture.box is None for picture in pictures):
            return [reduced(decode(path, self.mode, self.side, self.options), self.side)] * len(pictures)
        image = decode(path, self.mode, options=self.options)
        return [self._crop(path, picture, image) for picture in pictures]

    def _crop(self, path: Path, picture: Picture, image: np.ndarray) -> PixelsOrError:
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
            else _with_margin(picture.box, self.margin, width, height)
        )

    def max_bytes(self, picture: Picture, height: int, width: int) -> int:
        """Return the most bytes that a picture of an image (height, width) can need."""
        left, top, right, bottom = self._region(picture, height, width)
        if right <= left or bottom <= top:
            return 0
        rows, columns = bottom - top, right - left
        if (
            self.foreground is None or self.foreground.mode != "crop"
        ):  # crops to the foreground are reduced less
            rows, columns = reduced_shape(rows, columns, self.side)
        longer = max(rows, columns) + 1  # a JPEG decoded at reduced size may round differently
        return min(rows, columns) * longer * (1 if self.mode == "grey" else self.options.channels)

    @property
    def label(self) -> str:
        """A text that differs for every setting, for cache keys."""
        foreground = f"{self.foreground.mode} {self.foreground.version}" if self.foreground else "none"
        size = f"margin {self.margin}, side {self.side}"
        return f"{self.mode}, {size}, foreground {foreground}, {self.options}"


def reduced(pixels: np.ndarray, side: int | None) -> np.ndarray:
    """Return an image (H, W, C) area-averaged to a shorter side of at most ``side`` pixels."""
    height, width, channels = pixels.shape
    rows, columns = reduced_shape(height, width, side)
    if (rows, columns) == (height, width):
        return pixels
    parts = [  # OpenCV averages the areas of at most four channels
        cv2.resize(pixels[:, :, start : start + 4], (columns, rows), interpolation=cv2.INTER_AREA)
        for start in range(0, channels, 4)
    ]
    smaller = [part.reshape(rows, columns, -1) for part in parts]
    return smaller[0] if len(smaller) == 1 else np.concatenate(smaller, axis=2)


def reduced_shape(height: int, width: int, side: int | None) -> tuple[int, int]:
    """Return height and width, scaled to a shorter side of at most ``side`` pixels.

    >>> reduced_shape(600, 800, 300), reduced_shape(600, 800, None)
    ((300, 400), (600, 800))
    """
    shorter = min(height, width)
    if side is None or shorter <= side:
        return height, width
    return round(height * side / shorter), round(width * side / shorter)


def _with_margin(box: Box, margin: float, width: int, height: int) -> Box:
    """Return a box with its margin, clipped to the image."""
    across, down = round(margin * (box[2] - box[0])), round(margin * (box[3] - box[1]))
    left, top = max(0, box[0] - across), max(0, box[1] - down)
    return left, top, min(width, box[2] + across), min(height, box[3] + down)


def _relative(box: Box, region: Box) -> Box:
    return box[0] - region[0], box[1] - region[1], box[2] - region[0], box[3] - region[1]


class ImageStore:
    """The images of one competition.

    Args:
        root: The folder that paths are relative to.
        cache: Cache of decoded pictures; None: decode every time.
    """

    def __init__(self, root: Path, decoder: ImageDecoder, cache: PixelFile[Picture] | None = None) -> None:
        self.root = root
        self.decoder = decoder
        self.cache = cache
        self.of_file: dict[str, list[Picture]] = {}
        for picture in cache.slots if cache else ():
            self.of_file.setdefault(picture.path, []).append(picture)

    def load(self, picture: Picture) -> np.ndarray:
        """Return a picture, (H, W, C) uint8; a cached one is a read-only view of the cache.

        Raises:
            UnreadableImageError: Its file cannot be decoded.
        """
        (pixels,) = self.load_all([picture])
        if isinstance(pixels, UnreadableImageError):
            raise pixels
        return pixels

    def load_all(self, pictures: Sequence[Picture]) -> list[PixelsOrError]:
        """Return pictures as ``load``, or an error each; uncached ones are decoded in threads.

        A data-loader worker decodes in one thread.
        """
        cached = [self._cached(picture) for picture in pictures]
        missing: dict[str, list[Picture]] = {}
        for picture, pixels in zip(pictures, cached, strict=True):
            if pixels is None:
                missing.setdefault(picture.path, []).append(picture)
        decoded = self._decode_files(list(missing.values()))
        return [
            decoded[each].pop() if pixels is None else pixels
            for each, pixels in zip(pictures, cached, strict=True)
        ]

    def _cached(self, picture: Picture) -> np.ndarray | None:
        return self.cache.read(picture) if self.cache else None

    def _decode_files(self, files: Sequence[Sequence[Picture]]) -> dict[Picture, list[PixelsOrError]]:
        """Decode files; return one array per requested picture, none sharing memory."""
        if len(files) < 2 or get_worker_info() is not None:
            decoded = [self._try_decode(pictures) for pictures in files]
        else:
            with ThreadPoolExecutor(len(usable_cores())) as pool:
                decoded = list(pool.map(self._try_decode, files))
        found: dict[Picture, list[PixelsOrError]] = {}
        for pictures, of_file in zip(files, decoded, strict=True):
            for picture in pictures:
                pixels, arrays = of_file[picture], found.setdefault(picture, [])
                arrays.append(pixels.copy() if arrays and isinstance(pixels, np.ndarray) else pixels)
        return found

    def _try_decode(self, pictures: Sequence[Picture]) -> Mapping[Picture, PixelsOrError]:
        try:
            return self._decode(pictures)
        except UnreadableImageError as error:
            return dict.fromkeys(pictures, error)

    def _decode(self, pictures: Sequence[Picture]) -> dict[Picture, PixelsOrError]:
        """Return pictures of one file; with a cache, decode and cache all pictures of that file."""
        if self.cache is None:
            wanted = list(dict.fromkeys(pictures))
            return dict(zip(wanted, self.decoder.decode(self.root, wanted), strict=True))
        wanted = list(dict.fromkeys([*pictures, *self.of_file.get(pictures[0].path, [])]))
        decoded = dict(zip(wanted, self.decoder.decode(self.root, wanted), strict=True))
        for picture, pixels in decoded.items():
            if isinstance(pixels, np.ndarray):
                self.cache.write(picture, pixels)
        return decoded
