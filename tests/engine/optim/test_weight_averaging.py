import pytest
import torch
from torch import nn

from kit.config import Component
from kit.engine.optim.weight_averaging import (
    averages,
    build_average,
    check_average,
    moving_norms,
    renew_norms,
)
from tests.conftest import raises_kit_error


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def averaged_weights(model: nn.Module, average, steps_per_epoch: int, epochs: int) -> list[torch.Tensor]:
    """Set the first weight to the number of the step; return its average after each epoch."""
    found = []
    for epoch in range(1, epochs + 1):
        for step in range((epoch - 1) * steps_per_epoch + 1, epoch * steps_per_epoch + 1):
            nn.init.constant_(model[0].weight, float(step))
            average.after_step(model, step)
        average.after_epoch(model, epoch)
        found.append(average.model[0].weight[0, 0, 0, 0].item())
    return found


def test_ema_agrees_with_a_computation_by_hand():
    model = network()
    average = build_average(Component(name="ema", decay=0.5, warmup=False), model, epochs=2)
    expected, value = [], None
    for step in range(1, 7):
        value = float(step) if step == 1 else 0.5 * value + 0.5 * step
        expected.append(value)
    assert averaged_weights(model, average, 3, 2) == pytest.approx([expected[2], expected[5]])


def test_ema_with_warmup_forgets_the_initial_weights():
    model = network()
    average = build_average(Component(name="ema", decay=0.9999), model, epochs=1)
    assert averaged_weights(model, average, 200, 1)[0] > 100


def test_swa_is_the_mean_of_the_last_epochs():
    model = network()
    average = build_average(Component(name="swa", start=0.5), model, epochs=4)
    assert not average.is_begun()
    assert averaged_weights(model, average, 10, 4)[2:] == pytest.approx([30, 35])
    assert average.is_begun()


@pytest.mark.parametrize("name", list(averages))
def test_an_average_resumes_from_its_state(name):
    model = network()
    whole = build_average(Component(name=name), model, 4)
    expected = averaged_weights(model, whole, 5, 4)
    first, second = (build_average(Component(name=name), network(), 4) for _ in range(2))
    for epoch in range(1, 5):
        for average, wanted in ((first, epoch <= 3), (second, epoch == 4)):
            if epoch == 4 and average is second:
                second.load_state_dict(first.state_dict())
            for step in range((epoch - 1) * 5 + 1, epoch * 5 + 1) if wanted else ():
                nn.init.constant_(model[0].weight, float(step))
                average.after_step(model, step)
            if wanted:
                average.after_epoch(model, epoch)
    assert second.model[0].weight[0, 0, 0, 0].item() == expected[-1]


def test_renewed_norms_have_the_statistics_of_the_images_and_frozen_norms_are_unchanged():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3)).train()
    model[1].eval()
    assert moving_norms(model) == ["0"]
    images = torch.randn(40, 3, 8, 8) * 3 + 5
    frozen = model[1].running_mean.clone()
    renew_norms(model, ["0"], zip(images.split(10), strict=True))
    torch.testing.assert_close(model[0].running_mean, images.mean(dim=(0, 2, 3)), atol=1e-4, rtol=1e-4)
    assert torch.equal(model[1].running_mean, frozen)
    assert (model[0].momentum, model.training) == (0.1, False)


def test_unknown_averages_and_options_are_refused():
    check_average(None)
    with raises_kit_error("unknown_name"):
        check_average(Component(name="emma"))
    with raises_kit_error("option_invalid", "train.average.decay"):
        check_average(Component(name="ema", decay=2))
