"""``kit clean`` removes caches of images, and nothing else."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kit.cli.main import app
from kit.storage.clean import clean
from tests.conftest import raises_kit_error


@pytest.fixture
def place(workspace):
    for competition in ("one", "two"):
        folder = workspace.cache(competition)
        (folder / "foreground").mkdir(parents=True)
        (folder / "a.pixels").write_bytes(b"x" * 5000)
        (folder / "foreground" / "b.png").write_bytes(b"y")
    (workspace.root / "runs/one/images.parquet").write_bytes(b"kept")
    return workspace


def test_everything_of_one_competition_or_of_all(place):
    (kept,) = clean(place, "one")
    assert (kept.competition, kept.files) == ("one", 2)
    assert kept.bytes >= 5000
    assert not place.cache("one").exists()
    assert (place.root / "runs/one/images.parquet").exists()
    assert [each.competition for each in clean(place)] == ["two"]
    assert clean(place) == []


def test_files_that_another_process_adds_or_removes_are_no_error(place, monkeypatch):
    import os

    folder, plain = place.cache("one"), os.rmdir

    def late(path, **options):
        if Path(path).name in ("foreground", ".cache") and not (folder / "late.pixels").exists():
            (folder / "late.pixels").write_bytes(b"z")
        return plain(path, **options)

    monkeypatch.setattr(os, "rmdir", late)
    assert [kept.files for kept in clean(place, "one")] == [2]
    assert [path.name for path in folder.iterdir()] == ["late.pixels"]


def test_a_file_that_cannot_be_removed_is_an_error(place, monkeypatch):
    import os

    def denied(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "unlink", denied)
    done = CliRunner().invoke(app, ["clean", "one", "--workspace", str(place.root)])
    assert done.exit_code == 1
    assert "permission denied" in done.stderr
    assert (place.cache("one") / "a.pixels").exists()


def test_a_dry_run_removes_nothing(place):
    done = CliRunner().invoke(app, ["clean", "--dry-run", "--json", "--workspace", str(place.root)])
    answer = json.loads(done.stdout)
    assert not answer["removed"]
    assert [row["competition"] for row in answer["kept"]] == ["one", "two"]
    assert set(place.caches()) == {"one", "two"}


def test_a_competition_that_has_nothing_is_named(place):
    with raises_kit_error("cache_missing", where="three") as caught:
        clean(place, "three")
    assert "one, two" in caught.value.next


def test_the_cache_may_lie_elsewhere(place, monkeypatch, tmp_path):
    (tmp_path / "fast").mkdir()
    monkeypatch.setenv("KIT_CACHE", str(tmp_path / "fast"))
    assert place.cache("one") == tmp_path / "fast" / "one" / ".cache"
    assert clean(place) == []
