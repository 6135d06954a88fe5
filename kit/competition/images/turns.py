"""Turn the values of images upright, by EXIF orientation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # by EXIF orientation; 1 is upright
    2: np.fliplr,
    3: lambda values: np.rot90(values, 2),
    4: np.flipud,
    5: lambda values: values.swapaxes(0, 1),
    6: lambda values: np.rot90(values, -1),
    7: lambda values: np.rot90(values, 2).swapaxes(0, 1),
    8: np.rot90,
}
