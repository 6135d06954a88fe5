"""The kind of a sample file that shows too little: cells are checked, never written or read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from kit.metrics import Metric
from kit.predictions import FinalPredictions
from kit.submission_format.spec import CellType, SubmissionFormat, SubmissionKind
from kit.tasks import Task


class UnknownKind(SubmissionKind):
    """Any cells."""

    name = "any"
    description = "values"
    cell_type = CellType.ANYTHING

    def keeps(self, metric: Metric, form: SubmissionFormat) -> bool:
        """Return False: the meaning of the cells is unknown."""
        return False

    def write(self, predictions: FinalPredictions, form: SubmissionFormat) -> list[pa.StringArray]:
        """Raise: the meaning of the cells is unknown."""
        raise NotImplementedError

    def read(self, columns: Sequence[Sequence[str]], form: SubmissionFormat, task: Task) -> FinalPredictions:
        """Raise: the meaning of the cells is unknown."""
        raise NotImplementedError

    def changed(
        self, predictions: FinalPredictions, read: FinalPredictions, form: SubmissionFormat
    ) -> np.ndarray:
        """Raise: the meaning of the cells is unknown."""
        raise NotImplementedError


UNKNOWN_KIND = UnknownKind()
