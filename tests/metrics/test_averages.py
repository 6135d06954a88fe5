"""Averages of probabilities agree with hand computation and scipy, and with each other in numpy and torch."""

import numpy as np
import pytest
import torch
from scipy.stats import gmean, rankdata

from kit.metrics import EPSILON
from kit.metrics.averages import geometric_mean, mean_rank


@pytest.fixture
def members() -> np.ndarray:
    return np.random.default_rng(0).dirichlet(np.ones(4), (3, 20)).astype(np.float32)


def test_the_geometric_mean_agrees_with_scipy(members):
    weights = [0.5, 0.3, 0.2]
    shares = np.broadcast_to(np.array(weights)[:, None, None], members.shape)
    np.testing.assert_allclose(
        geometric_mean(members, weights), gmean(members, weights=shares, axis=0), rtol=1e-4
    )


def test_the_geometric_mean_is_the_same_in_numpy_and_torch(members):
    weights = np.array([0.5, 0.3, 0.2], dtype=np.float32)
    tensors = geometric_mean(torch.from_numpy(members), torch.from_numpy(weights), torch)
    np.testing.assert_allclose(tensors.numpy(), geometric_mean(members, weights), rtol=1e-5)


def test_a_probability_of_0_is_clipped_to_epsilon():
    one, other = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    expected = np.sqrt(EPSILON)
    np.testing.assert_allclose(geometric_mean([one, other], [0.5, 0.5]), [[expected, expected]], rtol=1e-6)
    # One of five models predicts 0; the mean is 0.9 ** 0.8 * EPSILON ** 0.2, about 0.04.
    mean = geometric_mean([np.array([0.9])] * 4 + [np.array([0.0])], [0.2] * 5)
    assert mean == pytest.approx(0.9**0.8 * EPSILON**0.2)


def test_mean_ranks_agree_with_scipy_and_are_between_0_and_1(members):
    weights = np.array([0.5, 0.3, 0.2])
    expected = sum(w * (rankdata(p, axis=0) - 0.5) / 20 for w, p in zip(weights, members, strict=True))
    found = mean_rank(members, weights)
    np.testing.assert_allclose(found, expected)
    assert found.min() > 0 and found.max() < 1
    np.testing.assert_allclose(mean_rank(np.full((2, 5, 1), 0.3), np.array([0.5, 0.5])), 0.5)
