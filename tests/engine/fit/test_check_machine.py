"""What a machine lacks is told before any image is read: here the competition's folder does not even exist."""

import pytest

from kit import pipeline
from kit.config.load import load_config
from kit.engine.fit.check_machine import largest_batch
from kit.engine.fit.validate_config import check_recipe
from kit.engine.models.build import build_model
from kit.storage.workspace import Workspace
from tests.conftest import RecordedProgress, raises_kit_error, write_config


def warnings_for(workspace, *overrides: str, models: int = 2) -> list[str]:
    return check_recipe(load_config(write_config(workspace), overrides), workspace, models)


def test_a_machine_that_has_all_gives_no_warning(workspace):
    assert warnings_for(workspace) == []


def test_a_disk_that_cannot_hold_the_models_is_refused(small_disk):
    workspace = Workspace.open(small_disk)
    wide = ["model.options.widths=[32,80]", "image.cache=none"]
    with raises_kit_error("disk_full_soon"):
        pipeline.run(write_config(workspace), overrides=wide, workspace=workspace)
    with raises_kit_error("data_not_found"):  # one model fits
        pipeline.train(write_config(workspace), folds=[0], overrides=wide, workspace=workspace)


def test_a_disk_that_may_not_hold_the_caches_gives_a_warning(workspace):
    (line,) = warnings_for(workspace, "image.cache=9000000GB")
    assert "image.cache" in line
    assert warnings_for(workspace, "image.cache=9000000GB", models=0) == []


def test_caches_on_another_disk_are_compared_with_that_disk(workspace, small_disk, monkeypatch):
    monkeypatch.setenv("KIT_CACHE", str(small_disk))
    (line,) = warnings_for(workspace, "image.cache=1MB")
    assert line.startswith(str(small_disk))
    assert warnings_for(workspace, "image.cache=none") == []


def test_shared_memory_below_one_batch_is_refused(workspace):
    overrides = ["train.workers=2", "train.batch_size=1000000", "image.size=512"]
    with raises_kit_error("shared_memory_small", "/dev/shm"):
        pipeline.run(write_config(workspace), overrides=overrides, workspace=workspace)
    with raises_kit_error("data_not_found"):
        pipeline.run(write_config(workspace), overrides=[*overrides, "train.workers=0"], workspace=workspace)


def test_a_dry_run_tells_what_the_machine_lacks(tiny):
    progress = RecordedProgress()
    pipeline.dry_run(
        write_config(tiny), overrides=["image.cache=9000000GB"], workspace=tiny, progress=progress
    )
    assert "image.cache" in progress


@pytest.mark.parametrize(
    ("overrides", "size"),
    [
        ([], 16 * 3 * 16**2),  # validation: twice the batch size
        (["train.accumulate=4"], 32 * 3 * 16**2),
        (["image.size_by_epoch={1: 16, 2: 64}"], 8 * 3 * 64**2),
        (["image.predict_size=32"], 16 * 3 * 32**2),
    ],
)
def test_the_largest_batch_is_of_training_or_of_validation(workspace, overrides, size):
    config = load_config(write_config(workspace), overrides)
    model, _ = build_model(config.model, config.image, 3)
    assert largest_batch(config, model) == size
