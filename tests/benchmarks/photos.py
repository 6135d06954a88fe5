"""Provide photos for speed measurements: cse144 if ``$KIT_DATA`` has it, else drawn JPEGs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import yaml

from kit.config import Config
from kit.config.load import load_config
from kit.storage.workspace import Workspace

NAME, DRAWN = "cse144", "drawn"
IMAGES, CLASSES, SIDE, QUALITY = 1_000, 10, 256, 90


@contextmanager
def photos(images: int = IMAGES) -> Iterator[tuple[Workspace, str]]:
    """Yield a workspace with the competition, and a description of its images.

    Args:
        images: The number of drawn images, if cse144 is missing.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        found = Path(os.environ.get("KIT_DATA", "nowhere")) / NAME
        if not found.is_dir():
            draw(root / "data" / DRAWN / "train", images)
        name = NAME if found.is_dir() else DRAWN
        write_config(root, name)
        about = f"the photos of {NAME}" if found.is_dir() else f"{images:,} drawn JPEGs of {SIDE} px"
        yield Workspace.open(root), about


def config_of(workspace: Workspace, model: str, batch_size: int, *overrides: str) -> Config:
    """Return an experiment at 224 px with random initial weights, which do not affect the speed."""
    chosen = [
        f"model={{name: {model}, pretrained: false}}",
        "image.size=224",
        f"train.batch_size={batch_size}",
    ]
    path = next((workspace.root / "configs").glob("*.yaml"))
    return load_config(path, [*chosen, *overrides])


def write_config(root: Path, name: str) -> None:
    """Write the config of a competition of class folders."""
    competition = {
        "name": name,
        "data": name,
        "task": "multiclass",
        "metric": "accuracy",
        "train": {"layout": "class_folders", "folder": "train"},
        "test": None,
    }
    values = {"name": "speed", "competition": competition, "model": {"name": "simple_cnn"}}
    (root / "configs").mkdir(parents=True)
    (root / "configs" / "speed.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


def draw(folder: Path, images: int) -> None:
    """Write JPEGs that are about as compressible as photos: smooth shapes with a little noise."""
    rng = np.random.default_rng(0)
    for number in range(images):
        soft = cv2.resize(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8), (SIDE, SIDE), interpolation=2)
        noise = rng.integers(-12, 13, soft.shape)
        file = folder / str(number % CLASSES) / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.clip(soft + noise, 0, 255).astype(np.uint8)
        cv2.imwrite(str(file), pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
