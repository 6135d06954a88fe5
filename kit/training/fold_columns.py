"""Fit the encoders of a fold's metadata on its training rows, and encode its images with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kit.competition.column_encoder import ColumnEncoder
from kit.competition.metadata import cells_of, kinds_of
from kit.config import ColumnConfig, Config, ModelConfig
from kit.training.data import TrainingData

if TYPE_CHECKING:
    from kit.engine.data.datasets import ImageSet
    from kit.engine.fit.columns import FoldColumns
    from kit.engine.models.tabular import EncodedRows

NOTHING = ColumnEncoder(())


@dataclass(frozen=True)
class FoldEncoders:
    """The encoders of a fold: nothing of its validation rows is in them.

    Attributes:
        tabular: Of the columns that the model reads.
        auxiliary: Of the columns that it learns to predict.
        weights: The weight of each auxiliary column.
    """

    tabular: ColumnEncoder = NOTHING
    auxiliary: ColumnEncoder = NOTHING
    weights: tuple[float, ...] = ()

    @classmethod
    def fitted(cls, config: Config, data: TrainingData, k: int) -> FoldEncoders:
        """Return the encoders of fold ``k``."""
        model = config.model
        if not model.columns:
            return cls()
        weights = tuple(each.weight for each in model.auxiliary)
        return cls(_fitted(model.tabular, data, k), _fitted(model.auxiliary, data, k), weights)

    @property
    def about(self) -> dict[str, Any]:
        """What the metadata of the fold's checkpoint say of the columns."""
        return {"tabular": self.tabular.as_list()} if self.tabular.columns else {}

    def notes(self, k: int) -> list[str]:
        """Return what the model reads and learns to predict, for people."""
        told = {"the model reads": self.tabular, "it learns to predict": self.auxiliary}
        return [f"{what} {each.describe()} (fold {k})" for what, each in told.items() if each.columns]

    def columns_of(self, train: ImageSet, validation: ImageSet) -> FoldColumns:
        """Return the encoded metadata of a fold's images."""
        from kit.engine.fit.columns import AuxiliaryTargets, FoldColumns

        auxiliary = encoded_rows(self.auxiliary, train)
        return FoldColumns(
            encoded_rows(self.tabular, train),
            encoded_rows(self.tabular, validation),
            None if auxiliary is None else AuxiliaryTargets(auxiliary, self.weights),
        )


def about_model(config: ModelConfig) -> dict[str, Any]:
    """Return what a checkpoint says of its network: the keys that rebuild it."""
    unused = {name for name in ("tabular", "auxiliary") if not getattr(config, name)}
    return config.model_dump(exclude={"trains", "start", "weights", *unused})


def _fitted(columns: Sequence[ColumnConfig], data: TrainingData, k: int) -> ColumnEncoder:
    kinds = kinds_of(data.samples, columns)
    cells = cells_of(data.samples[data.folds.training(data.samples, k)])
    return NOTHING if cells is None else ColumnEncoder.fitted(cells, kinds)


def encoded_rows(encoder: ColumnEncoder, images: ImageSet) -> EncodedRows | None:
    """Return the encoded metadata of images; None if the encoder has no columns."""
    from kit.engine.models.tabular import EncodedRows

    if not encoder.columns:
        return None
    return EncodedRows(encoder.encode(images.cells, len(images)), encoder.sizes)
