"""Build timm networks by name."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from kit.config import ModelConfig
from kit.engine.models.preprocessing import Preprocessing
from kit.engine.models.pretrained import (
    license_note,
    load_body,
    mapping_by_order,
    no_weights,
    reachable,
    read_pretrained,
    weights_must_fit,
)
from kit.engine.models.small_cnn import small_models
from kit.engine.models.torchvision_models import counterpart_mappings
from kit.errors import KitError
from kit.registry import nearest, unknown_name

DEFAULT_CONFIG = {"input_size": (3, 224, 224)}  # timm fills in the rest
SEVERAL_SIZES = ("dynamic_img_size", "strict_img_size")  # options for several sizes, in order of preference


def check_name(config: ModelConfig) -> None:
    """Check the name of a network and its set of weights; an unknown one is a KitError."""
    base, _, tag = config.name.partition(".")
    if timm.is_model(base) and tag and config.name not in (tags := timm.list_pretrained(f"{base}.*")):
        raise unknown_name("model.name", f"set of weights of {base}", config.name, tags)
    if not timm.is_model(base):
        hint = nearest(config.name, [*small_models, *timm.list_models()])
        listing = "Allowed: any timm name, torchvision:NAME, and " + ", ".join(small_models)
        next_step = f"Did you mean {' or '.join(hint)}?" if hint else "`timm.list_models()` lists them."
        raise KitError(
            "model.name", f"there is no model '{config.name}'", listing, next_step, code="unknown_name"
        )


def check_weights(config: ModelConfig) -> None:
    """Check that the weights are cached or can be downloaded; else a KitError."""
    _download(config.name)


def own_preprocessing(config: ModelConfig) -> Preprocessing:
    """Return the preprocessing of the weights."""
    cfg = timm.get_pretrained_cfg(config.name)
    expects = timm.data.resolve_data_config(pretrained_cfg=cfg.to_dict() if cfg else DEFAULT_CONFIG)
    interpolation = expects["interpolation"]
    return Preprocessing(
        size=expects["input_size"][-1],
        mean=tuple(expects["mean"]),
        std=tuple(expects["std"]),
        interpolation=interpolation if interpolation in ("nearest", "bilinear") else "bicubic",
        crop=expects["crop_pct"],
    )


def build(
    config: ModelConfig, preprocessing: Preprocessing, num_classes: int, weights: Path | None
) -> tuple[nn.Module, list[str]]:
    """Return the network for the image size and channels, with loaded weights and a new head."""
    downloaded = config.pretrained and weights is None
    overlay = _download(config.name) if downloaded else None
    with weights_must_fit(config, weights, preprocessing.size):
        model: nn.Module = timm.create_model(
            config.name,
            pretrained=downloaded,
            pretrained_cfg_overlay=overlay,
            num_classes=num_classes,
            in_chans=preprocessing.channels,
            **(_for_size(config, preprocessing) | config.options),
        )
        if weights is not None:
            mappings = (*counterpart_mappings(config), *mapping_by_order(model, weights))
            return model, load_body(model, read_pretrained(weights), config.name, weights, mappings)
    cfg = timm.get_pretrained_cfg(config.name)
    return model, license_note(config.name, cfg.license) if downloaded and cfg else []


def license_of(name: str, weights: str | None) -> str:
    """Return the license of a model's weights; empty if unknown.

    Args:
        weights: Their file; its name ends with timm's tag: ``mobilenetv2_100_tv_in1k.safetensors``.
    """
    tag = "" if weights is None else Path(weights).stem.removeprefix(name)[1:]
    if weights is not None and not tag:
        return ""
    try:
        cfg = timm.get_pretrained_cfg(f"{name}.{tag}" if tag else name)
    except RuntimeError:  # no such tag
        return ""
    return cfg.license if cfg and cfg.license and cfg.license != "unknown" else ""


def _for_size(config: ModelConfig, preprocessing: Preprocessing) -> dict[str, Any]:
    """Return the options with which a network of a fixed image size accepts other sizes.

    Position embeddings are interpolated to ``size``, and to further sizes during the forward pass if the
    architecture supports it.
    """
    cfg = timm.get_pretrained_cfg(config.name)
    sizes = preprocessing.all_sizes
    if cfg is None or not cfg.fixed_input_size or set(sizes) == {own_preprocessing(config).size}:
        return {}
    with torch.device("meta"):
        bare = timm.create_model(config.name, pretrained=False)
    parameters = {key for kind in type(bare).__mro__ for key in inspect.signature(kind).parameters}
    options: dict[str, Any] = {}
    if "img_size" in parameters:
        options["img_size"] = (preprocessing.size, preprocessing.size)
    several = next((option for option in SEVERAL_SIZES if option in parameters), None)
    if len(sizes) > 1 and several is not None:
        options[several] = several == "dynamic_img_size"
    return options


def _download(name: str) -> dict[str, Any] | None:
    """Return an overlay with the cached weights file, or None if timm downloads it; else a KitError."""
    from huggingface_hub import constants, try_to_load_from_cache

    cfg = timm.get_pretrained_cfg(name)
    if cfg is None or not (cfg.hf_hub_id or cfg.url):
        raise KitError(
            "model.pretrained",
            f"{name} has no pretrained weights",
            next="Set it to false.",
            code="weights_unavailable",
        )
    if not cfg.hf_hub_id:
        return None
    file = cfg.hf_hub_filename or "model.safetensors"
    cached = try_to_load_from_cache(cfg.hf_hub_id, file)
    if isinstance(cached, str):
        return {"file": cached}
    if constants.HF_HUB_OFFLINE or not reachable(constants.ENDPOINT):
        raise no_weights(name, f"{file} of {cfg.hf_hub_id}")
    return None
