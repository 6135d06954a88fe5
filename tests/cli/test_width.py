"""Everything that a verb prints fits into a terminal of 80 columns; what a user copies stays on one line."""

import os
import re
import shlex

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from kit.cli.main import VERBS, app
from tests.cli.test_next_step import STEPS

WIDTH = 80
HELP = [
    *(f"{verb} --help" for verb in VERBS),
    "--help",
    "leaderboard record --help",
    "kaggle download --help",
    "kaggle submit --help",
]
LISTS = ["components", "check --codes"]
MISTAKES = [
    "run configs/missing.yaml",
    "init tiny --name a",
    "run configs/a.yaml --set train.epochs=7",
    "train configs/a.yaml --set train.epoch=3 --set image.sizes=16 --set folds.count=1",
    "check bad.csv configs/a.yaml",
    "submit",
    "predict nothing",
]


@pytest.fixture
def here(trained_copy, monkeypatch):
    """A copy of the trained workspace, which is the current folder, in a terminal of 80 columns."""
    monkeypatch.chdir(trained_copy.root)
    monkeypatch.setitem(os.environ, "COLUMNS", str(WIDTH))
    (trained_copy.root / "bad.csv").write_text("id,Label\n0.png,x\n")
    return trained_copy


def lines_of(command: str) -> list[str]:
    """Return every line that the command prints on stdout and stderr."""
    return CliRunner().invoke(app, shlex.split(command)).output.splitlines()


def is_whole(line: str) -> bool:
    """Return whether the line is one command or one path."""
    return len(line.split()) == 1 or re.match(r"\s*(Next: )?`?kit [a-z]+ ", line) is not None


def too_wide(lines: list[str]) -> list[str]:
    return [line for line in lines if len(line) > WIDTH and not is_whole(line)]


@pytest.mark.parametrize("command", [*STEPS, *HELP, *LISTS, *MISTAKES])
def test_no_line_is_wider_than_the_terminal(here, command):
    lines = lines_of(command)
    assert lines
    assert too_wide(lines) == []


def test_the_lines_are_as_long_as_a_wide_terminal_allows(here, monkeypatch):
    monkeypatch.setitem(os.environ, "COLUMNS", "200")
    assert max(map(len, lines_of("init tiny --name again"))) > WIDTH


def test_the_leaderboard_names_the_columns_that_it_does_not_show(here, monkeypatch):
    narrow = lines_of("leaderboard")
    [note] = [line for line in narrow if line.startswith("Not in 80 characters")]
    hidden = note.split(": ")[1].split(";")[0].split(", ")
    monkeypatch.setitem(os.environ, "COLUMNS", "200")
    wide = lines_of("leaderboard")
    assert set(hidden) == set(wide[1].split()) - set(narrow[1].split())
    assert not any(line.startswith("Not in") for line in wide)


def test_the_numbers_and_dates_of_a_narrow_leaderboard_are_whole(here, monkeypatch):
    monkeypatch.setitem(os.environ, "COLUMNS", "60")
    lines = lines_of("leaderboard")
    assert too_wide(lines) == []
    assert re.search(r"^b .* 1\.0000 ", "\n".join(lines), re.MULTILINE)


def commands():
    """Yield the words and the command of every verb, and of the verbs below it."""
    for verb in VERBS:
        command = get_command(app).commands[verb]
        yield verb, command
        for name, below in getattr(command, "commands", {}).items():
            yield f"{verb} {name}", below


@pytest.mark.parametrize(("words", "command"), list(commands()))
def test_every_help_text_has_two_examples_whose_options_exist(words, command):
    examples = re.findall(r"^\s*kit (.*)$", command.help, re.MULTILINE)
    assert len(examples) >= 2
    own = [example for example in examples if example.startswith(words)]
    known = {option for parameter in command.params for option in parameter.opts}
    below = set().union(
        *(
            {option for parameter in each.params for option in parameter.opts}
            for each in getattr(command, "commands", {}).values()
        )
    )
    assert own
    for example in own:
        assert set(re.findall(r"--[a-z-]+", example)) <= known | below, example


def test_the_examples_of_every_help_text_are_on_one_line(here):
    for command in HELP:
        text = "\n".join(lines_of(command))
        for example in re.findall(r"^ +kit .*?\n(.*)$", text, re.MULTILINE):
            assert example.strip() == "" or example.strip().startswith(("kit ", "╭")), (command, example)
