"""Every image read once: what can be decoded, its size, its bytes' digest, what it looks like."""

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
from PIL import Image

from kit.competition.decode import UnreadableImageError, open_whole
from kit.competition.perceptual_hash import fingerprint
from kit.competition.samples import Competition
from kit.errors import KitError, first_few
from kit.runtime.progress import SILENT, Progress
from kit.storage.files import written_whole

STAMP = ["path", "bytes", "mtime_ns"]
MOMENTS = ["mean_r", "mean_g", "mean_b", "square_r", "square_g", "square_b"]
FACTS = ["width", "height", "mode", "format", "digest", "error", "flat", "hashes", "thumbnail", *MOMENTS]
SEEN_PIXELS = 2**16  # of an image, evenly spread: enough for its mean, and quick on a large one
AT_ONCE = 1000  # images that are handed to the threads: each waits with more memory than its row takes
THREADS = 4  # decoding releases the GIL; reading waits for the disk


def scan_images(competition: Competition, table: Path, progress: Progress = SILENT) -> pd.DataFrame:
    """Return one row per image, read and decoded once; unchanged files come from ``table``.

    Columns: ``path bytes mtime_ns width height mode format digest error``, then what the image looks like
    (``hashes thumbnail flat``: see ``kit.competition.perceptual_hash``) and the means of its channels and
    of their squares, 0..1. ``error`` is empty where the image could be decoded whole; what is then unknown
    is 0 or empty. Interrupted, it keeps what it has read.
    """
    tables = (competition.train, *competition.held_out.values(), competition.test)
    paths = pd.Series([path for each in tables for path in each["path"]], dtype=str).drop_duplicates()
    root = str(competition.root)
    stamps = pd.DataFrame([(path, *_stamp(f"{root}/{path}")) for path in paths], columns=STAMP)
    known = remembered_images(table)
    scan = stamps.merge(known, on=STAMP, how="left", validate="one_to_one") if len(known) else stamps
    pending = np.flatnonzero(scan["digest"].isna()) if "digest" in scan else np.arange(len(scan))
    if len(pending) == 0:
        if len(known) != len(scan):
            _save(scan, table)
        return scan
    examined: list[list[object]] = []
    fresh = [paths.iloc[row] for row in pending]
    try:
        for row in progress.track(_examine_all(competition.root, fresh), len(fresh), "reading images"):
            examined.append([row[column] for column in (*STAMP, *FACTS)])  # a dict takes far more
    finally:
        found = pd.DataFrame(examined, columns=[*STAMP, *FACTS])
        whole = pd.concat([scan[scan["digest"].notna()], found]) if len(pending) < len(scan) else found
        order = {path: number for number, path in enumerate(paths)}
        whole = whole.sort_values("path", key=lambda p: p.map(order), ignore_index=True)
        _save(whole, table)
    return whole


def unreadable(scan: pd.DataFrame) -> dict[str, str]:
    """Return path -> why for every image that cannot be decoded."""
    broken = scan[scan["error"] != ""]
    return dict(zip(broken["path"], broken["error"], strict=True))


def readable(competition: Competition, scan: pd.DataFrame, on_bad_image: str) -> Competition:
    """Return the competition with only those training and held-out samples whose image can be read.

    Raises:
        KitError: Some cannot, and ``on_bad_image`` is ``refuse``; all of them are named.
    """
    broken = unreadable(scan)
    tables = {"": competition.train} | competition.held_out
    labelled = list(dict.fromkeys(path for table in tables.values() for path in table["path"]))
    bad = [path for path in labelled if path in broken]
    if bad and on_bad_image == "refuse":
        named = "".join(f"\n  - {path}: {broken[path]}" for path in bad)
        raise KitError(
            competition.root,
            f"{len(bad)} of {len(labelled)} labelled images cannot be read:{named}\n",
            "Every labelled image must decode whole",
            "Mend or remove them, or set `competition.on_bad_image: skip` to go on without them.",
        )
    kept = {name: table[~table["path"].isin(broken)].reset_index(drop=True) for name, table in tables.items()}
    left = replace(competition, train=kept.pop(""), held_out=kept)
    before, after = competition.class_counts(), left.class_counts()
    lost = list(before.index[(before > 0) & (after == 0)])
    if lost:
        raise KitError(competition.root, f"no image of {len(lost)} classes can be read ({first_few(lost)})")
    return left


def remembered_images(table: Path) -> pd.DataFrame:
    """Return what ``scan_images`` has read so far; no rows where it has not, or by another version of kit."""
    nothing = pd.DataFrame(columns=[*STAMP, *FACTS])
    if not table.exists():
        return nothing
    try:
        known = pd.read_parquet(table)
    except (OSError, ValueError, KeyError):
        return nothing  # a damaged cache is only a cache: read the images again
    return known if list(known.columns) == [*STAMP, *FACTS] else nothing


def _save(scan: pd.DataFrame, table: Path) -> None:
    with written_whole(table) as draft:
        scan.to_parquet(draft, index=False)


def _examine_all(root: Path, paths: list[str]) -> Iterator[dict[str, object]]:
    """Yield one row per path, in order; what waits to be examined is listed a part at a time."""
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(paths), AT_ONCE):
            yield from pool.map(lambda path: _examine(root, path), paths[start : start + AT_ONCE])


def _examine(root: Path, path: str) -> dict[str, object]:
    """Read and decode one file; what is wrong with it becomes its ``error``."""
    size, mtime = _stamp(root / path)
    row: dict[str, object] = {"path": path, "bytes": size, "mtime_ns": mtime}
    row |= {"width": 0, "height": 0, "mode": "", "format": "", "digest": "", "error": "", "flat": True}
    row |= {"hashes": b"", "thumbnail": b""} | dict.fromkeys(MOMENTS, 0.0)
    try:
        image = open_whole(root / path)
        row |= {"width": image.width, "height": image.height, "mode": image.mode}
        row["format"] = Path(path).suffix.lower().removeprefix(".")
        row |= _looks(image)
    except UnreadableImageError as error:
        row["error"] = str(error)
    if size >= 0:
        with (root / path).open("rb") as file:
            row["digest"] = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    return row


def _looks(image: Image.Image) -> dict[str, object]:
    seen = fingerprint(image)
    pixels = np.asarray(image.convert("RGB"))
    step = max(1, math.isqrt(image.width * image.height // SEEN_PIXELS))
    spread = pixels[::step, ::step].reshape(-1, 3).astype(np.float32) / 255
    moments = np.concatenate([spread.mean(axis=0), (spread**2).mean(axis=0)]).astype(float)
    return {
        "flat": seen.flat,
        "hashes": seen.hashes.tobytes(),
        "thumbnail": seen.thumbnail.tobytes(),
        **dict(zip(MOMENTS, moments.tolist(), strict=True)),
    }


def _stamp(path: Path | str) -> tuple[int, int]:
    """Return a file's size and time; -1 for both where a link points nowhere."""
    try:
        stat = os.stat(path)  # noqa: PTH116 - a path object for each of a million files takes seconds
    except OSError:
        return -1, -1
    return stat.st_size, stat.st_mtime_ns
