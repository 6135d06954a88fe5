"""How quickly Lightning trains and predicts at its defaults: ``python lightning_peer.py ASKED`` prints JSON.

What its users write: a ``LightningModule`` around timm's network (untrained, AdamW), torchvision's
transforms, a ``DataLoader`` with a process per core, a ``Trainer`` with no option but to be quiet.
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


def measured(asked: dict[str, Any]) -> dict[str, Any]:
    """Return images per second: ``train`` by the median step, ``predict`` by the trainer's ``predict``."""
    import lightning  # type: ignore[import-not-found,unused-ignore]
    import timm
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    size, batch = asked["size"], asked["batch"]
    finish = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    varied = transforms.Compose(
        [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip(), *finish]
    )
    plain = transforms.Compose([transforms.Resize(size), transforms.CenterCrop(size), *finish])
    classes = sorted(set(asked["labels"]))
    rows = [(file, classes.index(label)) for file, label in zip(asked["files"], asked["labels"], strict=True)]

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
            self.network = timm.create_model(asked["model"], pretrained=False, num_classes=len(classes))
            self.at: list[float] = []

        def training_step(self, given: Any, number: int) -> torch.Tensor:
            images, labels = given
            return torch.nn.functional.cross_entropy(self.network(images), labels)

        def on_train_batch_end(self, *_: Any) -> None:
            _wait()
            self.at.append(time.perf_counter())

        def predict_step(self, given: Any, number: int) -> Any:
            return self.network(given[0]).softmax(dim=1)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters())

    steps, cores = WARMUP + asked["steps"], os.cpu_count() or 1
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    quiet["enable_model_summary"] = False
    network = Network()
    training = Images(varied, -(-steps * batch // len(rows)))
    loader = DataLoader(training, batch, shuffle=True, num_workers=cores, drop_last=True)
    lightning.Trainer(max_epochs=1, limit_train_batches=steps, **quiet).fit(network, loader)
    seconds = [b - a for a, b in zip(network.at[WARMUP - 1 :], network.at[WARMUP:], strict=False)]
    test = DataLoader(Images(plain, 1), batch, num_workers=cores)
    trainer = lightning.Trainer(**quiet)
    began = time.perf_counter()
    trainer.predict(network, test)
    return {
        "train": batch / median(seconds),
        "predict": len(rows) / (time.perf_counter() - began),
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
