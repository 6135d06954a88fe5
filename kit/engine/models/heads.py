"""Find, replace, extend and zero-initialize the head of a network; adapt its stem to other channels."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from pydantic import Field
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from kit.config import Component, ModelConfig
from kit.engine.models.classifiers import WHERE, CosineClassifier, settings_of
from kit.engine.models.pooling import GeM
from kit.engine.models.tabular import AUXILIARY as AUXILIARY_COLUMNS
from kit.engine.models.tabular import COLUMNS, JOINED, AuxiliaryHeads, JoinColumns, Sizes
from kit.errors import KitError, counted
from kit.registry import Registry, bind_options

Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
AUXILIARY = ("aux1", "aux2", "AuxLogits")  # auxiliary heads of torchvision's GoogLeNet and Inception
LayerBuilder = Callable[..., nn.Module]
# Name -> function of the width, of whether features are maps (B, C, H, W) or vectors (B, C), and of the
# values after the name in the config, in order.
layers: Registry[LayerBuilder] = Registry("layer of a head")


class TaskHead(nn.Sequential):
    """The layers of ``model.head`` and the classifier."""


class MultiDropout(nn.Module):
    """The mean over several dropout masks (Inoue 2019, "Multi-Sample Dropout").

    The classifier after it is linear, so the result equals the mean logits over the masks with one classifier
    pass. Nothing is dropped in prediction.
    """

    def __init__(self, p: float, samples: int) -> None:
        super().__init__()
        self.p, self.samples = p, samples

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of ``x``, (B, C) or (B, C, H, W)."""
        if not self.training:
            return x
        masked = [nn.functional.dropout(x, self.p) for _ in range(self.samples)]
        return torch.stack(masked).mean(dim=0)


@layers.register("linear")
def linear(width: int, spatial: bool, *, features: Count) -> nn.Module:
    """Linear layer (a bare number in the config); on feature maps, a 1 x 1 convolution."""
    return nn.Conv2d(width, features, kernel_size=1) if spatial else nn.Linear(width, features)


@layers.register("relu")
def relu(width: int, spatial: bool) -> nn.Module:
    """ReLU activation."""
    return nn.ReLU()


@layers.register("gelu")
def gelu(width: int, spatial: bool) -> nn.Module:
    """GELU activation."""
    return nn.GELU()


@layers.register("silu")
def silu(width: int, spatial: bool) -> nn.Module:
    """SiLU (swish) activation."""
    return nn.SiLU()


@layers.register("tanh")
def tanh(width: int, spatial: bool) -> nn.Module:
    """Tanh activation."""
    return nn.Tanh()


@layers.register("leaky_relu")
def leaky_relu(width: int, spatial: bool, *, slope: float = 0.01) -> nn.Module:
    """Leaky ReLU activation with a negative ``slope``."""
    return nn.LeakyReLU(slope)


@layers.register("elu")
def elu(width: int, spatial: bool) -> nn.Module:
    """ELU activation."""
    return nn.ELU()


@layers.register("dropout")
def dropout(width: int, spatial: bool, *, p: Share) -> nn.Module:
    """Dropout with probability ``p``."""
    return nn.Dropout(p)


@layers.register("batch_norm")
def batch_norm(width: int, spatial: bool) -> nn.Module:
    """Batch normalization."""
    return nn.BatchNorm2d(width) if spatial else nn.BatchNorm1d(width)


@layers.register("layer_norm")
def layer_norm(width: int, spatial: bool) -> nn.Module:
    """Layer normalization over the channels."""
    norm: nn.Module = LayerNorm2d(width) if spatial else nn.LayerNorm(width)
    return norm


@layers.register("multi_dropout")
def multi_dropout(width: int, spatial: bool, *, p: Share, samples: Count = 5) -> nn.Module:
    """Multi-sample dropout: mean over ``samples`` masks."""
    return MultiDropout(p, samples)


def check_head(config: ModelConfig) -> None:
    """Check ``model.head``; a mistake is a KitError that names the layer."""
    with torch.device("meta"):
        _hidden_layers(config.head, width=1, spatial=False)


def _hidden_layers(items: Sequence[int | str], width: int, spatial: bool) -> tuple[list[nn.Module], int]:
    """Return the layers of ``model.head``, and the width of the last one."""
    built: list[nn.Module] = []
    for number, item in enumerate(items):
        where = f"model.head[{number}]"
        built.append(_layer(item, where, width, spatial))
        width = _out_width(built[-1]) or width
        if isinstance(built[-1], MultiDropout) and number < len(items) - 1:
            raise KitError(
                where,
                f"'{item}' is followed by {items[number + 1]}",
                "multi_dropout averages the classifier's logits, so it must be the last layer",
                code="layer_not_last",
            )
    return built, width


def _layer(item: int | str, where: str, width: int, spatial: bool) -> nn.Module:
    """Return the layer of one config entry, such as 500 or "dropout 0.5"."""
    name, *values = ("linear", item) if isinstance(item, int) else (item.split() or [""])
    build = layers.get(str(name), where)
    options = [
        key
        for key, p in inspect.signature(build).parameters.items()
        if p.kind == inspect.Parameter.KEYWORD_ONLY
    ]
    if len(values) > len(options):
        allowed = ", ".join(options) or "none"
        raise KitError(
            where,
            f"'{item}' has {counted(len(values), 'value')}",
            f"{name} accepts {len(options)}: {allowed}",
            code="option_invalid",
        )
    return build(width, spatial, **bind_options(where, build, dict(zip(options, values, strict=False))))


def _out_width(layer: nn.Module) -> int | None:
    if isinstance(layer, nn.Linear):
        return layer.out_features
    return layer.out_channels if isinstance(layer, nn.Conv2d) else None


def last_layer(head: nn.Module) -> nn.Module:
    """Return the classifier at the end of a head."""
    return head[-1] if isinstance(head, TaskHead) else head


def _last_linear(module: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    """Return the name of the last linear layer or convolution, and the layer."""
    found = [(n, m) for n, m in module.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    return found[-1]


def find_heads(backbone: nn.Module) -> dict[str, nn.Module]:
    """Return name -> classifier layer: one, or several for a distilled network.

    With ``model.head``, the ``TaskHead`` instead of the layer.
    """
    extended: dict[str, nn.Module] = {n: m for n, m in backbone.named_modules() if isinstance(m, TaskHead)}
    if extended:
        return extended
    classifier = (getattr(backbone, "pretrained_cfg", None) or {}).get("classifier") or ()
    names = (classifier,) if isinstance(classifier, str) else classifier
    modules = dict(backbone.named_modules())
    own = {name: modules[name] for name in names if isinstance(modules.get(name), nn.Linear | nn.Conv2d)}
    return own or dict([_last_linear(backbone)])


def auxiliary_heads(backbone: nn.Module) -> dict[str, nn.Module]:
    """Return name -> last layer of the auxiliary classifiers, used in training only (Szegedy et al. 2015)."""
    children = {name: getattr(backbone, name, None) for name in AUXILIARY}
    found: dict[str, nn.Module] = {}
    for name, child in children.items():
        if isinstance(child, nn.Module):
            inside, layer = _last_linear(child)
            found[f"{name}.{inside}"] = layer
    return found


def head_layers(backbone: nn.Module) -> list[nn.Module]:
    """Return all heads, including auxiliary classifiers."""
    return [*find_heads(backbone).values(), *auxiliary_heads(backbone).values()]


def head_parameters(backbone: nn.Module) -> set[nn.Parameter]:
    """Return the parameters that are new for the task: ``model.head``, classifiers, learned pooling."""
    pools = [module for module in backbone.modules() if isinstance(module, GeM)]
    return {p for module in [*head_layers(backbone), *pools] for p in module.parameters()}


def zero_init_head(backbone: nn.Module) -> None:
    """Initialize the new classifier of a pretrained network to zero (Kolesnikov et al. 2020, "Big Transfer").

    With few images per class, a large random initialization is never unlearned, and its gradients damage the
    pretrained features. Hidden layers keep their random initialization: several zero layers do not learn. A
    convolutional head gets small random weights: SqueezeNet has a ReLU after it, without gradient at zero.
    """
    for head in head_layers(backbone):
        if isinstance(last_layer(head), CosineClassifier):
            continue  # a center of length 0 has no direction
        _, layer = _last_linear(head)
        for parameter in layer.parameters():
            if isinstance(layer, nn.Conv2d) and parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.01)
            else:
                nn.init.zeros_(parameter)


def replace_head(model: nn.Module, num_classes: int) -> None:
    """Replace all classifiers, including auxiliary ones, by new ones with ``num_classes`` outputs."""
    for name, old in (find_heads(model) | auxiliary_heads(model)).items():
        spatial = isinstance(old, nn.Conv2d)
        model.set_submodule(name, linear(_in_width(old), spatial, features=num_classes))


def extend_head(
    backbone: nn.Module,
    items: Sequence[int | str],
    classifier: Component | None = None,
    columns: Sizes = (),
    auxiliary: Sizes = (),
) -> None:
    """Insert the layers of ``model.head`` before every classifier, and replace it by ``model.classifier``.

    Args:
        columns: The categories of each column of ``model.tabular``, as in ``JoinColumns``; joined first.
        auxiliary: The same of ``model.auxiliary``, whose heads come before all; empty in prediction.

    Raises:
        KitError: The network cannot end in such a classifier.
    """
    for name, old in find_heads(backbone).items():
        width, spatial = _in_width(old), isinstance(old, nn.Conv2d)
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        if auxiliary:
            parts[AUXILIARY_COLUMNS] = AuxiliaryHeads(width, spatial, auxiliary)
        if columns:
            parts[COLUMNS] = JoinColumns(columns, spatial)
        hidden, last = _hidden_layers(items, width + (JOINED if columns else 0), spatial)
        if classifier is not None:
            new = _cosine_classifier(classifier, last, _out_width(old), spatial or auxiliary_heads(backbone))
        else:
            new = old if last == width else linear(last, spatial, features=_out_width(old))
        parts |= {str(number): layer for number, layer in enumerate([*hidden, new])}
        backbone.set_submodule(name, TaskHead(parts))


def _cosine_classifier(
    component: Component, width: int, num_classes: int | None, unsuitable: object
) -> nn.Module:
    if unsuitable or num_classes is None:
        raise KitError(
            WHERE,
            f"{component.name} needs a network that ends in one linear layer",
            "This one ends in a convolution, or has auxiliary classifiers",
            "Choose another model, or remove model.classifier.",
            code="classifier_unsuitable",
        )
    settings = settings_of(component)
    return CosineClassifier(width, num_classes, settings.scale, settings.centers)


def _in_width(layer: nn.Module) -> int:
    assert isinstance(layer, nn.Linear | nn.Conv2d)  # before extend_head, find_heads returns only these
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels


def stem_for_channels(weight: Tensor, channels: int) -> Tensor:
    """Return weights (O, channels, h, w) for a stem's weights (O, 3, h, w), as timm adapts them.

    For one channel they are summed. For others they are repeated in order and scaled by 3 / channels, so that
    the outputs have the size that the next layer expects.
    """
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    given = weight.shape[1]
    repeated = weight.repeat(1, -(-channels // given), 1, 1)[:, :channels]
    return repeated * (given / channels)


def adapt_stem(model: nn.Module, channels: int) -> None:
    """Adapt the first convolution of a network for three channels to another number of channels."""
    stem = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    stem.in_channels = channels
    stem.weight = nn.Parameter(stem_for_channels(stem.weight.detach(), channels))
