"""Links in a circle, pipes and folders named like images never hang a command, and never are images."""

import os

import pytest

from kit import pipeline
from tests.conftest import draw_csv, raises_kit_error


@pytest.fixture
def data(workspace):
    return draw_csv(workspace.root / "data" / "c", per_class=4)


@pytest.mark.parametrize(
    "name", ["train/pipe.png", "test/900.png", "train.csv", "more.csv", "more.zip", "more.npy"]
)
def test_a_pipe_is_refused_before_anything_reads_it(workspace, data, name):
    (data / name).unlink(missing_ok=True)
    os.mkfifo(data / name)
    with raises_kit_error("not_a_file") as caught:
        pipeline.init(str(data), workspace=workspace)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "target"), [("train/self.png", "self.png"), ("train/up", ".."), ("again", ".")]
)
def test_links_in_a_circle_are_refused(workspace, data, name, target):
    (data / name).symlink_to(target)
    with raises_kit_error("link_outside") as caught:
        pipeline.init(str(data), workspace=workspace)
    assert name in str(caught.value)


def test_a_link_to_nothing_is_an_unreadable_image(workspace, data):
    (data / "train" / "003.png").unlink()
    (data / "train" / "003.png").symlink_to("nothing.png")
    config = pipeline.init(str(data), workspace=workspace).config
    with raises_kit_error("image_unreadable"):
        pipeline.folds(config, workspace=workspace)


@pytest.mark.parametrize("name", ["train/x.png", "more.csv", "more.zip"])
def test_an_empty_folder_named_like_a_file_is_ignored(workspace, data, name):
    (data / name).mkdir()
    assert pipeline.init(str(data), workspace=workspace).to_edit is None
