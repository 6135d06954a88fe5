"""timm networks, by timm's names."""

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
    in_order,
    licence_note,
    load_but_head,
    no_weights,
    reachable,
    read_pretrained,
    weights_must_fit,
)
from kit.engine.models.small_cnn import small_models
from kit.engine.models.torchvision_models import twin_readings
from kit.errors import KitError
from kit.registry import nearest, unknown_name

NOTHING_KNOWN = {"input_size": (3, 224, 224)}  # the other defaults are timm's
SEVERAL_SIZES = ("dynamic_img_size", "strict_img_size")  # which of both a network takes, in this order


def check_name(config: ModelConfig) -> None:
    """Check the name of a network and its set of weights; an unknown one is a KitError."""
    base, _, tag = config.name.partition(".")
    if timm.is_model(base) and tag and config.name not in (tags := timm.list_pretrained(f"{base}.*")):
        raise unknown_name("model.name", f"set of weights of {base}", config.name, tags)
    if not timm.is_model(base):
        hint = nearest(config.name, [*small_models, *timm.list_models()])
        listing = "Every timm name is known, torchvision:NAME, and " + ", ".join(small_models)
        ask = f"Did you mean {' or '.join(hint)}?" if hint else "`timm.list_models()` lists them."
        raise KitError("model.name", f"there is no model '{config.name}'", listing, ask, code="unknown_name")


def check_weights(config: ModelConfig) -> None:
    """Check that the weights are cached or can be downloaded; else a KitError."""
    _download(config.name)


def own_preprocessing(config: ModelConfig) -> Preprocessing:
    """Return the preprocessing of the weights."""
    cfg = timm.get_pretrained_cfg(config.name)
    expects = timm.data.resolve_data_config(pretrained_cfg=cfg.to_dict() if cfg else NOTHING_KNOWN)
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
    """Return the network for the images' size and channels, its weights loaded, with a new head."""
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
            readings = (*twin_readings(config), *in_order(model, weights))
            return model, load_but_head(model, read_pretrained(weights), config.name, weights, readings)
    cfg = timm.get_pretrained_cfg(config.name)
    return model, licence_note(config.name, cfg.license) if downloaded and cfg else []


def licence_of(name: str, weights: str | None) -> str:
    """Return the licence of a model's weights; empty where it is not known.

    Args:
        weights: Their file, whose name ends in timm's tag: ``mobilenetv2_100_tv_in1k.safetensors``.
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
    """Return the options of a network that is built for one size of image, where it meets another.

    Its positions are then interpolated to ``size``; further sizes in training or predicting are interpolated
    as they come, where the architecture can.
    """
    cfg = timm.get_pretrained_cfg(config.name)
    sizes = preprocessing.all_sizes
    if cfg is None or not cfg.fixed_input_size or set(sizes) == {own_preprocessing(config).size}:
        return {}
    with torch.device("meta"):
        bare = timm.create_model(config.name, pretrained=False)
    takes = {key for kind in type(bare).__mro__ for key in inspect.signature(kind).parameters}
    options: dict[str, Any] = {}
    if "img_size" in takes:
        options["img_size"] = (preprocessing.size, preprocessing.size)
    several = next((option for option in SEVERAL_SIZES if option in takes), None)
    if len(sizes) > 1 and several is not None:
        options[several] = several == "dynamic_img_size"
    return options


def _download(name: str) -> dict[str, Any] | None:
    """Return the overlay with the cached weights file, None if timm downloads it; unavailable: a KitError."""
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
