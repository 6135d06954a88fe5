"""What several pages show: choices of runs and configs, galleries of images, texts without markup."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from kit.app import state
from kit.competition.images.decode import DecodeOptions, UnreadableImageError, decode
from kit.competition.images.pixels import three_channel_view
from kit.report.plots import PALETTE
from kit.storage.workspace import RunFolder, Workspace

SIDE = 160  # px of an image in a gallery
COLUMNS = 6
PER_PAGE = 24
MARKUP = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>$~:&])")


def plain(text: object) -> str:
    r"""Return text for a place that reads Markdown, so that names are shown as they are.

    >>> plain("a_b <b>")
    'a\\_b \\<b\\>'
    """
    return MARKUP.sub(r"\\\1", " ".join(str(text).split()))


def colors(count: int) -> list[Any]:
    """Return colors that color-blind readers can tell apart, repeated if there are more lines."""
    return [PALETTE[number % len(PALETTE)] for number in range(count)]


@dataclass(frozen=True)
class Tile:
    """An image of a gallery: its path below a folder, and lines of text below it."""

    path: str | None
    lines: tuple[str, ...]


def choose_config(workspace: Workspace) -> Path | None:
    """Let the user choose a config; None, with what to do, if none exists."""
    found = state.configs(workspace)
    if not found:
        st.info("No config exists yet: the page Start writes one from a competition's folder.")
        return None
    return st.selectbox("Config", found, format_func=lambda path: path.stem, key="config")


def choose_run(
    workspace: Workspace, label: str, key: str, suits: Callable[[RunFolder], bool]
) -> RunFolder | None:
    """Let the user choose a run; None, with what to do, if none suits."""
    found = [run for run in workspace.runs() if suits(run)]
    if not found:
        st.info("No run suits this page yet. Train and predict one: page Start, or kit run in a terminal.")
        return None
    return st.selectbox(label, found, format_func=lambda run: run.label, key=key)


def page_of(count: int, key: str) -> range:
    """Let the user choose a page of a gallery; return its positions."""
    pages = max(1, -(-count // PER_PAGE))
    number = 1
    if pages > 1:
        number = int(st.number_input(f"Page, of {pages}", 1, pages, key=key))
    start = (min(number, pages) - 1) * PER_PAGE
    return range(start, min(count, start + PER_PAGE))


def gallery(root: Path, tiles: Sequence[Tile], options: DecodeOptions) -> None:
    """Show images in rows."""
    for start in range(0, len(tiles), COLUMNS):
        for column, tile in zip(st.columns(COLUMNS), tiles[start : start + COLUMNS], strict=False):
            with column:
                show_tile(root, tile, options)


def show_tile(root: Path, tile: Tile, options: DecodeOptions) -> None:
    """Show an image, and its lines."""
    pixels = None if tile.path is None else _thumbnail(root, tile.path, options)
    if pixels is None:
        st.text("no image" if tile.path is None else "unreadable")
    else:
        st.image(pixels, width=SIDE)
    st.text("\n".join(tile.lines))


def _thumbnail(root: Path, path: str, options: DecodeOptions) -> np.ndarray | None:
    file = root / path
    return _small(str(file), state.stamp([file]), options.key, options)


@st.cache_data(max_entries=5000, show_spinner=False)
def _small(file: str, stamp: str, decoding: str, _options: DecodeOptions) -> np.ndarray | None:
    """Return an image of at most ``SIDE`` pixels; a tiny one enlarged sharply; None if it is unreadable."""
    try:
        image = Image.fromarray(three_channel_view(decode(Path(file), "rgb", SIDE, _options)))
    except (UnreadableImageError, OSError):
        return None
    image.thumbnail((SIDE, SIDE))
    if (times := SIDE // max(image.size)) > 1:
        image = image.resize((times * image.width, times * image.height), Image.Resampling.NEAREST)
    return np.asarray(image)
