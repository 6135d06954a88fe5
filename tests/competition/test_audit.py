import os

import pandas as pd
import pytest

from kit.competition.audit import audit
from kit.competition.samples import load_competition
from kit.competition.scan import readable, scan_images
from kit.config import NearConfig
from tests.conftest import COLORS, draw, raises_kit_error


@pytest.fixture
def faulty(tiny, tiny_config):
    """Two unreadable training images, one unreadable test image, and duplicates of every kind."""
    data = tiny.root / "data" / "tiny"
    (data / "train/2/0.png").write_bytes(b"")
    whole = (data / "train/red/1.png").read_bytes()
    (data / "train/red/1.png").write_bytes(whole[: len(whole) // 2])
    (data / "test/5.png").write_text("no image")
    (data / "train/2/3.png").write_bytes((data / "train/2/2.png").read_bytes())
    (data / "train/10/4.png").write_bytes((data / "train/red/4.png").read_bytes())
    (data / "test/1.png").write_bytes((data / "train/10/7.png").read_bytes())
    (data / "test/3.png").write_bytes((data / "test/2.png").read_bytes())
    return tiny, load_competition(tiny_config.competition, tiny)


def test_unreadable_files_are_listed_with_the_reason(faulty):
    workspace, competition = faulty
    found = audit(competition, scan_images(competition, workspace.image_table("tiny")), NearConfig())
    assert set(found.unreadable) == {"train/2/0.png", "train/red/1.png", "test/5.png"}
    assert found.unreadable["train/2/0.png"] == "empty file"
    assert found.unreadable["test/5.png"] == "not an image"
    assert "truncated" in found.unreadable["train/red/1.png"]


def test_identical_files_are_split_by_class_and_set(faulty):
    workspace, competition = faulty
    found = audit(
        competition, scan_images(competition, workspace.image_table("tiny")), NearConfig()
    ).exact_duplicates
    assert found.within_class == [["train/2/2.png", "train/2/3.png"]]
    assert found.across_classes == [["train/10/4.png", "train/red/4.png"]]
    assert found.train_test == [["train/10/7.png", "test/1.png"]]
    assert found.test_test == [["test/2.png", "test/3.png"]]


def test_unreadable_training_images_are_all_reported_or_skipped(faulty):
    workspace, competition = faulty
    scan = scan_images(competition, workspace.image_table("tiny"))
    with raises_kit_error("image_unreadable") as caught:
        readable(competition, scan, "refuse")
    assert "2 of 30" in str(caught.value)
    assert "train/2/0.png: empty file" in str(caught.value)
    assert "train/red/1.png: " in str(caught.value)
    kept = readable(competition, scan, "skip").train
    assert len(kept) == 28
    assert "2/0.png" not in set(kept["id"])


def test_a_class_without_readable_images_is_refused(tiny, tiny_config):
    for path in (tiny.root / "data/tiny/train/2").iterdir():
        path.write_bytes(b"")
    competition = load_competition(tiny_config.competition, tiny)
    scan = scan_images(competition, tiny.image_table("tiny"))
    with raises_kit_error("class_unreadable") as caught:
        readable(competition, scan, "skip")
    assert "(2)" in caught.value.problem


def test_only_changed_files_are_read_again(tiny, tiny_config):
    competition = load_competition(tiny_config.competition, tiny)
    table = tiny.image_table("tiny")
    first = scan_images(competition, table)
    pd.testing.assert_frame_equal(first, scan_images(competition, table))
    marked = pd.read_parquet(table).assign(digest="from the table")
    marked.to_parquet(table)
    changed = tiny.root / "data/tiny/train/2/0.png"
    draw(changed, COLORS["red"], 77)
    os.utime(changed, ns=(1, 1))
    again = scan_images(competition, table).set_index("path")["digest"]
    assert again["train/2/0.png"] != "from the table"
    assert (again.drop("train/2/0.png") == "from the table").all()


def test_a_broken_link_is_unreadable(tiny, tiny_config):
    path = tiny.root / "data/tiny/test/5.png"
    path.unlink()
    path.symlink_to(path.parent / "gone.png")
    competition = load_competition(tiny_config.competition, tiny)
    found = audit(competition, scan_images(competition, tiny.image_table("tiny")), NearConfig())
    assert found.unreadable == {"test/5.png": "no such file"}


def test_a_damaged_scan_is_computed_again(tiny, tiny_config):
    competition = load_competition(tiny_config.competition, tiny)
    table = tiny.image_table("tiny")
    first = scan_images(competition, table)
    table.write_bytes(b"PAR1 cut short")
    pd.testing.assert_frame_equal(first, scan_images(competition, table))
