from dataclasses import replace

import numpy as np
import pytest
import torch

from kit.config import AugmentConfig
from kit.engine.augment.pipelines import prediction_transform, training_transform
from kit.engine.data.datasets import (
    EpochBatches,
    ImageDataset,
    ImageSet,
    SampleKey,
    SizedTransform,
    make_loader,
)
from kit.engine.data.image_store import ImageDecoder, ImageStore, Picture
from kit.engine.data.sampling import EpochPlan
from kit.engine.models.preprocessing import Preprocessing
from tests.conftest import COLORS, draw

OWN = Preprocessing(16, (0.5,) * 3, (0.5,) * 3)
PLAIN = SizedTransform(prediction_transform(OWN), (3, 16))


@pytest.fixture
def folder(tmp_path):
    for i in range(9):
        draw(tmp_path / f"{i}.png", COLORS["red"], i)
    return tmp_path


def image_set(count=9):
    return ImageSet([str(i) for i in range(count)], pictures(count))


def pictures(count=9):
    return [Picture(f"{i}.png") for i in range(count)]


@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 17])
def test_batches_cover_every_position_once(length):
    plain = EpochBatches(length, 8, None)
    found = [p for batch in plain for _, p, _ in batch]
    assert found == list(range(length))
    assert len(list(plain)) == len(plain)


def test_shuffled_batches_change_with_the_epoch_and_drop_a_last_batch_of_one():
    batches = EpochBatches(17, 8, seed=3)
    assert [len(b) for b in batches] == [8, 8] == [8] * len(batches)
    first = list(batches)
    assert first == list(batches)
    batches.epoch = 1
    assert [p for b in batches for _, p, _ in b] != [p for b in first for _, p, _ in b]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_do_not_depend_on_the_number_of_workers(folder, workers):
    def collect(workers):
        heavy = SizedTransform(training_transform(AugmentConfig(preset={"name": "heavy"}), OWN), (3, 16))
        dataset = ImageDataset(image_set(), ImageStore(folder, ImageDecoder("rgb")), {1: heavy}, seed=5)
        batches = EpochBatches(9, 4, seed=5)
        loader = make_loader(dataset, batches, workers, torch.device("cpu"))
        found = []
        for epoch in (1, 2):
            batches.epoch = epoch
            found += [batch.images for batch in loader]
        return torch.cat(found)

    assert torch.equal(collect(workers), collect(0))


def test_batches_can_resume_from_any_step():
    batches = EpochBatches(20, 3, seed=3, plan=EpochPlan.of(np.array([*range(15), 0, 0, 1, 2, 3])))
    batches.epoch = 2
    whole = list(batches)
    for start in (0, 1, 5, len(whole)):
        batches.start = start
        assert list(batches) == whole[start:]
    assert list(batches.whole_epoch()) == whole


def test_images_grow_with_the_epochs(folder):
    views = {
        1: SizedTransform(prediction_transform(OWN), (3, 16)),
        3: SizedTransform(prediction_transform(replace(OWN, size=24)), (3, 24)),
    }
    (folder / "8.png").unlink()
    dataset = ImageDataset(image_set(), ImageStore(folder, ImageDecoder("rgb")), views, 0)
    sizes = [
        [dataset[SampleKey(epoch, position)].image.shape[1] for position in (0, 8)] for epoch in (1, 2, 3, 9)
    ]
    assert sizes == [[16, 16], [16, 16], [24, 24], [24, 24]]


def test_an_image_on_which_the_augmentation_fails_is_named(folder):
    def fails(image, seed):
        raise ValueError("too thin")

    dataset = ImageDataset(
        image_set(), ImageStore(folder, ImageDecoder("rgb")), {0: SizedTransform(fails, (3, 16))}, 0
    )
    assert dataset[SampleKey(1, 2)].problem == "the augmentation failed: too thin"


def test_an_unreadable_image_is_reported_with_its_position(folder):
    (folder / "3.png").write_bytes(b"")
    dataset = ImageDataset(image_set(), ImageStore(folder, ImageDecoder("rgb")), {0: PLAIN}, 0)
    batches = list(make_loader(dataset, EpochBatches(9, 4, None), 0, torch.device("cpu")))
    assert [list(b.problems) for b in batches] == [[3], [], []]
    assert len(dataset) == 9


@pytest.mark.parametrize("workers", [0, 1])
def test_starting_workers_does_not_advance_the_global_generator(folder, workers):
    dataset = ImageDataset(image_set(), ImageStore(folder, ImageDecoder("rgb")), {0: PLAIN}, 0)
    loader = make_loader(dataset, EpochBatches(9, 4, None), workers, torch.device("cpu"))
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    next(iter(loader))
    assert torch.equal(torch.rand(1), expected)
