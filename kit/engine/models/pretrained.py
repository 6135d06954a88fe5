"""Weights: whether they can be had, and loading all of a network but its head from whatever names them."""

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
from kit.engine.models.heads import AUXILIARY, auxiliary_heads, find_heads, head_parameters
from kit.errors import KitError, first_few

CONNECT_SECONDS = 5
State = dict[str, Tensor]
# What training scripts put around a network, and with it in front of every name.
WRAPPERS = ("module", "_orig_mod", "model", "backbone", "net", "network", "encoder", "base_model")
# Buffers that follow from the geometry, and tensors that only pre-training needs: no file must give them.
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
# How torchvision called some layers when it published weights for them.
OLDER_NAMES = (
    (r"\b(norm|conv)\.([12])\.", r"\1\2."),
    (r"\bmlp\.linear_1\.", "mlp.0."),
    (r"\bmlp\.linear_2\.", "mlp.3."),
)


def reachable(endpoint: str) -> bool:
    """Tell in seconds whether a download can work at all; the libraries retry for a minute."""
    if any(variable.upper().endswith("_PROXY") for variable in os.environ):
        return True
    parts = urlsplit(endpoint)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 443), timeout=CONNECT_SECONDS):
            return True
    except OSError:
        return False


def no_weights(name: str, file: str) -> KitError:
    """Return the error for weights out of reach: which file is wanted, and where to put it."""
    return KitError(
        "model.pretrained",
        f"the weights of {name} ({file}) are not on this machine and cannot be downloaded from here",
        "A pretrained model needs its file",
        "Download it elsewhere, put it under weights/ (or the folder $KIT_WEIGHTS names) and set "
        "`model.weights: FILE`; or train from scratch with `model.pretrained: false`.",
        code="weights_unavailable",
    )


def licence_note(name: str, licence: str | None) -> list[str]:
    """Return a sentence on what the weights may be used for, where it is known."""
    if not licence or licence == "unknown":
        return []
    if "SWAG" in licence:  # torchvision gives the address of the text
        licence = "CC BY-NC 4.0"
    elif licence.startswith("cc-"):
        licence = licence.upper().replace("CC-", "CC ").replace("-4.0", " 4.0")
    limited = re.search(r"\bnc\b|non-?commercial|research", licence, re.IGNORECASE)
    return [f"weights {name}: licence {licence}{' (non-commercial)' if limited else ''}"]


@contextlib.contextmanager
def weights_must_fit(config: ModelConfig, weights: Path | None, size: int) -> Iterator[None]:
    """Turn what a library says of unfit options, sizes and weights into one message."""
    name = config.name
    try:
        yield
    except (AssertionError, TypeError, ValueError) as error:
        if config.options and not isinstance(error, AssertionError):
            raise KitError(
                "model.options", f"{name} refuses them: {_first_line(error)}", code="option_invalid"
            ) from error
        raise KitError(
            "image.size",
            f"{name} does not take {size} px: {_first_line(error)}",
            code="image_size_unsuitable",
        ) from error
    except OSError as error:
        raise no_weights(name, _first_line(error)) from error
    except RuntimeError as error:
        where = weights or "model.pretrained"
        raise KitError(
            where,
            f"the weights do not fit {name}: {_first_lines(error)}",
            "Keys must agree",
            code="weights_do_not_fit",
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _first_lines(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def read_pretrained(file: Path) -> State:
    """Return the tensors of a file of pretrained weights.

    Raises:
        KitError: It cannot be read, or it is a checkpoint of kit's own: that may have seen validation rows.
    """
    with contextlib.suppress(SafetensorError, OSError), safe_open(file, framework="pt") as opened:
        if {"classes", "preprocessing"} <= set(opened.metadata() or {}):
            raise KitError(
                file,
                "is a fold's checkpoint, which may have been trained on rows that this experiment validates",
                "model.weights takes weights that never saw the competition's images",
                "Set `model.start: EXPERIMENT` instead: each fold then begins with the same fold there.",
                code="weights_are_checkpoint",
            )
    return read_weights(file)


# --- loading all but the head

# What a note says of it, and the tensors under new names, or None where it does not apply.
Reading = tuple[str, Callable[[State], State | None]]


def load_but_head(
    model: nn.Module, state: Mapping[str, Tensor], name: str, file: object, readings: tuple[Reading, ...] = ()
) -> list[str]:
    """Load weights into all of a network but its head, and return a sentence for what was not plain.

    Args:
        readings: Ways to find other names for the tensors, tried in turn where the network's own do not fit.

    Raises:
        KitError: A tensor of the network is not there, or one of the file belongs nowhere.
    """
    given, body = dict(state), body_of(model)

    def as_named(tensors: State) -> State:
        return unwrapped(tensors, model)

    plain: Reading = ("", as_named)
    for said, read in (plain, *readings):
        found = read(given)
        tensors = None if found is None else _complete(model, found, body)
        if tensors is not None:
            notes = [f"{_shown(file)}: {said}"] if said else []
            notes += _unused(model, tensors, body, name, file)
            _load(model, _fitting(tensors, body))
            return notes
    raise _does_not_fit(model, as_named(given), name, file)


def _complete(model: nn.Module, state: State, body: State) -> State | None:
    """Return the tensors as they are, or in the library's form, whichever gives the whole body."""
    if len(_fitting(state, body)) == len(body):
        return state
    renewed = _in_library_form(model, state)
    return renewed if len(_fitting(renewed, body)) == len(body) else None


def _does_not_fit(model: nn.Module, state: State, name: str, file: object) -> KitError:
    body = body_of(model)
    fitting = max(_fitting(state, body), _fitting(_in_library_form(model, state), body), key=len)
    absent = [key for key in body if key not in fitting]
    only_auxiliary = all(key.startswith(AUXILIARY) for key in absent)
    return KitError(
        file,
        f"does not fit {name}: {len(absent)} of {len(body)} tensors are not in it, or of another shape "
        f"({first_few(absent, 3)})",
        "All but the head must be there, under the library's own names or those of its counterpart",
        "Set `model.options: {aux_logits: false}` to leave the auxiliary heads out."
        if only_auxiliary
        else "",
        code="weights_do_not_fit",
    )


def _unused(model: nn.Module, state: State, body: State, name: str, file: object) -> list[str]:
    """Return a note on tensors that nothing takes; more than a head's worth is an error."""
    own = tuple(f"{head}." for head in find_heads(model) | auxiliary_heads(model))
    left = [k for k in state if k not in body and not k.startswith(own) and not k.endswith(UNTRAINED)]
    foreign = [k for k in left if k.split(".")[0] not in HEAD_NAMES and not k.startswith(AUXILIARY)]
    if foreign:
        raise KitError(
            file,
            f"does not fit {name}: {len(foreign)} tensors in it belong nowhere ({first_few(foreign, 3)})",
            "Only a head may be left over",
            code="weights_do_not_fit",
        )
    return (
        [f"{_shown(file)}: {len(left)} tensors of a head are not used ({first_few(left, 3)})"] if left else []
    )


def _shown(file: object) -> str:
    return file.name if isinstance(file, Path) else str(file)


def body_of(model: nn.Module) -> State:
    """Return the tensors that pretrained weights must give: all but the head's, and what nobody trains."""
    head = head_parameters(model)
    names_of_head = {name for name, parameter in model.named_parameters() if parameter in head}
    state: State = model.state_dict()
    return {k: v for k, v in state.items() if k not in names_of_head and not k.endswith(UNTRAINED)}


def _fitting(state: State, body: State) -> State:
    """Return the tensors of ``state`` that fit, a stem of three channels summed where images are grey."""
    fitting = {}
    for key, wanted in body.items():
        if key not in state:
            continue
        given = state[key]
        if given.ndim == 4 and wanted.ndim == 4 and given.shape[1] == 3 and wanted.shape[1] == 1:
            given = given.sum(dim=1, keepdim=True)
        if given.shape == wanted.shape:
            fitting[key] = given
    return fitting


def _load(model: nn.Module, state: State) -> None:
    """Load some tensors; the others stay, and the version of the names is that of the library here."""
    whole = model.state_dict()
    whole.update(state)
    model.load_state_dict(whole)


# --- other names for the same tensors


def unwrapped(state: State, model: nn.Module) -> State:
    """Return the tensors without what training scripts put in front of their names."""
    own = {key.split(".")[0] for key in model.state_dict()}
    while wrapper := next(
        (w for w in WRAPPERS if w not in own and any(k.startswith(f"{w}.") for k in state)), ""
    ):
        bare = {key.removeprefix(f"{wrapper}."): tensor for key, tensor in state.items()}
        if len(bare) < len(state):
            return state  # two networks in one file: nobody can tell which is meant
        state = bare
    return state


def _in_library_form(model: nn.Module, state: State) -> State:
    """Return the tensors as the library itself reads files that are older, or of another image size."""
    if isinstance(model, VisionTransformer):
        return _positions_of_torchvision(model, _renewed(state))
    rename = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if rename is None:
        return _renewed(state)
    try:
        renamed: State = rename(dict(state), model)
    except (KeyError, RuntimeError, AttributeError, TypeError, ValueError, IndexError, AssertionError):
        return state  # not a file that the filter knows; what does not fit is told by the loading
    return renamed


def _renewed(state: State) -> State:
    for pattern, new in OLDER_NAMES:
        state = {re.sub(pattern, new, key): tensor for key, tensor in state.items()}
    return state


def _positions_of_torchvision(model: VisionTransformer, state: State) -> State:
    """Return the tensors with the position embeddings of another image size interpolated to this one."""
    if "encoder.pos_embedding" not in state:
        return state
    try:
        resized: State = interpolate_embeddings(model.image_size, model.patch_size, dict(state))
    except ValueError:
        return state  # not a square of patches
    return resized


def in_order(model: nn.Module, file: Path) -> tuple[Reading, ...]:
    """Return the reading that pairs tensors by their order, where the file keeps that of the network.

    All of the body must agree in shape and kind, one by one from the first tensor on, and no more than a
    head may follow. A safetensors file sorts its tensors by name, which says nothing of their order.
    """

    def read(state: State) -> State | None:
        body = body_of(model)
        given = {key: tensor for key, tensor in state.items() if not key.endswith(UNTRAINED)}
        first = list(given)[: len(body)]
        heads = find_heads(model) | auxiliary_heads(model)
        spare = sum(len(list(head.parameters())) for head in heads.values())
        forms = [
            [(t.shape, kind_of(k)) for k, t in tensors.items()]
            for tensors in ({k: given[k] for k in first}, body)
        ]
        if forms[0] != forms[1] or len(given) - len(body) > spare:
            return None
        return {own: given[key] for own, key in zip(body, first, strict=True)}

    said = "its tensors have other names, and were paired in their order by shape and kind"
    return () if file.suffix == ".safetensors" else ((said, read),)


def kind_of(key: str) -> str:
    """Return what a tensor is of its layer; ``other`` for what is no part of a usual layer."""
    kinds = ("running_mean", "running_var", "weight", "bias")
    return next((kind for kind in kinds if key.endswith(kind)), "other")


# --- from another experiment of kit


def load_fold(backbone: nn.Module, state: State, file: object) -> list[str]:
    """Load the backbone of another experiment's fold, its head too where shapes agree.

    Returns:
        A sentence, if the head or a part of it stays new.

    Raises:
        KitError: Something other than the head does not fit.
    """
    own: State = backbone.state_dict()
    of_head = _names_of_head(backbone, own)
    body = [key for key in own if key not in of_head and not key.endswith(UNTRAINED)]
    if any(key in state and state[key].shape != own[key].shape for key in body):
        state = _in_library_form(backbone, state)
    fits = {key: state[key] for key in own if key in state and state[key].shape == own[key].shape}
    absent = [key for key in body if key not in fits]
    heads = tuple(find_heads(backbone) | auxiliary_heads(backbone))
    foreign = [k for k in state if k not in own and not _is_part_of(k, heads) and not k.endswith(POOL_POWER)]
    if absent or foreign:
        raise KitError(
            file,
            f"does not fit this model: {len(absent)} of {len(own)} tensors are missing or of another shape, "
            f"and {len(foreign)} of its own belong nowhere ({first_few([*absent, *foreign], 3)})",
            "An experiment to begin with has the same network; only the head may differ",
            code="weights_do_not_fit",
        )
    # A layer is taken whole or not at all: a bias without its weights means nothing.
    layers_new = {key.rpartition(".")[0] for key in of_head if key not in fits}
    _load(backbone, {key: t for key, t in fits.items() if key.rpartition(".")[0] not in layers_new})
    named = first_few(sorted(layers_new), 3)
    return [f"{_shown(file)}: the head begins anew, its shapes differ ({named})"] if layers_new else []


POOL_POWER = ".p"  # GeM's, which another experiment may have or lack


def _names_of_head(backbone: nn.Module, state: State) -> set[str]:
    heads = tuple(find_heads(backbone) | auxiliary_heads(backbone))
    return {k for k in state if _is_part_of(k, heads) or k.endswith(POOL_POWER)}


def _is_part_of(key: str, modules: tuple[str, ...]) -> bool:
    return key.startswith(tuple(f"{module}." for module in modules))
