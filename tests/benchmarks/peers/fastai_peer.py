"""How quickly fastai trains and predicts at its defaults: ``python fastai_peer.py ASKED`` prints JSON.

``vision_learner`` on ``ImageDataLoaders.from_df`` with ``Resize`` and ``aug_transforms``: fp32, its own
optimiser and number of loader processes. The network is timm's with fastai's head, untrained, and all of it
trains.
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


def measured(asked: dict[str, Any]) -> dict[str, Any]:
    """Return images per second: ``train`` by the median step, ``predict`` by ``get_preds``."""
    import pandas as pd
    from fastai.vision.all import (  # type: ignore[import-not-found,unused-ignore]
        Callback,
        CancelFitException,
        ImageDataLoaders,
        Resize,
        aug_transforms,
        vision_learner,
    )

    class Moments(Callback):  # type: ignore[misc,unused-ignore]
        """Notes when each step ends, and ends the training after enough of them."""

        def before_fit(self) -> None:
            self.at: list[float] = []

        def after_batch(self) -> None:
            if not self.training:
                return
            _wait()
            self.at.append(time.perf_counter())
            if len(self.at) > WARMUP + asked["steps"]:
                raise CancelFitException

    times = -(-(WARMUP + asked["steps"] + 2) * asked["batch"] // len(asked["files"]))
    rows = {"file": asked["files"] * times, "label": [str(label) for label in asked["labels"]] * times}
    loaders = ImageDataLoaders.from_df(
        pd.DataFrame(rows),
        path=Path("/"),
        valid_pct=0.0,
        bs=asked["batch"],
        item_tfms=Resize(asked["size"]),
        batch_tfms=aug_transforms(),
    )
    learner = vision_learner(loaders, asked["model"], pretrained=False)
    moments = Moments()
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(1, cbs=moments)
        seconds = [b - a for a, b in zip(moments.at[WARMUP - 1 :], moments.at[WARMUP:], strict=False)]
        test = loaders.test_dl([Path(file) for file in asked["files"]])
        began = time.perf_counter()
        learner.get_preds(dl=test)
        _wait()
    return {
        "train": asked["batch"] / median(seconds),
        "predict": len(asked["files"]) / (time.perf_counter() - began),
        "versions": {name: version(name) for name in ("fastai", "torch", "timm")},
    }


def _wait() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    print(json.dumps(measured(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
