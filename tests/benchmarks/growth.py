"""How time and memory grow with the number of images: ``python -m tests.benchmarks.growth [--most 10000]``.

Photographs-to-be (coarse noise made smooth, 128 px JPEGs, 20 classes) are drawn once; a competition of n of
them, and half as many test images, is a folder of links. Every stage works on every size in a process of its
own. What a stage needs from the one before it lies in the workspace, as it does for the commands.

Time is linear where the slope of log seconds over log images is 1. Memory is what the process allocates: not
the pages of files that it maps, which the system takes back when it needs them.
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
FITTED_FROM = 3_000  # images: below, what happens once per run weighs too much
LINEAR = 1.1
PIXELS, COARSE, CLASSES = 128, 12, 20
# Of its own that a process may hold for each training image and the half image to predict that comes with it:
# a sixth of one's pixels. A row of the largest table, which pandas holds some times over, takes 600 bytes.
MOST_BYTES = PIXELS * PIXELS * 3 / 6
NAME = "photos"
# Every pair of images is a candidate for near duplicates: quick, a small part of `inspect`, and not linear.
NOT_LINEAR = {"audit alone"}


@dataclass(frozen=True)
class Cost:
    """What a stage took for some images: seconds, and the most bytes that it held beside its imports."""

    stage: str
    images: int
    seconds: float
    memory: float


# --- images


def draw_pool(folder: Path, count: int) -> None:
    """Write so many different JPEGs, ``0.jpg`` on: the same every time."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(count):
        coarse = rng.integers(0, 256, (COARSE, COARSE, 3), dtype=np.uint8)
        smooth = cv2.resize(coarse, (PIXELS, PIXELS), interpolation=cv2.INTER_CUBIC)
        (folder / f"{number}.jpg").write_bytes(
            cv2.imencode(".jpg", smooth, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
        )


def link_competition(pool: Path, root: Path, images: int) -> None:
    """Lay out a competition of images from the pool: class folders, half as many to predict, a sample."""
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
    """Return what some stages take, or all of them, for every size; they are told as they come, on stderr."""
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
    """Return what a stage takes in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.stages", stage, str(root)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Cost(stage, images, **json.loads(done.stdout.splitlines()[-1]))


def _line(cost: Cost) -> str:
    return f"{cost.images:>7,} images  {cost.stage:11} {cost.seconds:8.3f} s  {cost.memory / 1e6:7.1f} MB"


# --- what it says


def exponent(costs: Sequence[Cost]) -> float:
    """Return the slope of log seconds over log images, by least squares."""
    x = np.log([cost.images for cost in costs])
    y = np.log([cost.seconds for cost in costs])
    return float(np.polyfit(x, y, 1)[0])


def bytes_per_image(costs: Sequence[Cost]) -> float:
    """Return how many bytes more an image takes, between the smallest and the largest number of them."""
    least, most = costs[0], costs[-1]
    return (most.memory - least.memory) / (most.images - least.images)


def claims_of(costs: Sequence[Cost]) -> list[Claim]:
    """Return that every stage's time is linear, and that its memory holds tables, not pictures."""
    by_stage = {
        stage: [c for c in costs if c.stage == stage] for stage in dict.fromkeys(c.stage for c in costs)
    }
    return [claim for stage, own in by_stage.items() for claim in _claims_of_stage(stage, own)]


def _claims_of_stage(stage: str, costs: Sequence[Cost]) -> list[Claim]:
    fitted = [cost for cost in costs if cost.images >= FITTED_FROM]
    if len(fitted) < 2:
        return [not_measured(f"{stage}: growth", f"needs two sizes of at least {FITTED_FROM:,} images")]
    least, most = fitted[0], fitted[-1]
    what = f"{stage}, {least.images:,} to {most.images:,} images"
    times = " · ".join(f"{cost.seconds:.3g}" for cost in costs) + f" s, from {costs[0].images:,} images on"
    held = f"{least.memory / 1e6:.0f} MB, then {most.memory / 1e6:.0f} MB"
    bar = None if stage in NOT_LINEAR else LINEAR
    return [
        Claim(f"{what}: exponent of time", exponent(fitted), bar, "lower", "", times),
        Claim(f"{what}: memory", bytes_per_image(fitted), MOST_BYTES, "lower", "bytes an image", held),
    ]


def claims() -> list[Claim]:
    """Return the claims for up to 100,000 images."""
    return claims_of(measure(SIZES))


def table_of(costs: Sequence[Cost]) -> str:
    """Return seconds and MB by size and stage, in markdown."""
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
    parser.add_argument("--most", type=int, default=max(SIZES), help="leave out what is larger")
    parser.add_argument("--stages", nargs="+", default=[], metavar="STAGE", help="default: all")
    given = parser.parse_args()
    costs = measure([n for n in given.sizes if n <= given.most], given.stages)
    print(table_of(costs), end="\n\n")
    show(claims_of(costs))


if __name__ == "__main__":
    main()
