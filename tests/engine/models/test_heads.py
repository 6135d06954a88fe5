"""``model.head`` and ``model.pool``: layers before the classifier, and the global pooling."""

import pytest
import torch
from torch import nn

from kit.config import ImageConfig, ModelConfig
from kit.engine.models.build import build_model, rebuild_model
from kit.engine.models.heads import (
    LayerBuilder,
    TaskHead,
    check_head,
    find_heads,
    head_layers,
    head_parameters,
    layers,
    zero_init_head,
)
from kit.engine.models.pooling import GeM, GlobalPool
from tests.conftest import raises_kit_error

RICH = [12, "batch_norm", "gelu", 8, "layer_norm", "multi_dropout 0.3 3"]
HEADS_AND_POOLS = [([], "gem"), ([12, "relu", "dropout 0.5"], None), (RICH, "max")]
# Small networks of every library, with linear and with convolutional classifiers.
NETWORKS = [
    ("simple_cnn", 16),
    ("residual_cnn", 16),
    ("test_resnet", 32),
    ("test_vit", 160),
    ("test_convnext", 32),
    ("resnetv2_18", 32),
    ("torchvision:squeezenet1_1", 32),
    ("torchvision:mobilenet_v3_small", 32),
    ("torchvision:shufflenet_v2_x0_5", 32),
]
WITHOUT_POOL = {"test_vit", "torchvision:shufflenet_v2_x0_5"}


def build(name, size=32, classes=5, **config):
    return build_model(
        ModelConfig(name=name, **{"pretrained": False} | config), ImageConfig(size=size), classes
    )[0]


def images(size, count=2):
    return torch.randint(0, 255, (count, 3, size, size), generator=torch.Generator().manual_seed(0)).float()


@pytest.mark.parametrize(("head", "pool"), HEADS_AND_POOLS)
@pytest.mark.parametrize(("name", "size"), NETWORKS)
def test_a_model_with_head_and_pool_is_rebuilt_around_its_weights(name, size, head, pool):
    pool = None if name in WITHOUT_POOL else pool
    config = ModelConfig(name=name, pretrained=False, head=head, pool=pool)
    model, _ = build_model(config, ImageConfig(size=size), 5)
    model.train()(images(size, 4))  # changes the statistics of norms
    copy = rebuild_model(config, model.preprocessing, 5)
    copy.load_state_dict(model.state_dict())
    logits = model.eval()(images(size))
    assert logits.shape == (2, 5)
    assert torch.equal(copy.eval()(images(size)), logits)


@pytest.mark.parametrize(("name", "size"), NETWORKS)
def test_head_parameters_are_exactly_the_new_parameters(name, size):
    pool = None if name in WITHOUT_POOL else "gem"
    plain, rich = build(name, size), build(name, size, head=[12, "batch_norm", "relu"], pool=pool)
    body = {n for n, p in plain.backbone.named_parameters() if p not in head_parameters(plain.backbone)}
    still = {n for n, p in rich.backbone.named_parameters() if p not in head_parameters(rich.backbone)}
    assert still == body
    counts = len(head_parameters(rich.backbone)) - len(head_parameters(plain.backbone))
    assert counts == 4 + (pool is not None)  # weight and bias of a linear layer and of a norm; GeM's p


def test_both_heads_of_a_distilled_network_are_extended():
    model = build("deit_tiny_distilled_patch16_224", 32, head=[12, "relu"])
    heads = find_heads(model.backbone)
    assert list(heads) == ["head", "head_dist"]
    assert all(isinstance(head, TaskHead) for head in heads.values())
    assert len(head_parameters(model.backbone)) == 8
    model.train()(images(32)).sum().backward()
    assert all(p.grad is not None for p in head_parameters(model.backbone))


@pytest.mark.parametrize("name", ["levit_128s", "poolformerv2_s12", "caformer_s18", "repvit_m0_9"])
def test_the_classifier_inside_a_timm_head_is_found(name):
    """Only the last linear layer is new: the norm or hidden layer before it has pretrained weights."""
    with torch.device("meta"):
        model = build_meta(name)
    assert all(isinstance(layer, nn.Linear) and layer.out_features == 5 for layer in head_layers(model))
    told = model.pretrained_cfg["classifier"]
    assert set(find_heads(model)) == ({told} if isinstance(told, str) else set(told))


def build_meta(name):
    import timm

    return timm.create_model(name, num_classes=5)


def test_only_the_classifier_starts_at_zero():
    model = build("simple_cnn", head=[12, "relu", 6])
    drawn = [p.clone() for p in head_parameters(model.backbone)]
    zero_init_head(model.backbone)
    (head,) = find_heads(model.backbone).values()
    assert not head[-1].weight.any()
    assert not head[-1].bias.any()
    assert head[0].weight.any()
    assert head[2].weight.any()
    assert len(drawn) == 6


@pytest.mark.parametrize("name", list(layers))
@pytest.mark.parametrize("spatial", [False, True])
def test_every_layer_keeps_the_shape_of_features(name, spatial):
    values = {"linear": {"features": 6}, "dropout": {"p": 0.2}, "multi_dropout": {"p": 0.2}}.get(name, {})
    build_layer: LayerBuilder = layers.get(name)
    features = torch.randn(4, 6, 3, 3) if spatial else torch.randn(4, 6)
    out = build_layer(6, spatial, **values)(features)
    assert out.shape == features.shape
    assert out.isfinite().all()


def test_multi_dropout_gives_the_mean_of_the_logits_over_its_masks():
    torch.manual_seed(0)
    model = build(
        "simple_cnn", 16, head=["multi_dropout 0.5 4"], options={"dropout": 0.0, "batch_norm": False}
    )
    (head,) = find_heads(model.backbone).values()
    dropout, classifier = head
    features = torch.randn(3, classifier.in_features)
    torch.manual_seed(1)
    got = head.train()(features)
    torch.manual_seed(1)
    masked = [classifier(nn.functional.dropout(features, 0.5)) for _ in range(4)]
    torch.testing.assert_close(got, torch.stack(masked).mean(dim=0))
    assert torch.equal(head.eval()(features), classifier(features))
    assert dropout.samples == 4


@pytest.mark.parametrize(
    ("head", "code", "where"),
    [
        ([500, "rellu"], "unknown_name", "model.head[1]"),
        ([0], "option_invalid", "model.head[0].features"),
        (["dropout"], "option_missing", "model.head[0]"),
        (["relu", "dropout 1.5"], "option_invalid", "model.head[1].p"),
        (["dropout half"], "option_invalid", "model.head[0].p"),
        (["dropout 0.5 3"], "option_invalid", "model.head[0]"),
        (["relu 3"], "option_invalid", "model.head[0]"),
        (["multi_dropout 0.5", 8], "layer_not_last", "model.head[0]"),
        (["multi_dropout 0.5 0"], "option_invalid", "model.head[0].samples"),
        ([""], "unknown_name", "model.head[0]"),
    ],
)
def test_a_mistake_in_the_head_is_refused_before_the_model_is_built(head, code, where):
    config = ModelConfig(name="simple_cnn", pretrained=False, head=head)
    with raises_kit_error(code, where):
        check_head(config)
    with raises_kit_error(code, where):
        build_model(config, ImageConfig(size=16), 3)


def test_a_valid_head_is_accepted():
    check_head(
        ModelConfig(name="simple_cnn", head=["dropout 0.2", 64, "batch_norm", "leaky_relu 0.2", 32, "tanh"])
    )


# --- pooling


@pytest.mark.parametrize("dims", [(2, 3), (1, 2)])
@pytest.mark.parametrize("flatten", [True, False])
def test_poolings_agree_with_their_formulas(dims, flatten):
    x = torch.rand(2, 3, 4, 5) + 0.1
    mean, largest = x.mean(dims, keepdim=not flatten), x.amax(dims, keepdim=not flatten)
    torch.testing.assert_close(GlobalPool("avg", dims, flatten)(x), mean)
    torch.testing.assert_close(GlobalPool("max", dims, flatten)(x), largest)
    torch.testing.assert_close(GlobalPool("avgmax", dims, flatten)(x), (mean + largest) / 2)
    gem = GeM(dims, flatten)
    assert gem.p.item() == 3
    torch.testing.assert_close(gem(x), x.pow(3).mean(dims, keepdim=not flatten) ** (1 / 3))
    with torch.no_grad():
        gem.p.fill_(1)
    torch.testing.assert_close(gem(x), mean)
    with torch.no_grad():
        gem.p.fill_(60)
    torch.testing.assert_close(gem(x / x.max()), largest / x.max(), atol=0.06, rtol=0)


def test_gem_neither_overflows_nor_breaks_at_zero_in_half_precision():
    gem = GeM((2, 3), flatten=True)
    large = torch.full((1, 2, 3, 3), 200.0, dtype=torch.float16)
    torch.testing.assert_close(gem(large), torch.full((1, 2), 200.0, dtype=torch.float16))
    zeros = torch.zeros(1, 2, 3, 3, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        gem(zeros).sum().backward()
    assert gem.p.grad.isfinite().all()
    assert zeros.grad.isfinite().all()


@pytest.mark.parametrize("name", [name for name, _ in NETWORKS if name not in WITHOUT_POOL])
def test_average_pooling_equals_the_pooling_of_the_network(name):
    size = 64  # px: features of more than one position
    plain, pooled, largest = (build(name, size, pool=pool).eval() for pool in (None, "avg", "max"))
    pooled.load_state_dict(plain.state_dict())
    largest.load_state_dict(plain.state_dict())
    expected = plain(images(size))
    torch.testing.assert_close(pooled(images(size)), expected)
    assert not torch.equal(largest(images(size)), expected)


def test_channels_last_poolings_are_replaced_too():
    """Swin pools (B, H, W, C); with other dimensions the classifier would not fit."""
    options = {"embed_dim": 24, "depths": [1, 1], "num_heads": [2, 2]}
    plain = build("swin_tiny_patch4_window7_224", 56, options=options).eval()
    pooled = build("swin_tiny_patch4_window7_224", 56, options=options, pool="avg").eval()
    pooled.load_state_dict(plain.state_dict())
    torch.testing.assert_close(pooled(images(56)), plain(images(56)))


def test_squeeze_and_excitation_keeps_its_average_pooling():
    model = build("torchvision:mobilenet_v3_small", pool="gem").backbone
    gates = [m.avgpool for m in model.modules() if type(m).__name__ == "SqueezeExcitation"]
    assert gates
    assert all(isinstance(pool, nn.AdaptiveAvgPool2d) for pool in gates)
    assert isinstance(model.avgpool, GeM)


@pytest.mark.parametrize("name", [*sorted(WITHOUT_POOL), "torchvision:vgg11_bn"])
def test_a_network_without_global_pooling_is_refused(name):
    with (
        torch.device("meta"),
        raises_kit_error("pool_not_replaceable", "model.pool"),
    ):
        build(name, 160 if name == "test_vit" else 32, pool="gem")
