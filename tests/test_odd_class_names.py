"""Class names with line breaks, quotes, markup and control characters, from init to a checked submission."""

import csv

import numpy as np
import pandas as pd
import pytest

from kit import pipeline
from kit.competition.samples import load_competition
from kit.config.load import load_config
from kit.errors import one_line
from kit.folds.table import read_folds
from kit.predictions import FinalPredictions
from kit.report.tables import plain_table
from kit.storage.workspace import Workspace
from kit.submission.format import format_for
from kit.submission_format.writer import text_of
from tests.conftest import COLORS, draw, run_kit

NAMES = [
    *("line\nbreak", "carriage\rreturn", "tab\there", 'quo"te', "com,ma", "=cmd()", "+1", "@sum"),
    *(
        "L" * 300,
        "\U0001f436 dog",
        "\u05d0\u05d1 right",
        "ev\u202eil",
        "<b>bold</b>",
        "[bold]rich[/bold]",
        "[/]",
    ),
    *("caf\u00e9", "cafe\u0301", "Case", "case", "{{7*7}}"),
]
DISTINCT = ["competition.case=distinct", "folds.count=2", "train.epochs=1", "image.size=16"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return a workspace with a finished run on these classes."""
    root = tmp_path_factory.mktemp("names")
    data, workspace = root / "data" / "odd", Workspace.open(root)
    rows = [(f"i{c}_{k}", name) for c, name in enumerate(NAMES) for k in range(2)]
    for seed, (each, _) in enumerate(rows):
        draw(data / "train" / f"{each}.png", COLORS["red"], seed, (16, 16))
    table = pd.DataFrame(rows, columns=["id", "label"])
    table.to_csv(data / "train.csv", index=False, quoting=csv.QUOTE_ALL)
    for k in range(3):
        draw(data / "test" / f"t{k}.png", COLORS["red"], 900 + k, (16, 16))
    sample = pd.DataFrame({"id": [f"t{k}" for k in range(3)], "label": NAMES[:3]})
    sample.to_csv(data / "sample_submission.csv", index=False, quoting=csv.QUOTE_ALL)
    done = pipeline.init(str(data), workspace=workspace)
    result = pipeline.run(done.config, overrides=DISTINCT, workspace=workspace)
    return workspace, done.config, result


def test_tables_are_read_back_equal(finished):
    workspace, _, result = finished
    folds = read_folds(workspace.folds("odd"), ["label"]).table
    assert sorted(folds["label"]) == sorted(NAMES * 2)
    confusion = pd.read_csv(result.run.confusion, index_col=0, dtype=str, keep_default_na=False)
    assert set(confusion.index) == set(confusion.columns) == set(NAMES)


def test_a_submission_of_each_class_is_written_and_read_back_equal(finished):
    workspace, path, _ = finished
    config = load_config(path, DISTINCT)
    form = format_for(config.submission, load_competition(config.competition, workspace))
    for start in range(0, len(form.classes), 3):
        decided = np.arange(start, start + 3) % len(form.classes)
        text = text_of(FinalPredictions(np.eye(len(form.classes))[decided], decided), form)
        written = [row[1] for row in csv.reader(text.splitlines(keepends=True))][1:]
        assert written == [form.classes[each] for each in decided]


def test_the_submission_is_checked_and_everything_is_up_to_date(finished):
    workspace, path, result = finished
    options = [part for each in DISTINCT for part in ("--set", each)]
    run_kit("check", result.submitted.file.path, path, *options, "--workspace", workspace.root)
    assert "All up to date" in run_kit("status", "odd/odd", "--workspace", workspace.root).stdout
    assert "odd" in run_kit("leaderboard", "--workspace", workspace.root).stdout


def test_names_do_not_break_the_lines_of_tables(finished):
    workspace, path, _ = finished
    options = [part for each in DISTINCT for part in ("--set", each)]
    for arguments in (("evaluate", "odd/odd"), ("folds", path, *options), ("inspect", path, *options)):
        text = run_kit(*arguments, "--workspace", workspace.root).stdout
        assert not any(line.startswith(("break", "return")) for line in text.split("\n"))
        assert not set(text) & {"\r", "\t", "\u202e"}
        assert "L" * 100 not in text


def test_the_report_escapes_names(finished):
    page = finished[2].run.report.read_text(encoding="utf-8")
    assert "<b>bold</b>" not in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "{{7*7}}" in page


def test_a_cell_of_a_table_is_on_one_line():
    table = plain_table("name")
    table.add_row("a\nb\r")
    assert list(table.columns[0].cells) == ["a\\nb\\r"]


def test_one_line_keeps_letters_and_joined_emoji():
    joined = "\u05d0 \u4e2d \U0001f469\u200d\U0001f467"
    assert one_line(joined) == joined
    assert one_line("a\nb\x00\u202e") == "a\\nb\\x00\\u202e"
