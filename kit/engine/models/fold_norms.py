"""Fold batch norms into the convolutions before them: prediction on a CPU takes about 0.7 of the time."""

from __future__ import annotations

import copy
from collections import Counter

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kit.engine.device.amp import Amp
from kit.engine.models.build import Classifier

TRIAL_IMAGES = 2
RTOL, ATOL = 1e-3, 1e-4  # of logits; folding changes their last bits


def for_prediction(model: Classifier, amp: Amp) -> Classifier:
    """Return the model in evaluation mode; on a CPU in fp32, where this was measured, with folded norms."""
    model.eval()
    return with_folded_norms(model) if amp.device.type == "cpu" and amp.precision == "fp32" else model


@torch.no_grad()
def with_folded_norms(model: Classifier) -> Classifier:
    """Return an equivalent copy without the batch norms that directly follow a convolution.

    The copy is compared with the model on random images. If outputs differ, as where a network normalizes the
    weights of its convolutions, the model itself is returned.
    """
    images = _trial_images(model)
    pairs = _convolutions_and_norms(model, images)
    if not pairs:
        return model
    folded = copy.deepcopy(model)
    for conv_name, norm_name in pairs:
        conv, norm = folded.get_submodule(conv_name), folded.get_submodule(norm_name)
        assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        folded.set_submodule(conv_name, fuse_conv_bn_eval(conv, norm))
        rest = nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()
        folded.set_submodule(norm_name, rest)
    is_equivalent = torch.allclose(folded(images), model(images), rtol=RTOL, atol=ATOL)
    return folded if is_equivalent else model


def _trial_images(model: Classifier) -> Tensor:
    own = model.preprocessing
    shape = TRIAL_IMAGES, own.channels, own.predicting, own.predicting
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def _convolutions_and_norms(model: nn.Module, images: Tensor) -> list[tuple[str, str]]:
    """Return the names of convolutions and of the batch norms that take their outputs; each is used once."""
    outputs: list[tuple[str, Tensor]] = []  # holds the tensors, so that none takes another's place in memory
    pairs: list[tuple[str, str]] = []
    uses: Counter[str] = Counter()

    def watch(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def before(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            uses[name] += 1
            pairs.extend((conv, name) for conv, output in outputs if output is inputs[0])

        def after(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            uses[name] += 1
            outputs.append((name, output))

        is_norm = isinstance(module, nn.BatchNorm2d)
        return module.register_forward_pre_hook(before) if is_norm else module.register_forward_hook(after)

    kinds = (nn.Conv2d, nn.BatchNorm2d)
    hooks = [watch(name, each) for name, each in model.named_modules() if isinstance(each, kinds)]
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return [(conv, norm) for conv, norm in pairs if uses[conv] == uses[norm] == 1]
