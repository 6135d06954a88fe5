"""A model by name, from timm, torchvision or kit's own, with the preprocessing that its weights expect."""

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
from kit.engine.models.cpu_convolutions import suit_cpu
from kit.engine.models.heads import check_head, extend_head, zero_init_head
from kit.engine.models.pooling import replace_pool
from kit.engine.models.preprocessing import Preprocessing, overridden
from kit.engine.models.pretrained import load_fold
from kit.engine.models.small_cnn import small_models
from kit.errors import KitError


class Classifier(nn.Module):
    """A backbone behind its own normalisation: images of 0..255 in, logits out.

    Normalising on the device keeps batches small on their way there (uint8), and makes the normalisation a
    part of the checkpoint that nothing can forget.

    Attributes:
        auxiliary_weight: What the loss of each auxiliary classifier counts beside the loss of the last one
            (Szegedy et al. 2015, "Going Deeper with Convolutions", section 5).
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

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Map images (B, C, H, W) of 0..255 to logits (B, num_classes).

        A network with auxiliary classifiers gives their logits too while it trains: a tuple, the last
        classifier's first.
        """
        normalised = (images.float() - self.mean) / self.std
        out = self.backbone(normalised.contiguous(memory_format=torch.channels_last))
        logits: Tensor | tuple[Tensor, ...] = tuple(out) if isinstance(out, tuple) else out
        return logits


@dataclass(frozen=True)
class Source:
    """Where networks come from.

    Attributes:
        knows: Raises a KitError if there is no such model.
        reach: Raises a KitError if its pretrained weights cannot be had.
        own: Returns what its weights expect of images.
        build: From the config, the preprocessing, the number of classes and the weights file (or None) to a
            network and notes.
    """

    knows: Callable[[ModelConfig], None]
    reach: Callable[[ModelConfig], None]
    own: Callable[[ModelConfig], Preprocessing]
    build: Callable[[ModelConfig, Preprocessing, int, Path | None], tuple[nn.Module, list[str]]]

    @classmethod
    def of(cls, name: str) -> Source:
        """Return the source of a model by the form of its name."""
        if name in small_models:
            return SMALL
        return TORCHVISION if name.startswith(torchvision_models.PREFIX) else TIMM


def check_model(config: ModelConfig) -> None:
    """Refuse a model that does not exist, naming the nearest ones."""
    Source.of(config.name).knows(config)


def longer_names(name: str) -> list[str]:
    """Return the names of other timm or torchvision models that begin with a name."""
    known = [*timm.list_models(f"{name}*"), *torchvision.models.list_models(include=f"{name}*")]
    return [other for other in known if other != name]


def check_weights(config: ModelConfig) -> None:
    """Refuse to begin with pretrained weights that are neither here nor within reach."""
    if config.pretrained and config.weights is None:
        Source.of(config.name).reach(config)


def preprocessing_of(config: ModelConfig, image: ImageConfig) -> tuple[Preprocessing, list[str]]:
    """Return what a model is given to see, and a sentence for everything the config overrides in it."""
    return overridden(Source.of(config.name).own(config), image)


def build_model(
    config: ModelConfig, image: ImageConfig, num_classes: int, weights: Path | None = None
) -> tuple[Classifier, list[str]]:
    """Return the model, and a sentence for everything that the user may want to know of it.

    That is: where the config overrides the model's own preprocessing, where weights did not fit plainly, and
    their licence.

    Args:
        weights: The file of pretrained weights, where the config names one.

    Raises:
        KitError: The model is unknown, its weights cannot be had, or they do not fit; or its size, head or
            pooling cannot be as the config says.
    """
    check_model(config)
    check_head(config)
    source = Source.of(config.name)
    preprocessing, notes = preprocessing_of(config, image)
    backbone, said = source.build(config, preprocessing, num_classes, weights)
    _finish(backbone, config)
    if (config.pretrained or weights) and source is not SMALL:
        zero_init_head(backbone)
    return _classifier(backbone, preprocessing), [*notes, *said]


def rebuild_model(config: ModelConfig, preprocessing: Preprocessing, num_classes: int) -> Classifier:
    """Return the untrained model that a checkpoint's weights are then loaded into."""
    plain = config.model_copy(update={"pretrained": False, "weights": None})
    backbone, _ = Source.of(config.name).build(plain, preprocessing, num_classes, None)
    _finish(backbone, config)
    return _classifier(backbone, preprocessing)


def load_trained(model: Classifier, state: dict[str, Tensor], path: object) -> list[str]:
    """Load the checkpoint of another experiment's fold, and return a sentence where the head stays new.

    Args:
        state: The state of a ``Classifier``, as the checkpoint holds it.
        path: The checkpoint, for messages.

    Raises:
        KitError: Something other than the head does not fit.
    """
    inside = {key.removeprefix("backbone."): tensor for key, tensor in state.items()}
    return load_fold(model.backbone, inside, path)


def _finish(backbone: nn.Module, config: ModelConfig) -> None:
    """Give a network the pooling and the layers of the head that the config asks for."""
    if config.pool is not None:
        replace_pool(backbone, config.pool, config.name)
    if config.head:
        extend_head(backbone, config.head)


def _classifier(backbone: nn.Module, preprocessing: Preprocessing) -> Classifier:
    suit_cpu(backbone)
    return Classifier(backbone, preprocessing).to(memory_format=torch.channels_last)


def _nothing_to_reach(config: ModelConfig) -> None:
    """Kit's own networks have no pretrained weights."""


def _build_small(
    config: ModelConfig, preprocessing: Preprocessing, num_classes: int, weights: Path | None
) -> tuple[nn.Module, list[str]]:
    if weights is not None:
        raise KitError(
            "model.weights",
            f"{config.name} is trained from scratch",
            next="Leave it out.",
            code="weights_not_supported",
        )
    return small_cnn.build(config.name, num_classes, preprocessing.channels, config.options), []


SMALL = Source(small_cnn.knows, _nothing_to_reach, lambda _: small_cnn.PREPROCESSING, _build_small)
TIMM = Source(timm_models.knows, timm_models.reach, timm_models.own_preprocessing, timm_models.build)
TORCHVISION = Source(
    torchvision_models.knows,
    torchvision_models.reach,
    torchvision_models.own_preprocessing,
    torchvision_models.build,
)
