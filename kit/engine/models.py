"""A model by name, from timm, torchvision or kit's own, with the preprocessing that its weights expect."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import timm
import torch
import torchvision
from torch import Tensor, nn

from kit.config import ImageConfig, ModelConfig
from kit.engine.checkpoints import read_weights
from kit.engine.heads import grey_stem, quiet_head, replace_head
from kit.engine.preprocessing import Preprocessing, overridden
from kit.engine.pretrained import in_timm_naming, load_but_head, no_weights, reachable, weights_must_fit
from kit.engine.small_cnn import small_models
from kit.errors import KitError
from kit.registry import bind_options, nearest, unknown_name

TORCHVISION = "torchvision:"
SMALL_SIZE = 32
# Networks with auxiliary heads: built without them, and with the input scale that their weights expect.
_NO_AUX = {"aux_logits": False, "transform_input": True, "init_weights": False}
AUXILIARY: dict[str, dict[str, Any]] = {"googlenet": _NO_AUX, "inception_v3": _NO_AUX}


class Classifier(nn.Module):
    """A backbone behind its own normalisation: images of 0..255 in, logits out.

    Normalising on the device keeps batches small on their way there (uint8), and makes the normalisation a
    part of the checkpoint that nothing can forget.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.backbone = backbone
        self.preprocessing = preprocessing
        for name in ("mean", "std"):
            values = torch.tensor(getattr(preprocessing, name)).view(1, -1, 1, 1) * 255
            self.register_buffer(name, values, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) of 0..255 to logits (B, num_classes)."""
        normalised = (images.float() - self.mean) / self.std
        return cast(Tensor, self.backbone(normalised.contiguous(memory_format=torch.channels_last)))


@dataclass(frozen=True)
class Architecture:
    """How to build one family of networks.

    Attributes:
        knows: Raises a KitError if there is no such model.
        build: From the config, the number of classes, the channels and the weights file (or None) to a
            network and its preprocessing.
    """

    knows: Callable[[ModelConfig], None]
    build: Callable[[ModelConfig, int, int, Path | None], tuple[nn.Module, Preprocessing]]


def check_model(config: ModelConfig) -> None:
    """Refuse a model that does not exist, naming the nearest ones."""
    _architecture(config.name).knows(config)


def check_weights(config: ModelConfig) -> None:
    """Refuse to begin with pretrained weights that are neither here nor within reach."""
    if not config.pretrained or config.weights is not None or config.name in small_models:
        return
    if config.name.startswith(TORCHVISION):
        name, tag = _split_torchvision(config.name)
        choices = torchvision.models.get_model_weights(name)
        _check_reach(config.name, choices[tag] if tag else choices.DEFAULT)
    else:
        _timm_download(config.name)


def build_model(
    config: ModelConfig, image: ImageConfig, num_classes: int, weights: Path | None = None
) -> tuple[Classifier, list[str]]:
    """Return the model, and a sentence for everything in which the config overrides its own preprocessing.

    Args:
        weights: The file of pretrained weights, where the config names one.

    Raises:
        KitError: The model is unknown, its weights cannot be had, or they do not fit.
    """
    channels = 1 if image.mode == "grey" else 3
    backbone, own = _architecture(config.name).build(config, num_classes, channels, weights)
    if (config.pretrained or weights) and config.name not in small_models:
        quiet_head(backbone)
    preprocessing, notes = overridden(own, image)
    return Classifier(backbone, preprocessing).to(memory_format=torch.channels_last), notes


def rebuild_model(config: ModelConfig, preprocessing: Preprocessing, num_classes: int) -> Classifier:
    """Return the untrained model that a checkpoint's weights are then loaded into."""
    plain = config.model_copy(update={"pretrained": False, "weights": None})
    backbone, _ = _architecture(config.name).build(plain, num_classes, preprocessing.channels, None)
    return Classifier(backbone, preprocessing).to(memory_format=torch.channels_last)


def _architecture(name: str) -> Architecture:
    if name in small_models:
        return SMALL
    return TORCHVISION_MODELS if name.startswith(TORCHVISION) else TIMM


# --- kit's own


def _check_small(config: ModelConfig) -> None:
    bind_options("model.options", small_models.get(config.name), config.options)


def _build_small(
    config: ModelConfig, num_classes: int, channels: int, weights: Path | None
) -> tuple[nn.Module, Preprocessing]:
    if weights is not None:
        raise KitError("model.weights", f"{config.name} is trained from scratch", next_step="Leave it out.")
    own = Preprocessing(SMALL_SIZE, mean=(0.5,) * channels, std=(0.5,) * channels, interpolation="bilinear")
    build = small_models.get(config.name)
    return build(num_classes, channels, **bind_options("model.options", build, config.options)), own


# --- timm


def _check_timm(config: ModelConfig) -> None:
    base, _, tag = config.name.partition(".")
    known = [*small_models, *timm.list_models()]
    if timm.is_model(base) and tag and config.name not in (tags := timm.list_pretrained(f"{base}.*")):
        raise unknown_name("model.name", f"set of weights of {base}", config.name, tags)
    if not timm.is_model(base):
        hint = nearest(config.name, known)
        listing = "Every timm name is known, torchvision:NAME, and " + ", ".join(small_models)
        ask = f"Did you mean {' or '.join(hint)}?" if hint else "`timm.list_models()` lists them."
        raise KitError("model.name", f"there is no model '{config.name}'", listing, ask)


def _build_timm(
    config: ModelConfig, num_classes: int, channels: int, weights: Path | None
) -> tuple[nn.Module, Preprocessing]:
    overlay = _timm_download(config.name) if config.pretrained and weights is None else None
    with weights_must_fit(config.name, weights):
        model = timm.create_model(
            config.name,
            pretrained=config.pretrained and weights is None,
            pretrained_cfg_overlay=overlay,
            num_classes=num_classes,
            in_chans=3 if weights is not None else channels,
            **config.options,
        )
    if weights is not None:
        load_but_head(model, in_timm_naming(model, read_weights(weights)), config.name, weights)
        if channels == 1:
            grey_stem(model)
    expects = timm.data.resolve_model_data_config(model)
    own = Preprocessing(
        size=expects["input_size"][-1],
        mean=tuple(expects["mean"]),
        std=tuple(expects["std"]),
        interpolation=expects["interpolation"]
        if expects["interpolation"] in ("nearest", "bilinear")
        else "bicubic",
        crop=expects["crop_pct"],
    )
    return model, own


def _timm_download(name: str) -> dict[str, Any] | None:
    """Return where timm finds downloaded weights; where they cannot be had, say what to do."""
    from huggingface_hub import constants, try_to_load_from_cache

    cfg = timm.get_pretrained_cfg(name)
    if cfg is None or not (cfg.hf_hub_id or cfg.url):
        raise KitError(
            "model.pretrained", f"there are no pretrained weights of {name}", next_step="Set it to false."
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


# --- torchvision


def _split_torchvision(name: str) -> tuple[str, str | None]:
    model, _, weights = name.removeprefix(TORCHVISION).partition("@")
    return model, weights or None


def _check_torchvision(config: ModelConfig) -> None:
    name, tag = _split_torchvision(config.name)
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise unknown_name("model.name", "torchvision model", name, known)
    tags = [w.name for w in torchvision.models.get_model_weights(name)]
    if tag is not None and tag not in tags:
        raise unknown_name("model.name", f"set of weights of {name}", tag, tags)


def _build_torchvision(
    config: ModelConfig, num_classes: int, channels: int, weights: Path | None
) -> tuple[nn.Module, Preprocessing]:
    name, tag = _split_torchvision(config.name)
    choices = torchvision.models.get_model_weights(name)
    entry = choices[tag] if tag else choices.DEFAULT
    with weights_must_fit(config.name, weights), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Always built without weights, so that a checkpoint is rebuilt into the very same network.
        model = torchvision.models.get_model(name, weights=None, **(AUXILIARY.get(name, {}) | config.options))
        if weights is not None:
            load_but_head(model, read_weights(weights), config.name, weights)
        elif config.pretrained:
            _check_reach(config.name, entry)
            load_but_head(model, entry.get_state_dict(progress=False), config.name, entry)
    replace_head(model, num_classes)
    if channels == 1:
        grey_stem(model)
    return model, _torchvision_preprocessing(entry)


def _check_reach(name: str, entry: Any) -> None:
    if not _is_downloaded(entry.url) and not reachable(entry.url):
        raise no_weights(name, Path(urlsplit(entry.url).path).name)


def _is_downloaded(url: str) -> bool:
    return (Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url).path).name).exists()


def _torchvision_preprocessing(entry: Any) -> Preprocessing:
    expects = entry.transforms()
    size = expects.crop_size[0]
    return Preprocessing(
        size=size,
        mean=tuple(expects.mean),
        std=tuple(expects.std),
        interpolation="bicubic" if "bicubic" in str(expects.interpolation).lower() else "bilinear",
        crop=min(1.0, size / expects.resize_size[0]),
    )


SMALL = Architecture(_check_small, _build_small)
TIMM = Architecture(_check_timm, _build_timm)
TORCHVISION_MODELS = Architecture(_check_torchvision, _build_torchvision)
