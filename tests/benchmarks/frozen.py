"""What a head-only experiment takes beside one pass of its images: ``python -m tests.benchmarks.frozen``.

The images are those of $KIT_DATA/cse144 where they are, else drawn ones; the network is mobilenetv2_100 at
224 px, whose weights do not matter here. Each thing is measured in a process of its own, the start included
where a command would have to start, and nothing is kept from one to the next but what is said.
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
MOST = 1.5
MODEL = "mobilenetv2_100"


@dataclass(frozen=True)
class Place:
    """A workspace with one competition and the weights of one network."""

    root: Path
    data: str

    def overrides(self, name: str, *more: str) -> list[str]:
        """Return the experiment: what ``kit init`` writes, but for what is measured."""
        return [
            f"name={name}",
            f"model={{name: {MODEL}, weights: weights.safetensors, trains: head}}",
            f"augment.views={VIEWS}",
            "augment.mixup=0",
            f"train.epochs={EPOCHS}",
            f"folds={{scheme: stratified, count: {FOLDS}}}",
            *more,
        ]


def lay_out(root: Path) -> Place:
    """Write the competition's config and the weights; images are linked or drawn."""
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


# --- in processes of their own


def train(place: Place, name: str) -> float:
    """Return the seconds of ``kit train``."""
    settings = [part for value in place.overrides(name) for part in ("--set", value)]
    return _seconds(place, "train", f"configs/{place.data}.yaml", *settings)


def predict(place: Place, name: str) -> float:
    """Return the seconds of ``kit predict``, through one view: validation rows, and as many test images."""
    return _seconds(place, "predict", name, "--tta", "identity")


def _seconds(place: Place, *words: str) -> float:
    """Return what a command of kit takes, its start included."""
    command = [sys.executable, "-m", "kit", *words]
    began = time.perf_counter()
    subprocess.run(command, cwd=place.root, check=True, capture_output=True, env=_without_roots())
    return time.perf_counter() - began


def one_pass(place: Place) -> dict[str, float]:
    """Return the seconds of one pass of images x views through the network, from files and from memory."""
    command = [sys.executable, "-m", "tests.benchmarks.frozen", "--pass", str(place.root), place.data]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=_without_roots())
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _rows(place: Place, name: str) -> int:
    """Return how many images an experiment has predicted: those of its folds, and those of the test set."""
    from kit.predictions import load_predictions
    from kit.storage.workspace import Workspace

    run = Workspace.open(place.root).find_run(name)
    return sum(len(load_predictions(path).ids) for path in (run.oof, run.test))


def _without_roots() -> dict[str, str]:
    """Return the environment without the roots that would be looked up before the workspace."""
    return {k: v for k, v in os.environ.items() if k not in ("KIT_DATA", "KIT_WEIGHTS", "KIT_CACHE")}


def measure_pass(place: Place) -> dict[str, float]:
    """Take every view of every image through the network, in the precision that training finds quicker."""
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
    amp = Amp(find_device(), settled_precision(config, workspace, data, run).name)
    runner = FoldRunner(config, workspace, data, run, image_store(config, workspace, data), SILENT)
    model = runner.model(0).to(amp.device).eval()
    own, images = model.preprocessing, ImageSet.of(data.samples)
    varied = sized_training_transforms(config, own)[1]
    resident: dict[tuple[int, ...], torch.Tensor] = {}

    def batches() -> Iterator[torch.Tensor]:
        for number, view in enumerate([sized_prediction_transform(own), *[varied] * VIEWS]):
            order = EpochBatches(len(images), 16, None)
            order.epoch = number
            dataset = ImageDataset(images, runner.store, {0: view}, config.seed)
            for batch in make_loader(dataset, order, config.train.workers, amp.device):
                yield batch.images

    def through(shown: Iterator[torch.Tensor]) -> float:
        began = time.perf_counter()
        with torch.inference_mode(), amp.autocast():
            for batch in shown:
                model(batch.to(amp.device)).sum().item()
        return time.perf_counter() - began

    with torch.inference_mode(), amp.autocast():
        for batch in batches():
            if tuple(batch.shape) not in resident:
                resident[tuple(batch.shape)] = batch
                model(batch.to(amp.device))
    shapes = [tuple(batch.shape) for batch in batches()]
    return {
        "from files": through(batches()),
        "from memory": through(resident[shape] for shape in shapes),
        "images": len(images),
    }


def claims() -> list[Claim]:
    """Return what the experiment takes beside one pass, the first time and again."""
    with tempfile.TemporaryDirectory() as folder:
        place = lay_out(Path(folder))
        passed = one_pass(place)
        first, again, predicted = train(place, "first"), train(place, "again"), predict(place, "first")
        asked = _rows(place, "first")
    images, passes = passed["images"], VIEWS + 1
    about = f"{FOLDS} folds x {EPOCHS} epochs on {images:.0f} images of {place.data}, {passes} views each"
    files, memory = passed["from files"], passed["from memory"]
    pass_of_asked = files * asked / (images * passes)
    return [
        Claim(
            "head-only kit train beside one pass over images x views",
            first / files,
            MOST,
            "lower",
            detail=f"{about}: {first:.0f} s beside {files:.0f} s",
        ),
        Claim(
            "likewise beside a pass that reads and varies nothing",
            first / memory,
            None,
            "lower",
            detail=f"{memory:.0f} s: images that lie in memory, ready for the network",
        ),
        Claim(
            "another such experiment on the same network",
            again / files,
            None,
            "lower",
            detail=f"{again:.0f} s: features are there",
        ),
        Claim(
            f"kit predict with its {FOLDS} heads beside one pass over the images",
            predicted / pass_of_asked,
            None,
            "lower",
            detail=f"{asked} images once each: {predicted:.0f} s beside {pass_of_asked:.0f} s",
        ),
    ]


def main() -> None:
    """Print the claims, or what one pass takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pass", dest="workspace", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.workspace:
        root, data = given.workspace
        print(json.dumps(measure_pass(Place(Path(root), data))))
        return
    show(claims())


if __name__ == "__main__":
    main()
