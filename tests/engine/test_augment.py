import numpy as np
import pytest

from kit.config import AugmentConfig
from kit.engine.augment import build_step, prediction_transform, presets, training_transform
from kit.engine.preprocessing import Preprocessing
from kit.errors import KitError

OWN = Preprocessing(24, (0.5,) * 3, (0.5,) * 3, crop=0.875)
IMAGE = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)


@pytest.mark.parametrize("preset", list(presets))
@pytest.mark.parametrize("channels", [1, 3])
def test_every_preset_gives_the_models_size_and_depends_on_the_seed_alone(preset, channels):
    own = Preprocessing(24, (0.5,) * channels, (0.5,) * channels)
    image = IMAGE[:, :, :channels]
    transform = training_transform(AugmentConfig(preset=preset), own)
    results = [transform(image, seed) for seed in (1, 2, 3, 4, 1)]
    assert all(r.shape == (24, 24, channels) and r.dtype == np.uint8 for r in results)
    np.testing.assert_array_equal(results[0], results[-1])
    assert any((results[0] != r).any() for r in results[1:-1])


def test_presets_grow_in_strength():
    smooth = np.linspace(0, 255, IMAGE.size).reshape(IMAGE.shape).astype(np.uint8)

    def distance(preset):
        transform = training_transform(AugmentConfig(preset=preset, hflip=False), OWN)
        return np.mean([np.abs(transform(smooth, seed).astype(float) - plain).mean() for seed in range(60)])

    plain = training_transform(AugmentConfig(preset="none", hflip=False), OWN)(smooth, 0).astype(float)
    distances = [distance(preset) for preset in ("none", "light", "medium", "heavy")]
    assert distances[0] == 0
    assert distances == sorted(set(distances))


def test_flips_are_off_when_they_change_the_meaning():
    plain = training_transform(AugmentConfig(preset="none", hflip=False), OWN)
    assert all((plain(IMAGE, s) == plain(IMAGE, 0)).all() for s in range(10))
    flipped = training_transform(AugmentConfig(preset="none", hflip=True), OWN)
    seen = {flipped(IMAGE, s).tobytes() for s in range(20)}
    assert seen == {plain(IMAGE, 0).tobytes(), plain(IMAGE, 0)[:, ::-1].tobytes()}


def test_prediction_resizes_and_crops_the_centre():
    marked = np.zeros((48, 96, 3), dtype=np.uint8)
    marked[:, 24:72] = 200
    assert (prediction_transform(Preprocessing(24, (0.5,) * 3, (0.5,) * 3))(marked, 0) == 200).all()
    larger = Preprocessing(24, (0.5,) * 3, (0.5,) * 3, predict_size=32)
    assert prediction_transform(larger)(marked, 0).shape == (32, 32, 3)


def test_a_free_pipeline_is_built_from_yaml():
    steps = [
        {"name": "RandomResizedCrop", "size": [24, 24], "scale": [0.5, 1.0]},
        {
            "name": "OneOf",
            "transforms": [{"name": "VerticalFlip", "p": 1.0}, {"name": "Transpose"}],
            "p": 0.5,
        },
    ]
    assert training_transform(AugmentConfig(pipeline=steps), OWN)(IMAGE, 3).shape == (24, 24, 3)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            {"name": "HorizontalFlop"},
            r"p\[0\]: there is no albumentations transform 'HorizontalFlop'.*HorizontalFlip",
        ),
        ({"p": 0.5}, "has no name"),
        ({"name": "HorizontalFlip", "prob": 1}, "HorizontalFlip refuses its options: .*prob"),
        (
            {"name": "RandomResizedCrop", "size": [24, 24], "scale": [0.5, 3]},
            "RandomResizedCrop refuses its options",
        ),
        ({"name": "OneOf", "transforms": [{"name": "Nope"}]}, r"p\[0\].transforms\[0\]: there is no"),
    ],
)
def test_a_wrong_step_says_which_and_why(step, message):
    with pytest.raises(KitError, match=message):
        build_step(step, "p[0]")


def test_a_pipeline_of_another_size_is_refused():
    with pytest.raises(
        KitError, match=r"makes 48 x 49 images of 48 x 49 ones. The model takes 24 x 24. Begin with"
    ):
        training_transform(AugmentConfig(pipeline=[{"name": "HorizontalFlip"}]), OWN)
    with pytest.raises(KitError, match="augment.pipeline: fails on an image"):
        training_transform(AugmentConfig(pipeline=[{"name": "RandomCrop", "height": 99, "width": 99}]), OWN)
