"""What ``kit explain`` made: images with the maps of some classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kit.errors import counted
from kit.runtime.displayed import Displayed
from kit.storage.workspace import RunFolder


@dataclass(frozen=True)
class Explained:
    """One image with the maps of some classes.

    Attributes:
        truth: Its classes; empty if unknown.
        classes: The explained classes: what is predicted, then what is true.
        probs: The probability of each.
        models: The folds whose models were asked.
        pixels: What the models see, (H, W, 3) uint8.
        maps: (K, H, W), float32, 0..1: how much each pixel speaks for each class.
    """

    id: str
    truth: tuple[str, ...]
    classes: tuple[str, ...]
    probs: tuple[float, ...]
    models: tuple[int, ...]
    pixels: np.ndarray
    maps: np.ndarray

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, without pixels; ``center`` of a map is in shares of its height and width."""
        explained = [
            {"class": name, "probability": prob, "center": _center(each)}
            for name, prob, each in zip(self.classes, self.probs, self.maps, strict=True)
        ]
        return {"id": self.id, "truth": list(self.truth), "models": list(self.models), "explained": explained}


@dataclass(frozen=True)
class Explanation(Displayed):
    """What ``explain`` made: the images, and the folder with the sheet, the pictures and the JSON.

    Attributes:
        models: The digest of the models whose out-of-fold predictions are explained; empty: other images.
    """

    run: RunFolder
    method: str
    images: list[Explained]
    folder: Path
    models: str = ""

    @property
    def sheet(self) -> Path:
        """The picture of all images."""
        return self.folder / "sheet.png"


def _center(values: np.ndarray) -> list[float]:
    """Return the center of a map's weight (row, column), as shares of its height and width."""
    total = float(values.sum()) or 1.0
    height, width = values.shape
    row = float((values.sum(axis=1) * np.arange(height)).sum()) / total / max(1, height - 1)
    column = float((values.sum(axis=0) * np.arange(width)).sum()) / total / max(1, width - 1)
    return [round(row, 4), round(column, 4)]


def summary(result: Explanation, folder: str) -> str:
    """Return what was written, as one line."""
    return f"{folder}/sheet.png: {counted(len(result.images), 'image')} explained by {result.method}"
