"""Files -> pixels, once: whole images or crops of them, kept in memory while they fit the budget."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from kit.competition.decode import ColourMode, UnreadableImageError, decode
from kit.competition.voc import BOX
from kit.engine.foreground import Foreground
from kit.errors import KitError
from kit.progress import Progress

AUTO_SHARE_OF_MEMORY = 0.25
UNITS = {"MB": 10**6, "GB": 10**9}

Box = tuple[int, int, int, int]


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
    """

    mode: ColourMode
    margin: float = 0.0
    foreground: Foreground | None = None

    def render(self, root: Path, picture: Picture, image: np.ndarray) -> np.ndarray:
        """Return a picture (H, W, C) out of its whole image (H, W, C)."""
        if picture.box is None:
            region = (0, 0, image.shape[1], image.shape[0])
        else:
            region = _widened(picture.box, self.margin, image.shape[1], image.shape[0])
        left, top, right, bottom = region
        pixels = image[top:bottom, left:right]
        if pixels.size == 0:
            raise UnreadableImageError(f"the box {picture.box} lies outside the image")
        if self.foreground is not None:
            inner = _relative(picture.box, region) if picture.box else None
            pixels = self.foreground.apply(root / picture.path, region, inner, pixels)
        return pixels if pixels.shape == image.shape else np.ascontiguousarray(pixels)


def _widened(box: Box, margin: float, width: int, height: int) -> Box:
    """Return a box with its margin, cut at the borders of the image."""
    across, down = round(margin * (box[2] - box[0])), round(margin * (box[3] - box[1]))
    left, top = max(0, box[0] - across), max(0, box[1] - down)
    return left, top, min(width, box[2] + across), min(height, box[3] + down)


def _relative(box: Box, region: Box) -> Box:
    return box[0] - region[0], box[1] - region[1], box[2] - region[0], box[3] - region[1]


class ImageStore:
    """The pictures of one competition, kept in memory while they fit the budget.

    Args:
        root: What paths are relative to.
        cache: ``auto`` (a quarter of the memory), ``none``, or a size such as ``2GB``.
    """

    def __init__(self, root: Path, rendering: Rendering, cache: str) -> None:
        self.root = root
        self.rendering = rendering
        self.budget = cache_budget(cache)
        self.held: dict[Picture, np.ndarray] = {}
        self.held_bytes = 0
        self.full = self.budget == 0

    def load(self, picture: Picture) -> np.ndarray:
        """Return a picture, (H, W, C) uint8.

        Raises:
            UnreadableImageError: Its file cannot be decoded.
        """
        held = self.held.get(picture)
        if held is not None:
            return held
        image = decode(self.root / picture.path, self.rendering.mode)
        return self._keep(picture, self.rendering.render(self.root, picture, image))

    def preload(self, pictures: Sequence[Picture], progress: Progress) -> None:
        """Decode ahead, in threads, what fits and is not held; unreadable images are left for ``load``."""
        missing = sorted({picture for picture in pictures if picture not in self.held}, key=_by_path)
        files = [list(of_one) for _, of_one in groupby(missing, key=lambda picture: picture.path)]
        if not files or self.full:
            return
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            decoded = pool.map(self._try_decode, files)
            for pictures_of_file in progress.track(decoded, len(files), "decoding images"):
                for picture, pixels in pictures_of_file:
                    self._keep(picture, pixels)

    def _try_decode(self, pictures: Iterable[Picture]) -> list[tuple[Picture, np.ndarray]]:
        """Return the pictures of one file, decoded once; none where it cannot be, or has no room."""
        if self.full:
            return []
        pictures = list(pictures)
        try:
            image = decode(self.root / pictures[0].path, self.rendering.mode)
            return [(each, self.rendering.render(self.root, each, image)) for each in pictures]
        except UnreadableImageError:
            return []

    def _keep(self, picture: Picture, pixels: np.ndarray) -> np.ndarray:
        self.full = self.full or self.held_bytes + pixels.nbytes > self.budget
        if not self.full and picture not in self.held:
            self.held[picture] = pixels
            self.held_bytes += pixels.nbytes
        return pixels


def _by_path(picture: Picture) -> tuple[str, Box]:
    return picture.path, picture.box or (0, 0, 0, 0)


def cache_budget(cache: str) -> int:
    """Return how many bytes ``image.cache`` allows.

    Raises:
        KitError: It is neither ``auto``, ``none`` nor a size.
    """
    if cache == "none":
        return 0
    if cache == "auto":
        return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * AUTO_SHARE_OF_MEMORY)
    size = re.fullmatch(r"(\d+(?:\.\d+)?) ?(MB|GB)", cache)
    if size is None:
        raise KitError("image.cache", f"is '{cache}'", "Allowed: auto, none, or a size such as 500MB or 2GB")
    return int(float(size[1]) * UNITS[size[2]])
