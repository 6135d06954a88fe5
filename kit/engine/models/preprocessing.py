"""Preprocessing of a model: values of its weights, overridden by the config."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from kit.config import ImageConfig
from kit.errors import KitError, counted


@dataclass(frozen=True)
class Preprocessing:
    """The input of a model.

    Attributes:
        size: Height and width in pixels in training.
        mean: Mean per channel, for values in 0..1.
        std: Standard deviation per channel, for values in 0..1.
        interpolation: ``nearest``, ``bilinear`` or ``bicubic``.
        crop: Share of the resized short side in the center crop of prediction.
        predict_size: Height and width in prediction; None: ``size``. Random resized crops make objects look
            larger in training, so a larger size may predict better (Touvron et al. 2019, "Fixing the
            train-test resolution discrepancy").
        training_sizes: Heights and widths in training, if they change with the epoch.
        fit: How images of any shape become square: ``crop``, ``letterbox`` or ``squash``.
        background: The color of a letterbox's padding.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bicubic"
    crop: float = 1.0
    predict_size: int | None = None
    training_sizes: tuple[int, ...] = ()
    fit: str = "crop"
    background: str = "white"

    @property
    def training(self) -> dict[int, str]:
        """Every training size -> its config key."""
        return dict.fromkeys(self.training_sizes, "image.size_by_epoch") or {self.size: "image.size"}

    @property
    def all_sizes(self) -> dict[int, str]:
        """Every size in training and prediction -> its config key."""
        return {self.predicting: "image.predict_size", **self.training}

    @property
    def predicting(self) -> int:
        """Height and width in pixels in prediction."""
        return self.predict_size or self.size

    @property
    def channels(self) -> int:
        """Number of channels."""
        return len(self.mean)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for a checkpoint's metadata."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Preprocessing":
        """Return what ``as_dict`` wrote."""
        tuples: dict[str, Any] = {
            key: tuple(values[key]) for key in ("mean", "std", "training_sizes") if key in values
        }
        return cls(**(values | tuples))


def overridden(own: Preprocessing, image: ImageConfig) -> tuple[Preprocessing, list[str]]:
    """Return the preprocessing with the config's overrides, and one note per override.

    For gray images, mean and std are the means over the model's channels; for other channels than three, they
    are the model's own in order, repeated.

    Raises:
        KitError: The number of values of ``image.mean`` or ``image.std`` is not the number of channels.
    """
    result, notes = _for_channels(own, 1 if image.mode == "grey" else image.channels)
    if image.mean is None and notes:
        notes.append("image.mean and image.std are not set: `kit inspect` shows those of the images")
    for key in ("size", "predict_size", "mean", "std", "crop"):
        value = getattr(image, key)
        value = tuple(value) if isinstance(value, list) else value
        current = result.predicting if key == "predict_size" else getattr(result, key)
        if value is None or value == current:
            continue
        if isinstance(value, tuple) and len(value) != result.channels:
            raise KitError(
                f"image.{key}",
                f"has {counted(len(value), 'value')} for {counted(result.channels, 'channel')}",
                code="channels_differ",
            )
        own_value = own.size if key == "predict_size" else getattr(result, key)
        notes.append(f"image.{key} {value} instead of the model's own {own_value}")
        result = Preprocessing(**(asdict(result) | {key: value}))
    if image.fit != "crop":
        result = replace(result, fit=image.fit, background=image.background, crop=1.0)
        notes.append(f"image.fit {image.fit}: the whole image instead of a center crop of {own.crop:g}")
    if image.size_by_epoch:
        sizes = tuple(size for _, size in sorted(image.size_by_epoch.items()))
        result = replace(result, training_sizes=sizes)
        notes.append(
            f"image.size_by_epoch {', then '.join(map(str, sizes))} instead of the model's own {own.size}"
        )
    return result, notes


def _for_channels(own: Preprocessing, channels: int) -> tuple[Preprocessing, list[str]]:
    """Return the preprocessing for a number of channels, and a note if it is not one of pictures."""
    if channels == own.channels:
        return own, []
    if channels == 1:
        return replace(own, mean=(sum(own.mean) / 3,), std=(sum(own.std) / 3,)), []
    times = -(-channels // own.channels)
    mean, std = (own.mean * times)[:channels], (own.std * times)[:channels]
    note = (
        f"image.channels {channels}: mean and std of the model's {counted(own.channels, 'channel')}, "
        "repeated in order"
    )
    return replace(own, mean=mean, std=std), [note]
