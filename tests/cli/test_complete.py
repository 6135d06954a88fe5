"""The shell completes runs, configs, submissions and entries of registries."""

import os
import subprocess
import sys

import pytest

from kit.cli import complete


@pytest.fixture
def here(trained_copy, monkeypatch):
    """A copy of the trained workspace, which is the current folder."""
    monkeypatch.chdir(trained_copy.root)
    return trained_copy


def test_runs_are_completed_by_their_label(here):
    assert complete.runs("") == ["tiny/a", "tiny/b"]
    assert complete.runs("tiny/b") == ["tiny/b"]
    assert complete.runs("other") == []


def test_submissions_are_completed_by_their_label(here):
    assert complete.submissions("tiny/") == ["tiny/a", "tiny/b"]


def test_configs_are_those_of_the_folder_that_is_typed(here):
    assert complete.configs("") == complete.configs("configs/") == ["configs/a.yaml", "configs/b.yaml"]
    assert complete.configs("configs/b") == ["configs/b.yaml"]
    assert complete.configs("runs/tiny/a/c") == ["runs/tiny/a/config.yaml"]
    assert complete.configs("nowhere/") == []


def test_entries_and_kinds_are_those_of_the_registries():
    assert "hill_climb" in complete.entries("blends")("hill")
    assert complete.entries("explainers")("") == ["grad_cam", "occlusion"]
    assert complete.kinds("los") == ["losses"]


def test_an_empty_folder_completes_nothing_and_does_not_fail(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert complete.runs("") == complete.configs("") == complete.submissions("") == []


def test_the_shell_asks_the_command_itself(here):
    words = "kit predict tiny/"
    environment = {**os.environ, "_KIT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "2"}
    command = [
        sys.executable,
        "-c",
        "import sys; sys.argv[0] = 'kit'; from kit.cli.main import app; app(prog_name='kit')",
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["tiny/a", "tiny/b"], done.stderr
