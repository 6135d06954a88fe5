import numpy as np
from PIL import Image
from typer.testing import CliRunner

from kit.cli.main import app
from kit.config.load import load_config
from kit.report.sheet import GAP, LINE, MIN_TILE
from kit.training.augmentation_preview import training_examples
from tests.conftest import raises_kit_error, write_config


def examples(tiny, *overrides, images=3, epochs=4):
    return training_examples(load_config(write_config(tiny), list(overrides)), tiny, images, epochs)


def test_columns_are_the_predicted_image_and_one_augmented_image_per_epoch(tiny):
    shown = examples(tiny)
    assert shown.columns == ["as predicted", "epoch 1", "epoch 2", "epoch 3", "epoch 4"]
    assert [caption.split()[1] for caption in shown.captions] == ["2", "10", "red"]
    for row in shown.tiles:
        assert {tile.shape for tile in row} == {(16, 16, 3)}
        assert len({tile.tobytes() for tile in row}) == 5
    again = examples(tiny)
    np.testing.assert_array_equal(np.array(again.tiles), np.array(shown.tiles))


def test_without_augmentation_every_epoch_equals_the_predicted_image(tiny):
    for row in examples(tiny, "augment={preset: none, hflip: false}").tiles:
        assert len({tile.tobytes() for tile in row}) == 1


def test_images_are_mixed_until_mix_off_epochs(tiny):
    overrides = ["augment={preset: none, hflip: false, mixup: 5.0, mix_off_epochs: 2}", "train.epochs=4"]
    for row in examples(tiny, *overrides).tiles:
        changed = [tile.tobytes() != row[0].tobytes() for tile in row[1:]]
        assert changed[2:] == [False, False]
    mixed = [row[1].tobytes() != row[0].tobytes() for row in examples(tiny, *overrides).tiles]
    assert any(mixed)


def test_size_by_epoch_and_gray_images(tiny):
    shown = examples(tiny, "image.size_by_epoch={1: 8, 3: 16}", "image.mode=grey")
    assert [tile.shape for tile in shown.tiles[0]] == [(s, s, 3) for s in (16, 8, 8, 16, 16)]
    assert all((tile[..., 0] == tile[..., 2]).all() for tile in shown.tiles[0])


def test_an_unreadable_image_is_named(tiny):
    config = load_config(write_config(tiny))
    training_examples(config, tiny, 30, 1)
    broken = tiny.root / "data/tiny/train/2/0.png"
    broken.write_bytes(broken.read_bytes()[:60])
    with raises_kit_error("image_unreadable") as caught:
        training_examples(config, tiny, 30, 1)
    assert "train/2/0.png" in caught.value.problem


def test_the_command_writes_only_the_sheet(tiny):
    result = CliRunner().invoke(app, ["augment", str(write_config(tiny)), "--images", "3", "--epochs", "2"])
    assert result.exit_code == 0, result.output
    assert "runs/tiny/augment-tiny-cnn.png  3 images, 2 epochs" in result.stdout
    with Image.open(tiny.sheet("tiny", "tiny-cnn")) as sheet:
        assert sheet.size == (GAP + 3 * (MIN_TILE + GAP), LINE + 3 * (LINE + MIN_TILE + GAP))
    assert not tiny.folds("tiny").exists()
    assert not tiny.run("tiny", "tiny-cnn").path.exists()
