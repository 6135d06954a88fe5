"""Prediction with views: merge methods, unreadable images, seconds measured."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from kit.config import Component
from kit.engine.data.datasets import ImageSet
from kit.engine.data.image_store import ImageDecoder, ImageStore, Picture
from kit.engine.models.preprocessing import Preprocessing
from kit.engine.tta.merge import merges
from kit.engine.tta.predict import Predictor, SourceDataset, TTAPlan, check_tta, predict, source_loader
from kit.engine.tta.views import ModelInput, views
from kit.tasks import tasks
from tests.conftest import draw, raises_kit_error

MULTICLASS, MULTILABEL = tasks.get("multiclass"), tasks.get("multilabel")
ONCE = torch.ones(2)
TWO_VIEWS = torch.tensor([[[0.5, 0.2, 0.3]], [[0.8, 0.1, 0.1]]])  # (views, rows, classes)


def merged(name, probs=TWO_VIEWS, counts=ONCE, exclusive=True):
    return merges.get(name)(probs, counts, exclusive)[0].tolist()


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("name", [name for name in merges if name != "rank"])
def test_equal_views_merge_to_themselves(name, exclusive):
    probs = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))
    probs = probs / probs.sum(dim=1, keepdim=True)
    both = merges.get(name)(torch.stack([probs] * 3), torch.tensor([1.0, 5.0, 2.0]), exclusive)
    assert torch.allclose(both, probs, atol=1e-6)


@pytest.mark.parametrize("name", list(merges))
def test_rows_of_exclusive_classes_sum_to_one_after_every_merge(name):
    assert sum(merged(name)) == pytest.approx(1)


def test_means_by_hand():
    assert merged("mean") == pytest.approx([0.65, 0.15, 0.2])
    roots = np.sqrt([0.5 * 0.8, 0.2 * 0.1, 0.3 * 0.1])
    assert merged("gmean", exclusive=False) == pytest.approx(roots)
    assert merged("gmean") == pytest.approx(roots / roots.sum())
    assert merged("max") == pytest.approx(np.array([0.8, 0.2, 0.3]) / 1.3)
    odds = np.sqrt([(0.5 / 0.5) * (0.8 / 0.2), (0.2 / 0.8) * (0.1 / 0.9), (0.3 / 0.7) * (0.1 / 0.9)])
    assert merged("logit_mean", exclusive=False) == pytest.approx(odds / (1 + odds))


def test_views_are_weighted_by_their_counts():
    three_to_one = torch.tensor([3.0, 1.0])
    assert merged("mean", counts=three_to_one) == pytest.approx([0.575, 0.175, 0.25])
    weighted = 0.5**0.75 * 0.8**0.25
    assert merged("gmean", counts=three_to_one, exclusive=False)[0] == pytest.approx(weighted)


def test_rank_averages_percentile_ranks_per_class_and_ties_share_a_rank():
    first = [[0.1, 0.9], [0.4, 0.6], [0.4, 0.1], [0.9, 0.2]]
    second = [[0.1, 0.0], [0.2, 0.1], [0.3, 0.2], [0.4, 0.3]]
    ranks = merges.get("rank")(torch.tensor([first, second]), ONCE, False)
    of_first = np.array([[1, 4], [2.5, 3], [2.5, 1], [4, 2]])
    of_second = np.array([[1, 1], [2, 2], [3, 3], [4, 4]])
    assert ranks.numpy() == pytest.approx(((of_first - 0.5) / 4 + (of_second - 0.5) / 4) / 2)


def test_probabilities_of_zero_and_one_can_be_merged():
    certain = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    for name in merges:
        assert merged(name, certain) == pytest.approx([0.5, 0.5])


def test_an_unknown_merge_names_the_nearest():
    with raises_kit_error("unknown_name", "predict.merge"):
        check_tta([Component(name="hflip")], "gmeam", tasks.get("multiclass"))


# --- predict


class Colors(torch.nn.Module):
    """Logits are channel means: invariant to flips and rotations."""

    def forward(self, images):
        return images.float().mean(dim=(2, 3)) / 100


class LeftMinusRight(torch.nn.Module):
    """Logits depend on the left and right halves of the image."""

    def forward(self, images):
        left, right = images.float().mean(dim=1).tensor_split(2, dim=2)
        return (
            torch.stack([left.mean(dim=(1, 2)), right.mean(dim=(1, 2)), right.amax(dim=(1, 2))], dim=1) / 50
        )


@pytest.fixture
def drawn(tmp_path) -> tuple[ImageStore, ImageSet]:
    for i in range(7):
        draw(tmp_path / f"{i}.png", (200, 60 + 20 * i, 60), seed=i, size=(32, 32))
    images = ImageSet([str(i) for i in range(7)], [Picture(f"{i}.png") for i in range(7)])
    return ImageStore(tmp_path, ImageDecoder("rgb")), images


def predict_all(model, drawn, *view_lists, merge="mean", batch_size=4, task=MULTICLASS):
    store, images = drawn
    cpu, own = torch.device("cpu"), Preprocessing(size=16, mean=(0.5,) * 3, std=(0.5,) * 3)
    tta_plan = TTAPlan.of(
        [[Component.model_validate(v) for v in views] for views in view_lists], ModelInput(16, 1.0)
    )
    dataset = SourceDataset(images, store, tta_plan.sources, own, seed=3)
    predictor = Predictor(model, task, cpu, nullcontext)
    found = predict(predictor, source_loader(dataset, batch_size, 0, cpu), tta_plan, merges.get(merge))
    return [of_head for of_group in found for of_head in of_group]


@pytest.mark.parametrize("view", ["hflip", "vflip", "rot90", "transpose", "d4"])
def test_an_invariant_model_predicts_the_same_for_every_symmetry(drawn, view):
    plain, turned = predict_all(Colors(), drawn, ["identity"], [view])
    assert turned.probs == pytest.approx(plain.probs, abs=1e-6)
    assert plain.probs.std(axis=0).max() > 0.01  # and the images differ


@pytest.mark.parametrize("task", [MULTICLASS, MULTILABEL])
@pytest.mark.parametrize("merge", list(merges))
def test_several_views_equal_the_merge_of_their_single_predictions(drawn, merge, task):
    apart = predict_all(LeftMinusRight(), drawn, ["identity"], ["hflip"], task=task)
    (both,) = predict_all(LeftMinusRight(), drawn, ["identity", "hflip"], merge=merge, task=task)
    together = torch.tensor(np.stack([each.probs for each in apart]))
    assert both.probs == pytest.approx(merges.get(merge)(together, ONCE, task.exclusive).numpy(), abs=1e-6)


def test_a_view_of_several_images_counts_as_many_in_the_mean(drawn):
    plain, crops = predict_all(LeftMinusRight(), drawn, ["identity"], ["five_crop"])
    (both,) = predict_all(LeftMinusRight(), drawn, ["identity", "five_crop"])
    assert both.probs == pytest.approx((plain.probs + 5 * crops.probs) / 6, abs=1e-6)


@pytest.mark.parametrize("merge", list(merges))
def test_batch_size_does_not_change_predictions(drawn, merge):
    (in_fours,), (in_ones,) = (
        predict_all(LeftMinusRight(), drawn, list(views), merge=merge, batch_size=n) for n in (4, 1)
    )
    assert in_fours.probs == pytest.approx(in_ones.probs, abs=1e-6)


@pytest.mark.parametrize("merge", list(merges))
def test_an_unreadable_image_gets_zeros_and_changes_no_other_row(drawn, merge, tmp_path):
    store, images = drawn
    without = ImageSet(images.ids[:3] + images.ids[4:], images.pictures[:3] + images.pictures[4:])
    (expected,) = predict_all(LeftMinusRight(), (store, without), ["identity", "random"], merge=merge)
    (tmp_path / "3.png").write_bytes(b"")
    (found,) = predict_all(LeftMinusRight(), drawn, ["identity", "random"], merge=merge)
    assert found.problems == {3: "was readable when scanned and is not now: empty file"}
    assert (found.probs[3] == 0).all()
    assert np.delete(found.probs, 3, axis=0) == pytest.approx(expected.probs, abs=1e-6)


def test_a_pipeline_that_fails_on_an_image_names_the_image(drawn):
    too_large = {
        "name": "random",
        "times": 1,
        "pipeline": [{"name": "RandomCrop", "height": 99, "width": 99}],
    }
    (found,) = predict_all(Colors(), drawn, [too_large])
    assert set(found.problems) == set(range(7))
    assert "a view failed" in found.problems[0]
    assert (found.probs == 0).all()


def test_every_image_is_decoded_once_for_all_views(drawn, monkeypatch):
    from kit.engine.data import image_store as module

    decoded = []
    plain = module.decode
    monkeypatch.setattr(module, "decode", lambda path, *how: decoded.append(path.name) or plain(path, *how))
    predict_all(Colors(), drawn, list(views), ["identity", "multi_scale"])
    assert sorted(decoded) == [f"{i}.png" for i in range(7)]


def test_a_view_image_in_several_groups_is_predicted_once(drawn):
    seen = []

    class Counting(Colors):
        def forward(self, images):
            seen.append(len(images))
            return super().forward(images)

    predict_all(Counting(), drawn, ["identity"], ["d4"], ["identity", "hflip"], batch_size=7)
    assert seen == [7] * 8


def test_seconds_of_reading_and_of_views_are_measured(drawn):
    plain, many = predict_all(Colors(), drawn, ["identity"], [{"name": "random", "times": 16}])
    assert plain.read_seconds == many.read_seconds > 0
    assert many.predict_seconds > plain.predict_seconds > 0
