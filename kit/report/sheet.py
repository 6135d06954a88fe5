"""Draw augmented training images as a grid in a PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kit.storage.files import atomic_write
from kit.training.augmentation_preview import Examples

MIN_TILE = 96  # pixels; smaller images are enlarged without interpolation
GAP, LINE = 6, 18
BACKGROUND, TEXT = (255, 255, 255), (40, 40, 40)


def write_sheet(examples: Examples, path: Path) -> None:
    """Write a PNG with a row per image under its caption, and a column per epoch under its name."""
    side = max(MIN_TILE, max(tile.shape[0] for row in examples.tiles for tile in row))
    rows, columns = len(examples.tiles), len(examples.columns)
    row_height = LINE + side + GAP
    sheet = Image.new("RGB", (GAP + columns * (side + GAP), LINE + rows * row_height), BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for c, name in enumerate(examples.columns):
        draw.text((GAP + c * (side + GAP), 3), name, TEXT, font)
    for r, (caption, tiles) in enumerate(zip(examples.captions, examples.tiles, strict=True)):
        top = LINE + r * row_height
        draw.text((GAP, top + 2), caption, TEXT, font)
        for c, tile in enumerate(tiles):
            sheet.paste(_enlarged(tile, side), (GAP + c * (side + GAP), top + LINE))
    with atomic_write(path) as draft:
        sheet.save(draft, format="PNG")


def _enlarged(tile: np.ndarray, side: int) -> Image.Image:
    return Image.fromarray(tile).resize((side, side), Image.Resampling.NEAREST)
