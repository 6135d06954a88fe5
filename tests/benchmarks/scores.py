"""What the quick ways cost in score: ``python -m tests.benchmarks.scores``.

One experiment trained again and again on the same folds, each time one thing done the slow way: in fp32; with every
image decoded anew, at its full size. Their out-of-fold answers meet by id. Another seed shows what chance does.

cse144 at 112 px, for which its photos of 256 are decoded smaller, and mobilenetv2_100 from its weights, where
``$KIT_DATA`` and ``$KIT_WEIGHTS`` have them; else the digits.
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
# Name -> what is done otherwise, and whether kit must not score worse beyond noise.
SLOW_WAYS: dict[str, tuple[list[str], bool]] = {
    "in fp32": (["train.precision=fp32"], True),
    "decoding every image anew, at its full size": (["image.cache=none", "image.decode_size=full"], True),
    "with another seed": (["seed=43"], False),
}


@contextmanager
def competition() -> Iterator[tuple[Workspace, Path, list[str], str]]:
    """Yield a workspace, the config to begin with, what it is set to, and what that is."""
    found = [Path(os.environ.get(key, "nowhere")) / name for key, name in _REAL.items()]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if all(path.exists() for path in found):
            about = f"{NAME}, mobilenetv2_100 from its weights at 112 px"
            yield Workspace.open(root), CONFIGS / f"{NAME}.yaml", OF_PHOTOS, about
        else:
            yield digits_workspace(root), CONFIGS / "digits.yaml", OF_DIGITS, "the digits"


_REAL = {"KIT_DATA": NAME, "KIT_WEIGHTS": WEIGHTS}


def trained(config: Config, workspace: Workspace) -> LabeledPredictions:
    """Return what an experiment says of every image when it has not seen it, beside the truth."""
    run = experiment.train(config, workspace)
    predict(run, workspace)
    return load_labeled_oof(run, workspace)


def claims() -> list[Claim]:
    """Return all of it."""
    with competition() as (workspace, path, settings, about):
        quick = trained(load_config(path, [*settings, *BOTH, "name=quick"]), workspace)
        found = []
        for number, (way, (otherwise, is_bar)) in enumerate(SLOW_WAYS.items()):
            config = load_config(path, [*settings, *BOTH, *otherwise, f"name=slow-{number}"])
            detail = f"{about}, 2 folds x {config.train.epochs} epochs"
            found.append(_claim(way, quick, trained(config, workspace), is_bar, detail))
    return found


def _claim(way: str, quick: LabeledPredictions, slow: LabeledPredictions, is_bar: bool, detail: str) -> Claim:
    """Return how much better the quick way scores, and that this is not worse than none beyond noise."""
    if quick.oof.ids != slow.oof.ids:
        raise RuntimeError("the two did not predict the same images")
    difference = quick.score() - slow.score()
    between = gain(quick.rows, _answers(quick), _answers(slow), quick.units)
    told = f"{quick.score():.4f} against {slow.score():.4f}, 95 % interval {between.text(signed=True)}"
    return Claim(
        f"{quick.metric.name} of bf16 on kept images, less that {way}",
        difference,
        difference - between.high if is_bar else None,  # the interval reaches 0
        "higher",
        "",
        f"{told}; {detail}",
    )


def _answers(scored: LabeledPredictions) -> FinalPredictions:
    return Postprocessing().apply(scored.oof.probs, scored.task)


if __name__ == "__main__":
    show(claims())
