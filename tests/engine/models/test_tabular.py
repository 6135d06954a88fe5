"""Heads that read metadata, and heads that predict it in training."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from kit.config import ImageConfig, ModelConfig
from kit.engine.models import tabular
from kit.engine.models.build import build_model, load_trained, rebuild_model
from kit.engine.models.heads import find_heads, head_parameters
from kit.engine.models.tabular import (
    AuxiliaryHeads,
    EncodedRows,
    JoinColumns,
    WithRows,
    layers_of,
    missing_row,
    without_auxiliary,
)

SIZES = (None, 2)
ROWS = EncodedRows(np.array([[0.5, 2], [np.nan, 0], [-1, 1]], np.float32), SIZES)
IMAGES = torch.full((3, 3, 16, 16), 100.0)
PLAIN = {"name": "simple_cnn", "pretrained": False, "options": {"widths": [8, 16]}}
READS = ModelConfig(**PLAIN, tabular=["age", "site"])


@pytest.fixture
def model():
    torch.manual_seed(0)
    return build_model(READS, ImageConfig(size=16), 3, None, SIZES)[0].eval()


def test_a_row_has_the_number_a_missing_flag_and_a_one_hot_category():
    expected = [[0.5, 0, 0, 0, 1], [0, 1, 1, 0, 0], [-1, 0, 0, 1, 0]]
    assert ROWS[torch.tensor([0, 1, 2])].tolist() == expected
    assert ROWS[torch.tensor([2, 0])].tolist() == [expected[2], expected[0]]
    assert missing_row(SIZES).tolist() == expected[1]


def test_logits_depend_on_the_rows_and_without_rows_all_values_are_missing(model):
    with torch.no_grad():
        logits, without = model(IMAGES, ROWS[torch.arange(3)]), model(IMAGES)
    torch.testing.assert_close(logits[1], without[1])
    assert not torch.allclose(logits[0], without[0]) and not torch.allclose(logits[0], logits[2])
    torch.testing.assert_close(without[0], without[2])


def test_a_model_with_the_rows_of_one_image_explains_like_the_batch(model):
    with torch.no_grad():
        torch.testing.assert_close(
            WithRows(model, ROWS[torch.tensor([2])])(IMAGES)[0], model(IMAGES, ROWS[torch.arange(3)])[2]
        )


@pytest.mark.parametrize("shape", [(3, 4), (3, 7, 4), (3, 4, 5, 5)])
def test_vectors_tokens_and_maps_keep_their_values_and_get_joined_ones(shape):
    spatial = len(shape) == 4
    features, layer = torch.randn(shape), JoinColumns(SIZES, spatial).eval()
    layer.rows = ROWS[torch.arange(3)]
    joined = layer(features)
    axis = 1 if spatial else -1
    torch.testing.assert_close(joined.narrow(axis, 0, 4), features)
    assert joined.shape[axis] == 4 + tabular.JOINED
    assert torch.equal(AuxiliaryHeads(4, spatial, SIZES)(features), features)


def test_training_replaces_some_cells_and_rows_by_missing_values(monkeypatch):
    monkeypatch.setattr(tabular, "UNKNOWN_SHARE", 0.3)
    torch.manual_seed(0)
    rows = torch.tensor([[0.5, 0, 0, 0, 1]]).expand(4000, -1)
    changed = JoinColumns(SIZES, False)._with_some_missing(rows)
    missing = torch.stack([changed[:, 1] == 1, changed[:, 2] == 1], dim=1).float()
    alone, both = 0.3 * 0.7 * 0.7, 0.3 + 0.7 * 0.3 * 0.3
    assert missing.mean(0).tolist() == pytest.approx([alone + both] * 2, abs=0.03)
    assert missing.prod(1).mean().item() == pytest.approx(both, abs=0.03)
    assert torch.equal(changed[missing[:, 0] == 0][:, 0].unique(), torch.tensor([0.5]))


def test_the_layer_belongs_to_the_head(model):
    (layer,) = layers_of(model, JoinColumns)
    assert set(layer.parameters()) <= head_parameters(model.backbone)
    assert len(find_heads(model.backbone)) == 1


@pytest.mark.parametrize(
    "name", ["resnet10t", "vit_tiny_patch16_224", "squeezenet1_1", "torchvision:resnet18"]
)
def test_networks_of_every_kind_read_rows_and_predict_columns(name):
    name = "torchvision:squeezenet1_1" if name == "squeezenet1_1" else name
    config = ModelConfig(
        name=name, pretrained=False, tabular=["age", "site"], auxiliary=["age"], head=[8, "relu"]
    )
    model = build_model(config, ImageConfig(size=224), 3, None, SIZES, (None,))[0]
    images = torch.rand(3, 3, 224, 224) * 255
    model(images, ROWS[torch.arange(3)])
    assert layers_of(model, AuxiliaryHeads)[0].taken().shape == (3, 1)
    with torch.no_grad():
        assert not torch.allclose(model.eval()(images, ROWS[torch.arange(3)])[0], model(images)[0])


def test_the_saved_weights_have_no_auxiliary_head_and_rebuild_the_model():
    config = ModelConfig(**PLAIN, tabular=["age", "site"], auxiliary=["age"], head=[8, "relu"])
    trained = build_model(config, ImageConfig(size=16), 3, None, SIZES, (None,))[0].eval()
    state = without_auxiliary(trained.state_dict())
    assert len(state) == len(trained.state_dict()) - 2
    rebuilt = rebuild_model(config, trained.preprocessing, 3, SIZES).eval()
    rebuilt.load_state_dict(state)
    rows = ROWS[torch.arange(3)]
    with torch.no_grad():
        torch.testing.assert_close(rebuilt(IMAGES, rows), trained(IMAGES, rows))


def test_auxiliary_predictions_are_taken_once_and_only_in_training():
    config = ModelConfig(**PLAIN, auxiliary=["age", "site"])
    model = build_model(config, ImageConfig(size=16), 3, None, (), SIZES)[0]
    (heads,) = layers_of(model, AuxiliaryHeads)
    model.eval()(IMAGES)
    assert heads.outputs is None
    model.train()(IMAGES)
    assert heads.taken().shape == (3, 3)  # a number and two categories; unknown is none
    with pytest.raises(AssertionError):
        heads.taken()
    copy.deepcopy(model)


@pytest.mark.parametrize("with_head", [True, False])
def test_a_head_is_taken_over_only_if_it_reads_the_same_rows(model, with_head):
    new = build_model(READS, ImageConfig(size=16), 3, None, SIZES)[0]
    notes = load_trained(new, model.state_dict(), "a.safetensors", with_head)
    same = torch.equal(
        layers_of(new, JoinColumns)[0].embed.weight, layers_of(model, JoinColumns)[0].embed.weight
    )
    assert (same, bool(notes)) == (with_head, not with_head)
    body = next(name for name, _ in new.named_parameters() if "columns" not in name)
    assert torch.equal(new.get_parameter(body), model.get_parameter(body))


def test_a_network_without_columns_is_the_same_as_before():
    plain = build_model(ModelConfig(**PLAIN), ImageConfig(size=16), 3)[0]
    assert isinstance(next(iter(find_heads(plain.backbone).values())), nn.Linear)
