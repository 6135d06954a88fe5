"""Two small networks for small images, trained from scratch in seconds on a CPU."""

from collections.abc import Callable
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from kit.registry import Registry

Builder = Callable[..., nn.Module]
Widths = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
small_models: Registry[Builder] = Registry("small model")


def _conv(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    """Return convolution 3 x 3, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(inplace=True),
    )


@small_models.register("simple_cnn")
def simple_cnn(
    num_classes: int, channels: int, *, widths: Widths = (32, 64, 128), dropout: Share = 0.2
) -> nn.Module:
    """Return stages of two convolutions, halved by max pooling between them, then the mean over the image."""
    stages: list[nn.Module] = []
    inside = channels
    for number, width in enumerate(widths):
        stages += [nn.MaxPool2d(2)] if number else []
        stages += [_conv(inside, width), _conv(width, width)]
        inside = width
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(inside, num_classes)]
    return _he(nn.Sequential(*stages, *head))


class Residual(nn.Module):
    """Two convolutions beside a shortcut (He et al. 2016, figure 2), the first with a stride."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(inside, outside, stride),
            nn.Conv2d(outside, outside, 3, padding=1, bias=False),
            nn.BatchNorm2d(outside),
        )
        # The mean before the 1 x 1 convolution, instead of a stride in it: nothing is skipped over (He et al.
        # 2019, "Bag of Tricks", ResNet-D), and oneDNN's strided 1 x 1 kernel crashes on 8 channels.
        halve = nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity()
        widen = nn.Conv2d(inside, outside, 1, bias=False) if inside != outside else nn.Identity()
        self.shortcut = nn.Sequential(halve, widen)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inside, H, W) to (B, outside, H / stride, W / stride)."""
        out: Tensor = self.relu(self.body(x) + self.shortcut(x))
        return out


@small_models.register("residual_cnn")
def residual_cnn(
    num_classes: int, channels: int, *, widths: Widths = (32, 64, 128), dropout: Share = 0.2
) -> nn.Module:
    """Return one residual block per width, each after the first halving the image."""
    stages: list[nn.Module] = [_conv(channels, widths[0])]
    inside = widths[0]
    for number, width in enumerate(widths):
        stages.append(Residual(inside, width, stride=2 if number else 1))
        inside = width
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(inside, num_classes)]
    return _he(nn.Sequential(*stages, *head))


def _he(model: nn.Module) -> nn.Module:
    """Return the model with convolutions initialised as in He et al. 2015."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model
