"""Training and test images are told apart if they differ, and not if they do not."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from kit.competition.samples import load_competition
from kit.competition.scan import scan_images
from kit.competition.train_and_test import train_and_test
from kit.config.load import load_config
from tests.conftest import draw, run_kit, write_config


@pytest.fixture
def drawn(tiny):
    """The tiny competition with 60 training and 40 test images of the same kind."""
    folder = tiny.root / "data" / "tiny"
    for number in range(10, 20):
        for label, color in (("2", (200, 40, 40)), ("10", (40, 200, 40)), ("red", (40, 40, 200))):
            draw(folder / "train" / label / f"{number}.png", color, number)
    for number in range(8, 40):
        draw(
            folder / "test" / f"{number}.png",
            [(200, 40, 40), (40, 200, 40), (40, 40, 200)][number % 3],
            number,
        )
    return tiny


def compared(workspace):
    config = load_config(write_config(workspace, competition__test__file=None, competition__test__id=None))
    competition = load_competition(config.competition, workspace)
    scan = scan_images(competition, workspace.image_table("tiny"))
    return train_and_test(competition, scan), competition, scan


def test_the_same_images_in_random_halves_cannot_be_told_apart(drawn):
    _, competition, scan = compared(drawn)
    areas = []
    for seed in range(5):
        paths = scan["path"].sample(frac=1, random_state=seed).to_numpy()
        train = competition.train.iloc[:50].assign(path=paths[:50])
        test = competition.test.iloc[:40].assign(path=paths[50:90])
        areas.append(train_and_test(replace(competition, train=train, test=test), scan).auc)
    assert 0.4 < np.mean(areas) < 0.6


def test_darker_test_images_are_told_apart_and_the_property_is_named(drawn):
    for path in (drawn.root / "data" / "tiny" / "test").iterdir():
        pixels = np.asarray(Image.open(path).convert("RGB")) // 4
        Image.fromarray(pixels).save(path)
    found, _, _ = compared(drawn)
    assert found.auc > 0.95
    assert {each.name.split()[-1] for each in found.differences[:3]} <= {"red", "green", "blue", "pixel"}
    assert len(found.unlike) == 12
    assert all(each.path.startswith("test/") for each in found.unlike)
    assert all(each.nearest.startswith("train/") for each in found.unlike)


def test_the_audit_page_shows_the_comparison_and_few_images_none(drawn, tmp_path):
    config = write_config(drawn, competition__test__file=None, competition__test__id=None)
    result = run_kit("inspect", config, "--json", "--workspace", drawn.root)
    assert '"auc"' in result.stdout
    page = drawn.page("tiny", "audit").read_text()
    assert "Training against test images" in page


def test_with_few_images_nothing_is_compared(tiny):
    found, _, _ = compared(tiny)
    assert found is None
