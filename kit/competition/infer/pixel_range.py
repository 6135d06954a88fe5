"""Measure black and white of deep images, and whether files have several frames, once for all (kit init)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from kit.competition.images.decode import UnreadableImageError, num_frames, stored_values
from kit.competition.images.readers import suffix_of
from kit.competition.layouts.base import Finding
from kit.errors import counted, counted_of

NEVER_DEEP = frozenset({".jpg", ".jpeg", ".jfif", ".gif", ".webp", ".bmp"})
WITH_FRAMES = frozenset({".gif", ".png", ".apng", ".tif", ".tiff", ".webp", ".dcm", ".dicom"})
MAX_IMAGES = 200
MAX_HEADERS = 100  # opened to count frames
MAX_VALUES = 400_000_000  # decoded for the measurement, which bounds its time
VALUES_PER_IMAGE = 10_000
PERCENTILES = (0.1, 99.9)
DEPTHS = (8, 10, 12, 14, 16)  # bits
USUAL_FLOATS = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
MIN_SHARE = 0.25  # of a usual range that the percentiles must span; of less, little contrast would be left
MAX_SAMPLE_VALUE = 281  # tag of a TIFF
SIGNIFICANT_BITS = b"sBIT"  # chunk of a PNG


class Sampled(NamedTuple):
    """Some values of one image, and the largest value that its file declares, or None."""

    values: np.ndarray
    low: float
    high: float
    declared: float | None


def measure_ranges(root: Path, images: Sequence[str]) -> list[Finding]:
    """Return the config line ``image.range`` of a competition with deep images; nothing if it has none.

    The values come from up to 200 images that are spread over the whole folder, so that training and test
    images are scaled alike. A range is what the files declare, or else a usual one that holds all values (the
    bits of integers; 0..1, -1..1 or 0..255), or else the 0.1 and 99.9 percentiles.

    Args:
        images: Paths of all images, relative to ``root``.
    """
    by_type = _samples(root, images)
    if not by_type:
        return []
    chosen = {stored: _range(stored, sampled) for stored, sampled in sorted(by_type.items())}
    value = {stored: [_short(low), _short(high)] for stored, (low, high, _) in chosen.items()}
    because = "; ".join(f"{stored}: {why}" for stored, (_, _, why) in chosen.items())
    return [Finding("image.range", value, because)]


def count_frames(root: Path, images: Sequence[str]) -> list[Finding]:
    """Return the config line ``image.frame`` of a competition with animations or pages; or nothing.

    Args:
        images: Paths of all images, relative to ``root``; up to 100 that may have frames are opened.
    """
    may_have = [name for name in images if suffix_of(name) in WITH_FRAMES]
    chosen = [may_have[i] for i in _positions(len(may_have), MAX_HEADERS)]
    several = []
    for name in chosen:
        try:
            if num_frames(root / name) > 1:
                several.append(name)
        except UnreadableImageError:
            continue  # kit inspect reports it
    if not several:
        return []
    found = (
        f"{counted_of(len(several), len(chosen), 'opened image', 'has', 'have')} several frames, such as "
        f"{several[0]}"
    )
    return [Finding("image.frame", "first", f"{found}: first, middle, last or a number from 0")]


def _positions(count: int, limit: int) -> list[int]:
    """Return up to ``limit`` of ``count`` positions, evenly spread from the first to the last."""
    spread = np.linspace(0, count - 1, min(limit, count)).round().astype(int)
    return [int(position) for position in spread]


def _samples(root: Path, images: Sequence[str]) -> dict[str, list[Sampled]]:
    """Return stored type -> samples of the deep images among up to 200."""
    found: dict[str, list[Sampled]] = {}
    decoded = 0
    for name in _spread(images):
        try:
            values = stored_values(root / name)
        except UnreadableImageError:
            continue  # kit inspect reports it
        if values is None:
            continue
        if (sampled := _sampled(root / name, values)) is not None:
            found.setdefault(values.dtype.name, []).append(sampled)
        decoded += values.size
        if decoded > MAX_VALUES:
            break
    return found


def _spread(images: Sequence[str]) -> list[str]:
    """Return up to 200 images that may be deep, of all suffixes, evenly spread."""
    by_suffix: dict[str, list[str]] = {}
    for name in images:
        suffix = suffix_of(name)
        if suffix not in NEVER_DEEP:
            by_suffix.setdefault(suffix, []).append(name)
    each = MAX_IMAGES // max(1, len(by_suffix))
    chosen = [names[position] for names in by_suffix.values() for position in _positions(len(names), each)]
    return [chosen[i] for i in np.random.default_rng(0).permutation(len(chosen))]  # for an early end


def _sampled(path: Path, values: np.ndarray) -> Sampled | None:
    flat = values.ravel()
    finite = flat[np.isfinite(flat)]
    if not finite.size:
        return None
    some = finite[:: max(1, finite.size // VALUES_PER_IMAGE)]
    return Sampled(some.astype(np.float64), float(finite.min()), float(finite.max()), _declared(path))


def _declared(path: Path) -> float | None:
    """Return the largest value that a TIFF or PNG declares."""
    try:
        with Image.open(path) as image:
            if image.format == "TIFF":
                (value,) = set(image.tag_v2.get(MAX_SAMPLE_VALUE, (None,)))  # type: ignore[attr-defined]
                return None if value is None else float(value)
            return _significant(path) if image.format == "PNG" else None
    except Exception:  # a kind that Pillow does not know, or a damaged tag
        return None


def _significant(path: Path) -> float | None:
    """Return the largest value of the bits that a PNG's chunk sBIT declares."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
            content = file.read(int.from_bytes(head[:4], "big"))
            file.seek(4, 1)  # the checksum
            if head[4:] == SIGNIFICANT_BITS:
                return float(2 ** content[0] - 1)
    return None


def _range(stored: str, samples: Sequence[Sampled]) -> tuple[float, float, str]:
    """Return black, white and the evidence."""
    low, high = min(s.low for s in samples), max(s.high for s in samples)
    images = f"{counted(len(samples), 'image holds', 'images hold')} {_short(low)} to {_short(high)}"
    declared = {sample.declared for sample in samples}
    top = declared.pop() if len(declared) == 1 else None
    if top and low >= 0 and high <= top and not (stored == "uint16" and top == 65535):
        return 0.0, top, f"{images}; the files declare {_short(top)}"
    dark, bright = np.percentile(np.concatenate([s.values for s in samples]), PERCENTILES)
    is_integer = not stored.startswith("float")
    usual = [(0.0, 2.0**bits - 1) for bits in DEPTHS] if is_integer else USUAL_FLOATS
    for black, white in usual:
        if black <= low and high <= white:
            if bright - dark < MIN_SHARE * (white - black):
                break
            bits = f", which is {round(math.log2(white + 1))} bits" if is_integer else ""
            return black, white, f"{images}{bits}"
    if bright <= dark:
        return low, max(high, low + 1), images
    what = "black and white are the 0.1 and 99.9 percentiles"
    return _rounded(dark, math.floor), _rounded(bright, math.ceil), f"{images}; {what}"


def _rounded(value: float, towards: object) -> float:
    """Return a value with three digits, rounded by ``math.floor`` or ``math.ceil``."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 2)
    rounded: float = towards(value / unit) * unit  # type: ignore[operator]
    return float(f"{rounded:.6g}")


def _short(value: float) -> float | int:
    """Return a whole number as an integer, and others with six digits."""
    return int(value) if value == int(value) else float(f"{value:.6g}")
