"""Measure the growth of time and memory with the number of images: ``python -m tests.benchmarks.growth``.

JPEGs of 128 px in 20 classes (smoothed coarse noise) are drawn once; a competition of n training images and
n/2 test images is a folder of hard links. Every stage runs on every size in its own process, and leaves its
results in the workspace for the next stage, as commands do.

Time is linear if the slope of log seconds over log images is 1. Memory is the memory that the process
allocates, without the pages of mapped files, which the system reclaims when needed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from tests.benchmarks.claim import Claim, not_measured, show, table_row

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
MIN_FITTED = 3_000  # images; with fewer, constant costs dominate
LINEAR = 1.1
PIXELS, COARSE, CLASSES = 128, 12, 20
# Allowed memory per training image (with half a test image): a sixth of its pixels. A row of the largest
# table, of which pandas holds several copies, takes 600 bytes.
MAX_BYTES_PER_IMAGE = PIXELS * PIXELS * 3 / 6
NAME = "photos"
# The search for near duplicates compares pairs of images: fast, a small part of `inspect`, but not linear.
NOT_LINEAR = {"audit"}


@dataclass(frozen=True)
class Cost:
    """The cost of a stage for a number of images: seconds, and peak memory in bytes without imports."""

    stage: str
    images: int
    seconds: float
    memory: float


# --- images


def draw_pool(folder: Path, count: int) -> None:
    """Write ``count`` different JPEGs, ``0.jpg`` and up, always the same."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(count):
        coarse = rng.integers(0, 256, (COARSE, COARSE, 3), dtype=np.uint8)
        smooth = cv2.resize(coarse, (PIXELS, PIXELS), interpolation=cv2.INTER_CUBIC)
        (folder / f"{number}.jpg").write_bytes(
            cv2.imencode(".jpg", smooth, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
        )


def link_competition(pool: Path, root: Path, images: int) -> None:
    """Link images of the pool as a competition: class folders, half as many test images, a sample file."""
    for c in range(CLASSES):
        (root / "train" / f"class_{c}").mkdir(parents=True)
    (root / "test").mkdir()
    for number in range(images):
        os.link(pool / f"{number}.jpg", root / "train" / f"class_{number % CLASSES}" / f"{number}.jpg")
    rows = ["id,label"]
    for number in range(images // 2):
        os.link(pool / f"{images + number}.jpg", root / "test" / f"{number}.jpg")
        rows.append(f"{number}.jpg,class_{number % CLASSES}")
    (root / "sample_submission.csv").write_text("\n".join([*rows, ""]), encoding="utf-8")


# --- measuring


def measure(sizes: Sequence[int], stages: Sequence[str] = ()) -> list[Cost]:
    """Return the cost of the stages (default: all) for every size; print each cost on stderr."""
    from tests.benchmarks.stages import STAGES

    costs = []
    with tempfile.TemporaryDirectory() as folder:
        pool = Path(folder) / "pool"
        draw_pool(pool, max(sizes) + max(sizes) // 2)
        for images in sizes:
            with _workspace(Path(folder) / str(images), pool, images) as root:
                for stage in stages or STAGES:
                    costs.append(_alone(stage, root, images))
                    print(_line(costs[-1]), file=sys.stderr, flush=True)
    return costs


@contextmanager
def _workspace(root: Path, pool: Path, images: int) -> Iterator[Path]:
    link_competition(pool, root / "data" / NAME, images)
    yield root
    shutil.rmtree(root)


def _alone(stage: str, root: Path, images: int) -> Cost:
    """Return the cost of a stage, run in its own process."""
    command = [sys.executable, "-m", "tests.benchmarks.stages", stage, str(root)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Cost(stage, images, **json.loads(done.stdout.splitlines()[-1]))


def _line(cost: Cost) -> str:
    return f"{cost.images:>7,} images  {cost.stage:11} {cost.seconds:8.3f} s  {cost.memory / 1e6:7.1f} MB"


# --- claims


def exponent(costs: Sequence[Cost]) -> float:
    """Return the slope of log seconds over log images, by least squares."""
    x = np.log([cost.images for cost in costs])
    y = np.log([cost.seconds for cost in costs])
    return float(np.polyfit(x, y, 1)[0])


def bytes_per_image(costs: Sequence[Cost]) -> float:
    """Return the bytes per image, from the difference between the smallest and the largest size."""
    least, most = costs[0], costs[-1]
    return (most.memory - least.memory) / (most.images - least.images)


def claims_of(costs: Sequence[Cost]) -> list[Claim]:
    """Return the claims that the time of every stage is linear, and its memory holds tables, not images."""
    by_stage = {
        stage: [c for c in costs if c.stage == stage] for stage in dict.fromkeys(c.stage for c in costs)
    }
    return [claim for stage, own in by_stage.items() for claim in _claims_of_stage(stage, own)]


def _claims_of_stage(stage: str, costs: Sequence[Cost]) -> list[Claim]:
    fitted = [cost for cost in costs if cost.images >= MIN_FITTED]
    if len(fitted) < 2:
        return [not_measured(f"{stage}: growth", f"needs two sizes of at least {MIN_FITTED:,} images")]
    least, most = fitted[0], fitted[-1]
    what = f"{stage}, {least.images:,} to {most.images:,} images"
    times = (
        " · ".join(f"{cost.seconds:.3g}" for cost in costs)
        + f" s for {costs[0].images:,} to {most.images:,} images"
    )
    held = f"{least.memory / 1e6:.0f} MB, then {most.memory / 1e6:.0f} MB"
    limit = None if stage in NOT_LINEAR else LINEAR
    return [
        Claim(f"{what}: exponent of time", exponent(fitted), limit, "lower", "", times),
        Claim(
            f"{what}: memory per image", bytes_per_image(fitted), MAX_BYTES_PER_IMAGE, "lower", "bytes", held
        ),
    ]


def claims() -> list[Claim]:
    """Return the claims for up to 100,000 images."""
    return claims_of(measure(SIZES))


def table_of(costs: Sequence[Cost]) -> str:
    """Return seconds and MB by stage and size, as a Markdown table."""
    sizes = sorted({cost.images for cost in costs})
    at = {(cost.stage, cost.images): cost for cost in costs}
    rows = [
        [stage, *(f"{at[stage, n].seconds:.3g} s, {at[stage, n].memory / 1e6:.0f} MB" for n in sizes)]
        for stage in dict.fromkeys(cost.stage for cost in costs)
    ]
    heads = [["stage", *(f"{n:,} images" for n in sizes)], ["---"] * (1 + len(sizes))]
    return "\n".join(table_row(row) for row in [*heads, *rows])


def main() -> None:
    """Print the table and the claims."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of training images")
    parser.add_argument("--most", type=int, default=max(SIZES), help="omit larger sizes")
    parser.add_argument("--stages", nargs="+", default=[], metavar="STAGE", help="default: all")
    args = parser.parse_args()
    costs = measure([n for n in args.sizes if n <= args.most], args.stages)
    print(table_of(costs), end="\n\n")
    show(claims_of(costs))


if __name__ == "__main__":
    main()
