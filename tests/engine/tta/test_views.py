"""Views: exact changes of tensors, crops, scales, and reproducible random draws."""

import json

import numpy as np
import pytest
import torch

from kit.config import Component, ImageConfig, ModelConfig
from kit.engine.data.datasets import ImageSet
from kit.engine.data.image_store import ImageDecoder, ImageStore, Picture
from kit.engine.models.build import build_model
from kit.engine.models.preprocessing import Preprocessing
from kit.engine.tta.predict import SourceDataset, TTAPlan, source_loader
from kit.engine.tta.views import CenterSource, ModelInput, check_sizes, check_view, view_images_of, views
from tests.conftest import draw, raises_kit_error

MODEL_INPUT = ModelInput(32, 0.875)
INVERSES = {
    "identity": "identity",
    "hflip": "hflip",
    "vflip": "vflip",
    "transpose": "transpose",
    "rot90": "rot270",
    "rot180": "rot180",
    "rot270": "rot90",
}


def change(name: str):
    """Return the tensor change of a view of one image."""
    [view_image] = view_images_of(Component(name=name), MODEL_INPUT)
    return view_image.change


def images(channels: int, size: int = 32) -> torch.Tensor:
    count = 2 * channels * size * size
    return torch.arange(count).remainder(251).view(2, channels, size, size).to(torch.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", list(views))
def test_every_view_returns_square_images_and_does_not_change_its_source(name, channels):
    view_images = view_images_of(Component(name=name), MODEL_INPUT)
    for source, change in view_images:
        before = images(channels, source.size)
        result = change(given := before.clone())
        assert result.dtype == torch.uint8
        assert result.shape[:2] == before.shape[:2]
        assert result.shape[2] == result.shape[3]
        assert name == "multi_scale" or result.shape[2] == MODEL_INPUT.size
        assert torch.equal(given, before)
    assert len(view_images) == {"d4": 8, "five_crop": 5, "ten_crop": 10, "multi_scale": 3, "random": 8}.get(
        name, 1
    )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("name", "inverse"), INVERSES.items())
def test_a_view_followed_by_its_inverse_is_the_identity(name, inverse, channels):
    given = images(channels)
    assert torch.equal(change(inverse)(change(name)(given)), given)
    assert name == "identity" or not torch.equal(change(name)(given), given)


def test_every_view_of_one_image_has_an_inverse_or_is_a_shift():
    single = {name for name in views if len(view_images_of(Component(name=name), MODEL_INPUT)) == 1}
    assert single == set(INVERSES) | {f"shift_{way}" for way in ("up", "down", "left", "right")}


def test_rot90_is_counterclockwise():
    corner = torch.zeros(1, 1, 2, 2)
    corner[0, 0, 0, 1] = 1  # the upper right
    assert change("rot90")(corner)[0, 0].tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize(
    ("name", "target", "source"),
    [
        ("shift_up", (slice(0, 30), slice(None)), (slice(2, 32), slice(None))),
        ("shift_down", (slice(2, 32), slice(None)), (slice(0, 30), slice(None))),
        ("shift_left", (slice(None), slice(0, 30)), (slice(None), slice(2, 32))),
        ("shift_right", (slice(None), slice(2, 32)), (slice(None), slice(0, 30))),
    ],
)
def test_shifts_move_the_image_in_their_direction(name, target, source):
    shifted = change(name)(images(3))
    assert torch.equal(shifted[:, :, target[0], target[1]], images(3)[:, :, source[0], source[1]])


@pytest.mark.parametrize("channels", [1, 3])
def test_d4_is_eight_different_images_of_one_source(channels):
    view_images = view_images_of(Component(name="d4"), MODEL_INPUT)
    seen = {change(images(channels)).numpy().tobytes() for _, change in view_images}
    assert len(seen) == 8
    assert {source for source, _ in view_images} == {MODEL_INPUT.center}


def test_five_crop_is_corners_and_center_and_ten_crop_adds_their_flips():
    five = view_images_of(Component(name="five_crop"), MODEL_INPUT)
    ten = view_images_of(Component(name="ten_crop"), MODEL_INPUT)
    (source,) = {source for source, _ in ten}
    assert source == CenterSource(37, 1.0)  # 32 / 0.875
    assert ten[:5] == five
    large = images(3, 37)
    corners = [large[:, :, :32, :32], large[:, :, :32, 5:], large[:, :, 5:, :32], large[:, :, 5:, 5:]]
    for view_image, mirrored, expected in zip(
        five, ten[5:], [*corners, large[:, :, 2:34, 2:34]], strict=True
    ):
        assert torch.equal(view_image.change(large), expected)
        assert torch.equal(mirrored.change(large), expected.flip(3))


@pytest.mark.parametrize(
    ("model_input", "sizes"),
    [
        (ModelInput(224, 0.875), [192, 224, 256]),
        (ModelInput(384, 1.0), [320, 384, 448]),  # 336 and 432 lie between two multiples of 32
        (ModelInput(518, 1.0, patch=14), [448, 518, 588]),
        (ModelInput(16, 1.0), [14, 16, 18]),
    ],
)
def test_scales_are_rounded_to_sizes_that_the_network_accepts(model_input, sizes):
    view_images = view_images_of(Component(name="multi_scale"), model_input)
    assert [source.size for source, _ in view_images] == sizes


def test_check_sizes_refuses_other_sizes_only_for_models_of_a_fixed_size():
    multi_scale = [Component(name="multi_scale")]
    vit = ModelConfig(name="vit_tiny_patch16_224", pretrained=False)
    with raises_kit_error("image_size_unsuitable", "predict.tta.multi_scale"):
        check_sizes(multi_scale, build_model(vit, ImageConfig(), 3)[0])
    flexible = vit.model_copy(update={"options": {"dynamic_img_size": True}})
    check_sizes(multi_scale, build_model(flexible, ImageConfig(), 3)[0])
    small = ModelConfig(name="simple_cnn", pretrained=False)
    check_sizes(multi_scale, build_model(small, ImageConfig(size=16), 3)[0])


@pytest.mark.parametrize(
    ("view", "code", "where", "fact"),
    [
        ({"name": "hflop"}, "unknown_name", "predict.tta", "hflip"),
        (
            {"name": "random", "time": 4},
            "unknown_option",
            "predict.tta.random.time",
            "times",
        ),
        ({"name": "random", "times": 0}, "option_invalid", "predict.tta.random.times", "0"),
        ({"name": "hflip", "times": 2}, "unknown_option", "predict.tta.hflip.times", "times"),
        ({"name": "five_crop", "share": 1.0}, "option_invalid", "predict.tta.five_crop.share", "1.0"),
        ({"name": "multi_scale", "scales": []}, "option_invalid", "predict.tta.multi_scale.scales", "[]"),
        (
            {"name": "random", "pipeline": [{"name": "Rotat"}]},
            "unknown_name",
            "predict.tta.random.pipeline[0]",
            "Rotate",
        ),
        (
            {"name": "random", "pipeline": [{"name": "Rotate", "limits": 3}]},
            "option_invalid",
            "predict.tta.random.pipeline[0]",
            "limits",
        ),
    ],
)
def test_an_unknown_view_or_option_is_one_message_with_the_nearest_name(view, code, where, fact):
    with raises_kit_error(code, where) as caught:
        check_view(Component.model_validate(view))
    assert fact in str(caught.value)


# --- random views

CUSTOM = [{"name": "Rotate", "limit": 10, "p": 1.0}, {"name": "GaussNoise", "p": 1.0}]
RANDOM = [Component(name="random", times=3), Component(name="random", times=2, pipeline=CUSTOM)]


@pytest.fixture
def drawn_images(tmp_path) -> ImageSet:
    for i in range(7):
        draw(tmp_path / f"{i}.png", (200, 60, 60), seed=i, size=(30 + i, 28))
    return ImageSet([str(i) for i in range(7)], [Picture(f"{i}.png") for i in range(7)])


def sources_by_id(root, images: ImageSet, batch_size=7, workers=0, mode="rgb", components=RANDOM, seed=1):
    channels = 3 if mode == "rgb" else 1
    own = Preprocessing(size=16, mean=(0.5,) * channels, std=(0.5,) * channels, crop=0.9)
    tta_plan = TTAPlan.of([components], ModelInput(16, 0.9))
    dataset = SourceDataset(images, ImageStore(root, ImageDecoder(mode)), tta_plan.sources, own, seed)
    result = {}
    for batch in source_loader(dataset, batch_size, workers, torch.device("cpu")):
        for row, position in enumerate(batch.indices.tolist()):
            result[images.ids[position]] = [of_source[row].numpy().tobytes() for of_source in batch.images]
    return result


def of_order(images: ImageSet, order: list[int]) -> ImageSet:
    return ImageSet([images.ids[i] for i in order], [images.pictures[i] for i in order])


@pytest.mark.parametrize("mode", ["rgb", "grey"])
def test_random_views_depend_only_on_seed_id_and_number(tmp_path, drawn_images, mode):
    usual = sources_by_id(tmp_path, drawn_images, mode=mode)
    assert usual == sources_by_id(tmp_path, drawn_images, mode=mode, batch_size=2)
    assert usual == sources_by_id(tmp_path, drawn_images, mode=mode, batch_size=3, workers=1)
    assert usual == sources_by_id(tmp_path, of_order(drawn_images, [6, 2, 0, 1, 3, 5, 4]), mode=mode)
    fewer = sources_by_id(tmp_path, drawn_images, mode=mode, components=[Component(name="random", times=2)])
    assert [draws[:2] for draws in usual.values()] == list(fewer.values())
    assert usual != sources_by_id(tmp_path, drawn_images, mode=mode, seed=2)
    assert all(len(set(draws)) == 5 for draws in usual.values())  # all draws differ


def test_random_views_differ_between_ids_of_the_same_image(tmp_path, drawn_images):
    twice = ImageSet(["one", "two"], [drawn_images.pictures[0]] * 2)
    one, two = sources_by_id(tmp_path, twice).values()
    assert not set(one) & set(two)


def test_a_custom_pipeline_is_resized_to_the_model_size_if_needed():
    own = Preprocessing(size=16, mean=(0.5,), std=(0.5,), crop=0.5)
    model_input = ModelInput(16, 0.5)
    picture = np.random.default_rng(0).integers(0, 255, (40, 60, 1), dtype=np.uint8)

    def apply(step):
        (view_image,) = view_images_of(Component(name="random", times=1, pipeline=[step]), model_input)
        return view_image.source.transform(own)(picture, 0)

    usual = model_input.center.transform(own)(picture, 0)
    assert np.array_equal(apply({"name": "NoOp"}), usual)
    assert np.array_equal(apply({"name": "Crop", "x_max": 16, "y_max": 16}), picture[:16, :16])


def test_the_default_random_view_crops_and_rotates():
    steps = json.loads(view_images_of(Component(name="random"), ModelInput(16, 0.9))[0].source.pipeline)
    assert [step["name"] for step in steps] == ["RandomResizedCrop", "Rotate"]
    assert (steps[0]["scale"], steps[1]["limit"]) == ([0.8, 1.0], 10)


def test_random_views_that_need_colors_are_refused_for_other_channels():
    config, image = ModelConfig(name="simple_cnn", pretrained=False), ImageConfig(size=16, channels=5)
    model, _ = build_model(config, image, 3)
    jitter = Component(name="random", times=1, pipeline=[{"name": "ColorJitter"}])
    with raises_kit_error("channels_unsuitable", "predict.tta.random"):
        check_sizes([jitter], model)
    check_sizes([Component(name=name) for name in views], model)
