"""How long `kit inspect` takes the first time and the second: ``python -m tests.benchmarks.inspect_images``.

The images are noise made smooth, 128 px, drawn to a temporary folder; the command is run as a user runs it.
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
    """Write JPEG files in class folders, each different, structured as photographs are."""
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        path = folder / "train" / f"class-{number % CLASSES}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path, quality=85)


def inspect_seconds(root: Path, config: Path) -> float:
    """Return the seconds of one `kit inspect`, its start included."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "kit", "inspect", str(config), "--json"]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    return time.perf_counter() - begun


def seconds(count: int = IMAGES) -> tuple[float, float]:
    """Draw, inspect twice, and return both times in seconds."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        draw_photos(root / "data" / "photos", count)
        config = pipeline.init("photos", workspace=Workspace.open(root)).config
        return inspect_seconds(root, config), inspect_seconds(root, config)


def claims() -> list[Claim]:
    """Return how long the command takes, and takes again when nothing has changed."""
    first, second = seconds()
    what = f"kit inspect of {IMAGES:,} images of {SIDE} px"
    return [Claim(what, first, 60.0, "lower", "s"), Claim(f"{what}, again", second, 3.0, "lower", "s")]


if __name__ == "__main__":
    show(claims())
