"""The digests of a competition are cached, and a change of any of its files is still found."""

import os
import shutil

import pytest

from kit import pipeline
from kit.status import current
from kit.status.competition_now import files_digest
from kit.storage.workspace import Workspace
from tests.conftest import COLORS, draw, write_config


@pytest.fixture
def opened(trained_copy: Workspace, monkeypatch) -> list[int]:
    """How often the competition is opened, after its digests were cached; the cached state is up to date."""
    assert stale(trained_copy) == {}
    opened: list[int] = []
    original = current.open_competition
    monkeypatch.setattr(
        current, "open_competition", lambda *arguments: opened.append(1) or original(*arguments)
    )
    return opened


def stale(workspace: Workspace) -> dict[str, str]:
    """Return the stale rows of the leaderboard, with the reason."""
    rows = pipeline.leaderboard(workspace=workspace).entries
    return {row.name: row.stale for row in rows if row.stale}


def test_unchanged_files_are_not_read_again(trained_copy, opened):
    assert stale(trained_copy) == {}
    assert {each.worst.state for each in pipeline.status(workspace=trained_copy)} == {"up to date"}
    assert opened == []


def new_image(root):
    draw(root / "train" / "10" / "new.png", COLORS["10"], seed=77)


def removed_image(root):
    (root / "train" / "10" / "3.png").unlink()


def same_size(root):
    """Replace an image by one of the same length; the time of the old one is kept."""
    path = root / "train" / "10" / "0.png"
    before = path.stat()
    draft = path.with_suffix(".draft")
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    draft.write_bytes(content)
    os.utime(draft, ns=(before.st_atime_ns, before.st_mtime_ns))
    draft.rename(path)


def exchanged(root):
    a, b = root / "train" / "10" / "1.png", root / "train" / "2" / "1.png"
    a.rename(root / "x")
    b.rename(a)
    (root / "x").rename(b)


def painted_test_image(root):
    draw(root / "test" / "3.png", COLORS["2"], seed=9)


def other_class(root):
    (root / "train" / "10" / "4.png").rename(root / "train" / "2" / "moved.png")


def link_to_a_file(root):
    path = root / "test" / "1.png"
    path.unlink()
    path.symlink_to("2.png")


CHANGES = (new_image, removed_image, exchanged, painted_test_image, other_class, link_to_a_file)


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_file_is_found(trained_copy, opened, change):
    change(trained_copy.root / "data" / "tiny")
    assert set(stale(trained_copy)) == {"a", "b"}
    assert opened
    assert set(stale(trained_copy)) == {"a", "b"}  # from the cache


def test_an_image_of_the_same_size_and_time_changes_the_state_of_the_files(trained_copy):
    root = trained_copy.root / "data" / "tiny"
    before = files_digest(root)
    assert files_digest(root) == before
    same_size(root)
    assert files_digest(root) != before


def test_changed_folds_are_found(trained_copy, opened):
    path = trained_copy.folds("tiny")
    lines = path.read_text().splitlines()
    other = [
        f"{line.split(',')[0]},{1 - int(line.split(',')[1])},{line.split(',', 2)[2]}" for line in lines[1:]
    ]
    path.write_text("\n".join([lines[0], *other, ""]))
    assert set(stale(trained_copy)) == {"a", "b"}


def test_restored_files_are_up_to_date_again(trained_copy, opened):
    path = trained_copy.root / "data" / "tiny" / "train" / "10" / "3.png"
    content = path.read_bytes()
    path.unlink()
    assert stale(trained_copy)
    path.write_bytes(content)
    assert stale(trained_copy) == {}


def test_a_damaged_cache_is_written_again(trained_copy, opened):
    cache = trained_copy.competition_digests("tiny")
    for text in ("", "{}", "[1]", '{"state": 1, "configs": []}'):
        cache.write_text(text)
        assert stale(trained_copy) == {}
    assert len(opened) == 4
    assert stale(trained_copy) == {}
    assert len(opened) == 4


def test_a_folder_behind_a_link_is_read_every_time(trained_copy, opened):
    root = trained_copy.root / "data" / "tiny"
    (trained_copy.root / "elsewhere").mkdir()
    (root / "notes").symlink_to(trained_copy.root / "elsewhere")
    assert files_digest(root) == ""


def test_experiments_with_other_image_sizes_share_one_reading(trained_copy, opened):
    shutil.rmtree(trained_copy.run("tiny", "b").path)
    write_config(trained_copy, name="c", image__size=24, train__epochs=1)
    pipeline.run(str(trained_copy.config("c")), workspace=trained_copy)
    opened.clear()
    trained_copy.competition_digests("tiny").unlink()
    assert stale(trained_copy) == {}
    assert len(opened) == 1
