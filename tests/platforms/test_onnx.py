"""Models as ONNX predict what kit predicts, for a program that has the files and ``models.json`` only."""

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from kit import pipeline
from kit.config import ImageConfig, ModelConfig
from kit.engine.models import onnx_export
from kit.engine.models.build import Classifier, build_model
from kit.engine.models.onnx_export import write_onnx
from kit.engine.models.preprocessing import Preprocessing
from kit.engine.optim.target_scale import TargetScale
from kit.platforms.predict_bundle import read_record
from kit.predictions import load_test
from kit.tasks import tasks
from tests.conftest import raises_kit_error

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="needs the extra onnx")
NETWORKS = [
    "convnext_atto", "deit_tiny_patch16_224", "efficientnet_b0", "fastvit_t8", "mobilenetv3_small_100",
    "regnetx_002", "resnet18", "seresnet18", "swin_tiny_patch4_window7_224", "vit_tiny_patch16_224",
    "torchvision:squeezenet1_1", "torchvision:vgg11",
]  # fmt: skip


@pytest.fixture(scope="module")
def bundle(trained, tmp_path_factory):
    """The bundle of a blend, with its models as ONNX."""
    import shutil

    from kit.storage.workspace import Workspace

    root = tmp_path_factory.mktemp("onnx")
    shutil.copytree(trained.root, root / "workspace")
    workspace = Workspace.open(root / "workspace")
    pipeline.blend(["tiny/a", "tiny/b"], name="both", workspace=workspace)
    pipeline.bundle("tiny/both", out=root / "bundle", onnx=True, workspace=workspace)
    return workspace, root / "bundle"


def as_input(path, described):
    """Return an image as the description says; its short side is resized, then the center is cropped."""
    image = Image.open(path).convert("RGB")
    side, size = described["shorter_side"], described["size"]
    scale = side / min(image.size)
    kernel = getattr(Image.Resampling, described["interpolation"].split(",")[0].upper())
    image = image.resize([round(length * scale) for length in image.size], kernel)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    pixels = np.asarray(image)[top : top + size, left : left + size]
    return pixels.transpose(2, 0, 1)[None].astype(np.float32)


def test_the_files_and_their_description_reproduce_the_predictions_of_kit(bundle):
    workspace, folder = bundle
    about = json.loads((folder / "onnx" / "models.json").read_text())
    assert about["classes"] == list(load_test(workspace.run("tiny", "a")).classes)
    assert [member["run"] for member in about["members"]] == ["tiny/a", "tiny/b"]
    for member in about["members"]:
        expected = load_test(workspace.run("tiny", member["run"].split("/")[1]))
        sessions = [onnxruntime.InferenceSession(folder / "onnx" / file) for file in member["files"]]
        assert len(sessions) == 2
        for name, row in zip(expected.ids, expected.probs, strict=True):
            image = as_input(workspace.root / "data" / "tiny" / "test" / name, member["input"])
            found = np.mean([session.run(None, {"images": image})[0][0] for session in sessions], axis=0)
            # Pillow rounds pixels between its passes over rows and columns; kit rounds once.
            assert found == pytest.approx(row, abs=5e-3)


def test_a_file_takes_batches_of_any_size(bundle):
    _, folder = bundle
    file = next((folder / "onnx").rglob("*.onnx"))
    session = onnxruntime.InferenceSession(file)
    images = np.random.default_rng(0).uniform(0, 255, (5, 3, 16, 16)).astype(np.float32)
    together = session.run(None, {"images": images})[0]
    one_by_one = [session.run(None, {"images": images[i : i + 1]})[0][0] for i in range(5)]
    assert together == pytest.approx(np.array(one_by_one), abs=1e-5)


def test_a_damaged_file_is_found_like_any_other_of_the_bundle(bundle, tmp_path):
    import shutil

    shutil.copytree(bundle[1], tmp_path / "copy")
    assert read_record(tmp_path / "copy").run == "tiny/both"
    file = next((tmp_path / "copy" / "onnx").rglob("*.onnx"))
    file.write_bytes(file.read_bytes()[:-1])
    with raises_kit_error("bundle_damaged"):
        read_record(tmp_path / "copy")


def test_without_the_extra_no_bundle_is_begun(trained_copy, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with raises_kit_error("extra_missing"):
        pipeline.bundle("tiny/a", out=tmp_path / "bundle", onnx=True, workspace=trained_copy)
    assert not (tmp_path / "bundle").exists()


def small_model():
    config = ModelConfig(name="simple_cnn", pretrained=False, options={"widths": [4]})
    return build_model(config, ImageConfig(size=8), 3)[0].eval()


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_outputs_are_probabilities(tmp_path, task):
    write_onnx(small_model(), tasks.get(task), (), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    probs = session.run(None, {"images": np.full((1, 3, 8, 8), 200, np.float32)})[0]
    assert ((probs > 0) & (probs < 1)).all()
    assert (probs.sum() == pytest.approx(1.0)) == (task == "multiclass")


def test_numbers_come_out_in_their_own_unit(tmp_path):
    config = ModelConfig(name="simple_cnn", pretrained=False, options={"widths": [4]})
    model = build_model(config, ImageConfig(size=8), 1)[0].eval()
    scale = TargetScale(offset=500.0, factor=10.0, bounded=True)
    write_onnx(model, tasks.get("regression"), (scale,), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    number = session.run(None, {"images": np.zeros((1, 3, 8, 8), np.float32)})[0].item()
    assert 500 <= number <= 510


def test_a_file_that_predicts_something_else_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "TOLERANCE", -1.0)
    with raises_kit_error("onnx_differs"):
        write_onnx(small_model(), tasks.get("multiclass"), (), tmp_path / "model.onnx")


class WithoutOperator(torch.nn.Module):
    """A network whose last operation ONNX does not have."""

    def forward(self, images):
        return torch.linalg.eigvalsh(images[:, 0, :3, :3])


def test_a_network_that_cannot_be_exported_is_refused_with_the_reason(tmp_path):
    preprocessing = Preprocessing(size=8, mean=(0.5,) * 3, std=(0.5,) * 3)
    model = Classifier(WithoutOperator(), preprocessing)
    with raises_kit_error("onnx_unsupported"):
        write_onnx(model, tasks.get("multiclass"), (), tmp_path / "model.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_every_family_are_exported(tmp_path, name):
    config = ModelConfig(name=name, pretrained=False)
    model = build_model(config, ImageConfig(), 4)[0].eval()
    assert write_onnx(model, tasks.get("multiclass"), (), tmp_path / "model.onnx") <= 1e-4
