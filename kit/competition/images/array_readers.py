"""Readers of images that are arrays: NumPy files with one image each, and DICOM files (extra ``dicom``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kit.competition.images.readers import Frames, ReaderFacts, Source, register_reader


@register_reader(".npy", facts=ReaderFacts(only_if_most=True))
def read_npy(path: Path, side: int | None = None) -> Source:
    """Read a NumPy array, (H, W) or (H, W, C). Nothing is unpickled."""
    values: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    if values.ndim not in (2, 3):
        raise ValueError(f"an array {values.shape} is no image: kit reads (H, W) and (H, W, channels)")
    if values.dtype.kind not in "buif":
        raise ValueError(f"an array of {values.dtype.name} is no image")
    return np.ascontiguousarray(values, values.dtype.newbyteorder("="))


@register_reader(".dcm", ".dicom", facts=ReaderFacts(True, "pydicom", "dicom"))
def read_dicom(path: Path, side: int | None = None) -> Source:
    """Read a DICOM file: rescaled, in the window that it names, with white as the largest value.

    Without a window the rescaled values are returned as float32, unless they have 8 bits; ``image.range``
    scales them.
    """
    try:
        import pydicom
    except ImportError as error:
        raise ValueError("DICOM files need pydicom: pip install 'kit[dicom]'") from error
    data = pydicom.dcmread(path)
    values = np.asarray(data.pixel_array)
    if data.get("SamplesPerPixel", 1) == 1:
        values = _shown_gray(data, values)
    return Frames(values) if int(data.get("NumberOfFrames") or 1) > 1 else values


def _shown_gray(data: Any, values: np.ndarray) -> np.ndarray:
    """Return gray or palette values as a viewer shows them, or in full depth without a window."""
    from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut

    if data.PhotometricInterpretation == "PALETTE COLOR":
        colors: np.ndarray = apply_color_lut(values, data)
        return colors
    is_inverted = data.PhotometricInterpretation == "MONOCHROME1"
    rescaled = np.asarray(apply_modality_lut(values, data))
    if "VOILUTSequence" in data:
        table = np.asarray(apply_voi_lut(rescaled, data, prefer_lut=True))
        top = 2 ** int(data.VOILUTSequence[0].LUTDescriptor[2]) - 1
        shown = _levels(table.astype(np.float32) / top)
    elif data.get("WindowWidth") not in (None, ""):
        shown = _levels(_windowed(data, rescaled.astype(np.float32)))
    else:
        shown = rescaled if rescaled.dtype == np.uint8 else rescaled.astype(np.float32)  # one type, one range
        return _inverted(data, shown) if is_inverted else shown
    return 255 - shown if is_inverted else shown


def _windowed(data: Any, values: np.ndarray) -> np.ndarray:
    """Return values in the first window, 0 to 1 (DICOM PS3.3 C.11.2.1.2)."""
    center, width = (_first(data[key].value) for key in ("WindowCenter", "WindowWidth"))
    if data.get("VOILUTFunction") == "SIGMOID":
        curved: np.ndarray = 1 / (1 + np.exp(-4 * (values - center) / width))
        return curved
    linear: np.ndarray = (values - (center - 0.5)) / max(width - 1, 1e-6) + 0.5
    return linear


def _first(value: Any) -> float:
    return float(value) if isinstance(value, (int, float, str)) else float(value[0])


def _levels(values: np.ndarray) -> np.ndarray:
    levels: np.ndarray = (values.clip(0, 1) * 255).round().astype(np.uint8)
    return levels


def _inverted(data: Any, values: np.ndarray) -> np.ndarray:
    """Return values with black and white exchanged within the bits that the file declares."""
    slope, intercept = float(data.get("RescaleSlope", 1)), float(data.get("RescaleIntercept", 0))
    bits, is_signed = int(data.BitsStored), bool(data.PixelRepresentation)
    ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if is_signed else (0, 2**bits - 1)
    total = sum(ends) * slope + 2 * intercept
    exact: np.ndarray = total - values.astype(np.float64)
    return exact.astype(values.dtype)
