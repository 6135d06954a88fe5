"""Recognize out-of-memory errors, free memory, and retry with smaller micro-batches."""

import gc
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from kit.errors import counted

T = TypeVar("T")
OUT_OF_MEMORY = (  # messages of plain RuntimeErrors of torch's backends
    " out of memory",
    "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED.",
    "DefaultCPUAllocator: can't allocate memory",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that the device is out of memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in OUT_OF_MEMORY)


def free_memory() -> None:
    """Collect garbage and return cached memory of the accelerator to its driver."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.mps.is_available():
        torch.mps.empty_cache()


def bytes_for_backward(model: nn.Module, images: Tensor) -> int:
    """Return the bytes that a forward pass in training keeps for the backward pass, without the weights.

    Args:
        images: (N, C, H, W), on the model's device.
    """
    weights = {each.untyped_storage().data_ptr() for each in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(images)
    return sum(kept.values())


def halve_until_it_fits(
    micro_batch_size: int, work: Callable[[int], T], warn: Callable[[str], None], smallest: int = 1
) -> T:
    """Return ``work(micro_batch_size)``, halving the size whenever memory runs out.

    Args:
        warn: Receives a message about every reduction.
        smallest: The smallest size to try; below it, the error of ``work`` is raised.
    """
    while True:
        try:
            return work(micro_batch_size)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or micro_batch_size // 2 < smallest:
                raise
        free_memory()  # outside the handler, which references the failed attempt
        warn(
            f"out of memory with a micro-batch of {counted(micro_batch_size, 'image')}: continuing with "
            f"{micro_batch_size // 2}"
        )
        micro_batch_size //= 2
