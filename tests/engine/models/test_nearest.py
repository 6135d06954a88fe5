"""kNN: the labels of the most similar training images, weighted by similarity and mixed with the model's."""

import math

import pytest
import torch

from kit.config import ImageConfig, ModelConfig, NeighborsConfig
from kit.engine.models.build import build_model
from kit.engine.models.nearest import Embedder, NeighborClassifier, neighbor_probs
from kit.tasks import tasks

GALLERY = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-1.0, 0.0]])
TARGETS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])


def test_votes_of_the_nearest_are_weighted_by_exp_of_cosine_over_temperature():
    probs = neighbor_probs(torch.tensor([[1.0, 0.0]]), GALLERY, TARGETS, k=2, temperature=0.5)
    first, second = math.exp(1.0 / 0.5), math.exp(0.8 / 0.5)
    assert probs[0, 0].item() == pytest.approx(first / (first + second))
    assert probs.sum().item() == pytest.approx(1.0)


def test_more_neighbors_than_images_are_all_images():
    assert torch.allclose(
        neighbor_probs(GALLERY, GALLERY, TARGETS, k=9, temperature=1e6), torch.full((4, 2), 0.5), atol=1e-4
    )


def test_queries_are_independent_of_their_batch(monkeypatch):
    queries = torch.nn.functional.normalize(torch.randn(7, 2), dim=1)
    together = neighbor_probs(queries, GALLERY, TARGETS, k=3, temperature=0.2)
    monkeypatch.setattr("kit.engine.models.nearest.QUERIES", 2)
    assert torch.allclose(neighbor_probs(queries, GALLERY, TARGETS, k=3, temperature=0.2), together)


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_the_classifier_predicts_the_mixed_probabilities(task, weight):
    torch.manual_seed(0)
    model, _ = build_model(
        ModelConfig(name="resnet18", pretrained=False), ImageConfig(size=32), num_classes=2
    )
    images = torch.rand(3, 3, 32, 32) * 255
    embeddings = Embedder(model.eval())(images)
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(3))
    config = NeighborsConfig(k=1, weight=weight, temperature=0.1)
    mixed = NeighborClassifier(model, embeddings, torch.eye(2)[[0, 1, 1]], config, tasks.get(task)).eval()(
        images
    )
    own = torch.softmax(model(images), dim=1) if task == "multiclass" else torch.sigmoid(model(images))
    found = torch.softmax(mixed, dim=1) if task == "multiclass" else torch.sigmoid(mixed)
    expected = (1 - weight) * own + weight * torch.eye(2)[[0, 1, 1]]
    assert torch.allclose(found, expected, atol=1e-5)
