"""Compare training of a head with one forward pass of its images: ``python -m tests.benchmarks.frozen``.

The images are those of $KIT_DATA/cse144 if present, else drawn ones; the network is mobilenetv2_100 at 224
px, with random weights. Each measurement runs in its own process; times of commands include their start. Only
the image and feature caches are shared.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.claim import Claim, show
from tests.benchmarks.growth import draw_pool, link_competition

COMPETITION, IMAGES = "cse144", 1_000
FOLDS, EPOCHS, VIEWS = 5, 20, 4
MAX_RATIO = 1.5
MODEL = "mobilenetv2_100"
HEAD_ONLY = "kit train with a frozen backbone"


@dataclass(frozen=True)
class Place:
    """A workspace with one competition and the weights of one network."""

    root: Path
    data: str

    def overrides(self, name: str, *more: str) -> list[str]:
        """Return the overrides of the config that ``kit init`` writes."""
        return [
            f"name={name}",
            f"model={{name: {MODEL}, weights: weights.safetensors, trains: head}}",
            f"augment.views={VIEWS}",
            "augment.mixup=0",
            f"train.epochs={EPOCHS}",
            f"folds={{scheme: stratified, count: {FOLDS}}}",
            *more,
        ]


def create_workspace(root: Path) -> Place:
    """Write the competition's config and the weights; link or draw the images."""
    import timm
    from safetensors.torch import save_file

    from kit import pipeline
    from kit.storage.workspace import Workspace

    real = Path(os.environ.get("KIT_DATA", "/nowhere")) / COMPETITION
    (root / "data").mkdir()
    name = COMPETITION if real.is_dir() else "drawn"
    if real.is_dir():
        (root / "data" / name).symlink_to(real.absolute())
    else:
        draw_pool(root / "pool", IMAGES + IMAGES // 2)
        link_competition(root / "pool", root / "data" / name, IMAGES)
    (root / "weights").mkdir()
    save_file(timm.create_model(MODEL).state_dict(), root / "weights" / "weights.safetensors")
    pipeline.init(name, workspace=Workspace.open(root))
    return Place(root, name)


# --- measurements in their own processes


def train(place: Place, name: str) -> float:
    """Return the seconds of ``kit train``."""
    settings = [part for value in place.overrides(name) for part in ("--set", value)]
    return _seconds(place, "train", f"configs/{place.data}.yaml", *settings)


def predict(place: Place, name: str) -> float:
    """Return the seconds of ``kit predict`` with one view, on validation and test images."""
    return _seconds(place, "predict", name, "--tta", "identity")


def _seconds(place: Place, *words: str) -> float:
    """Return the seconds of a kit command, including its start."""
    command = [sys.executable, "-m", "kit", *words]
    start = time.perf_counter()
    subprocess.run(command, cwd=place.root, check=True, capture_output=True, env=_without_roots())
    return time.perf_counter() - start


def one_pass(place: Place) -> dict[str, float]:
    """Return the seconds of one forward pass of all images and views, from files and from memory."""
    command = [sys.executable, "-m", "tests.benchmarks.frozen", "--pass", str(place.root), place.data]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=_without_roots())
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _num_predicted(place: Place, name: str) -> int:
    """Return the number of images that an experiment has predicted: OOF and test images."""
    from kit.predictions import load_oof, load_test
    from kit.storage.workspace import Workspace

    run = Workspace.open(place.root).find_run(name)
    return len(load_oof(run).ids) + len(load_test(run).ids)


def _without_roots() -> dict[str, str]:
    """Return the environment without the variables that take precedence over the workspace."""
    return {k: v for k, v in os.environ.items() if k not in ("KIT_DATA", "KIT_WEIGHTS", "KIT_CACHE")}


def measure_pass(place: Place) -> dict[str, float]:
    """Return the seconds of one forward pass of all images and views, in the precision of training."""
    import torch

    from kit.config.load import load_config
    from kit.engine.data.datasets import EpochBatches, ImageDataset, ImageSet, make_loader
    from kit.engine.device.amp import Amp
    from kit.engine.device.device import find_device
    from kit.runtime.progress import SILENT
    from kit.storage.workspace import Workspace
    from kit.training.data import image_store, prepare
    from kit.training.fold import FoldRunner, sized_prediction_transform, sized_training_transforms
    from kit.training.precision import settled_precision

    workspace = Workspace.open(place.root)
    config = load_config(workspace.config(place.data), place.overrides("pass", "image.cache=none"))
    data, run = prepare(config, workspace), workspace.run(place.data, "pass")
    amp = Amp(find_device(), settled_precision(config, workspace, len(data.competition.classes), run).name)
    runner = FoldRunner(config, workspace, data, run, image_store(config, workspace, data), SILENT)
    model = runner.model(0).to(amp.device).eval()
    own, images = model.preprocessing, ImageSet.of(data.samples)
    augmented = sized_training_transforms(config, own)[1]
    resident: dict[tuple[int, ...], torch.Tensor] = {}

    def batches() -> Iterator[torch.Tensor]:
        for number, view in enumerate([sized_prediction_transform(own), *[augmented] * VIEWS]):
            order = EpochBatches(len(images), 16, None)
            order.epoch = number
            dataset = ImageDataset(images, runner.store, {0: view}, config.seed)
            for batch in make_loader(dataset, order, config.train.workers, amp.device):
                yield batch.images

    def forward_seconds(batches: Iterator[torch.Tensor]) -> float:
        start = time.perf_counter()
        with torch.inference_mode(), amp.autocast():
            for batch in batches:
                model(batch.to(amp.device)).sum().item()
        return time.perf_counter() - start

    with torch.inference_mode(), amp.autocast():
        for batch in batches():
            if tuple(batch.shape) not in resident:
                resident[tuple(batch.shape)] = batch
                model(batch.to(amp.device))
    shapes = [tuple(batch.shape) for batch in batches()]
    return {
        "from files": forward_seconds(batches()),
        "from memory": forward_seconds(resident[shape] for shape in shapes),
        "images": len(images),
    }


def claims() -> list[Claim]:
    """Return the claims: the first and a second experiment, and prediction, over one forward pass."""
    with tempfile.TemporaryDirectory() as folder:
        place = create_workspace(Path(folder))
        seconds = one_pass(place)
        first, again, predicted = train(place, "first"), train(place, "again"), predict(place, "first")
        num_predicted = _num_predicted(place, "first")
    images, passes = seconds["images"], VIEWS + 1
    about = f"{FOLDS} folds x {EPOCHS} epochs on {images:.0f} images of {place.data}, {passes} views each"
    files, memory = seconds["from files"], seconds["from memory"]
    predicted_pass = files * num_predicted / (images * passes)
    return [
        Claim(
            f"{HEAD_ONLY}: time over one forward pass of all images and views",
            first / files,
            MAX_RATIO,
            "lower",
            detail=f"{about}: {first:.0f} s against {files:.0f} s",
        ),
        Claim(
            f"{HEAD_ONLY}: time over one forward pass without decoding and augmentation",
            first / memory,
            None,
            "lower",
            detail=f"{first:.0f} s against {memory:.0f} s with preprocessed images in memory",
        ),
        Claim(
            f"{HEAD_ONLY}, second experiment: time over one forward pass of all images and views",
            again / files,
            None,
            "lower",
            detail=f"{again:.0f} s against {files:.0f} s; features are cached",
        ),
        Claim(
            f"kit predict with {FOLDS} heads: time over one forward pass of the images",
            predicted / predicted_pass,
            None,
            "lower",
            detail=f"{num_predicted} images, one view: {predicted:.0f} s against {predicted_pass:.0f} s",
        ),
    ]


def main() -> None:
    """Print the claims, or the seconds of one forward pass."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pass", dest="workspace", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.workspace:
        root, data = args.workspace
        print(json.dumps(measure_pass(Place(Path(root), data))))
        return
    show(claims())


if __name__ == "__main__":
    main()
