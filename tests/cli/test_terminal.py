"""In a terminal a fold is one line that changes; in a file each epoch is a line; NO_COLOR is obeyed."""

import os
import pty
import re
import subprocess
import sys

from tests.conftest import run_kit, write_config

COLOR = re.compile(r"\x1b\[[\d;]*[3-4]\dm")
TOKENS = re.compile(r"\x1b\[[\d;?]*[a-zA-Z]|[\n\r]|[^\x1b\n\r]+")


def in_terminal(*arguments: str, code: int = 0, **environment: str) -> str:
    """Return all that a command writes to a terminal of 80 columns, control characters included."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "80", **environment}
    process = subprocess.Popen(
        [sys.executable, "-m", "kit", *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=env
    )
    os.close(theirs)
    parts = []
    while part := _read(ours):
        parts.append(part)
    assert process.wait() == code, parts
    return b"".join(parts).decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux reports the end of a terminal
        return b""


def visible(text: str) -> list[str]:
    """Return the lines that are on the screen at the end: moves up, erasing and carriage returns are done."""
    rows, at, column = [""], 0, 0
    for token in TOKENS.findall(text):
        if token == "\n":
            at, column = at + 1, 0
            rows += [""] * (at - len(rows) + 1)
        elif token == "\r":
            column = 0
        elif token == "\x1b[1A":
            at -= 1
        elif token == "\x1b[2K":
            rows[at] = ""
        elif not token.startswith("\x1b"):
            rows[at] = rows[at].ljust(column)[:column] + token + rows[at][column + len(token) :]
            column += len(token)
    return [row.rstrip() for row in rows if row.strip()]


def test_a_fold_leaves_one_line_in_a_terminal(tiny):
    config = write_config(tiny, train__epochs=3)
    shown = in_terminal("train", str(config), "--workspace", str(tiny.root))
    lines = visible(shown)
    assert [line.split(":")[0].strip() for line in lines if line.startswith("  fold ")] == [
        "fold 0",
        "fold 1",
    ]
    assert "images/s" in shown  # while it trained
    assert not any("images/s" in line for line in lines)
    assert max(len(line) for line in lines if not line.startswith("Next: ")) <= 80


def test_no_color_is_obeyed(tiny):
    run = ("run", "missing.yaml", "--workspace", str(tiny.root))
    assert COLOR.search(in_terminal(*run, code=1))
    assert not COLOR.search(in_terminal(*run, code=1, NO_COLOR="1"))


def test_without_a_terminal_every_epoch_is_one_line(tiny):
    lines = run_kit(
        "train", write_config(tiny, train__epochs=3), "--workspace", tiny.root
    ).stderr.splitlines()
    epochs = [line for line in lines if "images/s" in line]
    expected = [f"fold {k} epoch {epoch}/3" for k in range(2) for epoch in (1, 2, 3)]
    assert [line.split("  ")[1] for line in epochs] == expected
    assert max(map(len, epochs)) <= 80
