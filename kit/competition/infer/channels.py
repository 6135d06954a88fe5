"""Measure how many channels images have that are not ordinary pictures: NumPy arrays and TIFF (kit init)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kit.competition.images.decode import UnreadableImageError, num_channels
from kit.competition.images.pixels import RGB
from kit.competition.images.readers import suffix_of
from kit.competition.layouts.base import Finding
from kit.errors import counted

OF_ANY_CHANNELS = frozenset({".npy", ".tif", ".tiff"})  # all others are pictures
MAX_IMAGES = 100  # opened


def measure_channels(root: Path, images: Sequence[str]) -> list[Finding]:
    """Return the config line ``image.channels`` if most files have channels that are no colors; or nothing.

    Args:
        images: Paths of all images, relative to ``root``; up to 100 arrays and TIFF files are opened.
    """
    candidates = [name for name in images if suffix_of(name) in OF_ANY_CHANNELS]
    if 2 * len(candidates) <= len(images):
        return []
    found: dict[str, int] = {}
    for position in np.linspace(0, len(candidates) - 1, min(MAX_IMAGES, len(candidates))).round().astype(int):
        try:
            found[candidates[position]] = num_channels(root / candidates[position])
        except UnreadableImageError:
            continue  # kit inspect reports it
    if not found or set(found.values()) == {RGB}:
        return []
    (channels, count), *others = Counter(found.values()).most_common()
    because = f"{count} of {len(found)} opened images have {counted(channels, 'channel')}, kept as stored"
    if others:
        other = next(name for name, number in found.items() if number != channels)
        because += f"; others differ, such as {other} with {found[other]}: kit cannot use them together"
    return [Finding("image.channels", channels, because)]
