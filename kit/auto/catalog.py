"""Pretrained networks that ``kit auto`` may download, from fast to accurate, with their accuracy on ImageNet.

Source: ``results/results-imagenet.csv`` of huggingface/pytorch-image-models (top-1, center crop).
"""

from __future__ import annotations

TOP1 = {  # timm's name, with the tag of the weights -> top-1 accuracy in percent
    "mobilenetv3_small_100.lamb_in1k": 67.7,
    "mobilenetv2_100.ra_in1k": 73.0,
    "resnet18.fb_swsl_ig1b_ft_in1k": 73.3,
    "mobilenetv3_large_100.miil_in21k_ft_in1k": 77.9,
    "tf_efficientnet_b0.ns_jft_in1k": 78.7,
    "swin_tiny_patch4_window7_224.ms_in22k_ft_in1k": 81.0,
    "deit3_small_patch16_224.fb_in22k_ft_in1k": 83.1,
    "caformer_s18.sail_in22k_ft_in1k": 84.1,
    "tf_efficientnetv2_s.in21k_ft_in1k": 84.3,
    "convnext_tiny.in12k_ft_in1k": 84.5,
    "vit_base_patch16_224.augreg2_in21k_ft_in1k": 85.1,
}
TYPICAL_TOP1 = 70.0  # assumed of a network that is not listed, until its features are scored


def top1_of(model: str) -> float:
    """Return a network's accuracy on ImageNet in percent, by its name with or without the weights' tag."""
    by_architecture = {name.partition(".")[0]: top1 for name, top1 in TOP1.items()}
    architecture = model.removeprefix("torchvision:").partition(".")[0]
    return TOP1.get(model, by_architecture.get(architecture, TYPICAL_TOP1))
