"""List image folders in natural order, and find images by id."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal

import pandas as pd

from kit.competition.id_rules import RuleIndex
from kit.competition.images.decode import has_image_content, image_readers, is_image
from kit.competition.images.readers import missing_extras, without_strays
from kit.errors import KitError, counted, counted_of, first_few
from kit.natural import natural_key

IdStyle = Literal["name", "stem", "folder"]
ID_STYLES: tuple[IdStyle, ...] = ("name", "stem", "folder")


def list_images(root: Path, folder: str = ".") -> list[str]:
    """Return the images below ``root/folder``: paths relative to that folder with ``/``, in natural order.

    Raises:
        KitError: A link points out of ``root`` or to a folder.
    """
    return list_files(root, folder)[0]


def list_files(root: Path, folder: str = ".") -> tuple[list[str], list[str]]:
    """Return the images below ``root/folder`` in natural order, and the other files.

    A file is an image if a reader exists for its suffix, or if its content begins like one. Hidden files and
    folders (``.DS_Store``, ``._1.jpg``, ``__MACOSX``) are skipped.

    Raises:
        KitError: A link points out of ``root`` or to a folder, or something is a pipe or a device.
    """
    found: list[str] = []
    others: list[str] = []
    outside: list[str] = []
    special: list[str] = []
    inside = root.resolve()
    pending = [""]
    if not (root / folder).resolve().is_relative_to(inside):
        outside.append(folder)
    while pending:
        below = pending.pop()
        with os.scandir(root / folder / below) as entries:
            for entry in entries:
                name = f"{below}{entry.name}"
                if is_hidden(entry.name):
                    continue
                if entry.is_symlink() and _leads_outside(entry, inside):
                    outside.append(str(PurePosixPath(folder) / name))
                elif entry.is_dir():
                    pending.append(f"{name}/")
                elif not entry.is_file() and Path(entry.path).exists():
                    special.append(str(PurePosixPath(folder) / name))
                elif is_image(entry.name) or has_image_content(Path(entry.path)):
                    found.append(name)
                else:
                    others.append(name)
    if outside:
        raise KitError(
            root,
            f"{counted(len(outside), 'link points', 'links point')} out of it, to a folder or in a circle "
            f"({first_few(sorted(outside))})",
            "All images must be in the competition's own folder",
            "Copy the linked files, or give the real folder as DATA.",
            code="link_outside",
        )
    if special:
        raise KitError(
            root,
            f"holds {counted(len(special), 'pipe or device', 'pipes or devices')} "
            f"({first_few(sorted(special))})",
            "Reading anything but regular files could never end",
            "Remove them.",
            code="not_a_file",
        )
    found, strays = without_strays(found)
    return sorted(found, key=natural_key), others + strays


def check_extras(root: Path, images: Iterable[str]) -> None:
    """Refuse images of kinds whose readers are not installed.

    Raises:
        KitError: An extra of kit is missing; the message says what it reads.
    """
    for extra, names in missing_extras(images).items():
        raise KitError(
            root,
            f"holds {counted(len(names), 'image')} that kit reads with the extra `{extra}` "
            f"({first_few(names)})",
            next=f"pip install 'kit[{extra}]'",
            code="extra_missing",
        )


def _leads_outside(entry: os.DirEntry[str], root: Path) -> bool:
    """Return whether a link leads to a folder, out of ``root``, or back to itself."""
    try:
        return entry.is_dir() or not Path(entry.path).resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a circle of links
        return True


def list_folders(folder: Path) -> list[str]:
    """Return the names of the folders directly in ``folder``, in natural order, without hidden ones."""
    names = [entry.name for entry in os.scandir(folder) if entry.is_dir() and not is_hidden(entry.name)]
    return sorted(names, key=natural_key)


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden, or belongs to an archive tool."""
    return name.startswith(".") or name == "__MACOSX"


@dataclass(frozen=True)
class ImageFolder:
    """The images of one folder, by id.

    Attributes:
        folder: Relative to the competition's root, with ``/``.
        paths: id -> path relative to the competition's root.
    """

    folder: str
    paths: dict[str, str]

    @classmethod
    def open(cls, root: Path, folder: str, ids: IdStyle) -> "ImageFolder":
        """Return the images of ``root/folder``; ids are names with suffix (``name``) or without (``stem``).

        Raises:
            KitError: The folder is missing or has no image, or two images have the same stem.
        """
        if not (root / folder).is_dir():
            raise KitError(
                root / folder, "there is no such folder", "It should hold the images", code="folder_missing"
            )
        names = list_images(root, folder)
        if not names:
            suffixes = " ".join(sorted(image_readers))
            raise KitError(
                root / folder, "has no image", f"Images are files with suffix {suffixes}", code="no_images"
            )
        keys = [image_id(name, ids) for name in names]
        shared = [key for key, count in Counter(keys).items() if count > 1]
        if shared:
            raise KitError(
                root / folder,
                f"{counted(len(shared), 'id matches', 'ids match')} several files that differ only in "
                f"suffix ({first_few(shared)})",
                next="Use `ids: name` and ids with suffix.",
                code="ids_ambiguous",
            )
        return cls(folder, dict(zip(keys, paths_below(folder, names).values(), strict=True)))

    @cached_property
    def aliases(self) -> dict[str, str]:
        """Loose spelling of an id -> path, where it is unambiguous: see ``loose_ids``."""
        matches: dict[str, set[str]] = {}
        for sample_id, path in self.paths.items():
            for alias in loose_ids(sample_id):
                matches.setdefault(alias, set()).add(path)
        return {alias: next(iter(paths)) for alias, paths in matches.items() if len(paths) == 1}

    @property
    def spellings(self) -> dict[str, str]:
        """Id, and path from the competition's folder -> path."""
        return {path: path for path in self.paths.values()} | self.paths

    def find(self, ids: pd.Series, listed_in: Path) -> list[str]:
        """Return the path of the image of each id; if ids are spelled differently, by the rule that fits all.

        Raises:
            KitError: An id has no image, or two ids match the same image.
        """
        found = [self.paths.get(i) for i in ids]
        if None in found:
            found = [path or self._find_loosely(i) for path, i in zip(found, ids, strict=True)]
        missing = [i for i, path in zip(ids, found, strict=True) if path is None]
        if missing and (by_rule := RuleIndex(self.spellings).find(list(ids))) is not None:
            return by_rule[0]
        if missing:
            example = next(iter(self.paths))
            raise KitError(
                listed_in,
                f"{counted_of(len(missing), len(ids), 'id', 'has', 'have')} no image in "
                f"{self.folder}/ ({first_few(missing)})",
                f"Ids there look like '{example}'",
                "Add the images, remove the rows, or set `ids: name` (with suffix) or `ids: stem` (without).",
                code="image_missing",
            )
        paths = [path for path in found if path is not None]
        twice = [path for path, count in Counter(paths).items() if count > 1]
        if twice:
            raise KitError(
                listed_in,
                f"{counted(len(twice), 'image matches', 'images match')} two ids ({first_few(twice)})",
                "Each image has one id",
                code="ids_ambiguous",
            )
        return paths

    def in_folders(self, folders: pd.Series, listed_in: Path) -> pd.DataFrame:
        """Return ``id path row`` of the images in some folders: by folder, in natural order.

        Args:
            folders: The names of folders directly in this one; ``row`` is the position of the image's folder.

        Raises:
            KitError: A folder holds no image.
        """
        images: dict[str, list[str]] = {}
        for name in self.paths:
            images.setdefault(image_id(name, "folder"), []).append(name)
        missing = [folder for folder in folders if folder not in images]
        if missing:
            raise KitError(
                listed_in,
                f"{counted_of(len(missing), len(folders), 'id', 'is', 'are')} no folder of images in "
                f"{self.folder}/ "
                f"({first_few(missing)})",
                "With `ids: folder`, every id is the name of a folder of images",
                code="image_missing",
            )
        found = [
            (name, self.paths[name], row) for row, folder in enumerate(folders) for name in images[folder]
        ]
        return pd.DataFrame(found, columns=["id", "path", "row"])

    def _find_loosely(self, sample_id: str) -> str | None:
        return next((p for a in loose_ids(sample_id) if (p := self.aliases.get(a)) is not None), None)


def paths_below(folder: str, names: Iterable[str]) -> dict[str, str]:
    """Return each name of a file -> its path with the folder in front."""
    below = str(PurePosixPath(folder))
    start = "" if below == "." else f"{below}/"  # joining paths of a million files would take seconds
    return {name: f"{start}{name}" for name in names}


def loose_ids(sample_id: str) -> tuple[str, str]:
    """Return other spellings of an id: with its suffix in lower case, and also without its folders."""
    if sample_id.startswith("./") or "//" in sample_id:
        sample_id = str(PurePosixPath(sample_id))
    folder, slash, name = sample_id.rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    if stem and not suffix.islower():
        name = f"{stem}{dot}{suffix.lower()}"
        sample_id = f"{folder}{slash}{name}"
    return sample_id, name


def image_id(name: str, ids: IdStyle) -> str:
    """Return the id of an image from its path below its folder; ``folder``: the first folder in it."""
    if ids == "folder":
        return name.split("/")[0] if "/" in name else ""
    if ids == "name":
        return name
    folder, slash, last = name.rpartition("/")
    stem, _, _ = last.rpartition(".")
    return f"{folder}{slash}{stem or last}"
