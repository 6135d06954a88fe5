"""The READMEs agree with the code: commands, options, the file tree, the examples."""

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
    for folder in ("", "kit", "configs", "configs/reports", "folds", "submissions", "tests/benchmarks")
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
        subcommands = getattr(command, "commands", {})  # verbs with subcommands, such as leaderboard record
        command = subcommands.get(rest.split()[0], command) if rest.split() else command
        known = {option for p in command.params for option in p.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known, (verb, rest)


def test_every_command_is_in_the_readme():
    for verb in VERBS:
        assert f"`kit {verb}" in README


def test_make_targets_named_in_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", TEXTS, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_file_tree_of_the_kit_readme_is_up_to_date():
    text = (ROOT / "kit" / "README.md").read_text()
    assert text == with_tree(text), "run: python -m tests.docs"


CHECKS_OF_EXAMPLES = """
import pathlib, tempfile
from PIL import Image
from kit.competition.layouts.base import layouts
from kit.config import ImageConfig, ModelConfig
from kit.config.competition import CompetitionConfig, SubmissionConfig
from kit.engine.models.build import build_model
from kit.pipeline import components

SubmissionConfig(id="id", kind="percent")
model, _ = build_model(ModelConfig(name="pixels", pretrained=False), ImageConfig(), 3)
named = {name for of_kind in components().values() for name in of_kind}
assert {"squared_hinge", "error_rate", "negative", "median", "blurry", "linear", "percent", "pixels"} <= named
root = pathlib.Path(tempfile.mkdtemp())
(root / "train").mkdir()
Image.new("RGB", (8, 8)).save(root / "train" / "cat.12.png")
source = LabeledSource(layout="name_prefix", folder="train")
samples = layouts.get("name_prefix").read(root, source, None).samples
assert samples[["path", "label"]].values.tolist() == [["train/cat.12.png", "cat"]]
losses(json=True)
"""


def test_the_examples_of_new_entries_work_and_are_short():
    text = (ROOT / "kit" / "README.md").read_text()
    section = text.split("## Adding an entry")[1].split("\n## ")[0]
    examples = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(examples) >= 12
    assert all(sum(map(bool, block.splitlines())) <= 15 for block in examples)
    program = "\n".join([*examples, CHECKS_OF_EXAMPLES])
    done = subprocess.run([sys.executable, "-"], input=program, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert "squared_hinge" in done.stdout


def test_links_between_readmes_point_to_existing_files():
    for path in READMES:
        for link in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / link).exists(), (path, link)


def test_the_readme_has_at_most_250_lines():
    assert len(README.splitlines()) <= 250


def test_the_repository_root_has_only_the_expected_entries():
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
    found = {p.name for p in ROOT.iterdir() if not p.name.startswith(".")}
    assert found - ignored <= allowed


def test_every_extra_is_part_of_dev_and_named_in_an_error_message():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0"
    extras = project["optional-dependencies"]
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "kit").rglob("*.py"))
    for name, requirements in extras.items():
        assert set(requirements) <= set(extras["dev"])
        assert name == "dev" or f"kit[{name}]" in code


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_help_text(verb):
    text = COMMANDS[verb].help
    assert len(text.split()) > 8
