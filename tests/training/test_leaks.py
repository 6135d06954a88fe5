"""With random labels nothing can be learned: a score above chance would be a leak into the validation images.

Images are unique patterns that a network memorizes, the classes are drawn by lot, and the test images repeat the
training images with noise. A teacher that has seen an image's label would hand it on through its twin.
"""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kit import pipeline
from kit.config.load import load_config
from kit.evaluation.oof_with_labels import load_labeled_oof
from kit.predictions import load_test
from kit.training.data import prepare
from kit.training.pseudo_labels import PseudoLabeler
from tests.conftest import TINY, write_config

NUMBER = 80


def draw_lottery(root):
    """Write patterns of 6 x 6 blocks, a class by lot for each, and twins of all as test images.

    Twins with an even number are near duplicates; the others have too much noise for that.
    """
    rng = np.random.default_rng(7)
    labels = np.repeat(["a", "b"], NUMBER // 2)
    rng.shuffle(labels)
    for folder in ("train", "test"):
        (root / folder).mkdir(parents=True)
    for i in range(NUMBER):
        blocks = rng.integers(0, 256, (6, 6, 3)).repeat(4, axis=0).repeat(4, axis=1)
        for folder, noise in (("train", 0), ("test", 40 if i % 2 else 2)):
            pixels = np.clip(blocks + rng.integers(-noise, noise + 1, blocks.shape), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(root / folder / f"{i:03d}.png")
    pd.DataFrame({"id": [f"{i:03d}.png" for i in range(NUMBER)], "label": labels}).to_csv(
        root / "train.csv", index=False
    )


TRAIN = {"layout": "csv", "folder": "train", "file": "train.csv", "id": "id", "ids": "name", "label": "label"}
RECIPE = {
    "image__size": 24,
    "augment__preset": "none",
    "augment__hflip": False,
    "model__options": {"widths": [32, 64], "dropout": 0.0},
    "train__epochs": 25,
    "train__lr": 0.01,
    "train__weight_decay": 0.0,
}


@pytest.fixture(scope="module")
def lottery(tmp_path_factory):
    """A workspace with a teacher of the random labels."""
    from kit.storage.workspace import Workspace

    workspace = Workspace.open(tmp_path_factory.mktemp("lottery"))
    draw_lottery(workspace.root / "data" / "tiny")
    values = {**TINY, "submission": {"id": "id", "label": "label", "kind": "label"}}
    values["competition"] = {**TINY["competition"], "train": TRAIN, "test": {"folder": "test"}}
    run(workspace, values, "teacher")
    return workspace, values


def run(workspace, values, name, **changes):
    """Return the OOF accuracy of an experiment on the random labels."""
    config = load_config(write_config(workspace, values, name=name, **(RECIPE | changes)))
    pipeline.train(config, workspace=workspace)
    pipeline.predict(name, workspace=workspace)
    return load_labeled_oof(workspace.run("tiny", name), workspace).score()


CHANCE = 0.5 + 3 * 0.5 / np.sqrt(NUMBER)  # three standard errors above one half


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("pseudo", {"train__pseudo_labels": {"from": "teacher", "confidence": 0.0}}),
        ("hard", {"train__pseudo_labels": {"from": "teacher", "confidence": 0.0, "soft": False}}),
        ("taught", {"train__teacher": {"from": "teacher", "weight": 1.0}}),
        ("relabel", {"train__relabel": {"margin": 0.0}}),
        ("drop", {"train__drop": {"margin": 0.0}}),
        ("knn", {"predict__knn": {"k": 1, "weight": 1.0}}),
        ("arcface", {"model__classifier": "arcface"}),
    ],
)
def test_random_labels_are_predicted_no_better_than_by_chance(lottery, name, changes):
    assert run(*lottery, name, **changes) < CHANCE


@pytest.mark.slow
def test_the_random_labels_can_be_memorized_so_a_leak_would_show(lottery):
    workspace, _ = lottery
    truth = pd.read_csv(workspace.root / "data/tiny/train.csv").set_index("id")["label"]
    twins = load_test(workspace.run("tiny", "teacher"))
    decided = np.array(twins.classes)[twins.probs.argmax(axis=1)]
    assert (decided == truth.loc[list(twins.ids)]).mean() > 0.8


@pytest.mark.slow
def test_twins_of_validation_images_are_left_out(lottery):
    workspace, values = lottery
    pseudo = {"from": "teacher", "confidence": 0.0}
    config = load_config(
        write_config(workspace, values, name="x", **(RECIPE | {"train__pseudo_labels": pseudo}))
    )
    data = prepare(config, workspace)
    labeler = PseudoLabeler(config.train.pseudo_labels, data, config.competition.near)
    for k in (0, 1):
        validated = data.samples[data.folds.validation(data.samples, k)]
        num_validated = len(validated)
        probs = np.full((NUMBER, 2), 0.5)
        truth = np.zeros(num_validated, dtype=np.int64)
        added = labeler.of_fold(k, probs, (np.full((num_validated, 2), 0.5), truth))
        names = {picture.path.removeprefix("test/") for picture in added.images.pictures}
        even = {name for name in validated["id"] if int(name[:3]) % 2 == 0}
        assert names.isdisjoint(even)
        assert len(even) <= added.duplicates < NUMBER
