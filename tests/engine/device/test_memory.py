"""Memory of training: how many bytes the backward pass needs."""

import torch
from torch import nn

from kit.engine.device.memory import bytes_for_backward

FLOAT = 4  # bytes


def test_a_layer_keeps_its_input_and_weights_are_not_counted():
    images = torch.zeros(5, 7)
    assert bytes_for_backward(nn.Linear(7, 3), images) == 5 * 7 * FLOAT


def test_a_tensor_that_two_layers_keep_is_counted_once():
    images = torch.zeros(5, 7)
    net = nn.Sequential(nn.Linear(7, 3), nn.ReLU(), nn.Linear(3, 2))  # ReLU and the last layer keep the same
    assert bytes_for_backward(net, images) == (5 * 7 + 5 * 3) * FLOAT


def test_a_frozen_network_keeps_nothing():
    assert bytes_for_backward(nn.Linear(7, 3).requires_grad_(False), torch.zeros(5, 7)) == 0
