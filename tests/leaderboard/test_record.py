"""Record leaderboard scores next to a submission: no score is lost or assigned to another file."""

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
from tests.leaderboard.runs import write_experiment, write_submission


@pytest.fixture
def file(workspace):
    return write_submission(workspace, write_experiment(workspace, "a"))


def test_scores_are_written_next_to_the_submission(workspace, file):
    done = record("submissions/made/a.csv", workspace, public=0.81)
    stored = read_json(workspace.root / "submissions/made/a.scores.json")
    assert stored["public"] == 0.81
    assert stored["private"] is None
    assert stored["sha256"] == read_json(file.trace)["sha256"]
    assert stored["recorded"].endswith("+00:00")
    assert done.summary == ["public 0.81"]


def test_recording_one_score_keeps_the_other(workspace, file):
    record("a", workspace, public=0.81)
    done = record("a", workspace, private=0.8)
    assert (done.scores.public, done.scores.private) == (0.81, 0.8)
    assert done.summary == ["public 0.81", "private 0.8"]
    assert record("a", workspace, public=0.82).summary == ["public 0.81 -> 0.82", "private 0.8"]


def test_a_changed_score_is_summarized_with_its_old_value(workspace, file):
    record("a", workspace, public=0.81)
    done = record("a", workspace, public=0.82)
    assert done.summary == ["public 0.81 -> 0.82"]
    assert read_scores(file).public == 0.82


def test_a_score_of_zero_is_kept(workspace, file):
    record("a", workspace, public=0.0)
    assert record("a", workspace, private=0.5).scores.public == 0.0


def test_scores_of_a_changed_file_are_dropped(workspace):
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
def test_a_submission_is_found_by_name_or_path(workspace, file, spec):
    assert find_submission(spec, workspace) == file


def test_a_path_may_be_absolute_or_relative_to_another_folder(workspace, file, monkeypatch):
    assert find_submission(str(file.path), workspace) == file
    monkeypatch.chdir(file.path.parent)
    assert find_submission("a.csv", workspace) == file
    assert find_submission("submissions/made/a.csv", workspace) == file


def record_error(spec, workspace, **scores) -> KitError:
    with pytest.raises(KitError) as raised:
        record(spec, workspace, **(scores or {"public": 0.5}))
    assert list(workspace.root.glob("submissions/*/*.scores.json")) == []
    return raised.value


def test_an_ambiguous_name_is_refused(workspace, file):
    write_text(workspace.submission("other", "a").path, "id\n")
    error = record_error("a", workspace)
    assert error.code == "submission_ambiguous"
    assert "submissions/made/a.csv, submissions/other/a.csv" in error.next
    assert record("other/a", workspace, public=0.5).file.competition == "other"


def test_a_missing_submission_is_refused_with_the_nearest(workspace, file):
    error = record_error("submissions/made/aa.csv", workspace)
    assert error.code == "submission_missing"
    assert "submissions/made/a.csv" in error.next


def test_without_any_submission_the_error_says_missing(workspace):
    assert record_error("a", workspace).code == "submission_missing"


@pytest.mark.parametrize("path", ["elsewhere.csv", "submissions/loose.csv", "submissions/made/notes.txt"])
def test_a_file_outside_submissions_is_refused(workspace, file, path):
    write_text(workspace.root / path, "id\n")
    assert record_error(path, workspace).code == "submission_elsewhere"


def test_a_file_changed_since_kit_wrote_it_is_refused(workspace, file):
    write_text(file.path, "ID,Label\n1,2\n")
    error = record_error("a", workspace)
    assert (error.code, error.where) == ("submission_changed", "submissions/made/a.csv")


def test_an_unreadable_trace_is_refused(workspace, file):
    file.trace.write_text("{")
    error = record_error("a", workspace)
    assert error.code == "file_damaged" and "a.json" in error.where


def test_unreadable_scores_are_not_overwritten(workspace, file):
    file.scores.write_text('{"sha256": "x", "public": "much"}')
    with raises_kit_error("scores_damaged"):
        record("a", workspace, private=0.5)
    assert "much" in file.scores.read_text()


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_refused(workspace, file, score):
    assert record_error("a", workspace, private=score).code == "score_not_finite"


def test_record_without_a_score_is_refused(workspace, file):
    assert record_error("a", workspace, public=None).code == "no_score"


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


def test_concurrent_writers_lose_no_score(workspace, file):
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


def test_a_lock_that_is_not_released_is_reported(workspace, file, monkeypatch):
    monkeypatch.setattr("kit.storage.locks.MAX_WAIT", 0.01)
    with waiting_lock(file.lock):
        assert "scores.lock" in record_error("a", workspace).where
