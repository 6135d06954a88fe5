"""Make the configs that ``kit auto`` trains: heads on cached features, and whole networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kit.auto.candidates import SMALL_SIDE, Candidate
from kit.auto.choices import Choice, scaled_size
from kit.config import AugmentConfig, Config, ImageConfig, ModelConfig, PredictConfig, TrainConfig
from kit.config.load import with_values

MANY_IMAGES = 5000  # per fold; with fewer, small batches give more steps
SMALL_BATCH, LARGE_BATCH = 16, 32
FEWEST_STEPS = 800  # of a whole network
FEWEST_EPOCHS, MOST_OF_FEWEST = 2, 16
SCRATCH_BATCH = 64  # small networks on small images: smaller batches mostly wait
SCRATCH_SIDE = 128  # px; larger inputs cost more than they add to a network trained from scratch
# Of the recipe that the user gave, what describes the data rather than how to train.
KEPT_OF_IMAGE = (
    "mode",
    "channels",
    "fit",
    "foreground",
    "background",
    "range",
    "frame",
    "max_pixels",
    "cache",
)
KEPT_OF_AUGMENT = ("hflip", "vflip", "pipeline")
KEPT_OF_TRAIN = ("balance", "precision", "workers", "loss")
HEAD_EPOCHS = {"train.epochs": 40, "train.batch_size": 32, "train.lr": 2e-3}
HEAD_EPOCHS_OF_MANY = {"train.epochs": 20, "train.batch_size": 128, "train.lr": 4e-3}
VIEWS_PRESET = "medium"


@dataclass(frozen=True)
class Recipes:
    """Makes configs for one competition.

    Attributes:
        config: The user's config; its recipe is replaced, except for what describes the data.
        side: The median shorter side of the images, in pixels.
        train: Training images of one fold.
        decode_size: The shorter side at which large images are decoded, once for all configs.
    """

    config: Config
    side: int
    train: int
    decode_size: int | Literal["auto"] = "auto"

    @property
    def batch_size(self) -> int:
        """Images per batch of whole networks."""
        return SMALL_BATCH if self.train < MANY_IMAGES else LARGE_BATCH

    @property
    def fewest_epochs(self) -> int:
        """The epochs below which a whole network scores worse than a head on frozen features."""
        steps = max(1, self.train // self.batch_size)
        return max(FEWEST_EPOCHS, min(MOST_OF_FEWEST, -(-FEWEST_STEPS // steps)))

    def native_size(self, candidate: Candidate) -> int:
        """Return the image size that a network's weights were trained with, or one that fits the images."""
        from kit.engine.models.build import preprocessing_of

        if not candidate.pretrained:
            small = 32 if self.side > 16 else 24
            return small if self.side < SMALL_SIDE else min(SCRATCH_SIDE, scaled_size(self.side, 1.0))
        image = ImageConfig(channels=self.config.image.channels)
        return preprocessing_of(ModelConfig(name=candidate.model, weights=candidate.weights), image)[0].size

    @property
    def augments_photos(self) -> bool:
        """Whether the augmentation for photos can be used: images with three channels."""
        return self.config.image.channels == 3

    def head(self, name: str, candidate: Candidate, size: int, views: int = 0) -> Config:
        """Return the config that trains the head of a frozen network on cached features.

        Args:
            views: Augmented copies of each training image, beside the image itself.
        """
        values = {
            "model.trains": "head",
            "image.size": size,
            "augment.views": views,
            "augment.preset": VIEWS_PRESET if views else "none",
        }
        epochs = HEAD_EPOCHS if self.train < MANY_IMAGES else HEAD_EPOCHS_OF_MANY
        return self._of(name, candidate, {**values, **epochs})

    def whole(
        self,
        name: str,
        candidate: Candidate,
        choices: Sequence[Choice],
        params: Mapping[str, Any],
        epochs: int,
        seed: int = 0,
    ) -> Config:
        """Return the config that trains a whole network.

        Args:
            params: Name of a choice -> value; a choice without one keeps the default.
            seed: Added to the seed of the user's config.
        """
        native = self.native_size(candidate)
        values: dict[str, Any] = {
            "image.size": native,
            "train.batch_size": self.batch_size if candidate.pretrained else SCRATCH_BATCH,
            "train.epochs": epochs,
            "predict.tta": ["identity", "hflip"] if self.config.augment.hflip else ["identity"],
            "seed": self.config.seed + seed,
        }
        for choice in choices:
            if choice.name in params:
                values |= choice.values(params[choice.name], candidate, native)
        return self._of(name, candidate, values)

    def _of(self, name: str, candidate: Candidate, values: Mapping[str, Any]) -> Config:
        own = self.config.model
        plain = self.config.model_copy(
            update={
                "name": name,
                "image": _kept(self.config.image, ImageConfig(), KEPT_OF_IMAGE),
                "model": ModelConfig(
                    name=candidate.model,
                    pretrained=candidate.pretrained,
                    tabular=own.tabular,
                    auxiliary=own.auxiliary,
                ),
                "augment": _kept(self.config.augment, AugmentConfig(), KEPT_OF_AUGMENT),
                "train": _kept(self.config.train, TrainConfig(keep="last"), KEPT_OF_TRAIN),
                "predict": PredictConfig(),
            }
        )
        fixed = {"model.weights": candidate.weights, "image.decode_size": self.decode_size}
        if self.config.augment.pipeline is not None:
            values = {key: value for key, value in values.items() if key != "augment.preset"}
        return with_values(plain, {**fixed, **values})


def _kept(given: Any, default: Any, fields: Sequence[str]) -> Any:
    return default.model_copy(update={name: getattr(given, name) for name in fields})
