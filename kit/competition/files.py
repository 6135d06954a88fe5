"""Image folders the way competitions write them: names in natural order, images found by id."""

import os
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal

import pandas as pd

from kit.errors import KitError, first_few
from kit.natural import natural_key

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
)

IdStyle = Literal["name", "stem"]


def is_image(name: str) -> bool:
    """Tell whether a file is an image by its ending, whatever its case."""
    return name[name.rfind(".") :].lower() in IMAGE_SUFFIXES


def list_images(root: Path, folder: str = ".") -> list[str]:
    """Return the images below ``root/folder``, paths relative to that folder with ``/``, in natural order.

    Hidden files and folders (``.DS_Store``, ``._1.jpg``, ``__MACOSX``) are passed over.

    Raises:
        KitError: There are links that lead out of ``root``, or to folders: what they bring in is another's.
    """
    found: list[str] = []
    foreign: list[str] = []
    inside = root.resolve()
    pending = [""]
    if not (root / folder).resolve().is_relative_to(inside):
        foreign.append(folder)
    while pending:
        below = pending.pop()
        with os.scandir(root / folder / below) as entries:
            for entry in entries:
                name = f"{below}{entry.name}"
                if is_hidden(entry.name):
                    continue
                if entry.is_symlink() and (entry.is_dir() or not _points_inside(entry, inside)):
                    foreign.append(str(PurePosixPath(folder) / name))
                elif entry.is_dir():
                    pending.append(f"{name}/")
                elif is_image(entry.name):
                    found.append(name)
    if foreign:
        raise KitError(
            root,
            f"{len(foreign)} links lead out of it or to a folder ({first_few(sorted(foreign))})",
            "A competition's images lie in its own folder",
            "Copy what they point to, or name the real folder as DATA.",
        )
    return sorted(found, key=natural_key)


def _points_inside(entry: os.DirEntry[str], root: Path) -> bool:
    return Path(entry.path).resolve().is_relative_to(root)


def list_folders(folder: Path) -> list[str]:
    """Return the names of the folders directly in ``folder``, in natural order, hidden ones left out."""
    names = [entry.name for entry in os.scandir(folder) if entry.is_dir() and not is_hidden(entry.name)]
    return sorted(names, key=natural_key)


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder is no data: hidden, or an archive tool's own."""
    return name.startswith(".") or name == "__MACOSX"


@dataclass(frozen=True)
class ImageFolder:
    """The images of one folder, found by id.

    Attributes:
        folder: Relative to the competition's root, with ``/``.
        paths: id -> path relative to the competition's root.
    """

    folder: str
    paths: dict[str, str]

    @classmethod
    def open(cls, root: Path, folder: str, ids: IdStyle) -> "ImageFolder":
        """List ``root/folder``; ids are the files' names below it (``name``), or without ending (``stem``).

        Raises:
            KitError: There is no such folder, no image in it, or two images share a stem.
        """
        if not (root / folder).is_dir():
            raise KitError(root / folder, "there is no such folder", "It should hold the images")
        names = list_images(root, folder)
        if not names:
            kinds = " ".join(sorted(IMAGE_SUFFIXES))
            raise KitError(root / folder, "holds no image", f"Images are files ending in {kinds}")
        keys = [image_id(name, ids) for name in names]
        shared = [key for key, count in Counter(keys).items() if count > 1]
        if shared:
            raise KitError(
                root / folder,
                f"{len(shared)} ids mean more than one file without their ending ({first_few(shared)})",
                next="Use `ids: name` with ids that carry the ending.",
            )
        below = PurePosixPath(folder)
        return cls(folder, {key: str(below / name) for key, name in zip(keys, names, strict=True)})

    @cached_property
    def aliases(self) -> dict[str, str]:
        """Looser spelling of an id -> path, where it means one image: see ``loose_ids``."""
        means: dict[str, set[str]] = {}
        for sample_id, path in self.paths.items():
            for alias in loose_ids(sample_id):
                means.setdefault(alias, set()).add(path)
        return {alias: next(iter(paths)) for alias, paths in means.items() if len(paths) == 1}

    def find(self, ids: pd.Series, listed_in: Path) -> list[str]:
        """Return the path of every id's image.

        Raises:
            KitError: An id has no image, or two ids mean the same.
        """
        found = [self.paths.get(i) for i in ids]
        if None in found:
            found = [path or self._loosely(i) for path, i in zip(found, ids, strict=True)]
        missing = [i for i, path in zip(ids, found, strict=True) if path is None]
        if missing:
            example = next(iter(self.paths))
            raise KitError(
                listed_in,
                f"{len(missing)} of {len(ids)} ids have no image in {self.folder}/ ({first_few(missing)})",
                f"Ids there look like '{example}'",
                "Add the images, remove the rows, or set `ids: name` (with ending) or `ids: stem` (without).",
            )
        paths = [path for path in found if path is not None]
        twice = [path for path, count in Counter(paths).items() if count > 1]
        if twice:
            raise KitError(
                listed_in,
                f"{len(twice)} images are meant by two ids ({first_few(twice)})",
                "One id per image",
            )
        return paths

    def _loosely(self, sample_id: str) -> str | None:
        return next((p for a in loose_ids(sample_id) if (p := self.aliases.get(a)) is not None), None)


def loose_ids(sample_id: str) -> tuple[str, str]:
    """Return how else an id may be spelt: with its ending in lower case, and without its folders too."""
    path = PurePosixPath(sample_id)
    lowered = str(path.with_suffix(path.suffix.lower())) if path.name else sample_id
    return lowered, PurePosixPath(lowered).name


def image_id(name: str, ids: IdStyle) -> str:
    """Return the id of an image from its name below its folder."""
    return name if ids == "name" else str(PurePosixPath(name).with_suffix(""))
