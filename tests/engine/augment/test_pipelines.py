from dataclasses import replace

import numpy as np
import pytest
import torch

from kit.config import AugmentConfig, Component
from kit.engine.augment.pipelines import (
    build_step,
    check_preset,
    describe,
    prediction_transform,
    presets,
    training_transform,
)
from kit.engine.models.preprocessing import Preprocessing
from tests.conftest import raises_kit_error

OWN = Preprocessing(24, (0.5,) * 3, (0.5,) * 3, crop=0.875)
IMAGE = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
SMOOTH = np.linspace(0, 255, IMAGE.size).reshape(IMAGE.shape).astype(np.uint8)
CROP = {"name": "RandomResizedCrop", "size": [24, 24]}


def with_preset(name, hflip=True, erasing=0.0, **options):
    return AugmentConfig(preset=Component(name=name, **options), hflip=hflip, erasing=erasing)


@pytest.mark.parametrize("preset", list(presets))
@pytest.mark.parametrize("channels", [1, 3])
def test_every_preset_returns_the_model_size_and_depends_only_on_the_seed(preset, channels):
    own = Preprocessing(24, (0.5,) * channels, (0.5,) * channels)
    image = IMAGE[:, :, :channels]
    transform = training_transform(with_preset(preset), own)
    results = [transform(image, seed) for seed in (1, 2, 3, 4, 1)]
    assert all(r.shape == (24, 24, channels) and r.dtype == np.uint8 for r in results)
    np.testing.assert_array_equal(results[0], results[-1])
    assert any((results[0] != r).any() for r in results[1:-1])


def test_steps_draw_independently():
    own = replace(OWN, size=40, crop=1.0)
    square = IMAGE[:, :40]
    transform = training_transform(AugmentConfig(preset=Component(name="none"), hflip=True, vflip=True), own)
    turned = {"neither": square, "across": square[:, ::-1], "down": square[::-1], "both": square[::-1, ::-1]}
    results = [transform(square, seed) for seed in range(200)]
    shares = {name: np.mean([(r == shown).all() for r in results]) for name, shown in turned.items()}
    assert sum(shares.values()) == 1
    assert all(0.15 < share < 0.35 for share in shares.values()), shares


def distance(preset, **options):
    """Return the mean distance of training images from the image as predicted."""
    plain = training_transform(with_preset("none", hflip=False), OWN)(SMOOTH, 0).astype(float)
    transform = training_transform(with_preset(preset, hflip=False, **options), OWN)
    return np.mean([np.abs(transform(SMOOTH, seed).astype(float) - plain).mean() for seed in range(60)])


def test_presets_are_ordered_by_strength():
    distances = [distance(preset) for preset in ("none", "light", "medium", "heavy")]
    assert distances[0] == 0
    assert distances == sorted(set(distances))


def test_shift_moves_the_image_by_whole_pixels_in_all_directions_and_repeats_the_edge():
    own, square = replace(OWN, size=16, crop=1.0), IMAGE[:16, :16]
    transform = training_transform(with_preset("shift", hflip=False, share=0.125), own)
    padded = np.pad(square, ((2, 2), (2, 2), (0, 0)), mode="edge")
    moved = {(y, x): padded[y : y + 16, x : x + 16].tobytes() for y in range(5) for x in range(5)}
    results = {transform(square, seed).tobytes() for seed in range(300)}
    assert results == set(moved.values())


def test_options_of_presets_make_them_stronger():
    assert distance("rand_augment", crop=0.99, magnitude=3) < distance(
        "rand_augment", crop=0.99, magnitude=25
    )
    assert distance("rand_augment", crop=0.99, num_ops=1) < distance("rand_augment", crop=0.99, num_ops=6)
    assert distance("augmix", crop=0.99, severity=1) < distance("augmix", crop=0.99, severity=10)
    assert distance("light", crop=0.9) < distance("light", crop=0.2)


@pytest.mark.parametrize(
    ("preset", "code", "where"),
    [
        ({"name": "hevy"}, "unknown_name", "augment.preset"),
        ({"name": "heavy", "magnitude": 3}, "unknown_option", "augment.preset.magnitude"),
        ({"name": "rand_augment", "magnitude": 31}, "option_invalid", "augment.preset.magnitude"),
        ({"name": "augmix", "severity": 0}, "option_invalid", "augment.preset.severity"),
        ({"name": "none", "crop": 0.5}, "unknown_option", "augment.preset.crop"),
    ],
)
def test_unknown_presets_and_options_are_refused(preset, code, where):
    with raises_kit_error(code, where):
        check_preset(Component(**preset))
    check_preset(Component(name="rand_augment", num_ops=3, magnitude=30))


@pytest.mark.parametrize("preset", list(presets))
def test_the_size_follows_the_preprocessing(preset):
    for size in (16, 40):
        transform = training_transform(with_preset(preset, erasing=0.5), replace(OWN, size=size))
        assert transform(IMAGE, 1).shape == (size, size, 3)


@pytest.mark.parametrize("name", ["RandAugment", "AugMix"])
@pytest.mark.parametrize("shape", [(24, 30, 3), (24, 30, 1), (24, 30)])
def test_torchvision_steps_depend_only_on_the_seed(name, shape):
    image = np.random.default_rng(1).integers(0, 255, shape, dtype=np.uint8)
    step = build_step({"name": name, "p": 1.0}, "p[0]")

    def varied(seed, torch_seed):
        torch.manual_seed(torch_seed)
        before = torch.get_rng_state()
        step.set_random_seed(seed)
        result = step(image=image)["image"]
        assert torch.equal(torch.get_rng_state(), before)  # the global random state is unchanged
        assert (result.shape, result.dtype) == (shape, np.uint8)
        return result

    for seed in range(10):
        np.testing.assert_array_equal(varied(seed, torch_seed=0), varied(seed, torch_seed=1))
    assert len({varied(seed, torch_seed=0).tobytes() for seed in range(10)}) > 5


@pytest.mark.parametrize("name", ["RandAugment", "AugMix"])
def test_torchvision_steps_work_in_a_pipeline(name):
    options = {"RandAugment": {"num_ops": 3, "magnitude": 15}, "AugMix": {"severity": 5, "width": 2}}[name]
    either = {"name": "OneOf", "transforms": [{"name": name, **options}, {"name": "Transpose"}], "p": 1.0}
    for own, image in ((OWN, IMAGE), (replace(OWN, mean=(0.5,), std=(0.5,)), IMAGE[:, :, :1])):
        transform = training_transform(AugmentConfig(pipeline=[CROP, either]), own)
        results = [transform(image, seed) for seed in (*range(12), 0)]
        np.testing.assert_array_equal(results[0], results[-1])
        assert len({result.tobytes() for result in results}) == 12


def test_the_magnitude_of_a_torchvision_step_sets_its_strength():
    weak, strong = (build_step({"name": "RandAugment", "magnitude": m}, "p") for m in (0, 30))

    def moved(step):
        distances = []
        for seed in range(30):
            step.set_random_seed(seed)
            distances.append(np.abs(step(image=SMOOTH)["image"].astype(float) - SMOOTH).mean())
        return np.mean(distances)

    assert moved(weak) < moved(strong) / 2


def test_erasing_fills_a_rectangle_with_noise_at_its_probability():
    gray = np.full((24, 24, 3), 99, dtype=np.uint8)
    transform = training_transform(with_preset("none", hflip=False, erasing=0.4), OWN)
    erased = [(transform(gray, seed) != 99).any(axis=2) for seed in range(300)]
    assert np.mean([e.any() for e in erased]) == pytest.approx(0.4, abs=0.1)
    first = next(e for e in erased if e.any())
    rows, columns = np.flatnonzero(first.any(axis=1)), np.flatnonzero(first.any(axis=0))
    assert first[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean() > 0.95
    without = training_transform(with_preset("none", hflip=False), OWN)
    assert all((without(gray, seed) == 99).all() for seed in range(20))


def test_erasing_is_last_and_does_not_change_the_steps_before_it():
    """Images that are not erased are the same as without erasing."""
    plain, erasing = (training_transform(with_preset("medium", erasing=p), OWN) for p in (0.0, 0.3))
    same = [np.array_equal(plain(IMAGE, seed), erasing(IMAGE, seed)) for seed in range(60)]
    assert np.mean(same) == pytest.approx(0.7, abs=0.15)


def test_a_pipeline_is_described_in_one_line_per_step():
    assert describe(with_preset("light", erasing=0.25), OWN) == [
        "RandomResizedCrop(scale=(0.7, 1), size=(24, 24))",
        "HorizontalFlip() p=0.5",
        "Affine(rotate=(-8, 8), translate_percent=(-0.05, 0.05)) p=0.5",
        "Erasing(fill=random) p=0.25",
    ]
    assert describe(with_preset("none", hflip=False), OWN) == ["ResizeAndCrop(resized=27, size=24)"]
    either = {
        "name": "OneOf",
        "transforms": [{"name": "AugMix", "width": 2}, {"name": "Transpose"}],
        "p": 0.7,
    }
    assert describe(AugmentConfig(pipeline=[CROP, either]), OWN) == [
        "RandomResizedCrop(size=(24, 24))",
        "OneOf(AugMix(depth=-1, severity=3, width=2), Transpose() p=0.5) p=0.7",
    ]


@pytest.mark.parametrize("preset", list(presets))
def test_every_preset_has_a_description(preset):
    assert all("(" in line and "\n" not in line for line in describe(with_preset(preset), OWN))


def test_without_hflip_images_are_never_flipped():
    plain = training_transform(with_preset("none", hflip=False), OWN)
    assert all((plain(IMAGE, s) == plain(IMAGE, 0)).all() for s in range(10))
    flipped = training_transform(with_preset("none", hflip=True), OWN)
    seen = {flipped(IMAGE, s).tobytes() for s in range(20)}
    assert seen == {plain(IMAGE, 0).tobytes(), plain(IMAGE, 0)[:, ::-1].tobytes()}


def test_prediction_resizes_and_crops_the_center():
    marked = np.zeros((48, 96, 3), dtype=np.uint8)
    marked[:, 20:76] = 200  # the center, and the pixels that resizing mixes into its borders
    assert (prediction_transform(Preprocessing(24, (0.5,) * 3, (0.5,) * 3))(marked, 0) == 200).all()
    larger = Preprocessing(24, (0.5,) * 3, (0.5,) * 3, predict_size=32)
    assert prediction_transform(larger)(marked, 0).shape == (32, 32, 3)


def test_a_custom_pipeline_is_built_from_yaml():
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
    ("step", "code", "fact"),
    [
        (
            {"name": "HorizontalFlop"},
            "unknown_name",
            "HorizontalFlip",
        ),
        ({"p": 0.5}, "name_missing", "p[0]"),
        ({"name": "HorizontalFlip", "prob": 1}, "option_invalid", "prob"),
        (
            {"name": "RandomResizedCrop", "size": [24, 24], "scale": [0.5, 3]},
            "option_invalid",
            "RandomResizedCrop",
        ),
        ({"name": "OneOf", "transforms": [{"name": "Nope"}]}, "unknown_name", "p[0].transforms[0]"),
        ({"name": "RandAugment", "magnitude": 40}, "option_invalid", "magnitude"),
        ({"name": "AugMix", "mixture_width": 4}, "option_invalid", "mixture_width"),
        ({"name": "RandAugmnt"}, "unknown_name", "RandAugment"),
    ],
)
def test_an_invalid_step_is_refused_with_the_reason(step, code, fact):
    with raises_kit_error(code) as caught:
        build_step(step, "p[0]")
    assert fact in str(caught.value)


def test_a_pipeline_with_another_output_size_is_refused():
    with raises_kit_error("pipeline_size", "augment.pipeline"):
        training_transform(AugmentConfig(pipeline=[{"name": "HorizontalFlip"}]), OWN)
    transform = AugmentConfig(pipeline=[CROP])
    training_transform(transform, OWN)
    with raises_kit_error("pipeline_size", "augment.pipeline"):  # as when sizes grow by epoch
        training_transform(transform, replace(OWN, size=32))
    with raises_kit_error("pipeline_fails", "augment.pipeline"):
        training_transform(AugmentConfig(pipeline=[{"name": "RandomCrop", "height": 99, "width": 99}]), OWN)
