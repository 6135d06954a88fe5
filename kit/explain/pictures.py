"""Draw maps over images, and write the sheet, a picture per image, and the JSON."""

from __future__ import annotations

import shutil

import numpy as np
from matplotlib import colormaps
from PIL import Image

from kit.explain.explained import Explained, Explanation
from kit.report.sheet import write_sheet
from kit.storage.files import write_json
from kit.storage.workspace import EXPLANATION
from kit.training.augmentation_preview import Examples

COLORS = "inferno"  # dark to bright in order: readable without color vision
STRENGTH = 0.6  # of the color where a map is at its largest
GREY = np.array([0.299, 0.587, 0.114])


def write_pictures(made: Explanation) -> Explanation:
    """Write the sheet, the pictures and ``explain.json``; they replace earlier ones at once.

    ``images/NUMBER.png`` is an image with all of its maps, ``images/NUMBER-map.png`` the first map alone.
    """
    draft = made.folder.with_name(f".{made.folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    (draft / "images").mkdir(parents=True)
    rows = [_tiles(each) for each in made.images]
    width = max(len(row) for row in rows)
    captions = [_caption(each) for each in made.images]
    names = _columns(made.images, width)
    padded = [[*row, *[np.full_like(row[0], 255)] * (width - len(row))] for row in rows]
    write_sheet(Examples(captions, names, padded), draft / made.sheet.name)
    listed = []
    for number, (each, row) in enumerate(zip(made.images, rows, strict=True)):
        file, first = f"images/{number:03}.png", f"images/{number:03}-map.png"
        shown = Examples([_caption(each)], ["image", *each.classes], [row])
        write_sheet(shown, draft / file)
        Image.fromarray(row[1]).save(draft / first)
        listed.append({**each.as_dict(), "file": file, "map": first})
    about = {"experiment": made.run.label, "method": made.method, "models": made.models}
    write_json(draft / EXPLANATION, {**about, "images": listed})
    shutil.rmtree(made.folder, ignore_errors=True)
    draft.rename(made.folder)
    return made


def _columns(images: list[Explained], width: int) -> list[str]:
    if width <= 3 and all(len(each.truth) <= 1 for each in images):
        return ["image", "predicted", "true"][:width]
    return ["image", *(f"map {number}" for number in range(1, width))]


def _tiles(explained: Explained) -> list[np.ndarray]:
    return [explained.pixels, *(overlaid(explained.pixels, each) for each in explained.maps)]


def overlaid(pixels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return a gray image (H, W, 3) uint8 with a map (H, W) of 0..1 in color over it."""
    gray = np.repeat((pixels @ GREY)[..., None], 3, axis=2)
    colors = colormaps[COLORS](values)[..., :3] * 255
    weight = STRENGTH * values[..., None]
    drawn: np.ndarray = ((1 - weight) * gray + weight * colors).round().astype(np.uint8)
    return drawn


def _caption(explained: Explained) -> str:
    """Return the id, the truth, and the classes of the maps with their probabilities."""
    truth = f"true: {', '.join(explained.truth)}   " if explained.truth else ""
    pairs = zip(explained.classes, explained.probs, strict=True)
    return f"{explained.id}   {truth}maps: {', '.join(f'{name} ({prob:.2f})' for name, prob in pairs)}"
