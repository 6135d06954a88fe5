"""Time the first and the second `kit inspect`: ``python -m tests.benchmarks.inspect_images``.

The images are smoothed noise of 128 px in a temporary folder; the time includes the start of the command.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from kit import pipeline
from kit.storage.workspace import Workspace
from tests.benchmarks.claim import Claim, show

IMAGES = 20_000
SIDE = 128
CLASSES = 20


def draw_photos(folder: Path, count: int) -> None:
    """Write different JPEG files in class folders, about as compressible as photos."""
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        path = folder / "train" / f"class-{number % CLASSES}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path, quality=85)


def inspect_seconds(root: Path, config: Path) -> float:
    """Return the seconds of one `kit inspect`, including its start."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "kit", "inspect", str(config), "--json"]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    return time.perf_counter() - start


def seconds(count: int = IMAGES) -> tuple[float, float]:
    """Draw images, inspect them twice, and return both times in seconds."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        draw_photos(root / "data" / "photos", count)
        config = pipeline.init("photos", workspace=Workspace.open(root)).config
        return inspect_seconds(root, config), inspect_seconds(root, config)


def claims() -> list[Claim]:
    """Return the claims: the time of the command, and of a second run without changes."""
    first, second = seconds()
    what = f"kit inspect of {IMAGES:,} images of {SIDE} px"
    return [Claim(what, first, 60.0, "lower", "s"), Claim(f"{what}, second time", second, 3.0, "lower", "s")]


if __name__ == "__main__":
    show(claims())
