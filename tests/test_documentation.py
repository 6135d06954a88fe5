"""What the README says is so."""

import re
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from kit.cli.main import VERBS, app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
VERB_NAMES = [verb.__name__.rpartition(".")[2] for verb in VERBS]
COMMANDS = get_command(app).commands


def test_every_command_in_the_readme_exists_with_its_options():
    lines = re.findall(r"(?:^|[`$] ?)kit ([a-z]+)([^`\n]*)", README, re.MULTILINE)
    assert len(lines) > 15
    for verb, rest in lines:
        assert verb in COMMANDS, verb
        command = COMMANDS[verb]
        below = getattr(command, "commands", {})  # of a verb with verbs of its own
        command = below.get(rest.split()[0], command) if rest.split() else command
        known = {option for p in command.params for option in p.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known, (verb, rest)


def test_every_command_is_in_the_readme():
    for verb in VERB_NAMES:
        assert f"`kit {verb}" in README


def test_make_targets_named_in_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_layout_tree_has_one_line_per_file_and_no_other():
    tree = README[README.index("## Layout") :]
    tree = tree[tree.index("```text") + 7 :]
    tree = tree[: tree.index("```")]
    shown, folder = set(), ""
    for line in filter(str.strip, tree.splitlines()):
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        parts = [*folder.split("/")[:depth], name.rstrip("/")] if depth else [name.rstrip("/")]
        if name.endswith("/"):
            folder = "/".join(parts)
        else:
            shown.add("/".join(parts))
    there = {
        str(p.relative_to(ROOT))
        for p in (ROOT / "kit").rglob("*.py")
        if p.name not in ("__init__.py", "__main__.py")
    }
    assert {s for s in shown if s.startswith("kit/") and s.endswith(".py")} == there


def test_registries_named_in_the_readme_are_where_it_says():
    for module, name in re.findall(r"`(kit/[a-z_/]+\.py)`: `@([a-z_]+)", README):
        assert re.search(rf"\b{name}\b", (ROOT / module).read_text()), (module, name)


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
    assert set(project["optional-dependencies"]) == {"app", "tune", "cluster", "kaggle", "track", "dev"}
    assert project["license"] == "Apache-2.0"


@pytest.mark.parametrize("verb", VERB_NAMES)
def test_every_verb_has_help_that_says_what_it_does(verb):
    text = COMMANDS[verb].help
    assert len(text.split()) > 8
