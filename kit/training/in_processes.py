"""Train folds at the same time: one process per device takes the next fold."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from kit import __version__
from kit.config import Config
from kit.errors import Interrupted, KitError, first_few
from kit.runtime.deadline import Deadline
from kit.runtime.process import belongs_to_command, claim_process
from kit.runtime.progress import Progress
from kit.storage.workspace import RunFolder, Workspace
from kit.training.data import TrainingData
from kit.training.devices import Device

T = TypeVar("T")
POLL_SECONDS = 0.5  # between looks at Ctrl-C and the time limit
Message = tuple[str, Any]  # kind, content


@dataclass(frozen=True)
class FoldWork:
    """What a process needs to train folds.

    Attributes:
        seconds: The time left; infinite without a limit.
        is_command: Whether a kit command owns the process, so that its settings may change.
        version: That of kit.
    """

    config: Config
    workspace: Workspace
    data: TrainingData
    run: RunFolder
    seconds: float
    is_command: bool
    version: str = __version__


@dataclass
class Worker:
    """A process that trains on one device.

    Attributes:
        fold: The fold that it trains now; None: it waits.
    """

    device: Device
    process: BaseProcess
    pipe: Connection
    fold: int | None = None


class FoldsInProcesses:
    """Trains folds in processes, and reports as if one process did.

    A process that fails hands its fold to the others. A mistake that the user can fix, and a time limit, stop
    all of them; unfinished folds keep their checkpoints.
    """

    def __init__(self, work: FoldWork, todo: Sequence[int], progress: Progress, deadline: Deadline) -> None:
        self.work, self.progress, self.deadline = work, progress, deadline
        self.waiting = list(todo)
        self.workers: list[Worker] = []
        self.mistake: KitError | None = None
        self.interrupted: Interrupted | None = None
        self.failures: list[str] = []

    def train(self, devices: Sequence[Device]) -> None:
        """Train all folds.

        Raises:
            Interrupted: The deadline or a signal; the same command resumes.
            KitError: The first mistake of a fold, or every device has failed.
        """
        with self.deadline.deferring_signals():
            try:
                self.workers = [self._started(device) for device in devices[: len(self.waiting)]]
                while self.workers:
                    self._hand_out()
                    self._listen()
            finally:
                for worker in self.workers:
                    worker.process.kill()
        if self.mistake is not None:
            raise self.mistake
        if self.interrupted is not None:
            raise self.interrupted
        if self.waiting:
            raise KitError(
                "--devices",
                f"every device has failed; not trained: {first_few([str(k) for k in self.waiting])}. "
                f"{self.failures[-1]}",
                "Finished folds are kept",
                "Run the command again on one device to see the error: --devices 0, or cpu:1.",
                code="devices_failed",
            )

    def _started(self, device: Device) -> Worker:
        context = get_context("spawn")  # a forked process cannot use CUDA
        ours, theirs = context.Pipe()
        process = context.Process(target=_train_on, args=(theirs, device, self.work))
        process.start()
        theirs.close()
        return Worker(device, process, ours)

    @property
    def _is_stopping(self) -> bool:
        return self.mistake is not None or self.interrupted is not None

    def _hand_out(self) -> None:
        """Give each process without a fold the next one; end it if no fold can come any more."""
        for worker in [each for each in self.workers if each.fold is None]:
            if self.waiting and not self._is_stopping:
                worker.fold = self.waiting.pop(0)
                _send(worker.pipe, worker.fold)
            elif self._is_stopping or all(each.fold is None for each in self.workers):
                _send(worker.pipe, None)
                worker.process.join()
                self.workers.remove(worker)

    def _listen(self) -> None:
        """Handle the messages that have arrived; stop the processes once if a signal has."""
        if self.deadline.signal and self.interrupted is None:
            self._stop_all(Interrupted(f"Stopped: {self.deadline.signal}. Run the command again to resume."))
        by_pipe = {worker.pipe: worker for worker in self.workers}
        for pipe in connection.wait(list(by_pipe), POLL_SECONDS):
            worker = by_pipe[pipe]  # type: ignore[index]
            try:
                kind, content = worker.pipe.recv()
            except (EOFError, OSError):
                self._lost(worker, f"its process ended with status {worker.process.exitcode}")
                continue
            self._handle(worker, kind, content)

    def _handle(self, worker: Worker, kind: str, content: Any) -> None:
        if kind == "done":
            worker.fold = None
        elif kind == "mistake":
            worker.fold = None
            self.mistake = self.mistake or KitError(**content)
            self._stop_all(self.interrupted)
        elif kind == "interrupted":
            worker.fold = None
            self.interrupted = self.interrupted or Interrupted(content)
        elif kind == "failed":
            self._lost(worker, content)
        else:
            getattr(self.progress, kind)(*content)

    def _stop_all(self, reason: Interrupted | None) -> None:
        self.interrupted = reason
        for worker in self.workers:
            worker.process.terminate()  # SIGTERM: stops after the step, with a checkpoint

    def _lost(self, worker: Worker, why: str) -> None:
        """Go on without a device; another one trains its fold from the last checkpoint."""
        self.workers.remove(worker)
        worker.process.join()
        self.failures.append(f"{worker.device.name}: {why}")
        if worker.fold is None:
            return
        self.waiting.insert(0, worker.fold)
        then = "another device continues it" if self.workers else "no device is left"
        self.progress.warn(f"{worker.device.name} failed in fold {worker.fold}: {why}; {then}")


def _send(pipe: Connection, fold: int | None) -> None:
    """Send a fold, or None: no more; a process that has ended is noticed when its messages are read."""
    with suppress(OSError):
        pipe.send(fold)


# --- in the processes


class Sender:
    """Sends reports to the process that shows them; progress bars are left out.

    Args:
        send: Takes each message, such as the ``send`` of a pipe.
    """

    def __init__(self, send: Callable[[Message], object]) -> None:
        self.send = send

    def stage(self, name: str, detail: str = "") -> None:
        """Send a stage."""
        self.send(("stage", (name, detail)))

    def note(self, text: str) -> None:
        """Send a note."""
        self.send(("note", (text,)))

    def warn(self, text: str) -> None:
        """Send a warning."""
        self.send(("warn", (text,)))

    def track(self, items: Iterable[T], total: int, label: str) -> Iterator[T]:
        """Yield ``items``."""
        yield from items


def _train_on(pipe: Connection, device: Device, work: FoldWork) -> None:
    """Train the folds that arrive on a device; the main function of a process."""
    device.claim()
    os.setpgrp()  # Ctrl-C reaches the parent only, which stops this process
    _end_with_parent()
    if work.is_command:
        claim_process()
    deadline = Deadline(work.seconds)
    with deadline.deferring_signals():
        try:
            train = fold_trainer(work, Sender(pipe.send), deadline)
            while (k := pipe.recv()) is not None:
                train(k)
                pipe.send(("done", k))
        except Interrupted as error:
            pipe.send(("interrupted", str(error)))
            pipe.recv()
        except KitError as error:
            pipe.send(("mistake", error.as_dict()))
            pipe.recv()
        except Exception as error:
            text = " ".join(traceback.format_exception_only(error)[-1].split())
            pipe.send(("failed", text))


def fold_trainer(work: FoldWork, progress: Progress, deadline: Deadline) -> Callable[[int], None]:
    """Return a function that trains one fold."""
    from kit.engine.device.device import prepare_process
    from kit.training.data import image_store
    from kit.training.fold import FoldRunner

    prepare_process()
    store = image_store(work.config, work.workspace, work.data, progress)
    runner = FoldRunner(work.config, work.workspace, work.data, work.run, store, progress, deadline)
    return lambda k: runner.train(k, lambda state: None)


def _end_with_parent() -> None:
    """End this process when its parent has died, so that no fold is trained without its lock."""

    def wait() -> None:
        parent = parent_process()
        assert parent is not None  # this is a process of ``FoldsInProcesses``
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def train_in_processes(
    config: Config,
    workspace: Workspace,
    data: TrainingData,
    run: RunFolder,
    todo: Sequence[int],
    devices: Sequence[Device],
    progress: Progress,
    deadline: Deadline,
) -> None:
    """Train folds, one process per device; errors as of ``FoldsInProcesses.train``."""
    work = FoldWork(config, workspace, data, run, deadline.left, belongs_to_command())
    FoldsInProcesses(work, todo, progress, deadline).train(devices)
