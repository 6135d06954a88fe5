"""Pretrained weights: whether they can be had, whether they fit, and loading all of them but the head."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from torch import Tensor, nn

from kit.engine.heads import head_parameters
from kit.errors import KitError, first_few

CONNECT_SECONDS = 5


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
    )


@contextlib.contextmanager
def weights_must_fit(name: str, weights: Path | None) -> Iterator[None]:
    """Turn what a library says of unfit options and weights into one message."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise KitError("model.options", f"{name} refuses them: {_first_line(error)}") from error
    except OSError as error:
        raise no_weights(name, _first_line(error)) from error
    except RuntimeError as error:
        where = weights or "model.pretrained"
        raise KitError(
            where, f"the weights do not fit {name}: {_first_lines(error)}", "Keys must agree"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _first_lines(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def in_timm_naming(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under timm's names, converted by its own filter where they have other names."""
    rename = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if rename is None or not set(_body(model)) - set(state):
        return state
    try:
        renamed: dict[str, Tensor] = rename(dict(state), model)
    except (KeyError, RuntimeError, AttributeError, TypeError, ValueError, IndexError):
        return state  # not a file that the filter knows; what does not fit is told by the loading
    return renamed


def load_but_head(model: nn.Module, state: Mapping[str, Tensor], name: str, file: object) -> None:
    """Load weights into all of a network but its head; anything else that does not fit is an error."""
    body = _body(model)
    fitting = {key: state[key] for key in body if key in state and state[key].shape == body[key].shape}
    absent = [key for key in body if key not in fitting]
    if absent:
        raise KitError(
            file,
            f"does not fit {name}: {len(absent)} of {len(body)} tensors are not in it, or of another shape "
            f"({first_few(absent, 3)})",
            "All but the head must be there, under the library's own names",
        )
    model.load_state_dict(fitting, strict=False)


def _body(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors that pretrained weights must give: all but the head's, and counters."""
    head = head_parameters(model)
    names_of_head = {name for name, parameter in model.named_parameters() if parameter in head}
    state: dict[str, Tensor] = model.state_dict()
    skipped = (*names_of_head, "num_batches_tracked")
    return {key: value for key, value in state.items() if not key.endswith(skipped)}
