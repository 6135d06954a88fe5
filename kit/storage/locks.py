"""Locks between processes; the operating system releases them when the process ends."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from kit.errors import KitError
from kit.storage.files import write_text

MAX_WAIT = 20.0  # seconds; the protected work takes milliseconds


@contextmanager
def exclusive_lock(path: Path, what: str) -> Iterator[None]:
    """Hold the lock at ``path`` while the block runs; do not wait for it.

    Args:
        what: The protected work, for the message.

    Raises:
        KitError: Another process holds the lock; the message names it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    holder = path.with_suffix(".holder")
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        owner = holder.read_text(encoding="utf-8").strip() if holder.exists() else "unknown"
        raise KitError(
            path.parent,
            f"{what} is running in another process ({owner})",
            "Two processes would overwrite each other's files",
            "Wait for it or stop it; the lock is released when the process ends.",
            code="locked",
        ) from error
    try:
        write_text(holder, f"process {os.getpid()} on {socket.gethostname()}\n")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold the lock at ``path`` while the block runs; wait while another process holds it.

    Raises:
        KitError: Another process holds the lock for too long.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=MAX_WAIT):
            yield
    except Timeout as error:
        raise KitError(
            path,
            f"another process has held this lock for {MAX_WAIT:.0f} s",
            "Only one process at a time may write here",
            "Find the process and stop it; the lock is released when the process ends.",
            code="locked",
        ) from error
