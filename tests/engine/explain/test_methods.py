"""Maps of every method: they find what decides the class, in any architecture, and depend on the weights."""

import pytest
import torch
from torch import nn

from kit.config import ImageConfig, ModelConfig
from kit.engine.explain.layers import find_layer, positions_of
from kit.engine.explain.methods import explainers, scaled
from kit.engine.models.build import build_model
from tests.conftest import raises_kit_error

NETWORKS = [
    "convnext_atto", "deit_tiny_distilled_patch16_224", "densenet121", "efficientnet_b0", "eva02_tiny_patch14_224",
    "fastvit_t8", "mobilenetv3_small_100", "resnet18", "swin_tiny_patch4_window7_224", "vit_tiny_patch16_224",
    "torchvision:squeezenet1_1", "torchvision:vit_b_16",
]  # fmt: skip


class CornerDetector(nn.Module):
    """A network for two classes: red in the upper left half of the image, and blue anywhere."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 2, 4, stride=4, bias=False)
        with torch.no_grad():
            self.features.weight.zero_()
            self.features.weight[0, 0] = 1.0
            self.features.weight[1, 2] = 1.0

    def forward(self, images):
        return self.features(images / 255).mean(dim=(2, 3))


def two_squares():
    """Return an image with a red square at the upper left and a blue one at the lower right."""
    image = torch.zeros(1, 3, 32, 32)
    image[0, 0, 4:12, 4:12] = 255
    image[0, 2, 20:28, 20:28] = 255
    return image


@pytest.mark.parametrize("name", list(explainers))
def test_a_map_is_bright_where_the_class_is_and_dark_where_another_is(name):
    images = two_squares().repeat(2, 1, 1, 1)
    red, blue = explainers.get(name)(CornerDetector(), images, torch.tensor([0, 1]))
    assert red[4:12, 4:12].mean() > 5 * red[20:28, 20:28].mean()
    assert blue[20:28, 20:28].mean() > 5 * blue[4:12, 4:12].mean()


@pytest.mark.parametrize("name", list(explainers))
def test_maps_are_shares_and_do_not_depend_on_other_images_of_the_batch(name):
    images = torch.cat([two_squares(), two_squares().flip(3)])
    maps = explainers.get(name)(CornerDetector(), images, torch.tensor([0, 0]))
    assert maps.shape == (2, 32, 32)
    assert maps.amin() >= 0
    assert maps.amax(dim=(1, 2)).tolist() == pytest.approx([1.0, 1.0])
    alone = explainers.get(name)(CornerDetector(), images[1:], torch.tensor([0]))
    assert torch.allclose(maps[1:], alone, atol=1e-5)


def small_network(seed):
    torch.manual_seed(seed)
    config = ModelConfig(name="simple_cnn", pretrained=False, options={"widths": [8, 16]})
    return build_model(config, ImageConfig(size=32), 3)[0].eval()


@pytest.mark.parametrize("name", list(explainers))
def test_other_weights_give_another_map(name):
    """The sanity check of Adebayo et al. 2018: a map that ignores the weights explains nothing."""
    torch.manual_seed(0)
    images, classes = torch.rand(1, 3, 32, 32) * 255, torch.tensor([0])
    explainer = explainers.get(name)
    maps = torch.cat([explainer(small_network(seed), images, classes).flatten(1) for seed in range(6)])
    correlations = torch.corrcoef(maps)[torch.triu_indices(6, 6, 1).unbind()]
    assert correlations.nan_to_num().mean().abs() < 0.5
    assert torch.equal(*(explainer(small_network(0), images, classes) for _ in range(2)))


def test_weights_and_gradients_of_the_network_stay_as_they_are():
    network = small_network(0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    for name in explainers:
        explainers.get(name)(network, torch.rand(1, 3, 32, 32) * 255, torch.tensor([1]))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_layer_is_found_in_every_architecture(name):
    torch.manual_seed(0)
    network = build_model(ModelConfig(name=name, pretrained=False), ImageConfig(), 3)[0].eval()
    size = network.preprocessing.predicting
    images = torch.rand(2, 3, size, size) * 255
    maps = explainers.get("grad_cam")(network, images, torch.tensor([0, 2]))
    assert maps.shape == (2, size, size)
    assert maps.isfinite().all()
    assert any(explainers.get("grad_cam")(network, images[:1], torch.tensor([k])).std() > 0 for k in range(3))


def test_the_layer_of_a_transformer_is_before_the_last_attention():
    network = build_model(ModelConfig(name="test_vit", pretrained=False), ImageConfig(), 3)[0].eval()
    size = network.preprocessing.predicting
    found = find_layer(network, torch.rand(1, 3, size, size) * 255, 0)
    last = len(network.backbone.blocks) - 1
    assert found.name == f"backbone.blocks.{last}.norm1"


def test_a_network_without_positions_is_refused_and_occlusion_is_named():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
    with raises_kit_error("explain_no_layer"):
        explainers.get("grad_cam")(flat, two_squares(), torch.tensor([0]))
    assert explainers.get("occlusion")(flat, two_squares(), torch.tensor([0])).shape == (1, 32, 32)


@pytest.mark.parametrize(
    ("shape", "mapped"),
    [
        ((2, 8, 7, 7), (2, 8, 7, 7)),
        ((2, 7, 7, 8), (2, 8, 7, 7)),
        ((2, 49, 8), (2, 8, 7, 7)),
        ((2, 50, 8), (2, 8, 7, 7)),
        ((2, 54, 8), (2, 8, 7, 7)),  # with registers
        ((2, 8, 1, 1), None),
        ((2, 3, 197, 197), None),  # attention
        ((8, 49, 8), None),  # windows
        ((2, 8), None),
    ],
)
def test_outputs_with_positions_become_maps(shape, mapped):
    found = positions_of(torch.zeros(shape), torch.zeros(2, 3, 224, 224))
    assert (None if found is None else tuple(found.shape)) == mapped


def test_an_empty_map_stays_empty():
    assert scaled(torch.full((1, 2, 2), -1.0)).tolist() == [[[0, 0], [0, 0]]]


def test_grad_cam_agrees_with_the_package_grad_cam():
    package = pytest.importorskip("pytorch_grad_cam", reason="needs the package grad-cam")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    network = build_model(ModelConfig(name="resnet18", pretrained=False), ImageConfig(size=64), 3)[0].eval()
    torch.manual_seed(0)
    images = torch.rand(1, 3, 64, 64) * 255
    layer = network.get_submodule(find_layer(network, images, 1).name)
    theirs = package.GradCAM(network, [layer])(images, [ClassifierOutputTarget(1)])
    ours = explainers.get("grad_cam")(network, images, torch.tensor([1]))
    assert torch.corrcoef(torch.stack([ours.flatten(), torch.tensor(theirs).flatten()]))[0, 1] > 0.98
