"""The preprocessing of a model: from its weights, unless the config overrides it."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from kit.config import ImageConfig
from kit.errors import KitError


@dataclass(frozen=True)
class Preprocessing:
    """The input of a model.

    Attributes:
        size: Height and width in pixels, when training.
        mean: Per channel, of values in 0..1.
        std: Likewise.
        interpolation: ``nearest``, ``bilinear`` or ``bicubic``.
        crop: The share of the resized short side that the center crop keeps when predicting.
        predict_size: Height and width when predicting; None means as when training. Crops that are enlarged
            in training make things look larger than they are, so a larger size may predict better (Touvron
            et al. 2019, "Fixing the train-test resolution discrepancy").
        training_sizes: Height and width in training, where they change with the epochs.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bicubic"
    crop: float = 1.0
    predict_size: int | None = None
    training_sizes: tuple[int, ...] = ()

    @property
    def training(self) -> dict[int, str]:
        """Every size of training images, and the key of the config that says it."""
        return dict.fromkeys(self.training_sizes, "image.size_by_epoch") or {self.size: "image.size"}

    @property
    def all_sizes(self) -> dict[int, str]:
        """Every size that images have, in training and predicting, and the key that says it."""
        return {self.predicting: "image.predict_size", **self.training}

    @property
    def predicting(self) -> int:
        """Height and width in pixels when predicting."""
        return self.predict_size or self.size

    @property
    def channels(self) -> int:
        """How many channels an image has."""
        return len(self.mean)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for a checkpoint's metadata."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Preprocessing":
        """Return what ``as_dict`` wrote."""
        several: dict[str, Any] = {
            key: tuple(values[key]) for key in ("mean", "std", "training_sizes") if key in values
        }
        return cls(**(values | several))


def overridden(own: Preprocessing, image: ImageConfig) -> tuple[Preprocessing, list[str]]:
    """Return the preprocessing with the config's overrides, and one note per override.

    Raises:
        KitError: ``image.mean`` or ``image.std`` has another number of values than there are channels.
    """
    grey = image.mode == "grey"
    result = own
    if grey and own.channels == 3:
        result = replace(result, mean=(sum(own.mean) / 3,), std=(sum(own.std) / 3,))
    notes = []
    for key in ("size", "predict_size", "mean", "std", "crop"):
        value = getattr(image, key)
        value = tuple(value) if isinstance(value, list) else value
        in_force = result.predicting if key == "predict_size" else getattr(result, key)
        if value is None or value == in_force:
            continue
        if isinstance(value, tuple) and len(value) != result.channels:
            raise KitError(
                f"image.{key}",
                f"has {len(value)} values for {result.channels} channels",
                code="channels_differ",
            )
        own_value = own.size if key == "predict_size" else getattr(result, key)
        notes.append(f"image.{key} {value} instead of the model's own {own_value}")
        result = Preprocessing(**(asdict(result) | {key: value}))
    if image.size_by_epoch:
        sizes = tuple(size for _, size in sorted(image.size_by_epoch.items()))
        result = replace(result, training_sizes=sizes)
        notes.append(
            f"image.size_by_epoch {', then '.join(map(str, sizes))} instead of the model's own {own.size}"
        )
    return result, notes
