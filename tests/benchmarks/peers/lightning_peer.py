"""Measure the speed of Lightning at its defaults: ``python lightning_peer.py REQUEST`` prints JSON.

The script is typical user code: a ``LightningModule`` around timm's network (random weights, AdamW), torchvision's
transforms, a ``DataLoader`` with one process per core, and a ``Trainer`` without logging.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

WARMUP = 2
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def measured(request: dict[str, Any]) -> dict[str, Any]:
    """Return images per second: ``train`` from the median step, ``predict`` from ``Trainer.predict``."""
    import lightning  # type: ignore[import-not-found,unused-ignore]
    import timm
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    size, batch = request["size"], request["batch"]
    finish = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    augment = transforms.Compose(
        [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip(), *finish]
    )
    plain = transforms.Compose([transforms.Resize(size), transforms.CenterCrop(size), *finish])
    classes = sorted(set(request["labels"]))
    rows = [
        (file, classes.index(label)) for file, label in zip(request["files"], request["labels"], strict=True)
    ]

    class Images(Dataset):  # type: ignore[type-arg]
        def __init__(self, transform: Any, times: int) -> None:
            self.transform, self.rows = transform, rows * times

        def __len__(self) -> int:
            return len(self.rows)

        def __getitem__(self, position: int) -> tuple[torch.Tensor, int]:
            file, label = self.rows[position]
            return self.transform(Image.open(file).convert("RGB")), label

    class Network(lightning.LightningModule):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.network = timm.create_model(request["model"], pretrained=False, num_classes=len(classes))
            self.at: list[float] = []

        def training_step(self, batch: Any, number: int) -> torch.Tensor:
            images, labels = batch
            return torch.nn.functional.cross_entropy(self.network(images), labels)

        def on_train_batch_end(self, *_: Any) -> None:
            _wait()
            self.at.append(time.perf_counter())

        def predict_step(self, batch: Any, number: int) -> Any:
            return self.network(batch[0]).softmax(dim=1)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters())

    steps, cores = WARMUP + request["steps"], os.cpu_count() or 1
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    quiet["enable_model_summary"] = False
    network = Network()
    training = Images(augment, -(-steps * batch // len(rows)))
    loader = DataLoader(training, batch, shuffle=True, num_workers=cores, drop_last=True)
    lightning.Trainer(max_epochs=1, limit_train_batches=steps, **quiet).fit(network, loader)
    seconds = [b - a for a, b in zip(network.at[WARMUP - 1 :], network.at[WARMUP:], strict=False)]
    test = DataLoader(Images(plain, 1), batch, num_workers=cores)
    trainer = lightning.Trainer(**quiet)
    start = time.perf_counter()
    trainer.predict(network, test)
    return {
        "train": batch / median(seconds),
        "predict": len(rows) / (time.perf_counter() - start),
        "versions": {name: version(name) for name in ("lightning", "torch", "timm")},
    }


def _wait() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    result = measured(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    print(json.dumps(result))
