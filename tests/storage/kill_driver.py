"""Run a ``kit`` command again and again in forked processes, each stopped before a random change of a file.

``python kill_driver.py TEMPLATE FOLDER COUNT VERB...`` copies the workspace TEMPLATE to FOLDER/whole, runs the command
there and counts its changes: renames, removals and openings for writing below the workspace. Then it runs it in
FOLDER/0 to FOLDER/COUNT-1, and sends SIGKILL or SIGTERM, in turns, just before a change that a seeded generator draws.
It prints one line per run: the signal, the number of the change, and the exit code (negative: the signal that ended it).

The libraries are imported once, in the process that forks: a new process would take seconds for each run.
"""

import contextlib
import os
import random
import shutil
import signal
import sys
from pathlib import Path

SIGNALS = (signal.SIGKILL, signal.SIGTERM)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def changed_path(event: str, arguments: tuple) -> str:
    """Return the path that an audit event is about to change; empty if it changes none."""
    if event == "open":
        path, mode, flags = arguments
        writes = any(letter in mode for letter in "wax+") if mode else flags & WRITING
        return str(path) if writes and not isinstance(path, int) else ""
    return str(arguments[0]) if event in ("os.rename", "os.remove", "os.rmdir") else ""


def signal_before(change: int | None, sent: signal.Signals, root: Path) -> None:
    """Send this process a signal before the n-th change below the folder; list the changes in ``NAME.changes``."""
    count = 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal count
        path = changed_path(event, arguments)
        if not path.startswith(str(root)) or "/.locks/" in path:
            return
        count += 1
        if count - 1 == change:
            os.kill(os.getpid(), sent)
        os.write(log, f"{event} {path}\n".encode())

    log = os.open(root.with_suffix(".changes"), os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    sys.addaudithook(hook)


def run(template: Path, root: Path, change: int | None, sent: signal.Signals, verb: list[str]) -> int:
    """Return the exit code of the command, run in a copy of the template; None: it is not stopped."""
    shutil.copytree(template, root)
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    output = os.open(root.with_suffix(".output"), os.O_CREAT | os.O_WRONLY)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv = ["kit", *verb, "--workspace", str(root)]
    signal_before(change, sent, root)
    code = 1
    with contextlib.suppress(Exception):
        from kit.cli.main import main as command

        try:
            command()
        except SystemExit as end:
            code = int(end.code or 0)
    os._exit(code)


def main() -> None:
    """Run the command without a signal, then stop it at random."""
    import albumentations  # noqa: F401  # imported once, for all forked processes
    import sklearn  # noqa: F401
    import timm  # noqa: F401

    template, folder, count, *verb = sys.argv[1:]
    whole = Path(folder) / "whole"
    code = run(Path(template), whole, None, signal.SIGKILL, verb)
    print("whole", 0, code, flush=True)
    changes = len(whole.with_suffix(".changes").read_text().splitlines())
    rng = random.Random(0)
    for number in range(int(count)):
        sent, change = SIGNALS[number % 2], rng.randrange(changes)
        code = run(Path(template), Path(folder) / str(number), change, sent, verb)
        print(sent.name, change, code, flush=True)


if __name__ == "__main__":
    main()
