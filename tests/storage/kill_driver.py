"""Run a ``kit`` command again and again in forked processes, each killed before another change of a file.

``python kill_driver.py TEMPLATE FOLDER VERB...`` copies the workspace TEMPLATE to FOLDER/0, FOLDER/1 and so on, runs
the command in each copy, and kills it (SIGKILL) just before the n-th rename, removal or opening for writing
below the workspace. It ends with the first copy in which the command was not killed.
"""

import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def changed_path(event: str, arguments: tuple) -> str:
    """Return the path that an audit event is about to change; empty if it changes none."""
    if event == "open":
        path, mode, flags = arguments
        writes = any(letter in mode for letter in "wax+") if mode else flags & WRITING
        return str(path) if writes and not isinstance(path, int) else ""
    return str(arguments[0]) if event in ("os.rename", "os.remove", "os.rmdir") else ""


def kill_before(change: int, root: Path) -> None:
    """Kill this process before the n-th change below the folder; each change is listed in ``N.changes``."""
    count = 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal count
        path = changed_path(event, arguments)
        if not path.startswith(str(root)) or "/.locks/" in path:
            return
        if count == change:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1
        os.write(log, f"{event} {path}\n".encode())

    log = os.open(root.with_suffix(".changes"), os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    sys.addaudithook(hook)


def run_killed(template: Path, root: Path, change: int, verb: list[str]) -> int:
    """Return the wait status of the command, run in a copy of the template."""
    shutil.copytree(template, root)
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    output = os.open(root.with_suffix(".output"), os.O_CREAT | os.O_WRONLY)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv = ["kit", *verb, "--workspace", str(root)]
    kill_before(change, root)
    code = 1
    with contextlib.suppress(Exception):
        from kit.cli.main import app

        try:
            app()
        except SystemExit as end:
            code = int(end.code or 0)
    os._exit(code)


def main() -> None:
    """Kill the command before every change of a file."""
    import albumentations  # noqa: F401  # imported once, for all forked processes
    import sklearn  # noqa: F401
    import timm  # noqa: F401

    template, folder, *verb = sys.argv[1:]
    for change in range(1000):
        status = run_killed(Path(template), Path(folder) / str(change), change, verb)
        if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            print(change, os.waitstatus_to_exitcode(status))
            return


if __name__ == "__main__":
    main()
