"""Copy the next batch to the device while the model works on the current one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
Batch = TypeVar("Batch")


def on_device(
    batches: Iterator[Batch], move: Callable[[Batch], T], device: torch.device
) -> Iterator[tuple[Batch, T]]:
    """Yield batches and what ``move`` makes of them on the device, each moved before the one before is used.

    On a GPU they are moved by a stream of their own, so that neither the model nor this process waits: from
    pinned memory, if ``move`` does not block. On a CPU nothing has to move, and a batch is loaded when it is
    asked for, since loading ahead would take memory and win no time.
    """
    if device.type != "cuda":
        yield from ((batch, move(batch)) for batch in batches)
        return
    yield from _ahead(batches, move, _Stream(device))


class _Stream:
    """A GPU's stream for copies."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.copying = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def issue(self) -> Any:
        """Return the context in which copies are issued."""
        return torch.cuda.stream(self.copying)

    def hand_over(self, moved: Any) -> None:
        """Let what follows on the model's stream wait for the copies, and keep their memory until it has."""
        computing = torch.cuda.current_stream(self.device)
        computing.wait_stream(self.copying)
        for tensor in moved if isinstance(moved, tuple | list) else (moved,):
            if isinstance(tensor, Tensor):
                tensor.record_stream(computing)


class InTurn:
    """What stands for a stream where there is none."""

    def issue(self) -> Any:
        """Return a context that does nothing."""
        return nullcontext()

    def hand_over(self, moved: Any) -> None:
        """Nothing has to wait."""


def _ahead(
    batches: Iterator[Batch], move: Callable[[Batch], T], stream: _Stream | InTurn
) -> Iterator[tuple[Batch, T]]:
    """Yield batches and what they become, one of them ahead."""

    def issued() -> Iterator[tuple[Batch, T]]:
        for batch in batches:
            with stream.issue():
                moved = move(batch)
            yield batch, moved

    coming = issued()
    current = next(coming, None)
    while current is not None:
        stream.hand_over(current[1])  # before the next copy is issued, which it must not wait for
        following = next(coming, None)
        yield current
        current = following
