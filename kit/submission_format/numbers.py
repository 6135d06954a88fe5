"""Numbers as text: the shortest text of a float32, or fixed decimals that keep row sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def shortest_decimals(values: np.ndarray) -> pa.StringArray:
    """Return numbers (N,) as the shortest text that reads back as the same float32."""
    return pc.cast(pa.array(np.ascontiguousarray(values, dtype=np.float32)), pa.string())


def fixed_decimals(values: np.ndarray, decimals: int) -> pa.StringArray:
    """Return numbers (N,) with exactly ``decimals`` decimals; halves round to even."""
    return _with_point(np.rint(values.astype(np.float64) * 10.0**decimals).astype(np.int64), decimals)


def fixed_shares(rows: np.ndarray, decimals: int) -> list[pa.StringArray]:
    """Return shares (N, C), whose rows sum to 1, with fixed decimals such that the text sums to 1 exactly.

    The method of largest remainders: round each share down, then add one unit to the shares that lost most.
    The order of shares is kept, and no share is off by a unit or more.
    """
    scale = 10**decimals
    wanted = rows.astype(np.float64)
    wanted = wanted / wanted.sum(axis=1, keepdims=True) * scale
    units = np.floor(wanted).astype(np.int64)
    left = scale - units.sum(axis=1)
    order = np.argsort(units - wanted, axis=1, kind="stable")
    rank = np.argsort(order, axis=1, kind="stable")
    units += rank < left[:, None]
    return [_with_point(units[:, c], decimals) for c in range(units.shape[1])]


def _with_point(units: np.ndarray, decimals: int) -> pa.StringArray:
    """Return integers (N,), in units of the last decimal, as text with a point."""
    if decimals == 0:
        return pc.cast(pa.array(units), pa.string())
    size = np.abs(units)
    scale = 10**decimals
    whole, rest = (pc.cast(pa.array(part), pa.string()) for part in (size // scale, size % scale))
    text = pc.binary_join_element_wise(whole, pc.utf8_lpad(rest, decimals, "0"), ".")
    if (units < 0).any():
        text = pc.binary_join_element_wise(pa.array(np.where(units < 0, "-", "")), text, "")
    return text


def with_decimal_mark(text: pa.StringArray, mark: str) -> pa.StringArray:
    """Return numbers (N,) with another decimal mark than a point."""
    return text if mark == "." else pc.replace_substring(text, ".", mark)


def parse_number(cell: str, decimal_mark: str) -> float:
    """Return the number in a cell.

    Raises:
        ValueError: The cell is not a number.
    """
    if "_" in cell:
        raise ValueError(cell)  # float() reads 1_000; no leaderboard does
    return float(cell if decimal_mark == "." else cell.replace(decimal_mark, "."))


def parse_numbers(cells: Sequence[str], decimal_mark: str) -> np.ndarray:
    """Return the numbers in cells, (N,), float32.

    Raises:
        ValueError: A cell is not a number.
    """
    return np.array([parse_number(cell, decimal_mark) for cell in cells], dtype=np.float32)
