"""Store uploaded files in a temporary folder, under safe names and with bounds on size and pixels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from PIL import Image

from kit.errors import KitError, counted

MAX_IMAGES = 50
MAX_PIXELS = 100_000_000
UNSAFE = re.compile(r"[^\w.\- ]")


class Uploaded(Protocol):
    """A file that the browser has sent."""

    name: str

    def getvalue(self) -> bytes:
        """Return its bytes."""


def safe_name(name: str) -> str:
    """Return the last part of a name, without signs that mean something to a file system.

    >>> safe_name("../../etc/passwd"), safe_name("a<b>.png"), safe_name("..")
    ('passwd', 'a_b_.png', '_')
    """
    last = re.split(r"[/\\]", name)[-1]
    cleaned = UNSAFE.sub("_", last).strip(". ")
    return cleaned[:150] or "_"


@contextmanager
def stored(files: Sequence[Uploaded]) -> Iterator[list[Path]]:
    """Keep uploaded files in a folder while the block runs; their paths, in the order of the files."""
    with TemporaryDirectory(prefix="kit-app-") as folder:
        uploads = Path(folder) / "uploads"
        uploads.mkdir()
        paths: list[Path] = []
        for file in files:
            path = uploads / safe_name(file.name)
            if path in paths:  # two files of one name
                path = path.with_stem(f"{path.stem}-{len(paths)}")
            path.write_bytes(file.getvalue())
            paths.append(path)
        yield paths


def check_images(paths: Sequence[Path]) -> None:
    """Refuse files that are no images, or would fill the memory.

    Raises:
        KitError: Names the first wrong file.
    """
    if len(paths) > MAX_IMAGES:
        raise KitError(
            "upload",
            f"has {counted(len(paths), 'image')}",
            f"The page takes up to {MAX_IMAGES}",
            "For a folder: `kit predict RUN --images FOLDER --out FILE`.",
            code="too_many_images",
        )
    for path in paths:
        try:
            with Image.open(path) as image:
                width, height = image.size
        except Image.DecompressionBombError:
            raise _too_large(path, "too many pixels") from None
        except (OSError, ValueError, SyntaxError):
            raise KitError(
                path.name,
                "cannot be read as an image",
                "The page takes JPEG, PNG, WebP, BMP, GIF and TIFF",
                "Open it in an image viewer: is it complete?",
                code="image_unreadable",
            ) from None
        if width * height > MAX_PIXELS:
            raise _too_large(path, f"{width} x {height} pixels")


def _too_large(path: Path, size: str) -> KitError:
    rule = f"The page takes up to {MAX_PIXELS // 10**6} million pixels"
    return KitError(path.name, f"has {size}", rule, "Make it smaller.", code="image_too_large")
