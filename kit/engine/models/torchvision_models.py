"""torchvision networks (``torchvision:NAME[@WEIGHTS]``) and their counterparts in timm."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import timm
import torch
import torchvision
from torch import Tensor, nn

from kit.config import ModelConfig
from kit.engine.models.heads import adapt_stem, auxiliary_heads, find_heads, replace_head
from kit.engine.models.preprocessing import Preprocessing
from kit.engine.models.pretrained import (
    KeyMapping,
    State,
    body_of,
    kind_of,
    license_note,
    load_body,
    mapping_by_order,
    no_weights,
    reachable,
    read_pretrained,
    unwrapped,
    weights_must_fit,
)
from kit.errors import KitError
from kit.registry import unknown_name

PREFIX = "torchvision:"
# The weights of these two expect inputs in -1..1. `transform_input` converts from ImageNet's normalization; a
# mean and std of 0.5 give the same result directly, also for gray images.
MINUS_ONE_TO_ONE = ("googlenet", "inception_v3")
OWN_OPTIONS: dict[str, dict[str, Any]] = {
    name: {"aux_logits": True, "transform_input": False, "init_weights": False} for name in MINUS_ONE_TO_ONE
}


def split_name(name: str) -> tuple[str, str | None]:
    """Return the network name and the weights tag of a ``model.name``."""
    model, _, weights = name.removeprefix(PREFIX).partition("@")
    return model, weights or None


def check_name(config: ModelConfig) -> None:
    """Check the name of a network and its set of weights; an unknown one is a KitError."""
    name, tag = split_name(config.name)
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise unknown_name("model.name", "torchvision model", name, known)
    tags = [w.name for w in torchvision.models.get_model_weights(name)]
    if tag is not None and tag not in tags:
        raise unknown_name("model.name", f"set of weights of {name}", tag, tags)


def check_weights(config: ModelConfig) -> None:
    """Check that the weights are cached or can be downloaded; else a KitError."""
    entry = _entry(config.name)
    file = Path(urlsplit(entry.url).path).name
    cached = Path(torch.hub.get_dir()) / "checkpoints" / file
    if not cached.exists() and not reachable(entry.url):
        raise no_weights(config.name, file)


def own_preprocessing(config: ModelConfig) -> Preprocessing:
    """Return the preprocessing of the weights."""
    expects = _entry(config.name).transforms()
    size = expects.crop_size[0]
    is_centered = split_name(config.name)[0] in MINUS_ONE_TO_ONE
    return Preprocessing(
        size=size,
        mean=(0.5,) * 3 if is_centered else tuple(expects.mean),
        std=(0.5,) * 3 if is_centered else tuple(expects.std),
        interpolation="bicubic" if "bicubic" in str(expects.interpolation).lower() else "bilinear",
        crop=min(1.0, size / expects.resize_size[0]),
    )


def build(
    config: ModelConfig, preprocessing: Preprocessing, num_classes: int, weights: Path | None
) -> tuple[nn.Module, list[str]]:
    """Return the network for the image size and channels, with loaded weights and a new head."""
    name, _ = split_name(config.name)
    options = OWN_OPTIONS.get(name, {}) | _for_size(name, preprocessing) | config.options
    notes: list[str] = []
    with weights_must_fit(config, weights, preprocessing.size), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Always built without weights, so that a checkpoint is rebuilt into the same network.
        model: nn.Module = torchvision.models.get_model(name, weights=None, **options)
        if preprocessing.channels != 3:
            adapt_stem(model, preprocessing.channels)
        if weights is not None:
            mappings = (*counterpart_mappings(config), *mapping_by_order(model, weights))
            notes = load_body(model, read_pretrained(weights), config.name, weights, mappings)
        elif config.pretrained:
            check_weights(config)
            entry = _entry(config.name)
            state = entry.get_state_dict(progress=False, check_hash=True)
            notes = load_body(model, state, config.name, entry)
            notes += license_note(config.name.removeprefix(PREFIX), entry.meta.get("license"))
    replace_head(model, num_classes)
    _check_auxiliary(model, config.name, preprocessing)
    return model, notes


def _entry(name: str) -> Any:
    """Return torchvision's entry of a set of weights; without a tag, the default weights."""
    model, tag = split_name(name)
    choices = torchvision.models.get_model_weights(model)
    return choices[tag] if tag else choices.DEFAULT


def _for_size(name: str, preprocessing: Preprocessing) -> dict[str, Any]:
    """Return the size option of a network with a fixed image size."""
    option = {"vit": "image_size", "maxvit": "input_size"}.get(name.split("_")[0])
    if option is None:
        return {}
    others = {size: key for size, key in preprocessing.all_sizes.items() if size != preprocessing.size}
    for other, key in others.items():
        raise KitError(
            key,
            f"{other} px is not the {preprocessing.size} px that torchvision's {name} is built for",
            "Its position embeddings have a fixed image size",
            "Remove the key, or use the timm network, which accepts several sizes.",
            code="image_size_unsuitable",
        )
    size = preprocessing.size
    return {option: size if option == "image_size" else (size, size)}


def _check_auxiliary(model: nn.Module, name: str, preprocessing: Preprocessing) -> None:
    """Refuse training images that are too small for the auxiliary heads.

    Runs on meta tensors, so it costs nothing and changes no statistics.
    """
    if not auxiliary_heads(model):
        return
    size, key = min(preprocessing.training.items())
    empty = {k: torch.empty_like(t, device="meta") for k, t in model.state_dict().items()}
    images = torch.empty(2, preprocessing.channels, size, size, device="meta")
    try:
        torch.func.functional_call(model.train(), empty, (images,))
    except RuntimeError as error:
        raise KitError(
            key,
            f"{size} px is too small for the auxiliary head of {name}: {' '.join(str(error).split())[:120]}",
            "",
            "Set a larger size, or `model.options: {aux_logits: false}`.",
            code="image_size_unsuitable",
        ) from error


# --- counterparts in timm

# Only networks whose keys differ; ResNets, DenseNets and Inception have the same keys in both libraries.
COUNTERPARTS = (
    *((f"vgg{n}{norm}", f"vgg{n}{norm}") for n in (11, 13, 16, 19) for norm in ("", "_bn")),
    *((f"efficientnet_b{n}", f"efficientnet_b{n}") for n in range(8)),
    *((f"efficientnetv2_{s}", f"efficientnet_v2_{s}") for s in "sml"),
    *((f"convnext_{s}", f"convnext_{s}") for s in ("tiny", "small", "base", "large")),
    *((f"swin_{s}_patch4_window7_224", f"swin_{s[0]}") for s in ("tiny", "small", "base")),
    *((f"vit_{s}_patch{p}_224", f"vit_{s[0]}_{p}") for s in ("base", "large") for p in (16, 32)),
    *((f"mnasnet_{n}", f"mnasnet{m}") for n, m in (("050", "0_5"), ("075", "0_75"), ("100", "1_0"))),
    ("mobilenetv2_100", "mobilenet_v2"),
    ("mobilenetv3_large_100", "mobilenet_v3_large"),
    ("mobilenetv3_small_100", "mobilenet_v3_small"),
    *(
        (f"regnetx_{n}", f"regnet_x_{m}")
        for n, m in (("004_tv", "400mf"), ("008", "800mf"), ("016", "1_6gf"))
    ),
    *((f"regnetx_{n}", f"regnet_x_{m}") for n, m in (("032", "3_2gf"), ("080", "8gf"), ("160", "16gf"))),
    *(
        (f"regnety_{n}", f"regnet_y_{m}")
        for n, m in (("004", "400mf"), ("008_tv", "800mf"), ("016", "1_6gf"))
    ),
    *((f"regnety_{n}", f"regnet_y_{m}") for n, m in (("032", "3_2gf"), ("080_tv", "8gf"), ("160", "16gf"))),
    ("regnetx_320", "regnet_x_32gf"),
    ("regnety_320", "regnet_y_32gf"),
)
SHORTCUT = re.compile(r"\.proj\.\d\.")
TRIAL_SIZE = 224
TOLERANCE = 1e-4  # relative to the largest feature; another epsilon in the norms changes ten times as much


def counterpart_mappings(config: ModelConfig) -> tuple[KeyMapping, ...]:
    """Return the key mappings from the same network in the other library, if there is one."""
    bare = config.name.partition(".")[0].partition("@")[0]
    pairs = [(timm_name, PREFIX + other) for timm_name, other in COUNTERPARTS]
    counterparts = [b if bare == a else a for a, b in pairs if bare in (a, b)]

    def mapping(counterpart: str) -> KeyMapping:
        note = f"keys translated from {counterpart}; the outputs agree"
        return note, lambda state: translate_keys(state, counterpart, bare, config.options)

    return tuple(map(mapping, counterparts))


def translate_keys(
    state: State, source: str, target: str, options: Mapping[str, Any] = MappingProxyType({})
) -> State | None:
    """Return the tensors of ``source`` under the keys of ``target``; None if they are not of ``source``.

    Both networks predict the same image, and their features must agree: equal shapes in equal order do not
    detect, for example, two swapped norms.

    Args:
        options: Options of ``target``; another epsilon, for example, changes its output.

    Raises:
        KitError: The file is of ``source``, but the outputs of ``target`` differ.
    """
    with torch.random.fork_rng(devices=[]):
        theirs = _untrained(source)
        state, body = unwrapped(state, theirs), body_of(theirs)
        if any(key not in state or state[key].shape != tensor.shape for key, tensor in body.items()):
            return None
        ours = _untrained(target, options)
        names = _paired(body, body_of(ours))
        found = {own: state[key].reshape(body_of(ours)[own].shape) for key, own in names.items()}
        agree = len(found) == len(body_of(ours)) and _agree((theirs, state), (ours, found))
    if not agree:
        raise KitError(
            "model.weights",
            f"the file is of {source}, and the outputs of {target} differ with these weights",
            "Weights are translated only if the outputs agree",
            f"Set `model.name: {source}`.",
            code="weights_do_not_fit",
        )
    heads = tuple(f"{head}." for head in find_heads(theirs) | auxiliary_heads(theirs))
    return found | {
        k: t for k, t in state.items() if k not in theirs.state_dict() and not k.startswith(heads)
    }


def _untrained(name: str, options: Mapping[str, Any] = MappingProxyType({})) -> nn.Module:
    """Return a network of its library without pretrained weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name.startswith(PREFIX):
            bare = name.removeprefix(PREFIX)
            model: nn.Module = torchvision.models.get_model(bare, weights=None, **options)
        else:
            model = timm.create_model(name, pretrained=False, **options)
    return model.eval()


def _paired(theirs: State, ours: State) -> dict[str, str]:
    """Return source key -> target key: the n-th tensor of each shape and kind with the n-th."""
    queues: dict[object, list[str]] = {}
    for key, tensor in _shortcuts_last(ours).items():
        queues.setdefault(_signature(key, tensor), []).append(key)
    pairs = {}
    for key, tensor in _shortcuts_last(theirs).items():
        if queue := queues.get(_signature(key, tensor)):
            pairs[key] = queue.pop(0)
    return pairs


def _shortcuts_last(state: State) -> State:
    """Return the tensors in order, with each block's shortcut last (torchvision's RegNet has it first)."""
    blocks = {key[: found.start() + 1] for key in state if (found := SHORTCUT.search(key))}
    order: dict[str, list[str]] = {}
    for key in state:
        order.setdefault(next((block for block in blocks if key.startswith(block)), key), []).append(key)
    keys = [
        key for group in order.values() for key in sorted(group, key=lambda key: bool(SHORTCUT.search(key)))
    ]
    return {key: state[key] for key in keys}


def _signature(key: str, tensor: Tensor) -> tuple[int, int, str]:
    """Return what is equal in both libraries, also for a linear layer and a 1 x 1 convolution."""
    return tensor.shape[0], tensor.numel(), kind_of(key)


def _agree(*networks: tuple[nn.Module, State]) -> bool:
    """Return whether the networks with their weights compute the same features."""
    configs = [getattr(model, "pretrained_cfg", None) or {} for model, _ in networks]
    size = next((cfg["input_size"][-1] for cfg in configs if cfg.get("fixed_input_size")), TRIAL_SIZE)
    images = torch.rand(1, 3, size, size)
    features = []
    for model, state in networks:
        whole = model.state_dict()
        whole.update({key: state[key] for key in body_of(model)})
        model.load_state_dict(whole)
        features.append(_features(model, images))
    one, other = features
    return bool(one.shape == other.shape and (one - other).abs().max() <= TOLERANCE * one.abs().max())


def _features(model: nn.Module, images: Tensor) -> Tensor:
    """Return the input of the classifier."""
    caught: list[Tensor] = []
    (classifier,) = find_heads(model).values()
    hook = classifier.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0].flatten(1)))
    with torch.no_grad():
        model(images)
    hook.remove()
    return caught[-1]
