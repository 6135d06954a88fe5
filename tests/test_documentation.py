"""The READMEs are true: commands, options, the tree, the examples."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from kit.cli.main import VERBS, app
from tests.docs import with_tree

ROOT = Path(__file__).parents[1]
READMES = [
    ROOT / folder / "README.md"
    for folder in ("", "kit", "configs", "folds", "submissions", "tests/benchmarks")
]
README = READMES[0].read_text()
TEXTS = "\n".join(path.read_text() for path in READMES)
COMMANDS = get_command(app).commands


def test_every_command_in_the_readme_exists_with_its_options():
    lines = re.findall(r"(?:^|[`$] ?)kit ([a-z]+)([^`\n]*)", TEXTS, re.MULTILINE)
    assert len(lines) > 15
    for verb, rest in lines:
        assert verb in COMMANDS, verb
        command = COMMANDS[verb]
        below = getattr(command, "commands", {})  # of a verb with verbs of its own
        command = below.get(rest.split()[0], command) if rest.split() else command
        known = {option for p in command.params for option in p.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known, (verb, rest)


def test_every_command_is_in_the_readme():
    for verb in VERBS:
        assert f"`kit {verb}" in README


def test_make_targets_named_in_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", TEXTS, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_tree_of_files_is_the_generated_one():
    text = (ROOT / "kit" / "README.md").read_text()
    assert text == with_tree(text), "run: python -m tests.docs"


def test_every_example_of_a_new_entry_runs_and_is_short():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "kit" / "README.md").read_text(), re.DOTALL)
    examples = [block for block in blocks if "register" in block]
    assert len(examples) >= 6
    assert all(len(block.splitlines()) <= 15 for block in examples)
    done = subprocess.run([sys.executable, "-"], input="\n".join(examples), text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_links_between_readmes_lead_to_files():
    for path in READMES:
        for link in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / link).exists(), (path, link)


def test_the_readme_is_one_page():
    assert len(README.splitlines()) <= 250


def test_the_top_level_is_what_was_agreed():
    allowed = {
        "kit",
        "folds",
        "submissions",
        "configs",
        "tests",
        "pyproject.toml",
        "README.md",
        "Makefile",
        "LICENSE",
    }
    ignored = {"data", "runs", "weights", "build", "kit.egg-info"}
    there = {p.name for p in ROOT.iterdir() if not p.name.startswith(".")}
    assert there - ignored <= allowed


def test_the_extras_are_those_of_the_design():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["optional-dependencies"]) == {"dev"}  # others come with what uses them
    assert project["license"] == "Apache-2.0"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_that_says_what_it_does(verb):
    text = COMMANDS[verb].help
    assert len(text.split()) > 8
