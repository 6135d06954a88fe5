"""Training and prediction make no float64 tensor, which Apple's MPS does not have; here they run on the CPU."""

import pandas as pd
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from kit import pipeline
from kit.config.load import load_config
from tests.conftest import COLORS, TINY, draw, draw_class_folders, write_config
from tests.test_regression import AGES, draw_ages
from tests.test_soft import VOTES, draw_votes

WIDE = (torch.float64, torch.complex128)
VIEWS = ["identity", {"name": "random", "times": 1}]


def refuse_float64(function, *values) -> None:
    for leaf in tree_leaves(values):
        assert not (isinstance(leaf, torch.Tensor) and leaf.dtype in WIDE), f"float64 in {function}"


class NoFloat64Calls(TorchFunctionMode):
    """Fails on calls with float64 tensors, such as a copy to the device, which is none on a CPU."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        refuse_float64(function, args, kwargs, result)
        return result


class NoFloat64Operations(TorchDispatchMode):
    """Fails on operations with float64 tensors, also inside torch's functions."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        refuse_float64(function, args, kwargs, result)
        return result


def draw_two_labels(root) -> None:
    rows = []
    for i in range(24):
        draw(root / "train" / f"{i}.png", COLORS["red" if i % 2 else "green"], i)
        rows.append({"id": f"{i}.png", "red": i % 2, "dark": int(i % 3 == 0)})
    pd.DataFrame(rows).to_csv(root / "train.csv", index=False)


LABELS = {"layout": "csv", "folder": "train", "file": "train.csv", "id": "id", "label": ["red", "dark"]}
MULTILABEL = {key: value for key, value in TINY.items() if key != "submission"} | {
    "competition": {
        "name": "two",
        "data": "two",
        "task": "multilabel",
        "metric": "roc_auc",
        "train": LABELS,
        "test": None,
    },
}


EMA = {"train__balance": "weights", "train__average": "ema", "predict__merge": "rank"}


@pytest.mark.parametrize(
    ("draw_images", "values", "changes"),
    [
        (draw_class_folders, TINY, EMA | {"augment__mixup": 0.4, "train__clip": 1.0}),
        (draw_two_labels, MULTILABEL, {"train__loss": {"name": "bce", "positive_weight": "balanced"}}),
        (draw_votes, VOTES, {"train__loss": "kl", "train__average": "swa", "augment__cutmix": 0.4}),
        (draw_ages, AGES, {"train__loss": "bce", "augment__mixup": 0.0, "augment__erasing": 0.5}),
    ],
)
def test_no_tensor_is_float64(workspace, draw_images, values, changes):
    draw_images(workspace.root / "data" / values["competition"]["data"])
    path = write_config(workspace, values, train__epochs=1, predict__tta=VIEWS, **changes)
    with NoFloat64Calls(), NoFloat64Operations():
        done = pipeline.run(load_config(path), workspace=workspace)
    assert done.run.oof.exists()  # trained and predicted without an operation on float64


@pytest.mark.parametrize("mode", [NoFloat64Calls, NoFloat64Operations])
def test_the_test_notices_float64(mode):
    wide = torch.zeros(1, dtype=torch.float64)
    with pytest.raises(AssertionError, match="float64"), mode():
        wide + 1
    with pytest.raises(AssertionError, match="float64"), NoFloat64Calls():
        wide.to("cpu")
