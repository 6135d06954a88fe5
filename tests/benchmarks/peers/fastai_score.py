"""Train fastai for a given time and predict: ``python fastai_score.py REQUEST`` writes a CSV of probabilities.

The script uses ``vision_learner`` at its defaults on ``Resize`` and ``aug_transforms``, with the given weights
in the body, and ``fine_tune``: one epoch of the head, then as many epochs of all layers as fit into the time.
All labeled images but a fifth for validation are trained on.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

RESERVE = 0.15  # of the time, for prediction and for epochs that take longer than the first
UNFROZEN = 1.8  # seconds of an epoch of all layers / of an epoch of the head, on a CPU


def main(request: dict[str, Any], began: float) -> None:
    """Train, predict, and write the table."""
    import pandas as pd
    from fastai.vision.all import (  # type: ignore[import-not-found,unused-ignore]
        ImageDataLoaders,
        Resize,
        aug_transforms,
        set_seed,
        vision_learner,
    )

    set_seed(request["seed"])
    train, test = (pd.read_csv(request[part], dtype={"id": str}) for part in ("train", "test"))
    folder, labels = Path(request["train"]).parent, request["labels"]
    if len(labels) == 1:
        train["target"] = train[labels[0]].astype(str)
    else:
        train["target"] = [
            ";".join(name for name in labels if row[name] == 1) for row in train.to_dict("records")
        ]
    loaders = ImageDataLoaders.from_df(
        train[["id", "target"]],
        path=folder / "train",
        label_delim=";" if len(labels) > 1 else None,
        item_tfms=Resize(request["size"]),
        batch_tfms=aug_transforms(),
        bs=min(64, len(train) // 4),
    )
    learner = vision_learner(loaders, request["model"], pretrained=False)
    if request["weights"]:
        _load(learner, request["weights"])
    with learner.no_bar(), learner.no_logging():
        learner.freeze()
        start = time.perf_counter()
        learner.fit_one_cycle(1, 2e-3)
        epoch = (time.perf_counter() - start) * UNFROZEN
        left = request["seconds"] * (1 - RESERVE) - (time.perf_counter() - began)
        epochs = max(0, int(left / epoch))
        if epochs:
            learner.unfreeze()
            learner.fit_one_cycle(epochs, slice(1e-5, 1e-3), pct_start=0.3)
        files = [folder / "test" / name for name in test["id"]]
        probs, _ = learner.get_preds(dl=loaders.test_dl(files))
    table = pd.DataFrame(probs.numpy(), columns=[str(name) for name in loaders.vocab], index=test["id"])
    table.reindex(columns=request["classes"], fill_value=0.0).to_csv(request["out"])
    print(f"{epochs} epochs after one of the head")


def _load(learner: Any, weights: str) -> None:
    """Load pretrained weights into timm's network in fastai's body."""
    from safetensors.torch import load_file

    body = learner.model[0].model
    missing = body.load_state_dict(load_file(weights), strict=False).missing_keys
    if [name for name in missing if "classifier" not in name and "head.fc" not in name]:
        raise SystemExit(f"weights do not fit: {missing[:3]}")


if __name__ == "__main__":
    started = time.perf_counter()
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), started)
