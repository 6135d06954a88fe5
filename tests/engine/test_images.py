import numpy as np
import pytest
import torch

from kit.config import AugmentConfig
from kit.engine.augment import prediction_transform, training_transform
from kit.engine.images import (
    EpochBatches,
    ImageDataset,
    ImageSet,
    make_loader,
)
from kit.engine.preprocessing import Preprocessing
from kit.engine.store import ImageStore, Picture, Rendering, cache_budget
from kit.errors import KitError
from kit.progress import SILENT
from tests.conftest import COLOURS, draw

OWN = Preprocessing(16, (0.5,) * 3, (0.5,) * 3)


@pytest.fixture
def folder(tmp_path):
    for i in range(9):
        draw(tmp_path / f"{i}.png", COLOURS["red"], i)
    return tmp_path


def image_set(count=9):
    return ImageSet([str(i) for i in range(count)], pictures(count))


def pictures(count=9):
    return [Picture(f"{i}.png") for i in range(count)]


def test_the_store_decodes_once_within_its_budget(folder):
    one_image = 36 * 32 * 3
    store = ImageStore(folder, Rendering("rgb"), "auto")
    assert store.load(Picture("0.png")) is store.load(Picture("0.png"))
    small = ImageStore(folder, Rendering("rgb"), "none")
    small.budget, small.full = 3 * one_image, False
    small.preload(pictures(), SILENT)
    assert small.held_bytes == 3 * one_image
    np.testing.assert_array_equal(small.load(Picture("8.png")), store.load(Picture("8.png")))


def test_preloading_leaves_the_unreadable_for_later(folder):
    (folder / "3.png").write_bytes(b"")
    store = ImageStore(folder, Rendering("rgb"), "auto")
    store.preload(pictures(), SILENT)
    assert set(store.held) == set(pictures()) - {Picture("3.png")}


def test_cache_budget():
    assert cache_budget("none") == 0
    assert cache_budget("500MB") == 500_000_000
    assert cache_budget("1.5 GB") == 1_500_000_000
    assert cache_budget("auto") > 0
    with pytest.raises(KitError, match="image.cache: is 'lots'"):
        cache_budget("lots")


@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 17])
def test_batches_cover_every_position_once(length):
    plain = EpochBatches(length, 8, None)
    found = [p for batch in plain for _, p, _ in batch]
    assert found == list(range(length))
    assert len(list(plain)) == len(plain)


def test_shuffled_batches_change_with_the_epoch_and_drop_a_lonely_last():
    batches = EpochBatches(17, 8, seed=3)
    assert [len(b) for b in batches] == [8, 8] == [8] * len(batches)
    first = list(batches)
    assert first == list(batches)
    batches.epoch = 1
    assert [p for b in batches for _, p, _ in b] != [p for b in first for _, p, _ in b]


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_change_nothing(folder, workers):
    def collect(workers):
        transform = training_transform(AugmentConfig(preset="heavy"), OWN)
        dataset = ImageDataset(
            image_set(), ImageStore(folder, Rendering("rgb"), "auto"), transform, (3, 16), seed=5
        )
        batches = EpochBatches(9, 4, seed=5)
        loader = make_loader(dataset, batches, workers, torch.device("cpu"))
        found = []
        for epoch in (1, 2):
            batches.epoch = epoch
            found += [batch.images for batch in loader]
        return torch.cat(found)

    assert torch.equal(collect(workers), collect(0))


def test_an_unreadable_image_is_reported_with_its_position(folder):
    (folder / "3.png").write_bytes(b"")
    dataset = ImageDataset(
        image_set(), ImageStore(folder, Rendering("rgb"), "auto"), prediction_transform(OWN), (3, 16), 0
    )
    batches = list(make_loader(dataset, EpochBatches(9, 4, None), 0, torch.device("cpu")))
    assert [list(b.problems) for b in batches] == [[3], [], []]
    assert len(dataset) == 9


@pytest.mark.parametrize("workers", [0, 1])
def test_workers_draw_nothing_from_the_generator_that_mixup_draws_from(folder, workers):
    dataset = ImageDataset(
        image_set(), ImageStore(folder, Rendering("rgb"), "auto"), prediction_transform(OWN), (3, 16), 0
    )
    loader = make_loader(dataset, EpochBatches(9, 4, None), workers, torch.device("cpu"))
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    next(iter(loader))
    assert torch.equal(torch.rand(1), expected)
