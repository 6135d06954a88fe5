"""Run ``kit run`` in the background: started, watched and stopped from a page, for all visitors."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from kit.errors import KitError
from kit.storage.workspace import Workspace

TAIL = 20_000  # bytes of a log that a page shows
STOPPING_SECONDS = 30


@dataclass
class Job:
    """A command that runs, or has ended.

    Attributes:
        name: The config that it runs.
        log: The file of what it prints.
    """

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    @property
    def state(self) -> str:
        """What it does, or how it has ended."""
        if self.is_running:
            return "running"
        return {0: "finished", 130: "stopped; the same button resumes"}.get(self.process.returncode, "failed")

    def tail(self) -> str:
        """Return the end of the log."""
        with self.log.open("rb") as log:  # opened anew: the process shares the position of its own file
            log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL))
            return log.read().decode(errors="replace")

    def stop(self) -> None:
        """Ask it to stop after the current step, as Ctrl-C does; a checkpoint stays."""
        if self.is_running:
            self.process.send_signal(signal.SIGTERM)


class Jobs:
    """The jobs of this server, by config."""

    def __init__(self) -> None:
        self._jobs: dict[Path, Job] = {}
        self._logs = TemporaryDirectory(prefix="kit-app-")
        self._lock = threading.Lock()
        atexit.register(self.stop_all)

    def of(self, config: Path) -> Job | None:
        """Return the latest job of a config."""
        return self._jobs.get(config)

    def start(self, config: Path, workspace: Workspace, arguments: tuple[str, ...] = ()) -> Job:
        """Start ``kit run`` for a config.

        Raises:
            KitError: It runs already, for this or another visitor.
        """
        with self._lock:
            earlier = self.of(config)
            if earlier is not None and earlier.is_running:
                rule = "One run of a config at a time"
                raise KitError(
                    config.name, "is running", rule, "Wait for it, or stop it.", code="job_running"
                )
            folders = ["--workspace", str(workspace.root)]
            if (first := workspace.data_roots[0]).is_dir():
                folders += ["--data-root", str(first)]
            command = [sys.executable, "-m", "kit", "run", str(config), *arguments, *folders]
            log = Path(self._logs.name) / f"{len(list(Path(self._logs.name).iterdir()))}.log"
            with log.open("wb") as out:
                process = subprocess.Popen(
                    command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
                )
            self._jobs[config] = Job(config.stem, process, log)
            return self._jobs[config]

    def stop_all(self) -> None:
        """Stop all jobs when the server ends; ``kit run`` resumes them."""
        for job in self._jobs.values():
            job.stop()
        for job in self._jobs.values():
            try:
                job.process.wait(STOPPING_SECONDS)
            except subprocess.TimeoutExpired:
                job.process.kill()
