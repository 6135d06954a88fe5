"""Two small CNNs for small images, trained from scratch in seconds on a CPU."""

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from kit.config import ModelConfig
from kit.engine.models.preprocessing import Preprocessing
from kit.registry import Registry

Builder = Callable[..., nn.Module]
Widths = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Pairs = Annotated[int, Field(ge=2, multiple_of=2)]
small_models: Registry[Builder] = Registry("small model")
PREPROCESSING = Preprocessing(32, mean=(0.5,) * 3, std=(0.5,) * 3, interpolation="bilinear")
POOLING = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}


def check_name(config: ModelConfig) -> None:
    """Check the options of a network; a mistake is a KitError."""
    small_models.bind(config, "model.options")


def build(config: ModelConfig, num_classes: int, channels: int) -> nn.Module:
    """Return an untrained network of kit's own."""
    builder, options = small_models.bind(config, "model.options")
    return builder(num_classes, channels, **options)


def _conv(in_channels: int, out_channels: int, stride: int, batch_norm: bool) -> list[nn.Module]:
    """Return a 3 x 3 convolution and a batch norm; without the norm, the convolution has a bias."""
    conv = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=not batch_norm)
    return [conv, nn.BatchNorm2d(out_channels)] if batch_norm else [conv]


def _conv_relu(in_channels: int, out_channels: int, batch_norm: bool, stride: int = 1) -> nn.Sequential:
    """Return convolution, batch norm, ReLU."""
    return nn.Sequential(*_conv(in_channels, out_channels, stride, batch_norm), nn.ReLU(inplace=True))


@small_models.register("simple_cnn")
def simple_cnn(
    num_classes: int,
    channels: int,
    *,
    widths: Widths = (32, 64, 128),
    depth: Count = 2,
    pooling: Literal["max", "average"] = "max",
    batch_norm: bool = True,
    dropout: Share = 0.2,
) -> nn.Module:
    """Plain CNN: stages of ``depth`` convolutions with pooling between them, then global average pooling."""
    stages: list[nn.Module] = []
    width_in = channels
    for number, width in enumerate(widths):
        stages += [POOLING[pooling](2)] if number else []
        for _ in range(depth):
            stages.append(_conv_relu(width_in, width, batch_norm))
            width_in = width
    return _init_he(nn.Sequential(*stages, *_head(width_in, num_classes, dropout)))


class Residual(nn.Module):
    """Residual block of two convolutions (He et al. 2016, figure 2); the first has the stride."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, batch_norm: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv_relu(in_channels, out_channels, batch_norm, stride),
            *_conv(out_channels, out_channels, 1, batch_norm),
        )
        # Average pooling before the 1 x 1 convolution, instead of a stride in it, uses every pixel (He et al.
        # 2019, "Bag of Tricks", ResNet-D); also, oneDNN's strided 1 x 1 kernel crashes on 8 channels.
        halve = nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity()
        widen = (
            nn.Conv2d(in_channels, out_channels, 1, bias=False)
            if in_channels != out_channels
            else nn.Identity()
        )
        self.shortcut = nn.Sequential(halve, widen)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        out: Tensor = self.relu(self.body(x) + self.shortcut(x))
        return out


@small_models.register("residual_cnn")
def residual_cnn(
    num_classes: int,
    channels: int,
    *,
    widths: Widths = (32, 64, 128),
    depth: Pairs = 2,
    batch_norm: bool = True,
    dropout: Share = 0.2,
) -> nn.Module:
    """Small ResNet: stages of ``depth`` convolutions in residual blocks of two."""
    stages: list[nn.Module] = [_conv_relu(channels, widths[0], batch_norm)]
    width_in = widths[0]
    for number, width in enumerate(widths):
        for block in range(depth // 2):
            stages.append(
                Residual(width_in, width, stride=2 if number and not block else 1, batch_norm=batch_norm)
            )
            width_in = width
    return _init_he(nn.Sequential(*stages, *_head(width_in, num_classes, dropout)))


def _head(width: int, num_classes: int, dropout: float) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(width, num_classes)]


def _init_he(model: nn.Module) -> nn.Module:
    """Return the model with convolutions initialized as in He et al. 2015."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model
