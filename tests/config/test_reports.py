"""Every config of configs/reports loads and trains, and every sweep of its README is valid."""

import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kit import pipeline
from kit.config.load import load_config
from kit.engine.fit.validate_config import check_recipe
from kit.engine.models.build import check_model
from kit.engine.models.heads import check_head
from kit.engine.optim.losses import build_loss
from kit.engine.optim.optimizers import check_optimizer
from kit.engine.optim.schedules import check_schedule
from kit.errors import KitError
from kit.sweep.draw import MAX_COMBINATIONS, size_of
from kit.sweep.space import overrides_of, parse_space
from kit.tasks import tasks
from tests.benchmarks import reports
from tests.benchmarks.claim import table_row
from tests.benchmarks.reports import FORMS, HEADER, REPORTS, WEIGHTS, SmallForm, replaced_network, table
from tests.conftest import COLORS, draw, draw_class_folders, draw_csv, draw_voc

PATHS = sorted(REPORTS.glob("*.yaml"))
README = (REPORTS / "README.md").read_text(encoding="utf-8")
SWEEPS = [
    shlex.split(command.replace("\\\n", " "))
    for command in re.findall(r"^kit sweep (?:.*\\\n)*.*", README, re.M)
]


def draw_labels(root: Path) -> None:
    """Write a multi-label competition as multilabel_qtt has it: a CSV of 0/1 columns, and a folder ``test``."""
    rng, rows = np.random.default_rng(0), []
    for number in range(40):
        name, labels = f"{number}.png", rng.integers(0, 2, 2)
        draw(root / "train" / name, COLORS["red" if labels[0] else "green"], seed=number)
        rows.append([name, *labels])
    pd.DataFrame(rows, columns=["id", "a", "b"]).to_csv(root / "train.csv", index=False)
    draw(root / "test" / "0.png", COLORS["red"], seed=99)


# Layout and task -> how the tiny data is drawn, and `competition.train` and `competition.test` for it.
TINY = {
    ("voc", "multiclass"): (
        lambda root: draw_voc(root, 40),
        {"layout": "voc", "folder": "JPEGImages", "annotations": "Annotations"},
        None,
    ),
    ("csv", "multilabel"): (
        draw_labels,
        {"layout": "csv", "folder": "train", "file": "train.csv", "id": "id", "label": ["a", "b"]},
        {"folder": "test"},
    ),
    ("csv", "multiclass"): (
        draw_csv,
        {"layout": "csv", "folder": "train", "file": "train.csv", "id": "Image", "label": "target"},
        {"folder": "test", "file": "test.csv", "id": "Image"},
    ),
    ("class_folders", "multiclass"): (
        draw_class_folders,
        {"layout": "class_folders", "folder": "train"},
        {"folder": "test", "file": "sample_submission.csv", "id": "ID"},
    ),
}
TINY["voc", "multilabel"] = TINY["voc", "multiclass"]
SMALL_NETWORK = {"name": "simple_cnn", "pretrained": False, "options": {"widths": [8, 16]}}


def tiny_form(path: Path, root: Path) -> list[str]:
    """Draw tiny data and return the overrides for it: small images, one epoch, no pretrained network."""
    given = load_config(path)
    drawn, train, test = TINY[given.competition.train.layout, given.competition.task]
    drawn(root / "data" / "tiny")
    sections = {"competition.data": "tiny", "competition.train": train, "competition.test": test}
    overrides = [f"{key}={json.dumps(value)}" for key, value in sections.items()]
    if given.model.pretrained or given.model.name not in ("simple_cnn", "residual_cnn"):
        overrides.append(replaced_network(given, SMALL_NETWORK))
    return [*overrides, "image.size=32", "train.epochs=1", "train.precision=fp32", "train.workers=0"]


ONE_OF_EACH_REPORT = {"voc-foreground", "labels-cnn4", "hundred-vit-swag", "animals-resnet50-mean0"}


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=() if path.stem in ONE_OF_EACH_REPORT else pytest.mark.slow)
        for path in PATHS
    ],
)
def test_every_report_trains_for_an_epoch(workspace, path):
    only = [] if load_config(path).folds.models == 1 else [0]
    overrides = tiny_form(path, workspace.root)
    trained = pipeline.train(path, folds=only, overrides=overrides, workspace=workspace)
    assert len(pd.read_csv(trained.run.fold(0).history)) == 1
    assert 0 <= trained.scores[0] <= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "ending"), [("labels-cnn3", ".tsv"), ("animals-scratch", ".csv"), ("resnets", ".csv")]
)
def test_a_report_ends_with_a_checked_submission(workspace, name, ending):
    path = REPORTS / f"{name}.yaml"
    made = pipeline.run(path, overrides=tiny_form(path, workspace.root), workspace=workspace)
    assert made.submitted.file.path.suffix == ending


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_report_has_its_command_and_is_listed(path):
    config = load_config(path)
    check_model(config.model)
    head = path.read_text(encoding="utf-8").splitlines()[:4]
    assert head[0] == f"# kit run configs/reports/{path.name}"
    assert head[2].startswith("# Report ")
    assert config.name == path.stem
    assert f"`kit run configs/reports/{path.name}`" in README


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_network_accepts_its_recipe(workspace, path):
    smaller = ["image.size=64"] if "vit_l" in load_config(path).model.name else []  # at 512 px: two minutes
    config = load_config(path, ["model.pretrained=false", *smaller])
    assert check_recipe(config, workspace) == []


def test_every_sweep_of_the_readme_is_valid():
    assert len(SWEEPS) >= 6
    for _, _, path, *options in SWEEPS:
        assert options[::2] == ["--grid"] * (len(options) // 2)
        space = parse_space(options[1::2])
        assert size_of(space) <= MAX_COMBINATIONS
        first = {axis.key: axis.options[0] for axis in space}
        for axis in space:
            for option in axis.options:
                check_names(REPORTS / Path(path).name, overrides_of(first | {axis.key: option}))


def check_names(path: Path, overrides: list[str]) -> None:
    config = load_config(path, overrides)
    check_model(config.model)
    check_head(config.model)
    check_optimizer(config.train.optimizer)
    check_schedule(config.train.schedule, config.train.epochs)
    build_loss(config.train.loss, tasks.get(config.competition.task))


# --- the small forms


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.config}-{form.variant}")
def test_every_small_form_is_a_valid_config(form):
    config = form.load(3)
    assert config.name == f"{form.config}-3"
    assert config.model.weights == (WEIGHTS[form.network] if form.network else None)
    given = load_config(REPORTS / f"{form.config}.yaml").model
    assert config.model.head == given.head


def test_small_forms_cover_every_report():
    assert {form.report for form in FORMS} == {1, 2, 3, 4, 5}


def test_a_form_without_its_data_or_weights_is_skipped_and_says_why(tmp_path, monkeypatch, capsys):
    form = SmallForm(1, "voc-pretrained-adam", "cells", (), "mobilenetv2_100", reported="0.9")
    why = "$KIT_DATA is not set, and bccd is needed; $KIT_WEIGHTS has no mobilenetv2_100_tv_in1k.safetensors"
    monkeypatch.setenv("KIT_WEIGHTS", str(tmp_path))
    *_, names, _, last = table([form]).splitlines()
    assert names == table_row(HEADER)
    assert last == f"| 1 | `voc-pretrained-adam` | skipped: {why} | 0.9 | cells |  |"
    assert capsys.readouterr().err.strip() == last


def test_a_form_that_fails_is_a_row_too(tmp_path, monkeypatch):
    def refuse(*_):
        raise KitError("image.size", "is too large", code="out_of_memory")

    monkeypatch.setenv("KIT_DATA", str(tmp_path))
    (tmp_path / "bccd").mkdir()
    monkeypatch.setattr("tests.benchmarks.reports.run", refuse)
    assert "| failed: is too large |" in table([SmallForm(1, "voc-crops", "cells")])


@pytest.mark.parametrize("is_complete", [True, False])
def test_the_readme_is_written_only_if_no_form_was_skipped(tmp_path, monkeypatch, is_complete):
    readme = tmp_path / "README.md"
    readme.write_text("<!-- reports -->\nold\n<!-- /reports -->\n", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["reports", "--readme", str(readme)])
    monkeypatch.setattr(reports, "claim_process", lambda: None)
    monkeypatch.setattr(reports, "table", lambda forms: "new")
    monkeypatch.setattr(SmallForm, "missing", lambda form: "" if is_complete else "$KIT_DATA is not set")
    reports.main()
    assert ("new" in readme.read_text(encoding="utf-8")) == is_complete
