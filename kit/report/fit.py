"""Fit tables and lines into the width of a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Column, Table
from rich.text import Text, TextType

from kit.errors import one_line

GAP = 2  # spaces after each column: rich counts those after the last one, too
NARROW = 20  # characters below which a column of text is hard to read
# What a user copies, which is never broken: `kit train x`, a command after a colon or alone, --set key=value.
COPIED = r"`[^`\n]+`\S*|(?:(?<=: )|(?<=: {2}))kit [a-z]+\b[^.\n]*(?:\.\S[^.\n]*)*$|--[a-z-]+ [^\s-]\S*"
PIECE = re.compile(rf"{COPIED}|\S+")
INDENT = re.compile(r" *(?:- )?")


class FittedTable(Table):
    """A table without borders that is never wider than the terminal; texts have no line breaks of their own.

    Text wraps at words; right-aligned columns and the columns in ``whole`` do not wrap. If the terminal is
    too narrow, the columns in ``optional`` are left out, the first one first, and a line below names them.
    """

    def __init__(self, title: str | None, whole: Sequence[str], optional: Sequence[str]) -> None:
        super().__init__(
            title=title,
            header_style="bold",
            box=None,
            pad_edge=False,
        )
        self.whole = whole
        self.optional = optional

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        """Add a row; line breaks and other control characters of its texts, such as names, are escaped."""
        super().add_row(*(one_line(cell) if isinstance(cell, str) else cell for cell in cells), **options)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the title, the columns that fit, the caption, and the names of the other columns."""
        columns, names = self.columns, list(self.optional)
        shown, hidden = list(columns), []
        while names and sum(map(self._comfortable, shown)) + GAP * len(shown) > options.max_width:
            name = names.pop(0)
            hidden += [name for column in shown if column.header == name]
            shown = [column for column in shown if column.header != name]
        widths = self._widths(shown, options.max_width)
        shown = [
            replace(column, width=width, _index=index)
            for index, (column, width) in enumerate(zip(shown, widths, strict=True))
        ]
        title, caption = self.title, self.caption
        self.columns, self.title, self.caption = (
            shown,
            None,
            None,
        )  # rich would wrap these two at the last column
        yield from _annotation(title, "bold", options.max_width)
        yield from super().__rich_console__(console, options)
        yield from _annotation(caption, "italic", options.max_width)
        self.columns, self.title, self.caption = columns, title, caption
        if hidden:
            text = f"Not in {options.max_width} characters: {', '.join(hidden)}; --json has them."
            yield from _annotation(text, "dim", options.max_width)

    def _wraps(self, column: Column) -> bool:
        return column.justify != "right" and column.header not in self.whole

    def _comfortable(self, column: Column) -> int:
        """Return the width that a column needs to be easy to read."""
        longest, word = _lengths(column)
        return max(word, min(longest, NARROW)) if self._wraps(column) else longest

    def _widths(self, columns: Sequence[Column], available: int) -> list[int]:
        """Return the width of each column: all of its text, or an equal share of what the others leave."""
        lengths = [_lengths(column) for column in columns]
        longest = [length for length, _ in lengths]
        room = available - GAP * len(columns)
        if sum(longest) <= room:
            return longest
        wraps = [self._wraps(column) for column in columns]
        for floor in (room, NARROW, 1):  # words stay whole; if that is too wide, long words are broken
            least = [min(word, floor) if w else all_ for (all_, word), w in zip(lengths, wraps, strict=True)]
            if sum(least) <= room:
                break
        share = max((s for s in range(room + 1) if sum(_shared(least, longest, s)) <= room), default=0)
        return _shared(least, longest, share)


def _annotation(text: TextType | None, style: str, width: int) -> Iterator[Text]:
    """Yield the lines of a title, caption or note."""
    if text is not None:
        plain = Text.from_markup(text, style=style) if isinstance(text, str) else text
        yield unwrapped(lines_of(plain, width))


def unwrapped(lines: Sequence[Text]) -> Text:
    """Return lines as one text that rich does not wrap again."""
    text = Text("\n").join(lines)
    text.no_wrap, text.overflow = True, "ignore"
    return text


def _shared(least: Sequence[int], most: Sequence[int], share: int) -> list[int]:
    return [min(max(low, share), high) for low, high in zip(least, most, strict=True)]


def _lengths(column: Column) -> tuple[int, int]:
    """Return the length of a column's longest cell, and of its longest word, its header included.

    A cell that may be cut has no word that must be whole.
    """
    cells = [column.header, *column.cells]
    lines = [line for cell in cells for line in _plain(cell).splitlines()]
    whole = [_plain(cell) for cell in cells if not (isinstance(cell, Text) and cell.no_wrap)]
    words = [word for cell in whole for word in cell.split()]
    return max(map(cell_len, lines), default=0), max(map(cell_len, words), default=0)


def _plain(cell: object) -> str:
    return cell.plain if isinstance(cell, Text) else Text.from_markup(str(cell)).plain


@dataclass
class _Line:
    """Where a wrapped line begins and ends in the text."""

    start: int
    end: int


def lines_of(text: Text, width: int) -> list[Text]:
    """Return the text in lines of at most ``width`` characters, broken between words.

    A line that continues another has its indentation. Commands in backticks, commands after a colon, and
    options with their value are not broken: one that does not fit begins a line; only it can be too long.
    """
    found = []
    for paragraph in text.split("\n", allow_blank=True):
        match = INDENT.match(paragraph.plain)
        indent = len(match[0]) if match else 0
        for number, line in enumerate(_broken(paragraph.plain, indent, width)):
            part = paragraph[line.start : line.end]
            found.append(Text(" " * indent).append_text(part) if number else part)
    return found


def _broken(plain: str, indent: int, width: int) -> Iterator[_Line]:
    """Yield the lines of one paragraph."""
    line: _Line | None = None
    used = 0  # characters of the line before ``line.start``
    for piece in PIECE.finditer(plain, indent):
        if line is None:
            line = _Line(0, piece.end())
        elif used + cell_len(plain[line.start : piece.end()]) <= width:
            line.end = piece.end()
        else:
            yield line
            line, used = _Line(piece.start(), piece.end()), indent
    yield line or _Line(0, 0)
