"""Pretrained networks that ``kit auto`` may download, from fast to accurate, with their accuracy and cost.

Sources: top-1 of ``results/results-imagenet.csv`` of huggingface/pytorch-image-models (center crop); cost and
size as counted from timm's networks with ``torch.utils.flop_counter``, for one image at the network's size.
"""

from __future__ import annotations

from typing import NamedTuple


class Network(NamedTuple):
    """What is known of a pretrained network.

    Attributes:
        top1: Accuracy on ImageNet in percent.
        gmacs: Billions of multiplications with addition per image.
        mparams: Millions of parameters.
    """

    top1: float
    gmacs: float
    mparams: float

    @property
    def megabytes(self) -> float:
        """The size of the weights file: 4 bytes per parameter."""
        return 4 * self.mparams


NETWORKS = {  # by timm's name, with the tag of the weights
    "mobilenetv3_small_100.lamb_in1k": Network(67.7, 0.06, 2.5),
    "mobilenetv2_100.ra_in1k": Network(73.0, 0.30, 3.5),
    "resnet18.fb_swsl_ig1b_ft_in1k": Network(73.3, 1.81, 11.7),
    "mobilenetv3_large_100.miil_in21k_ft_in1k": Network(77.9, 0.22, 5.5),
    "tf_efficientnet_b0.ns_jft_in1k": Network(78.7, 0.39, 5.3),
    "swin_tiny_patch4_window7_224.ms_in22k_ft_in1k": Network(81.0, 4.49, 28.3),
    "deit3_small_patch16_224.fb_in22k_ft_in1k": Network(83.1, 4.60, 22.1),
    "caformer_s18.sail_in22k_ft_in1k": Network(84.1, 4.11, 26.3),
    "tf_efficientnetv2_s.in21k_ft_in1k": Network(84.3, 5.31, 21.5),
    "convnext_tiny.in12k_ft_in1k": Network(84.5, 4.46, 28.6),
    "vit_base_patch16_224.augreg2_in21k_ft_in1k": Network(85.1, 17.56, 86.6),
}
TYPICAL_TOP1 = 70.0  # assumed of a network that is not listed, until its features are scored


def top1_of(model: str) -> float:
    """Return a network's accuracy on ImageNet in percent, by its name with or without the weights' tag."""
    by_architecture = {name.partition(".")[0]: network.top1 for name, network in NETWORKS.items()}
    architecture = model.removeprefix("torchvision:").partition(".")[0]
    known = NETWORKS.get(model)
    return known.top1 if known else by_architecture.get(architecture, TYPICAL_TOP1)


def worth_downloading(at_hand: float, megabytes: float, most: int) -> list[str]:
    """Return the names of networks to download, fast ones first, spread from fast to accurate.

    A network that costs as much as another one and is less accurate is left out.

    Args:
        at_hand: The best top-1 accuracy of the networks at hand; only better ones are worth a download.
        megabytes: The largest file that may be downloaded.
        most: The number of networks.
    """
    fitting = {
        name: network
        for name, network in NETWORKS.items()
        if network.top1 > at_hand and network.megabytes <= megabytes
    }
    efficient = [
        name
        for name, network in fitting.items()
        if not any(other.top1 > network.top1 and other.gmacs <= network.gmacs for other in fitting.values())
    ]
    if len(efficient) <= most:
        return efficient
    return [efficient[round(number * (len(efficient) - 1) / (most - 1))] for number in range(most)]
