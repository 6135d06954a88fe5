"""The command `kit leaderboard`: its output, options and errors."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from kit.cli.main import app
from kit.leaderboard.record import record
from kit.storage.files import read_json, write_text
from tests.conftest import run_kit, run_kit_json
from tests.leaderboard.runs import write_blend, write_experiment, write_submission
from tests.report.test_pages import external_links


@pytest.fixture
def scored(workspace, monkeypatch):
    """A workspace with three experiments and a blend, submitted, with public scores; all columns are shown."""
    monkeypatch.setenv("COLUMNS", "200")
    runs = [
        write_experiment(workspace, "first", wrong=range(12), day=1),
        write_experiment(workspace, "second", wrong=range(30, 38), day=2, seed=7, image={"size": 64}),
        write_experiment(workspace, "third", wrong=range(5, 15), day=3, seed=8, image={"size": 64}),
        write_blend(workspace, "both", members=("first", "second"), wrong=range(7)),
    ]
    for run, public in zip(runs, (0.78, 0.83, 0.80, 0.85), strict=True):
        write_submission(workspace, run)
        record(run.label, workspace, public=public)
    return workspace


def test_the_table_shows_rows_parents_correlation_and_selection(scored):
    text = run_kit("leaderboard").stdout
    lines = text.splitlines()
    assert lines[0].strip() == "made: accuracy (higher is better)"
    assert [line.split()[0] for line in lines[2:6]] == ["both", "second", "third", "first"]
    second = next(line for line in lines if line.startswith("second"))
    for cell in ("experiment", "0.8667", "0.8300", "cpu", "2.5", "2026-11-02", "01234567"):
        assert cell in second, cell
    assert second.rstrip().endswith("vs first: image.size None -> 64, seed 42 -> 7")
    assert "1.00 over 4 submissions" in text
    selected = next(line for line in lines if line.startswith("select: "))
    assert all(fact in selected for fact in ("made/both", "0.8833", "made/second", "0.8667"))


def test_empty_columns_are_left_out(scored):
    head = run_kit("leaderboard").stdout.splitlines()[1]
    assert "public" in head
    assert "private" not in head
    record("first", scored, private=0.7)
    assert "private" in run_kit("leaderboard").stdout.splitlines()[1]


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_a_row_fits_on_one_line_at_common_terminal_widths(scored, monkeypatch, width):
    from rich.console import Console

    from kit.leaderboard.entries import read_leaderboard
    from kit.report.leaderboard import leaderboard_tables

    output = io.StringIO()
    Console(file=output, width=width).print(*leaderboard_tables(read_leaderboard(scored).entries))
    lines = [line for line in output.getvalue().rstrip().splitlines() if not line.startswith("Not in")]
    assert len(lines) == 6
    assert max(map(len, lines)) <= width
    for name in ("both", "second", "third", "first"):
        assert any(line.startswith(f"{name} ") for line in lines)


def test_json_has_entries_correlation_selection_and_problems(scored):
    found = json.loads(run_kit("leaderboard", "--json", "--sort", "date").stdout)
    assert set(found) == {"entries", "correlation", "select", "problems"}
    assert [entry["name"] for entry in found["entries"]][-3:] == ["third", "second", "first"]
    keys = {
        "competition",
        "name",
        "kind",
        "metric",
        "higher_is_better",
        "cv",
        "sd",
        "folds",
        "minutes",
        "submission",
    }
    assert keys <= set(found["entries"][0])
    assert found["entries"][-2]["changed"] == ["image.size: None -> 64", "seed: 42 -> 7"]
    assert found["correlation"][0]["spearman"] == pytest.approx(1)
    assert found["select"][0]["first"]["experiment"] == "made/both"
    assert found["problems"] == []


def test_csv_has_the_same_values_as_json(scored):
    table = list(csv.DictReader(io.StringIO(run_kit("leaderboard", "--csv").stdout)))
    entries = json.loads(run_kit("leaderboard", "--json").stdout)["entries"]
    assert list(table[0]) == list(entries[0])
    assert [float(row["cv"]) for row in table] == [entry["cv"] for entry in entries]
    assert [row["private"] for row in table] == [""] * 4
    assert (
        next(row for row in table if row["name"] == "second")["changed"]
        == "image.size: None -> 64; seed: 42 -> 7"
    )


def test_csv_escapes_names_that_spreadsheets_read_as_formulas(workspace):
    for name in ("=1+1", "+1", "-1", "@SUM(A1)", "plain"):
        write_text(workspace.submission("made", name).path, "id\n")
    record("made/-1", workspace, public=-0.5)
    table = {row["name"]: row for row in csv.DictReader(io.StringIO(run_kit("leaderboard", "--csv").stdout))}
    assert set(table) == {"'=1+1", "'+1", "'-1", "'@SUM(A1)", "plain"}
    assert table["'-1"]["public"] == "-0.5"


def test_the_page_shows_cv_against_leaderboard_and_marks_the_selected_submissions(scored):
    shown = run_kit("leaderboard", "--page").stderr
    page = scored.page("made", "leaderboard")
    assert scored.shown(page) in shown
    html = page.read_text()
    assert external_links(html) == []
    assert 'aria-label="public leaderboard score over CV of 4 submissions"' in html
    assert "private leaderboard" not in html
    for text in ("least squares, 95 % band", "to select", "vs first: image.size None"):
        assert text in html, text


def test_a_name_with_brackets_is_printed_as_it_is(workspace):
    write_text(workspace.submission("made", "[old]").path, "id\n")
    printed = run_kit("leaderboard", "record", "made/[old]", "--public", 0.5).stdout
    assert "submissions/made/[old].csv: public 0.5" in printed


def test_a_filter_of_the_list_leaves_the_page_whole(scored):
    found = run_kit_json("leaderboard", "--page", "--name", "both")
    assert [entry["name"] for entry in found["entries"]] == ["both"]
    html = Path(found["pages"][0]).read_text()
    assert "over CV of 4 submissions" in html


def test_the_page_without_recorded_scores_has_the_table(workspace):
    write_experiment(workspace, "first", wrong=range(12))
    run_kit("leaderboard", "--page")
    html = workspace.page("made", "leaderboard").read_text()
    assert "<svg" not in html
    assert "0.8000" in html


def test_options_filter_and_sort_the_rows(scored):
    def names(*arguments):
        found = json.loads(run_kit("leaderboard", "--json", *arguments).stdout)
        return [entry["name"] for entry in found["entries"]]

    assert names("--kind", "blend") == ["both"]
    assert names("--name", "*ir[sd]*", "--sort", "name") == ["first", "third"]
    assert names("--competition", "made", "--sort", "public") == ["both", "second", "third", "first"]
    assert "--name" in run_kit("leaderboard", "--name", "x").stdout


@pytest.mark.parametrize("option", ["--sort", "--kind", "--competition"])
def test_an_unknown_option_value_lists_the_known_ones(scored, option):
    error = json.loads(run_kit("leaderboard", option, "nothing", "--json", code=1).stdout)["error"]
    assert error["where"] == option
    assert error["rule"].startswith("Known: ")


def test_a_damaged_file_is_a_warning_and_the_other_rows_are_listed(scored):
    scored.run("made", "first").metrics.write_text("{")
    result = run_kit("leaderboard")
    assert "warning:" in result.stderr
    assert "`kit evaluate made/first`" in result.stderr
    assert "second" in result.stdout
    (problem,) = json.loads(run_kit("leaderboard", "--json").stdout)["problems"]
    assert problem["where"].endswith("metrics.json")
    assert "warning:" in run_kit("leaderboard", "--csv").stderr


def test_record_prints_the_scores_that_it_wrote(scored):
    path = "submissions/made/first.csv"
    assert (
        run_kit("leaderboard", "record", path, "--public", "0.79").stdout
        == f"{path}: public 0.78 -> 0.79 recorded.\nNext: kit leaderboard --competition made\n"
    )
    found = json.loads(run_kit("leaderboard", "record", "made/first", "--private", "0.7", "--json").stdout)
    assert (found["file"], found["public"], found["private"]) == (path, 0.79, 0.7)
    assert found["before"]["private"] is None
    assert found["sha256"] == read_json(scored.submission("made", "first").trace)["sha256"]
    error = json.loads(run_kit("leaderboard", "record", "fist", "--public", "1", "--json", code=1).stdout)[
        "error"
    ]
    assert error["next"] == f"Did you mean {path}?"


def test_record_warns_if_it_replaces_scores_of_a_changed_file(workspace):
    file = workspace.submission("made", "theirs").path
    write_text(file, "id\n1\n")
    run_kit("leaderboard", "record", "theirs", "--public", "0.5")
    write_text(file, "id\n2\n")
    result = run_kit("leaderboard", "record", "theirs", "--public", "0.6")
    assert "theirs.csv" in result.stderr
    assert "public 0.6 recorded" in result.stdout


def test_options_before_record_are_refused(scored):
    result = run_kit("leaderboard", "--workspace", scored.root, "record", "first", "--public", "0.5", code=2)
    assert "options must come after 'record': --workspace" in result.stderr


def test_record_has_help_with_an_example():
    command = get_command(app).commands["leaderboard"].commands["record"]
    assert "kit leaderboard record leaves/first --public 0.81" in command.help
    assert {"--public", "--private", "--json", "--workspace"} <= {o for p in command.params for o in p.opts}


def test_record_loads_neither_torch_nor_scikit_learn():
    program = (
        "from typer.testing import CliRunner; from kit.cli.main import app; import sys;"
        "CliRunner().invoke(app, ['leaderboard', 'record', '--help']);"
        "print({'torch', 'pandas'} & set(sys.modules));"
        "CliRunner().invoke(app, ['leaderboard', 'record', 'x', '--public', '1']);"
        "print({'torch', 'sklearn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\nset()\n"
