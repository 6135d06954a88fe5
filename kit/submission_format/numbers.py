"""Numbers as text: the shortest that reads back the same, or a fixed number of decimals that keeps sums."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def shortest(values: np.ndarray) -> pa.StringArray:
    """Return numbers (N,) as the shortest text that reads back as the same float32."""
    return pc.cast(pa.array(np.ascontiguousarray(values, dtype=np.float32)), pa.string())


def fixed(values: np.ndarray, decimals: int) -> pa.StringArray:
    """Return numbers (N,) with exactly so many decimals; a half is rounded to the even neighbour."""
    return _with_point(np.rint(values.astype(np.float64) * 10.0**decimals).astype(np.int64), decimals)


def fixed_shares(rows: np.ndarray, decimals: int) -> list[pa.StringArray]:
    """Return shares (N, C), whose rows sum to 1, with so many decimals such that the text sums to 1 exactly.

    Each share is rounded down; what is then missing goes, a unit each, to those that lost most (the method
    of largest remainders). So a larger share never becomes a smaller number, and none is off by a unit.
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
    """Return whole numbers (N,) of the last decimal as text with a point."""
    if decimals == 0:
        return pc.cast(pa.array(units), pa.string())
    size = np.abs(units)
    scale = 10**decimals
    whole, rest = (pc.cast(pa.array(part), pa.string()) for part in (size // scale, size % scale))
    text = pc.binary_join_element_wise(whole, pc.utf8_lpad(rest, decimals, "0"), ".")
    if (units < 0).any():
        text = pc.binary_join_element_wise(pa.array(np.where(units < 0, "-", "")), text, "")
    return text


def parsed(cell: str, decimal_mark: str) -> float:
    """Return the number in a cell, which must be one.

    Raises:
        ValueError: It is not.
    """
    if "_" in cell:
        raise ValueError(cell)  # float() reads 1_000; no leaderboard does
    return float(cell if decimal_mark == "." else cell.replace(decimal_mark, "."))
