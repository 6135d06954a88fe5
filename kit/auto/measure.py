"""Measure a network's speed on this machine, before anything is trained."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kit.config import Config
from kit.runtime.progress import SILENT
from kit.storage.workspace import Workspace
from kit.training.data import TrainingData
from kit.training.fold import FoldRunner
from kit.training.precision import settled_precision

if TYPE_CHECKING:
    from kit.engine.device.amp import Amp
    from kit.engine.models.build import Classifier

BATCH = 16
PASSES = 2  # timed, after one that is not


def forward_seconds(config: Config, workspace: Workspace, data: TrainingData) -> float:
    """Return the seconds of a forward pass per megapixel of input, with the config's network and size.

    Raises:
        KitError: The network cannot be built, or its weights do not fit or cannot be downloaded.
    """
    from kit.engine.data.image_store import ImageStore
    from kit.engine.device.amp import Amp
    from kit.engine.device.device import find_device, prepare_process
    from kit.training.data import image_store

    prepare_process()
    run = workspace.run(data.competition.name, config.name)
    store: ImageStore = image_store(config, workspace, data)
    runner = FoldRunner(config, workspace, data, run, store, SILENT)
    amp = Amp(find_device(), settled_precision(config, workspace, data).name)
    model = runner.model(0).to(amp.device).eval()
    size = model.preprocessing.predicting
    return _seconds_per_pass(model, size, amp) / BATCH / (size * size / 1e6)


def _seconds_per_pass(model: Classifier, size: int, amp: Amp) -> float:
    import torch

    images = torch.zeros(BATCH, model.preprocessing.channels, size, size, device=amp.device)
    seconds = []
    with torch.inference_mode(), amp.autocast():
        for _ in range(1 + PASSES):
            began = time.perf_counter()
            logits = model(images)
            logits.sum().item()  # waits for the device
            seconds.append(time.perf_counter() - began)
    return min(seconds[1:])
