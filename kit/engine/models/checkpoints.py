"""Save and load weights and resume states: complete files, no pickled objects."""

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from kit.errors import KitError
from kit.storage.files import atomic_write, disk_full_error
from kit.storage.fold_folder import FoldFolder
from kit.storage.full_disk import is_disk_full


def save_model(path: Path, state: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write weights and model metadata as safetensors."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    metadata = {key: json.dumps(value) for key, value in about.items()}
    with atomic_write(path) as draft, _write_errors_as_kit_error(path):
        save_file(tensors, draft, metadata=metadata)


@contextmanager
def _write_errors_as_kit_error(path: Path) -> Iterator[None]:
    """Turn the errors of safetensors and torch, which name no file, into a KitError."""
    try:
        yield
    except (RuntimeError, SafetensorError) as error:
        if is_disk_full(error, path):
            raise disk_full_error(path) from error
        reason = str(error).strip().splitlines()[0]
        raise KitError(
            path,
            f"cannot be written ({reason})",
            "",
            "Fix it and run again; the last complete checkpoint still exists.",
            code="write_failed",
        ) from error


def load_model(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return what ``save_model`` wrote.

    Raises:
        KitError: The file is missing or damaged.
    """
    about = read_about(path)
    try:
        return load_file(path), about
    except (OSError, SafetensorError, ValueError) as error:
        raise _damaged(path, error) from error


def read_about(path: Path) -> dict[str, Any]:
    """Return the metadata that ``save_model`` wrote, without the weights.

    Raises:
        KitError: The file is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
    except (OSError, SafetensorError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> KitError:
    reason = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
    problem = f"is damaged or incomplete{reason}"
    return KitError(path, problem, next="Train the fold again.", code="file_damaged")


def save_mean(path: Path, parts: Sequence[Path], identity: Mapping[str, str]) -> None:
    """Write the mean of several models' weights, with the metadata of the first.

    Args:
        identity: What the new model is, for its metadata.

    Raises:
        KitError: The networks or their preprocessing differ.
    """
    first, about = load_model(parts[0])
    total = {name: tensor.to(torch.float64) for name, tensor in first.items() if tensor.is_floating_point()}
    for part in parts[1:]:
        state, theirs = load_model(part)
        if _network(theirs) != _network(about) or _shapes(state) != _shapes(first):
            raise KitError(
                part,
                f"is a different network from {parts[0]}",
                "Weights can be averaged only for one architecture and image size",
                "Blend their predictions: --method mean.",
                code="models_differ",
            )
        for name, tensor in total.items():
            tensor += state[name]
    mean = {name: (tensor / len(parts)).to(first[name].dtype) for name, tensor in total.items()}
    save_model(path, {**first, **mean}, {**about, "identity": dict(identity)})


def _network(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a checkpoint's metadata that must be equal to average weights."""
    model = {key: about["model"].get(key) for key in ("name", "options", "pool", "head", "classifier")}
    own = {key: value for key, value in about["preprocessing"].items() if key != "training_sizes"}
    scale = about.get("target_scale")  # of a regression; models of an older version have none
    columns = about.get("tabular", [])  # what a row means: columns, scales and categories
    return {
        "model": model,
        "preprocessing": own,
        "classes": about["classes"],
        "target_scale": scale,
        "tabular": columns,
    }


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in state.items()}


def save_resume(folder: FoldFolder, state: dict[str, Any]) -> None:
    """Write a resume state (tensors and plain values); keep the previous one.

    At least one complete file exists at any moment.
    """
    with atomic_write(folder.resume) as draft, _write_errors_as_kit_error(folder.resume):
        torch.save(state, draft)
        if folder.resume.exists():
            folder.resume.replace(folder.resume_before)


def load_resume(folder: FoldFolder) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the newest complete resume state or None, and the names of damaged files."""
    damaged: list[str] = []
    for path in (folder.resume, folder.resume_before):
        if not path.exists():
            continue
        if (state := _read_complete(path)) is not None:
            return state, damaged
        damaged.append(path.name)
    return None, damaged


def forget_resume(folder: FoldFolder) -> None:
    """Delete the resume states."""
    for path in (folder.resume, folder.resume_before):
        path.unlink(missing_ok=True)


def _read_complete(path: Path) -> dict[str, Any] | None:
    """Return a resume state, or None if the file is truncated or corrupted."""
    try:
        with zipfile.ZipFile(path) as file:
            if file.testzip() is not None:  # verifies checksums, which torch does not
                return None
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # zip and torch raise various errors for a damaged file
        return None
    return state


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a weights file: safetensors, or a PyTorch file of tensors only.

    Raises:
        KitError: The file is damaged, or holds pickled code.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises various errors for what it refuses to unpickle
        raise KitError(
            path,
            "is damaged, or not a weights file",
            "Allowed: safetensors, or PyTorch files of tensors only",
            code="not_weights",
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    return {name: tensor for name, tensor in state.items() if isinstance(tensor, Tensor)}
