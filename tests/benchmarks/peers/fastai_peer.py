"""Measure the speed of fastai at its defaults: ``python fastai_peer.py REQUEST`` prints JSON.

The script uses ``vision_learner`` on ``ImageDataLoaders.from_df`` with ``Resize`` and ``aug_transforms``: fp32,
fastai's optimizer and number of data-loader processes. The network is timm's with fastai's head and random
weights; all layers are trained.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

WARMUP = 2


def measured(request: dict[str, Any]) -> dict[str, Any]:
    """Return images per second: ``train`` from the median step, ``predict`` from ``get_preds``."""
    import pandas as pd
    from fastai.vision.all import (  # type: ignore[import-not-found,unused-ignore]
        Callback,
        CancelFitException,
        ImageDataLoaders,
        Resize,
        aug_transforms,
        vision_learner,
    )

    class StepTimes(Callback):  # type: ignore[misc,unused-ignore]
        """Records the end time of each step, and stops the training after the requested steps."""

        def before_fit(self) -> None:
            self.at: list[float] = []

        def after_batch(self) -> None:
            if not self.training:
                return
            _wait()
            self.at.append(time.perf_counter())
            if len(self.at) > WARMUP + request["steps"]:
                raise CancelFitException

    times = -(-(WARMUP + request["steps"] + 2) * request["batch"] // len(request["files"]))
    rows = {"file": request["files"] * times, "label": [str(label) for label in request["labels"]] * times}
    loaders = ImageDataLoaders.from_df(
        pd.DataFrame(rows),
        path=Path("/"),
        valid_pct=0.0,
        bs=request["batch"],
        item_tfms=Resize(request["size"]),
        batch_tfms=aug_transforms(),
    )
    learner = vision_learner(loaders, request["model"], pretrained=False)
    step_times = StepTimes()
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(1, cbs=step_times)
        seconds = [b - a for a, b in zip(step_times.at[WARMUP - 1 :], step_times.at[WARMUP:], strict=False)]
        test = loaders.test_dl([Path(file) for file in request["files"]])
        start = time.perf_counter()
        learner.get_preds(dl=test)
        _wait()
    return {
        "train": request["batch"] / median(seconds),
        "predict": len(request["files"]) / (time.perf_counter() - start),
        "versions": {name: version(name) for name in ("fastai", "torch", "timm")},
    }


def _wait() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    print(json.dumps(measured(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
