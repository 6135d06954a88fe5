"""Replace convolutions that are slow or faulty on a CPU by equivalent ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

FEW_CHANNELS = 16


def replace_cpu_convolutions(network: nn.Module) -> None:
    """Change the convolutions of a network in place; names and weights stay as they are."""
    for module in network.modules():
        if not isinstance(module, nn.Conv2d):
            continue
        if _has_faulty_gradient(module):
            subsample_before(module)
        if 1 < module.groups == module.in_channels:
            module.__class__ = _trained_in_fp32(type(module))


# --- faulty


def _has_faulty_gradient(layer: nn.Conv2d) -> bool:
    """Tell whether a convolution is one whose gradient, channels-last in fp32, ends the process on some CPUs.

    Seen with torch 2.15: the weight gradient of strided 1 x 1 convolutions of 3 to 8 channels, as in the
    stems of FastViT, MobileOne and RepVGG, writes past the end of its memory.
    """
    pointwise = layer.kernel_size == (1, 1) and layer.padding in ((0, 0), 0, "valid")
    return pointwise and max(layer.stride) > 1 and layer.in_channels < FEW_CHANNELS


def subsample_before(layer: nn.Conv2d) -> None:
    """Subsample the input of a strided 1 x 1 convolution and remove its stride, which is equivalent."""
    down, right = layer.stride
    layer.stride = (1, 1)
    layer.register_forward_pre_hook(lambda _, inputs: (inputs[0][:, :, ::down, ::right],))


# --- slow


class TrainedInFp32(nn.Conv2d):
    """A depthwise convolution that is computed in fp32 while it trains on a CPU in mixed precision.

    Its gradient in bf16 is so slow there that whole steps are: with this, those of MobileNetV2 take 0.82 and
    those of EfficientNet-B0 0.61 of the time. Without gradients bf16 is the quicker one.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H', W'), in the format of the mixed precision if there is one."""
        if not (self.training and input.device.type == "cpu" and torch.is_autocast_enabled("cpu")):
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float()).to(torch.get_autocast_dtype("cpu"))


def _trained_in_fp32(kind: type[nn.Conv2d]) -> type[nn.Conv2d]:
    """Return a kind of convolution, such as one of a library's own, that is trained so."""
    return type(f"{TrainedInFp32.__name__}{kind.__name__}", (TrainedInFp32, kind), {})
