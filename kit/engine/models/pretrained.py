"""Find pretrained weights and load them into everything but the head, under various key names."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

from kit.config import ModelConfig
from kit.engine.models.checkpoints import read_weights
from kit.engine.models.heads import (
    AUXILIARY,
    auxiliary_heads,
    find_heads,
    head_parameters,
    stem_for_channels,
)
from kit.errors import KitError, counted, first_few

CONNECT_SECONDS = 5
State = dict[str, Tensor]
# Prefixes that training scripts add to every key.
WRAPPERS = ("module", "_orig_mod", "model", "backbone", "net", "network", "encoder", "base_model")
# Buffers that follow from the geometry, and tensors for pretraining only: a file need not contain them.
UNTRAINED = (
    "num_batches_tracked",
    "relative_position_index",
    "relative_coords_table",
    "attn_mask",
    "mask_token",
)
HEAD_NAMES = {
    "head",
    "heads",
    "head_dist",
    "fc",
    "classifier",
    "classif",
    "last_linear",
    "pre_logits",
    "aux_head",
}
# Layer names in older weights files of torchvision -> names today.
OLDER_NAMES = (
    (r"\b(norm|conv)\.([12])\.", r"\1\2."),
    (r"\bmlp\.linear_1\.", "mlp.0."),
    (r"\bmlp\.linear_2\.", "mlp.3."),
)


def reachable(endpoint: str) -> bool:
    """Return within seconds whether a download can work; the libraries retry for a minute."""
    proxies = {variable.upper() for variable in os.environ} & {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}
    if proxies:
        return True
    parts = urlsplit(endpoint)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 443), timeout=CONNECT_SECONDS):
            return True
    except OSError:
        return False


def no_weights(name: str, file: str) -> KitError:
    """Return the error for unavailable weights: which file is needed, and where to put it."""
    return KitError(
        "model.pretrained",
        f"the weights of {name} ({file}) are not on this machine and cannot be downloaded",
        "A pretrained model needs its file",
        "Download it elsewhere, put it under weights/ (or the folder $KIT_WEIGHTS names) and set "
        "`model.weights: FILE`; or train from scratch with `model.pretrained: false`.",
        code="weights_unavailable",
    )


def license_note(name: str, license: str | None) -> list[str]:
    """Return a note on the license of the weights, if known."""
    if not license or license == "unknown":
        return []
    if "SWAG" in license:  # torchvision gives the URL of the license text
        license = "CC BY-NC 4.0"
    elif license.startswith("cc-"):
        license = license.upper().replace("CC-", "CC ").replace("-4.0", " 4.0")
    non_commercial = re.search(r"\bnc\b|non-?commercial|research", license, re.IGNORECASE)
    return [f"weights {name}: license {license}{' (non-commercial)' if non_commercial else ''}"]


@contextlib.contextmanager
def weights_must_fit(config: ModelConfig, weights: Path | None, size: int) -> Iterator[None]:
    """Turn library errors about options, image size and weights into a KitError."""
    name = config.name
    try:
        yield
    except (AssertionError, TypeError, ValueError) as error:
        if config.options and not isinstance(error, AssertionError):
            raise KitError(
                "model.options", f"{name} does not accept them: {_first_line(error)}", code="option_invalid"
            ) from error
        raise KitError(
            "image.size",
            f"{name} does not accept {size} px: {_first_line(error)}",
            code="image_size_unsuitable",
        ) from error
    except OSError as error:
        raise no_weights(name, _first_line(error)) from error
    except RuntimeError as error:
        where = weights or "model.pretrained"
        raise KitError(
            where,
            f"the weights do not fit {name}: {_first_lines(error)}",
            "Keys and shapes must match",
            code="weights_do_not_fit",
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _first_lines(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def read_pretrained(file: Path) -> State:
    """Return the tensors of a file of pretrained weights.

    Raises:
        KitError: The file cannot be read, or is a checkpoint of kit, which may be trained on validation rows.
    """
    with contextlib.suppress(SafetensorError, OSError), safe_open(file, framework="pt") as opened:
        if {"classes", "preprocessing"} <= set(opened.metadata() or {}):
            raise KitError(
                file,
                "is a fold's checkpoint, which may be trained on validation rows of this experiment",
                "model.weights accepts only weights that were not trained on the competition's images",
                "Set `model.start: EXPERIMENT`: each fold then starts from the same fold of that experiment.",
                code="weights_are_checkpoint",
            )
    return read_weights(file)


# --- load everything but the head

# A text for the note, and a function: tensors of a file -> tensors under the network's keys, or None.
KeyMapping = tuple[str, Callable[[State], State | None]]


def load_body(
    model: nn.Module,
    state: Mapping[str, Tensor],
    name: str,
    file: object,
    mappings: tuple[KeyMapping, ...] = (),
) -> list[str]:
    """Load weights into everything but the head; return notes on renamed and unused tensors.

    Args:
        mappings: Key mappings to try in turn if the file does not use the network's own keys.

    Raises:
        KitError: A tensor of the network is missing in the file, or one of the file fits nowhere.
    """
    given, body = dict(state), body_of(model)

    def unchanged(tensors: State) -> State:
        return unwrapped(tensors, model)

    plain: KeyMapping = ("", unchanged)
    for note, mapping in (plain, *mappings):
        found = mapping(given)
        tensors = None if found is None else _complete(model, found, body)
        if tensors is not None:
            notes = [f"{_label(file)}: {note}"] if note else []
            notes += _unused(model, tensors, body, name, file)
            _load(model, _fitting(tensors, body))
            return notes
    raise _does_not_fit(model, unchanged(given), name, file)


def _complete(model: nn.Module, state: State, body: State) -> State | None:
    """Return the tensors, converted by the library if needed; None if the body is incomplete."""
    if len(_fitting(state, body)) == len(body):
        return state
    converted = _in_library_form(model, state)
    return converted if len(_fitting(converted, body)) == len(body) else None


def _does_not_fit(model: nn.Module, state: State, name: str, file: object) -> KitError:
    body = body_of(model)
    fitting = max(_fitting(state, body), _fitting(_in_library_form(model, state), body), key=len)
    absent = [key for key in body if key not in fitting]
    only_auxiliary = all(key.startswith(AUXILIARY) for key in absent)
    return KitError(
        file,
        f"does not fit {name}: {len(absent)} of {len(body)} tensors are missing or have another shape "
        f"({first_few(absent, 3)})",
        "The file must contain everything but the head, with the keys of timm or torchvision",
        "Set `model.options: {aux_logits: false}` to leave the auxiliary heads out."
        if only_auxiliary
        else "",
        code="weights_do_not_fit",
    )


def _unused(model: nn.Module, state: State, body: State, name: str, file: object) -> list[str]:
    """Return a note on unused tensors of a head; other unused tensors are an error."""
    own = tuple(f"{head}." for head in find_heads(model) | auxiliary_heads(model))
    left = [k for k in state if k not in body and not k.startswith(own) and not k.endswith(UNTRAINED)]
    foreign = [k for k in left if k.split(".")[0] not in HEAD_NAMES and not k.startswith(AUXILIARY)]
    if foreign:
        raise KitError(
            file,
            f"does not fit {name}: {len(foreign)} of its tensors fit nowhere ({first_few(foreign, 3)})",
            "Only tensors of a head may be unused",
            code="weights_do_not_fit",
        )
    return (
        [
            f"{_label(file)}: {counted(len(left), 'tensor of a head is', 'tensors of a head are')} "
            f"not used ({first_few(left, 3)})"
        ]
        if left
        else []
    )


def _label(file: object) -> str:
    return file.name if isinstance(file, Path) else str(file)


def body_of(model: nn.Module) -> State:
    """Return the tensors that pretrained weights must contain: all but the head's and untrained buffers."""
    head = head_parameters(model)
    head_keys = {name for name, parameter in model.named_parameters() if parameter in head}
    state: State = model.state_dict()
    return {k: v for k, v in state.items() if k not in head_keys and not k.endswith(UNTRAINED)}


def _fitting(state: State, body: State) -> State:
    """Return the tensors of ``state`` that fit; a three-channel stem is adapted to other channels."""
    fitting = {}
    for key, target in body.items():
        if key not in state:
            continue
        given = state[key]
        if _is_stem_of_other_channels(given, target):
            given = stem_for_channels(given, target.shape[1])
        if given.shape == target.shape:
            fitting[key] = given
    return fitting


def _is_stem_of_other_channels(given: Tensor, target: Tensor) -> bool:
    if given.ndim != 4 or target.ndim != 4 or given.shape[1] != 3 or target.shape[1] == 3:
        return False
    return given.shape[0] == target.shape[0] and given.shape[2:] == target.shape[2:]


def _load(model: nn.Module, state: State) -> None:
    """Load some tensors; the others stay."""
    whole = model.state_dict()
    whole.update(state)
    model.load_state_dict(whole)


# --- keys


def unwrapped(state: State, model: nn.Module) -> State:
    """Return the tensors without the key prefixes of training scripts."""
    own = {key.split(".")[0] for key in model.state_dict()}
    while wrapper := next(
        (w for w in WRAPPERS if w not in own and any(k.startswith(f"{w}.") for k in state)), ""
    ):
        bare = {key.removeprefix(f"{wrapper}."): tensor for key, tensor in state.items()}
        if len(bare) < len(state):
            return state  # two networks in one file: ambiguous
        state = bare
    return state


def _in_library_form(model: nn.Module, state: State) -> State:
    """Return the tensors as the library converts older files and other image sizes."""
    if isinstance(model, VisionTransformer):
        return _interpolate_positions(model, _with_current_names(state))
    rename = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if rename is None:
        return _with_current_names(state)
    try:
        renamed: State = rename(dict(state), model)
    except (KeyError, RuntimeError, AttributeError, TypeError, ValueError, IndexError, AssertionError):
        return state  # unknown to the filter; loading reports what does not fit
    return renamed


def _with_current_names(state: State) -> State:
    for pattern, new in OLDER_NAMES:
        state = {re.sub(pattern, new, key): tensor for key, tensor in state.items()}
    return state


def _interpolate_positions(model: VisionTransformer, state: State) -> State:
    """Return the tensors with position embeddings interpolated to the model's image size."""
    if "encoder.pos_embedding" not in state:
        return state
    try:
        resized: State = interpolate_embeddings(model.image_size, model.patch_size, dict(state))
    except ValueError:
        return state  # the number of patches is not a square
    return resized


def mapping_by_order(model: nn.Module, file: Path) -> tuple[KeyMapping, ...]:
    """Return a mapping that pairs tensors by order, if the file type preserves the order.

    Every tensor of the body must have the shape and kind of its counterpart, and only a head may follow.
    Safetensors files sort tensors by name, so they are excluded.
    """

    def mapping(state: State) -> State | None:
        body = body_of(model)
        given = {key: tensor for key, tensor in state.items() if not key.endswith(UNTRAINED)}
        first = list(given)[: len(body)]
        heads = find_heads(model) | auxiliary_heads(model)
        num_head = sum(len(list(head.parameters())) for head in heads.values())
        forms = [
            [(t.shape, kind_of(k)) for k, t in tensors.items()]
            for tensors in ({k: given[k] for k in first}, body)
        ]
        if forms[0] != forms[1] or len(given) - len(body) > num_head:
            return None
        return {own: given[key] for own, key in zip(body, first, strict=True)}

    note = "its keys differ; tensors were paired by order, shape and kind"
    return () if file.suffix == ".safetensors" else ((note, mapping),)


def kind_of(key: str) -> str:
    """Return the kind of a tensor by its key: ``weight``, ``bias``, a running statistic, or ``other``."""
    kinds = ("running_mean", "running_var", "weight", "bias")
    return next((kind for kind in kinds if key.endswith(kind)), "other")


# --- warm start from another experiment


def load_fold(backbone: nn.Module, state: State, file: object) -> list[str]:
    """Load the weights of another experiment's fold, including head layers of equal shape.

    Returns:
        A note, if layers of the head keep their new initialization.

    Raises:
        KitError: Something other than the head does not fit.
    """
    own: State = backbone.state_dict()
    head_keys = _head_keys(backbone, own)
    body = [key for key in own if key not in head_keys and not key.endswith(UNTRAINED)]
    if any(key in state and state[key].shape != own[key].shape for key in body):
        state = _in_library_form(backbone, state)
    fits = {key: state[key] for key in own if key in state and state[key].shape == own[key].shape}
    absent = [key for key in body if key not in fits]
    heads = tuple(find_heads(backbone) | auxiliary_heads(backbone))
    foreign = [k for k in state if k not in own and not _is_part_of(k, heads) and not k.endswith(POOL_POWER)]
    if absent or foreign:
        raise KitError(
            file,
            f"does not fit this model: {len(absent)} of {len(own)} tensors are missing or differ in shape, "
            f"and {len(foreign)} of its tensors fit nowhere ({first_few([*absent, *foreign], 3)})",
            "model.start needs an experiment with the same network; only the head may differ",
            code="weights_do_not_fit",
        )
    # Load a layer completely or not at all: a bias without its weights is useless.
    new_layers = {key.rpartition(".")[0] for key in head_keys if key not in fits}
    _load(backbone, {key: t for key, t in fits.items() if key.rpartition(".")[0] not in new_layers})
    names = first_few(sorted(new_layers), 3)
    return (
        [f"{_label(file)}: the head is newly initialized, its shapes differ ({names})"] if new_layers else []
    )


POOL_POWER = ".p"  # the parameter of GeM pooling, which only one of the experiments may have


def _head_keys(backbone: nn.Module, state: State) -> set[str]:
    heads = tuple(find_heads(backbone) | auxiliary_heads(backbone))
    return {k for k in state if _is_part_of(k, heads) or k.endswith(POOL_POWER)}


def _is_part_of(key: str, modules: tuple[str, ...]) -> bool:
    return key.startswith(tuple(f"{module}." for module in modules))
