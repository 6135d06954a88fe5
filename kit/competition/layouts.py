"""How competitions lay out their labelled images: one reader each, from folder to samples."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from kit.competition.files import (
    ImageFolder,
    column,
    list_folders,
    list_images,
    read_table,
    unique_ids,
)
from kit.config import TrainSource
from kit.errors import KitError, first_few
from kit.registry import Registry

Reader = Callable[[Path, TrainSource], pd.DataFrame]
layouts: Registry[Reader] = Registry("layout")


@layouts.register("class_folders")
def read_class_folders(root: Path, source: TrainSource) -> pd.DataFrame:
    """Return samples (``id path label``) of ``<folder>/<class>/*``; an id is the path below the folder."""
    folder = root / source.folder
    if not folder.is_dir():
        raise KitError(folder, "there is no such folder", "It should hold one folder per class")
    class_names = list_folders(folder)
    images = {name: list_images(folder / name) for name in class_names}
    empty = [name for name, found in images.items() if not found]
    if not class_names or len(empty) == len(class_names):
        raise KitError(folder, "holds no class folder with images", "One folder per class, images inside")
    if empty:
        raise KitError(
            folder,
            f"{len(empty)} class folders hold no image ({first_few(empty)})",
            "A class needs images",
            "Fill or remove them.",
        )
    ids = [f"{name}/{image}" for name in class_names for image in images[name]]
    labels = [name for name in class_names for _ in images[name]]
    paths = [(Path(source.folder) / i).as_posix() for i in ids]
    return pd.DataFrame({"id": ids, "path": paths, "label": labels}, dtype=str)


@layouts.register("csv")
def read_csv_labels(root: Path, source: TrainSource) -> pd.DataFrame:
    """Return samples of a table: ``id path label``, or ``id path`` and one 0/1 column per class."""
    assert source.file and source.id and source.label  # the schema of TrainSource guarantees them
    path = root / source.file
    table = read_table(path)
    if table.empty:
        raise KitError(path, "has a header and no rows", "One row per labelled image")
    ids = unique_ids(column(table, source.id, path, "competition.train.id"), path)
    images = ImageFolder.open(root, source.folder, source.ids)
    samples = pd.DataFrame({"id": ids, "path": images.find(ids, path)}, dtype=str)
    if isinstance(source.label, str):
        return samples.assign(label=column(table, source.label, path, "competition.train.label"))
    return pd.concat([samples, _zero_one_block(table, source.label, path)], axis=1)


def _zero_one_block(table: pd.DataFrame, names: list[str], path: Path) -> pd.DataFrame:
    block = pd.DataFrame({name: column(table, name, path, "competition.train.label") for name in names})
    odd = ~block.isin(["0", "1"])
    if odd.to_numpy().any():
        row, col = (int(where[0]) for where in odd.to_numpy().nonzero())
        value = str(block.iloc[row, col])
        raise KitError(
            path,
            f"column '{names[col]}' holds '{value}' in line {row + 2}",
            "With several label columns each is 0 or 1",
        )
    return block.astype("int8")
