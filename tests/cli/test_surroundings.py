"""Commands work in an ASCII terminal, with a copied workspace, other line ends and impossible file times."""

import csv
import os
import shutil

import pytest

from kit.storage.workspace import Workspace
from tests.conftest import kit, oof_bytes, run_kit

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def states(workspace) -> set[str]:
    """Return the lines of the run's status that are not up to date."""
    text = run_kit("status", "tiny/a", "--workspace", workspace.root).stdout
    return {line for line in text.splitlines() if "stale" in line or "damaged" in line}


@pytest.mark.parametrize("verb", [("evaluate", "tiny/a"), ("leaderboard",), ("status", "tiny/a")])
def test_an_ascii_terminal_shows_other_characters_escaped(trained_copy, verb):
    process = kit(trained_copy, *verb, env=os.environ | ASCII)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.isascii()
    assert "Traceback" not in err


def test_a_moved_workspace_with_other_line_ends_is_up_to_date(trained_copy, tmp_path):
    shutil.move(trained_copy.root, tmp_path / "moved")
    workspace = Workspace.open(tmp_path / "moved")
    run = workspace.run("tiny", "a")
    for path in (run.config, run.fold(0).history):
        path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    folds = workspace.folds("tiny")
    rows = list(csv.reader(folds.read_text().splitlines()))
    with folds.open("w", newline="") as file:
        csv.writer(file, lineterminator="\r\n", quoting=csv.QUOTE_ALL).writerows(rows)
    assert states(workspace) == set()
    run_kit("submit", "tiny/a", "--workspace", workspace.root)


def test_file_times_decide_nothing(trained_copy):
    before = oof_bytes(trained_copy)
    for number, path in enumerate(sorted(trained_copy.root.rglob("*"))):
        when = 1 if number % 2 else 4_000_000_000  # 1970, and 2096
        os.utime(path, (when, when))
    assert states(trained_copy) == set()
    run_kit("run", trained_copy.config("a"), "--workspace", trained_copy.root)
    assert oof_bytes(trained_copy) == before


def test_two_processes_that_write_the_same_submission_leave_one_right_file(trained_copy):
    file = trained_copy.submission("tiny", "a").path
    expected = file.read_bytes()
    file.unlink()
    pair = [kit(trained_copy, "submit", "tiny/a") for _ in range(2)]
    for process in pair:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0 or "another process" in err
    assert 0 in {process.returncode for process in pair}
    assert file.read_bytes() == expected
    assert not list(file.parent.glob(".*.tmp"))


def test_of_two_processes_that_write_the_same_blend_one_ends_right(trained_copy):
    pair = [kit(trained_copy, "blend", "tiny/a", "tiny/b", "--name", "mix") for _ in range(2)]
    for process in pair:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0 or "another process" in err
    assert 0 in {process.returncode for process in pair}
    assert not list(trained_copy.run("tiny", "mix").path.rglob("*.tmp"))
    text = run_kit("status", "tiny/mix", "--workspace", trained_copy.root).stdout
    assert "damaged" not in text
    assert "stale" not in text
