"""One process at a time: a lock that the system gives back when its holder dies."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from kit.errors import KitError
from kit.storage.files import write_text

PATIENCE = 20.0  # seconds; what is done in turn takes a thousandth of one


@contextmanager
def only_one(path: Path, what: str) -> Iterator[None]:
    """Hold the lock at ``path`` while the block runs.

    Args:
        what: What two processes must not do at once, for the message.

    Raises:
        KitError: Another process holds it; the message says which.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    holder = path.with_suffix(".holder")
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        who = holder.read_text(encoding="utf-8").strip() if holder.exists() else "unknown"
        raise KitError(
            path.parent,
            f"{what} is under way in another process ({who})",
            "Two would overwrite each other",
            "Wait for it or stop it; the lock goes when it ends, however it ends.",
        ) from error
    try:
        write_text(holder, f"process {os.getpid()} on {socket.gethostname()}\n")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


@contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Hold the lock at ``path`` while the block runs: of two processes the second waits for the first.

    Raises:
        KitError: Another process has held it for too long.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=PATIENCE):
            yield
    except Timeout as error:
        raise KitError(
            path,
            f"another process has held it for {PATIENCE:.0f} s",
            "One at a time writes what was scored",
            "See what it is; the lock goes when it ends, however it ends.",
        ) from error
