"""The trial finds the faster precision of a CPU and does not change the model."""

import torch
from torch import nn

from kit.engine.fit import precision_trial as module
from kit.engine.fit.precision_trial import faster_precision
from kit.engine.models.build import Classifier
from kit.engine.models.preprocessing import Preprocessing


def classifier() -> Classifier:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(), nn.Linear(784, 2)
    )
    return Classifier(layers, Preprocessing(16, (0.5,) * 3, (0.5,) * 3))


def choice(monkeypatch, bf16, fp32):
    """Return the choice if the fastest step of each precision takes this many seconds."""
    seconds = {"bf16": iter([9.0, bf16, 7.0]), "fp32": iter([9.0, 7.0, fp32])}
    monkeypatch.setattr(module, "_seconds", lambda model, images, name: next(seconds[name]))
    return faster_precision(classifier(), "AMX")


def test_the_faster_precision_is_chosen_and_a_tie_goes_to_bf16(monkeypatch):
    bf16, fp32 = choice(monkeypatch, 1.0, 2.0), choice(monkeypatch, 3.0, 2.0)
    assert (bf16.name, "AMX" in bf16.why, "2.0" in bf16.why) == ("bf16", True, True)
    assert (fp32.name, "1.5" in fp32.why) == ("fp32", True)
    assert choice(monkeypatch, 1.05, 1.0).name == "bf16"


def test_only_trainable_parameters_are_timed(monkeypatch):
    learning = set()

    def timed(model, *_):
        learning.add(sum(parameter.requires_grad for parameter in model.parameters()))
        return 1.0

    monkeypatch.setattr(module, "_seconds", timed)
    faster_precision(classifier(), "AMX", training=0)
    assert learning == {2}  # the head's weight and bias, of six


def test_the_trial_changes_neither_the_model_nor_the_random_state():
    model = classifier()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    assert faster_precision(model, "AMX").name in ("bf16", "fp32")
    assert torch.equal(torch.rand(3), expected)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
