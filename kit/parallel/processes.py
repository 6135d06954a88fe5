"""Do parts of a job in processes: one per device takes the next part."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from kit.errors import Interrupted, KitError
from kit.parallel.devices import Device
from kit.parallel.work import Job, Order, Part, Result, Sender, Work
from kit.runtime.deadline import Deadline
from kit.runtime.process import claim_process

POLL_SECONDS = 0.5  # between looks at Ctrl-C and the time limit


@dataclass
class Worker:
    """A process that works on one device.

    Attributes:
        part: The number of the part that it does now; None: it waits.
    """

    device: Device
    process: BaseProcess
    pipe: Connection
    part: int | None = None


class InProcesses(Job):
    """Does parts in processes, and reports as if one process did.

    A process that fails hands its part to the others. A mistake that the user can fix, and a time limit, stop
    all of them; unfinished parts keep what they have written.
    """

    def __init__(self, work: Work[Part, Result], parts: Sequence[Part], *others: Any) -> None:
        super().__init__(work, parts, *others)
        self.waiting = list(range(len(parts)))
        self.workers: list[Worker] = []
        self.failures: list[str] = []

    def run(self, devices: Sequence[Device]) -> None:
        """Do all parts.

        Raises:
            Interrupted: The deadline or a signal; the same command resumes.
            KitError: The first mistake in a part, or every device has failed.
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
        self.raise_why_stopped()
        if self.waiting:
            raise KitError(
                "--devices",
                f"every device has failed; not done: {self.named(*self.waiting)}. {self.failures[-1]}",
                "What is finished is kept",
                "Run the command again on one device to see the error: --devices 0, or cpu:1.",
                code="devices_failed",
            )

    def _started(self, device: Device) -> Worker:
        context = get_context("spawn")  # a forked process cannot use CUDA
        ours, theirs = context.Pipe()
        process = context.Process(target=_work_on, args=(theirs, device, self.order))
        process.start()
        theirs.close()
        return Worker(device, process, ours)

    @property
    def _is_stopping(self) -> bool:
        return self.mistake is not None or self.interrupted is not None

    def _hand_out(self) -> None:
        """Give each process without a part the next one; end it if no part can come any more."""
        for worker in [each for each in self.workers if each.part is None]:
            if self.waiting and not self._is_stopping:
                worker.part = self.waiting.pop(0)
                _send(worker.pipe, self.parts[worker.part])
            elif self._is_stopping or all(each.part is None for each in self.workers):
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
            assert worker.part is not None  # it has been sent
            self.on_result(worker.part, content)
            worker.part = None
        elif kind == "mistake":
            worker.part = None
            self.mistake = self.mistake or KitError(**content)
            self._stop_all(self.interrupted)
        elif kind == "interrupted":
            worker.part = None
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
        """Go on without a device; another one continues its part from what is written."""
        self.workers.remove(worker)
        worker.process.join()
        self.failures.append(f"{worker.device.name}: {why}")
        if worker.part is None:
            return
        self.waiting.insert(0, worker.part)
        then = "another device continues it" if self.workers else "no device is left"
        self.progress.warn(f"{worker.device.name} failed in {self.named(worker.part)}: {why}; {then}")


def _send(pipe: Connection, part: object) -> None:
    """Send a part, or None: no more; a process that has ended is noticed when its messages are read."""
    with suppress(OSError):
        pipe.send(part)


# --- in the processes


def _work_on(pipe: Connection, device: Device, order: Order) -> None:
    """Do the parts that arrive on a device; the main function of a process."""
    device.claim()
    os.setpgrp()  # Ctrl-C reaches the parent only, which stops this process
    _end_with_parent()
    if order.is_command:
        claim_process()
    deadline = Deadline(order.seconds)
    with deadline.deferring_signals():
        try:
            work_on = order.work.start(Sender(pipe.send), deadline)
            while (part := pipe.recv()) is not None:
                pipe.send(("done", work_on(part)))
        except Interrupted as error:
            pipe.send(("interrupted", str(error)))
            pipe.recv()
        except KitError as error:
            pipe.send(("mistake", error.as_dict()))
            pipe.recv()
        except Exception as error:
            text = " ".join(traceback.format_exception_only(error)[-1].split())
            pipe.send(("failed", text))


def _end_with_parent() -> None:
    """End this process when its parent has died, so that no part is done without the command's locks."""

    def wait() -> None:
        parent = parent_process()
        assert parent is not None  # this is a process of ``InProcesses``
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
