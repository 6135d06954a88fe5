"""Train every recipe on the digits for a few epochs and print scores: `python -m tests.benchmarks.recipes`.

`--models` trains large networks instead, for one epoch of fold 0 on twenty digits, to show that they train.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import pandas as pd

from kit.competition.digits import write_digits
from kit.config import Config
from kit.config.load import load_config
from kit.storage.workspace import Workspace
from kit.training import experiment
from kit.training.run_state import fold_scores

CONFIGS = Path(__file__).parents[2] / "configs"
BASE = ["image.size=16", "model.options={widths: [24, 48, 96]}", "train.precision=fp32", "train.keep=last"]

RECIPES: dict[str, list[str]] = {
    "baseline": [],
    # models
    "residual_cnn": ["model.name=residual_cnn"],
    "simple_cnn, deeper, average pooling, no norm": [
        "model.options={widths: [24, 48], depth: 3, pooling: average, batch_norm: false, dropout: 0.1}",
        "train.lr=0.001",
    ],
    "grey images": ["image.mode=grey"],
    # heads
    "head: a dropout": ["model.head=[dropout 0.5]"],
    "head: 500, relu, dropout": ["model.head=[500, relu, dropout 0.5]"],
    "head: three hidden layers with norms": [
        "model.head=[256, batch_norm, relu, 128, batch_norm, relu, 64, batch_norm, relu, dropout 0.2]"
    ],
    "head: layer_norm, gelu": ["model.head=[layer_norm, 128, gelu]"],
    "multi-sample dropout": ["model.head=[128, relu, multi_dropout 0.5 5]"],
    "GeM pooling": ["model.pool=gem"],
    # trained layers
    "trains: head": ["model.trains=head"],
    "trains: last 2 stages": ["model.trains={last: 2}"],
    "trains: gradually": ["model.trains={1: head, 2: 2, 3: all}"],
    "layer decay": ["train.layer_decay=0.8"],
    "head at ten times the rate": ["train.head_lr=0.03"],
    "frozen norms": ["train.frozen_norm=true"],
    # losses
    "label smoothing": ["train.loss={name: cross_entropy, label_smoothing: 0.1}"],
    "class weights": ["train.balance=weights"],
    "bce": ["train.loss=bce"],
    "bce, positive weights, target threshold": [
        "train.loss={name: bce, positive_weight: balanced, target_threshold: 0.2}",
        "augment.mixup=0.2",
    ],
    "focal": ["train.loss=focal"],
    "asymmetric": ["train.loss=asymmetric"],
    "mse": ["train.loss=mse"],
    "l1": ["train.loss=l1"],
    "poly": ["train.loss=poly"],
    "symmetric cross-entropy": ["train.loss=symmetric_cross_entropy"],
    "bi-tempered": ["train.loss=bi_tempered"],
    # optimizers
    "adam": ["train.optimizer=adam"],
    "sgd, momentum 0.9": ["train.optimizer={name: sgd, momentum: 0.9}", "train.lr=0.05"],
    "adamax": ["train.optimizer=adamax"],
    "adadelta": ["train.optimizer=adadelta", "train.lr=1.0"],
    "lion": ["train.optimizer=lion", "train.lr=0.0005"],
    "muon": ["train.optimizer=muon"],
    "lookahead_adamw": ["train.optimizer=lookahead_adamw"],
    # schedules
    "cosine with a floor": ["train.schedule={name: cosine, floor: 0.0001, warmup_epochs: 0.5}"],
    "step": ["train.schedule={name: step, every: 1, factor: 0.3, warmup_epochs: 0}"],
    "one-cycle": ["train.schedule=one_cycle", "train.lr=0.01"],
    "plateau": ["train.schedule={name: plateau, patience: 0, factor: 0.5, warmup_epochs: 0}"],
    "constant": ["train.schedule=constant"],
    # steps
    "clipping": ["train.clip=1.0"],
    "accumulation": ["train.batch_size=16", "train.accumulate=4"],
    "EMA": ["train.average={name: ema, decay: 0.99}"],
    "SWA": ["train.average={name: swa, start: 0.5}", "train.schedule=constant"],
    "bf16": ["train.precision=bf16"],
    # augmentation
    "none": ["augment.preset=none"],
    "medium": ["augment.preset=medium"],
    "heavy": ["augment.preset=heavy"],
    "RandAugment": ["augment.preset={name: rand_augment, magnitude: 5}"],
    "AugMix": ["augment.preset=augmix"],
    "a free pipeline": [
        "augment={pipeline: [{name: RandomCrop, height: 8, width: 8}, {name: Resize, height: 16, width: 16}, "
        "{name: OneOf, transforms: [{name: GaussNoise}, {name: RandAugment}]}]}"
    ],
    "random erasing": ["augment.erasing=0.25"],
    "mixup": ["augment.mixup=0.2"],
    "cutmix": ["augment.cutmix=1.0"],
    "mixup or cutmix, half the time, off at the end": [
        "augment.mixup=0.2",
        "augment.cutmix=1.0",
        "augment.mix_probability=0.5",
        "augment.mix_off_epochs=1",
    ],
    "progressive resizing": ["image.size_by_epoch={1: 8, 2: 12, 3: 16}"],
}

MODELS: dict[str, list[str]] = {
    "resnet18": ["image.size=64"],
    "vit_tiny_patch16_224": ["image.size=96"],
    "swin_tiny_patch4_window7_224": ["image.size=128"],
    "torchvision:resnext101_64x4d@IMAGENET1K_V1": ["image.size=64"],
    "torchvision:wide_resnet50_2": ["image.size=64"],
    "torchvision:mobilenet_v3_large": ["image.size=64"],
    "torchvision:shufflenet_v2_x1_0": ["image.size=64"],
    "torchvision:efficientnet_b0": ["image.size=64"],
    "torchvision:squeezenet1_1": ["image.size=64"],
    "torchvision:convnext_tiny": ["image.size=64"],
    "torchvision:swin_t": ["image.size=64"],
    "torchvision:googlenet": ["image.size=64"],
    "torchvision:inception_v3": [],
    "torchvision:vit_l_16@IMAGENET1K_SWAG_E2E_V1": [],
}


def digits_workspace(root: Path, per_class: int | None = None) -> Workspace:
    """Write the digits (or ``per_class`` images per class) as a competition, and return its workspace."""
    folder = root / "data" / "digits"
    write_digits(folder)
    if per_class is not None:
        table = pd.read_csv(folder / "train.csv", dtype=str)
        table.groupby("label").head(per_class).to_csv(folder / "train.csv", index=False)
    return Workspace.open(root)


def recipe_config(number: int, overrides: list[str], epochs: int) -> Config:
    """Return the digits' config with a recipe, as a separate experiment."""
    own = [f"name=recipe-{number}", f"train.epochs={epochs}", "competition.unlisted=ignore"]
    return load_config(CONFIGS / "digits.yaml", [*BASE, *own, *overrides])


def train_fold(config: Config, workspace: Workspace) -> tuple[float, float]:
    """Train fold 0, and return its score and the seconds."""
    start = time.perf_counter()
    run = experiment.train(config, workspace, only=[0])
    return fold_scores(run)[0][0], time.perf_counter() - start


def main(epochs: int = 4, models: bool = False) -> None:
    """Print a table of recipes, scores and times."""
    with tempfile.TemporaryDirectory() as root:
        workspace = digits_workspace(Path(root), per_class=2 if models else None)
        recipes = {name: [*_large_model(name), *more] for name, more in MODELS.items()} if models else RECIPES
        print("| recipe | accuracy, fold 0 | seconds |\n| --- | --- | --- |")
        for number, (name, overrides) in enumerate(recipes.items()):
            score, seconds = train_fold(recipe_config(number, overrides, 1 if models else epochs), workspace)
            print(f"| {name} | {score:.3f} | {seconds:.1f} |", flush=True)


def _large_model(name: str) -> list[str]:
    """Return the overrides for a large network: random weights, default image size, few images."""
    return [
        f"model={{name: '{name}', pretrained: false}}",
        "image.size=null",
        "folds={scheme: holdout, fractions: [0.5, 0.5]}",
        "train.batch_size=4",
        "train.precision=auto",
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--models", action="store_true")
    args = parser.parse_args()
    main(args.epochs, args.models)
