"""Scan all images once: whether they decode, size, digest, perceptual hash. The result is cached."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from kit.competition.images.decode import (
    DEFAULTS,
    DecodeOptions,
    LoadedImage,
    UnreadableImageError,
    load_image,
)
from kit.competition.perceptual_hash import image_hash
from kit.competition.samples import Competition
from kit.errors import KitError, counted, first_few
from kit.runtime.progress import SILENT, Progress
from kit.storage.files import atomic_write

STAMP = ["path", "bytes", "mtime_ns"]
MOMENTS = ["means", "squares"]
HASH = ["flat", "hashes", "thumbnail"]
FACTS = ["width", "height", "mode", "frames", "format", "digest", "error", *HASH, "levels", *MOMENTS]
SAMPLED_PIXELS = 2**16  # of an image, evenly spread: enough for its mean
CHUNK = 1000  # images that are submitted to the threads at a time, to bound memory
THREADS = 4  # decoding releases the GIL; reading waits for the disk


def scan_images(
    competition: Competition,
    table: Path,
    progress: Progress = SILENT,
    options: DecodeOptions = DEFAULTS,
) -> pd.DataFrame:
    """Return one row per image, read and decoded once; the rows of unchanged files come from ``table``.

    Columns: ``path bytes mtime_ns width height mode frames format digest error``, the perceptual hash
    (``hashes thumbnail flat``: see ``kit.competition.perceptual_hash``), the number of different ``levels``
    of the channels, and the means of the channels and of their squares (see ``channel_moments``). ``mode`` is
    how the file stores pixels: Pillow's mode, or a type, such as ``uint16``. ``error`` is empty if the image
    decodes completely; otherwise the other columns are 0 or empty. An interrupted scan keeps the rows of the
    images that it has read.

    Args:
        table: The file of the result, one for each ``options.key``.
        options: How training decodes the images.
    """
    tables = (competition.train, *competition.held_out.values(), competition.test)
    found = [path for each in tables for path in each["path"].tolist()]
    paths = pd.Series(found, dtype=str).drop_duplicates()
    root = str(competition.root)
    stamps = pd.DataFrame([(path, *_stamp(f"{root}/{path}")) for path in paths], columns=STAMP)
    known = load_scan(table)
    scan = stamps.merge(known, on=STAMP, how="left", validate="one_to_one") if len(known) else stamps
    pending = np.flatnonzero(scan["digest"].isna()) if "digest" in scan else np.arange(len(scan))
    if len(pending) == 0:
        if len(known) != len(scan):
            _save(scan, table)
        return scan
    examined: list[list[object]] = []
    fresh = [paths.iloc[row] for row in pending]
    try:
        for row in progress.track(
            _examine_all(competition.root, fresh, options), len(fresh), "reading images"
        ):
            examined.append(
                [row[column] for column in (*STAMP, *FACTS)]
            )  # a list takes far less memory than a dict
    finally:
        read = pd.DataFrame(examined, columns=[*STAMP, *FACTS])
        whole = pd.concat([scan[scan["digest"].notna()], read]) if len(pending) < len(scan) else read
        order = {path: number for number, path in enumerate(paths)}
        whole = whole.sort_values("path", key=lambda p: p.map(order), ignore_index=True)
        _save(whole, table)
    return whole


def unreadable(scan: pd.DataFrame) -> dict[str, str]:
    """Return path -> reason for every image that cannot be decoded."""
    broken = scan[scan["error"] != ""]
    return dict(zip(broken["path"], broken["error"], strict=True))


def readable(competition: Competition, scan: pd.DataFrame, on_bad_image: str) -> Competition:
    """Return the competition without the training and held-out samples whose image cannot be decoded.

    Raises:
        KitError: There are such images and ``on_bad_image`` is ``refuse`` (the message names all of them), or
            a class loses all its images.
    """
    broken = unreadable(scan)
    tables = {"": competition.train} | competition.held_out
    labeled = list(dict.fromkeys(path for table in tables.values() for path in table["path"].tolist()))
    bad = [path for path in labeled if path in broken]
    if bad and on_bad_image == "refuse":
        named = "".join(f"\n  - {path}: {broken[path]}" for path in bad)
        raise KitError(
            competition.root,
            f"{len(bad)} of {len(labeled)} labeled images cannot be read:{named}\n",
            "Every labeled image must decode completely",
            "Fix or remove them, or set `competition.on_bad_image: skip` to continue without them.",
            code="image_unreadable",
        )
    kept = {name: table[~table["path"].isin(broken)].reset_index(drop=True) for name, table in tables.items()}
    left = replace(competition, train=kept.pop(""), held_out=kept)
    if not broken:
        return left
    before, after = competition.class_counts(), left.class_counts()
    lost = list(before.index[(before > 0) & (after == 0)])
    if lost:
        problem = f"no image of {counted(len(lost), 'class', 'classes')} can be read ({first_few(lost)})"
        raise KitError(competition.root, problem, code="class_unreadable")
    return left


def load_scan(table: Path) -> pd.DataFrame:
    """Return the cached scan; no rows if there is none, or it is damaged or of another version of kit."""
    nothing = pd.DataFrame(columns=[*STAMP, *FACTS])
    if not table.exists():
        return nothing
    try:
        known = pd.read_parquet(table)
    except (OSError, ValueError, KeyError):
        return nothing  # the images are read again
    return known if list(known.columns) == [*STAMP, *FACTS] else nothing


def _save(scan: pd.DataFrame, table: Path) -> None:
    with atomic_write(table) as draft:
        scan.to_parquet(draft, index=False)


def _examine_all(root: Path, paths: list[str], options: DecodeOptions) -> Iterator[dict[str, object]]:
    """Yield one row per path, in order."""
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(paths), CHUNK):
            yield from pool.map(lambda path: _examine(root, path, options), paths[start : start + CHUNK])


def _examine(root: Path, path: str, options: DecodeOptions) -> dict[str, object]:
    """Return the row of one file; if the file cannot be decoded, ``error`` has the reason."""
    size, mtime = _stamp(root / path)
    row: dict[str, object] = {"path": path, "bytes": size, "mtime_ns": mtime}
    row |= {"width": 0, "height": 0, "mode": "", "format": "", "digest": "", "error": "", "flat": True}
    row |= {"hashes": b"", "thumbnail": b"", "frames": 0, "levels": 0} | dict.fromkeys(MOMENTS, b"")
    try:
        loaded = load_image(root / path, options=options, count_frames=True)
        row |= {"width": loaded.image.width, "height": loaded.image.height}
        row |= {"mode": loaded.stored, "frames": loaded.frames}
        row["format"] = Path(path).suffix.lower().removeprefix(".")
        row |= _appearance(loaded)
    except UnreadableImageError as error:
        row["error"] = str(error)
    if size >= 0:
        with (root / path).open("rb") as file:
            row["digest"] = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    return row


def _appearance(loaded: LoadedImage) -> dict[str, object]:
    hashed = image_hash(loaded.image)
    pixels = loaded.pixels()
    step = max(1, math.isqrt(loaded.image.width * loaded.image.height // SAMPLED_PIXELS))
    sampled = pixels[::step, ::step].reshape(-1, pixels.shape[2])
    spread = sampled.astype(np.float32) / 255
    return {
        "flat": hashed.flat,
        "hashes": hashed.hashes.tobytes(),
        "thumbnail": hashed.thumbnail.tobytes(),
        "levels": int(np.count_nonzero(np.bincount(sampled.ravel(), minlength=256))),
        "means": spread.mean(axis=0).astype(np.float64).tobytes(),
        "squares": (spread**2).mean(axis=0).astype(np.float64).tobytes(),
    }


def channel_moments(images: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the means of the channels of readable images and of their squares, (N, C) each, 0..1."""
    means, squares = (np.frombuffer(b"".join(images[key]), np.float64) for key in MOMENTS)
    return means.reshape(len(images), -1), squares.reshape(len(images), -1)


def _stamp(path: Path | str) -> tuple[int, int]:
    """Return a file's size and modification time; -1 for both if there is no such file."""
    try:
        stat = os.stat(path)  # noqa: PTH116 - path objects of a million files take seconds
    except OSError:
        return -1, -1
    return stat.st_size, stat.st_mtime_ns
