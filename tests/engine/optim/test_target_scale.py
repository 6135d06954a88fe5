"""The scale of a regression: targets and numbers are inverse, and each head has its own scale."""

import numpy as np
import pytest
import torch

from kit.engine.optim.target_scale import TargetScale, decode
from kit.tasks import tasks
from tests.conftest import raises_kit_error

NUMBERS = np.array([[20.0], [35.5], [51.25], [1e3]])
REGRESSION = tasks.get("regression")


def test_standardized_targets_have_mean_0_and_deviation_1_and_are_inverted():
    scale = TargetScale.fitted(NUMBERS, bounded=False)
    targets = scale.targets(NUMBERS)
    assert targets.dtype == np.float32
    assert (targets.mean(), targets.std()) == (pytest.approx(0, abs=1e-6), pytest.approx(1))
    np.testing.assert_allclose(scale.numbers(torch.from_numpy(targets)).numpy(), NUMBERS, rtol=1e-6)


def test_bounded_targets_span_0_to_1_and_predictions_stay_in_the_range():
    scale = TargetScale.fitted(NUMBERS, bounded=True)
    targets = scale.targets(NUMBERS)
    assert (targets.min(), targets.max()) == (0, 1)
    inner = torch.from_numpy(targets[1:3])
    np.testing.assert_allclose(scale.numbers(inner.logit()).numpy(), NUMBERS[1:3], rtol=1e-4)
    extreme = scale.numbers(torch.tensor([[-1e4], [1e4]])).flatten().tolist()
    assert extreme == [20.0, 1e3]


def test_a_scale_survives_json_and_equal_numbers_have_none():
    scale = TargetScale.fitted(NUMBERS, bounded=True)
    assert TargetScale(**scale.as_dict()) == scale
    with raises_kit_error("targets_constant"):
        TargetScale.fitted(np.full((3, 1), 4.0), bounded=False)


def test_each_head_is_decoded_with_its_own_scale():
    scales = (TargetScale(0.0, 1.0), TargetScale(100.0, 10.0), TargetScale(0.0, 2.0, bounded=True))
    logits = torch.tensor([[[1.0], [2.0]], [[1.0], [2.0]], [[0.0], [0.0]]])
    assert decode(logits, REGRESSION, scales).tolist() == [[[1], [2]], [[110], [120]], [[1], [1]]]
    assert decode(logits[1], REGRESSION, scales[1:2]).tolist() == [[110], [120]]
    np.testing.assert_allclose(decode(torch.zeros(2, 4), tasks.get("multiclass"), ()).numpy(), 0.25)
