"""Measure the effect of speed optimizations on the score: ``python -m tests.benchmarks.scores``.

The same experiment is trained on the same folds with one optimization off at a time: in fp32; without the
image cache, decoding at full size. The out-of-fold predictions are compared. Another seed shows the effect of
chance.

The competition is cse144 at 112 px (its photos of 256 px are decoded smaller) with pretrained
mobilenetv2_100, if ``$KIT_DATA`` and ``$KIT_WEIGHTS`` have both; else the digits.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kit.config import Config
from kit.config.load import load_config
from kit.evaluation.oof_with_labels import LabeledPredictions, load_labeled_oof
from kit.inference.predict import predict
from kit.postprocess.nested_cv import gain
from kit.postprocess.postprocessing import Postprocessing
from kit.predictions import FinalPredictions
from kit.storage.workspace import Workspace
from kit.training import experiment
from tests.benchmarks.claim import Claim, show
from tests.benchmarks.photos import NAME
from tests.benchmarks.recipes import CONFIGS, digits_workspace

WEIGHTS = "mobilenetv2_100_tv_in1k.safetensors"
OF_PHOTOS = [
    "image={size: 112, predict_size: 112}",
    "train.epochs=6",
    "train.batch_size=32",
    "predict.tta=[identity]",
]
OF_DIGITS = ["train.epochs=4", "competition.unlisted=ignore"]
BOTH = ["train.precision=bf16", "folds.count=2"]
# Name -> overrides, and whether the optimized score must not be worse beyond noise.
SLOW_VARIANTS: dict[str, tuple[list[str], bool]] = {
    "with fp32": (["train.precision=fp32"], True),
    "without the image cache, decoding at full size": (["image.cache=none", "image.decode_size=full"], True),
    "with another seed": (["seed=43"], False),
}


@contextmanager
def competition() -> Iterator[tuple[Workspace, Path, list[str], str]]:
    """Yield a workspace, the path of a config, its overrides, and a description."""
    found = [Path(os.environ.get(key, "nowhere")) / name for key, name in _REAL.items()]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if all(path.exists() for path in found):
            about = f"{NAME}, pretrained mobilenetv2_100 at 112 px"
            yield Workspace.open(root), CONFIGS / f"{NAME}.yaml", OF_PHOTOS, about
        else:
            yield digits_workspace(root), CONFIGS / "digits.yaml", OF_DIGITS, "the digits"


_REAL = {"KIT_DATA": NAME, "KIT_WEIGHTS": WEIGHTS}


def trained(config: Config, workspace: Workspace) -> LabeledPredictions:
    """Return the out-of-fold predictions of an experiment, with targets."""
    run = experiment.train(config, workspace)
    predict(run, workspace)
    return load_labeled_oof(run, workspace)


def claims() -> list[Claim]:
    """Return the claims."""
    with competition() as (workspace, path, settings, about):
        fast = trained(load_config(path, [*settings, *BOTH, "name=fast"]), workspace)
        found = []
        for number, (variant, (overrides, has_limit)) in enumerate(SLOW_VARIANTS.items()):
            config = load_config(path, [*settings, *BOTH, *overrides, f"name=slow-{number}"])
            detail = f"{about}, 2 folds x {config.train.epochs} epochs"
            found.append(_claim(variant, fast, trained(config, workspace), has_limit, detail))
    return found


def _claim(
    variant: str, fast: LabeledPredictions, slow: LabeledPredictions, has_limit: bool, detail: str
) -> Claim:
    """Return the claim that the optimized score is not worse than the variant's beyond noise."""
    if fast.oof.ids != slow.oof.ids:
        raise RuntimeError("the experiments did not predict the same images")
    difference = fast.score() - slow.score()
    interval = gain(fast.rows, _predictions(fast), _predictions(slow), fast.units)
    scores = f"{fast.score():.4f} against {slow.score():.4f}, 95 % interval {interval.text(signed=True)}"
    return Claim(
        f"{fast.metric.name} with bf16 and the image cache, minus {fast.metric.name} {variant}",
        difference,
        difference - interval.high if has_limit else None,  # the interval includes 0
        "higher",
        "",
        f"{scores}; {detail}",
    )


def _predictions(labeled: LabeledPredictions) -> FinalPredictions:
    return Postprocessing().apply(labeled.oof.probs, labeled.task)


if __name__ == "__main__":
    show(claims())
