"""Build a model by name (timm, torchvision, kit's own) with the preprocessing that its weights expect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
import torchvision
from torch import Tensor, nn

from kit.config import ImageConfig, ModelConfig
from kit.engine.models import small_cnn, timm_models, torchvision_models
from kit.engine.models.classifiers import settings_of
from kit.engine.models.cpu_convolutions import replace_cpu_convolutions
from kit.engine.models.heads import check_head, extend_head, find_heads, zero_init_head
from kit.engine.models.pooling import replace_pool
from kit.engine.models.preprocessing import Preprocessing, overridden
from kit.engine.models.pretrained import load_fold
from kit.engine.models.small_cnn import small_models
from kit.engine.models.tabular import Sizes, placeholder, rows_set
from kit.errors import KitError
from kit.registry import Registry


class Classifier(nn.Module):
    """Normalization and network: images of 0..255 in, logits out.

    Normalizing on the device keeps transferred batches small (uint8) and makes the normalization part of the
    checkpoint.

    Attributes:
        auxiliary_weight: Loss weight of each auxiliary classifier; the main classifier has weight 1 (Szegedy
            et al. 2015, "Going Deeper with Convolutions", section 5).
    """

    mean: Tensor
    std: Tensor
    auxiliary_weight: float = 0.3

    def __init__(self, backbone: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.backbone = backbone
        self.preprocessing = preprocessing
        for name in ("mean", "std"):
            values = torch.tensor(getattr(preprocessing, name)).view(1, -1, 1, 1) * 255
            self.register_buffer(name, values, persistent=False)

    def forward(self, images: Tensor, rows: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        """Map images (B, C, H, W) of 0..255 and their metadata (B, W) to logits (B, num_classes).

        In training, a network with auxiliary classifiers returns a tuple: main logits, then auxiliary logits.

        Args:
            rows: Rows of ``EncodedRows``, of a network that reads columns; None: all values are missing.
        """
        normalized = (images.float() - self.mean) / self.std
        with rows_set(self.backbone, rows):
            out = self.backbone(normalized.contiguous(memory_format=torch.channels_last))
        logits: Tensor | tuple[Tensor, ...] = tuple(out) if isinstance(out, tuple) else out
        return logits


@dataclass(frozen=True)
class ModelLibrary:
    """A family of networks.

    Attributes:
        description: One line.
        owns: Returns whether a model name belongs to the library.
        check_name: Raises a KitError if the model is unknown.
        check_weights: Raises a KitError if the pretrained weights are unavailable.
        preprocessing: Returns the preprocessing of the weights.
        build: (config, preprocessing, number of classes, weights file or None) -> network and notes.
        is_pretrained: Whether the library has pretrained weights.
    """

    description: str
    owns: Callable[[str], bool]
    check_name: Callable[[ModelConfig], None]
    check_weights: Callable[[ModelConfig], None]
    preprocessing: Callable[[ModelConfig], Preprocessing]
    build: Callable[[ModelConfig, Preprocessing, int, Path | None], tuple[nn.Module, list[str]]]
    is_pretrained: bool = True

    @classmethod
    def of(cls, name: str) -> ModelLibrary:
        """Return the library of a model, by its name; timm if no library owns the name."""
        owners = [library for library in model_libraries.values() if library.owns(name)]
        return owners[0] if owners else TIMM


model_libraries: Registry[ModelLibrary] = Registry("model library")


def check_model(config: ModelConfig) -> None:
    """Check the name of a model; an unknown one is a KitError with the nearest names."""
    ModelLibrary.of(config.name).check_name(config)


def longer_names(name: str) -> list[str]:
    """Return the other timm and torchvision models whose name starts with ``name``."""
    known = [*timm.list_models(f"{name}*"), *torchvision.models.list_models(include=f"{name}*")]
    return [other for other in known if other != name]


def check_weights(config: ModelConfig) -> None:
    """Check that pretrained weights are cached or can be downloaded; else a KitError."""
    if config.pretrained and config.weights is None:
        ModelLibrary.of(config.name).check_weights(config)


def preprocessing_of(config: ModelConfig, image: ImageConfig) -> tuple[Preprocessing, list[str]]:
    """Return a model's preprocessing, and one note per value that the config overrides."""
    return overridden(ModelLibrary.of(config.name).preprocessing(config), image)


def build_model(
    config: ModelConfig,
    image: ImageConfig,
    num_classes: int,
    weights: Path | None = None,
    columns: Sizes | None = None,
    auxiliary: Sizes = (),
) -> tuple[Classifier, list[str]]:
    """Return the model and notes: overridden preprocessing, unused weights, license.

    Args:
        weights: The weights file that the config names.
        columns: Categories of each column of ``model.tabular``; None: the data are not read.
        auxiliary: Categories of each column of ``model.auxiliary``, in training.

    Raises:
        KitError: The model is unknown, its weights are unavailable or do not fit, or it does not support the
            size, head or pooling of the config.
    """
    check_model(config)
    check_head(config)
    if config.classifier is not None:
        settings_of(config.classifier)
    library = ModelLibrary.of(config.name)
    preprocessing, notes = preprocessing_of(config, image)
    backbone, more_notes = library.build(config, preprocessing, num_classes, weights)
    _finish(backbone, config, columns, auxiliary)
    if (config.pretrained or weights) and library.is_pretrained:
        zero_init_head(backbone)
        more_notes = [*_stem_notes(image.channels), *more_notes]
    return _classifier(backbone, preprocessing), [*notes, *more_notes]


def _stem_notes(channels: int) -> list[str]:
    """Return what happened to the first layer of a pretrained network for images of some channels."""
    if channels == 3:
        return []
    how = "summed over red, green and blue" if channels == 1 else f"repeated in order, times 3/{channels}"
    return [f"the pretrained first layer was adapted from 3 channels to {channels}: its weights are {how}"]


def rebuild_model(
    config: ModelConfig, preprocessing: Preprocessing, num_classes: int, columns: Sizes | None = None
) -> Classifier:
    """Return the untrained model for the weights of a checkpoint; ``columns`` as for ``build_model``."""
    plain = config.model_copy(update={"pretrained": False, "weights": None})
    backbone, _ = ModelLibrary.of(config.name).build(plain, preprocessing, num_classes, None)
    _finish(backbone, config, columns)
    return _classifier(backbone, preprocessing)


def load_trained(
    model: Classifier, state: dict[str, Tensor], path: object, with_head: bool = True
) -> list[str]:
    """Load the weights of another experiment's fold; return a note if its head does not fit.

    Args:
        state: The state dict of a ``Classifier``.
        path: Its file, for messages.
        with_head: Whether its head may fit: both read the same metadata, encoded in the same way.

    Raises:
        KitError: A tensor outside the head does not fit.
    """
    inside = {key.removeprefix("backbone."): tensor for key, tensor in state.items()}
    if not with_head:
        heads = tuple(f"{name}." for name in find_heads(model.backbone))
        inside = {key: tensor for key, tensor in inside.items() if not key.startswith(heads)}
    return load_fold(model.backbone, inside, path)


def _finish(backbone: nn.Module, config: ModelConfig, columns: Sizes | None, auxiliary: Sizes = ()) -> None:
    """Replace the pooling and extend the head as configured."""
    if config.pool is not None:
        replace_pool(backbone, config.pool, config.name)
    if config.head or config.classifier or config.columns:
        sizes = placeholder(config.tabular) if columns is None else columns
        extend_head(backbone, config.head, config.classifier, sizes, auxiliary)


def _classifier(backbone: nn.Module, preprocessing: Preprocessing) -> Classifier:
    replace_cpu_convolutions(backbone)
    return Classifier(backbone, preprocessing).to(memory_format=torch.channels_last)


def _no_weights_to_check(config: ModelConfig) -> None:
    """Do nothing: kit's own networks have no pretrained weights."""


def _build_small(
    config: ModelConfig, preprocessing: Preprocessing, num_classes: int, weights: Path | None
) -> tuple[nn.Module, list[str]]:
    if weights is not None:
        raise KitError(
            "model.weights",
            f"{config.name} is trained from scratch",
            next="Remove model.weights.",
            code="weights_not_supported",
        )
    return small_cnn.build(config, num_classes, preprocessing.channels), []


SMALL = ModelLibrary(
    "Small networks of kit's own, trained from scratch",
    lambda name: name in small_models,
    small_cnn.check_name,
    _no_weights_to_check,
    lambda _: small_cnn.PREPROCESSING,
    _build_small,
    is_pretrained=False,
)
TIMM = ModelLibrary(
    "timm's networks, by timm's names",
    lambda name: timm.is_model(name.partition(".")[0]),
    timm_models.check_name,
    timm_models.check_weights,
    timm_models.own_preprocessing,
    timm_models.build,
)
TORCHVISION = ModelLibrary(
    "torchvision's networks, as torchvision:NAME",
    lambda name: name.startswith(torchvision_models.PREFIX),
    torchvision_models.check_name,
    torchvision_models.check_weights,
    torchvision_models.own_preprocessing,
    torchvision_models.build,
)
for _name, _library in (("kit", SMALL), ("torchvision", TORCHVISION), ("timm", TIMM)):
    model_libraries.register(_name)(_library)
