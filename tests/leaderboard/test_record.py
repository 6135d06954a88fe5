"""Leaderboard scores are recorded beside the file: none is lost, none goes to another file."""

import math
import subprocess
import sys

import pytest

from kit.errors import KitError
from kit.leaderboard.record import find_submission, record
from kit.leaderboard.scores import read_scores
from kit.storage.files import read_json, write_text
from kit.storage.locks import waiting_lock
from tests.conftest import raises_kit_error
from tests.leaderboard.made import experiment, submitted


@pytest.fixture
def file(workspace):
    return submitted(workspace, experiment(workspace, "a"))


def test_what_is_recorded_lies_beside_the_file(workspace, file):
    done = record("submissions/made/a.csv", workspace, public=0.81)
    kept = read_json(workspace.root / "submissions/made/a.scores.json")
    assert kept["public"] == 0.81
    assert kept["private"] is None
    assert kept["sha256"] == read_json(file.trace)["sha256"]
    assert kept["recorded"].endswith("+00:00")
    assert done.summary == ["public 0.81"]


def test_a_score_that_is_not_given_stays(workspace, file):
    record("a", workspace, public=0.81)
    done = record("a", workspace, private=0.8)
    assert (done.scores.public, done.scores.private) == (0.81, 0.8)
    assert done.summary == ["public 0.81", "private 0.8"]
    assert record("a", workspace, public=0.82).summary == ["public 0.81 -> 0.82", "private 0.8"]


def test_an_overwritten_score_is_reported(workspace, file):
    record("a", workspace, public=0.81)
    done = record("a", workspace, public=0.82)
    assert done.summary == ["public 0.81 -> 0.82"]
    assert read_scores(file).public == 0.82


def test_zero_is_a_score(workspace, file):
    record("a", workspace, public=0.0)
    assert record("a", workspace, private=0.5).scores.public == 0.0


def test_scores_of_other_bytes_are_not_merged(workspace):
    theirs = workspace.submission("made", "theirs")
    write_text(theirs.path, "id\n1\n")
    record("theirs", workspace, public=0.3)
    write_text(theirs.path, "id\n2\n")
    done = record("theirs", workspace, private=0.4)
    assert (done.scores.public, done.scores.private, done.replaced) == (None, 0.4, True)
    assert done.summary == ["private 0.4"]


@pytest.mark.parametrize(
    "spec", ["a", "a.csv", "made/a", "submissions/made/a.csv", "./submissions/made/../made/a.csv"]
)
def test_a_submission_is_found_by(workspace, file, spec):
    assert find_submission(spec, workspace) == file


def test_a_path_may_be_absolute_or_from_elsewhere(workspace, file, monkeypatch):
    assert find_submission(str(file.path), workspace) == file
    monkeypatch.chdir(file.path.parent)
    assert find_submission("a.csv", workspace) == file
    assert find_submission("submissions/made/a.csv", workspace) == file


def error_of(spec, workspace, **scores) -> KitError:
    with pytest.raises(KitError) as raised:
        record(spec, workspace, **(scores or {"public": 0.5}))
    assert list(workspace.root.glob("submissions/*/*.scores.json")) == []
    return raised.value


def test_an_ambiguous_name_is_refused(workspace, file):
    write_text(workspace.submission("other", "a").path, "id\n")
    error = error_of("a", workspace)
    assert error.code == "submission_ambiguous"
    assert "submissions/made/a.csv, submissions/other/a.csv" in error.next
    assert record("other/a", workspace, public=0.5).file.competition == "other"


def test_a_missing_submission_is_refused_with_the_nearest(workspace, file):
    error = error_of("submissions/made/aa.csv", workspace)
    assert error.code == "submission_missing"
    assert "submissions/made/a.csv" in error.next


def test_there_may_be_none_at_all(workspace):
    assert error_of("a", workspace).code == "submission_missing"


@pytest.mark.parametrize("place", ["elsewhere.csv", "submissions/loose.csv", "submissions/made/notes.txt"])
def test_a_file_elsewhere_is_error_of(workspace, file, place):
    write_text(workspace.root / place, "id\n")
    assert error_of(place, workspace).code == "submission_elsewhere"


def test_a_file_changed_since_kit_wrote_it_is_error_of(workspace, file):
    write_text(file.path, "ID,Label\n1,2\n")
    error = error_of("a", workspace)
    assert (error.code, error.where) == ("submission_changed", "submissions/made/a.csv")


def test_a_trace_that_cannot_be_read_is_error_of(workspace, file):
    file.trace.write_text("{")
    error = error_of("a", workspace)
    assert error.code == "file_damaged" and "a.json" in error.where


def test_scores_that_cannot_be_read_are_not_overwritten(workspace, file):
    file.scores.write_text('{"sha256": "x", "public": "much"}')
    with raises_kit_error("scores_damaged"):
        record("a", workspace, private=0.5)
    assert "much" in file.scores.read_text()


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_is_a_number(workspace, file, score):
    assert error_of("a", workspace, private=score).code == "score_not_finite"


def test_at_least_one_score_is_given(workspace, file):
    assert error_of("a", workspace, public=None).code == "no_score"


WRITER = """
import sys
from pathlib import Path
from kit.leaderboard.record import record
from kit.storage.workspace import Workspace
board, workspace = sys.argv[1], Workspace.open(Path(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(1, 41):
    kept = record("made/a", workspace, **{board: number / 100}).before
    assert kept is None or getattr(kept, board) in (None, (number - 1) / 100), (board, number, kept)
"""


def test_several_writers_lose_nothing(workspace, file):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, board, str(workspace.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for board in ("public", "private")
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert writer.returncode == 0, errors
    assert (read_scores(file).public, read_scores(file).private) == (0.4, 0.4)


def test_a_lock_that_is_never_released_is_reported(workspace, file, monkeypatch):
    monkeypatch.setattr("kit.storage.locks.MAX_WAIT", 0.01)
    with waiting_lock(file.lock):
        assert "scores.lock" in error_of("a", workspace).where
