"""Copy the next batch to the device while the model works on the current one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
Batch = TypeVar("Batch")


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on the device; the copy to a CUDA GPU is asynchronous, since loaders pin its memory.

    Elsewhere nothing is pinned, and MPS may read memory that has been freed before the copy.
    """
    return tensor.to(device, non_blocking=device.type == "cuda")


def on_device(
    batches: Iterator[Batch], move: Callable[[Batch], T], device: torch.device
) -> Iterator[tuple[Batch, T]]:
    """Yield pairs of a batch and ``move(batch)``, copying one batch ahead.

    On a GPU a separate stream copies, so neither the model nor this process waits, provided that memory is
    pinned and ``move`` is non-blocking. On a CPU batches are not prefetched: it would use memory and save no
    time.
    """
    if device.type != "cuda":
        yield from ((batch, move(batch)) for batch in batches)
        return
    yield from _ahead(batches, move, _Stream(device))


class _Stream:
    """A separate CUDA stream for copies."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.copying = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def issue(self) -> Any:
        """Return the context for issuing copies."""
        return torch.cuda.stream(self.copying)

    def wait_for_copies(self, moved: Any) -> None:
        """Make the model's stream wait for the copies, and keep their memory until it has used them."""
        computing = torch.cuda.current_stream(self.device)
        computing.wait_stream(self.copying)
        for tensor in moved if isinstance(moved, tuple | list) else (moved,):
            if isinstance(tensor, Tensor):
                tensor.record_stream(computing)


class NoStream:
    """A replacement for ``_Stream`` without a GPU, for tests."""

    def issue(self) -> Any:
        """Return a context that does nothing."""
        return nullcontext()

    def wait_for_copies(self, moved: Any) -> None:
        """Do nothing."""


def _ahead(
    batches: Iterator[Batch], move: Callable[[Batch], T], stream: _Stream | NoStream
) -> Iterator[tuple[Batch, T]]:
    """Yield batches and their copies, copying one batch ahead."""

    def issued() -> Iterator[tuple[Batch, T]]:
        for batch in batches:
            with stream.issue():
                moved = move(batch)
            yield batch, moved

    issued_batches = issued()
    current = next(issued_batches, None)
    while current is not None:
        stream.wait_for_copies(current[1])  # before issuing the next copy, which must not be waited for
        following = next(issued_batches, None)
        yield current
        current = following
